"""When an outlet sends: once for all who asked, and for as long as somebody asks, too."""

from __future__ import annotations

import asyncio

from actors.transport.outlet import Outlet
from actors.transport.pacer import Pacer
from tests.unit.support.courier_target import turns


class Desk:
    def __init__(self, interval_s):
        self.now = 0.0
        self.sent = 0
        self.outlet = Outlet(self.send, Pacer(interval_s, burst=1), lambda: self.now)

    def send(self):
        self.sent += 1


async def test_all_who_ask_in_one_turn_are_served_by_one_message():
    desk = Desk(0.0)
    for _ in range(3):
        desk.outlet.send_paced()
        desk.outlet.send_next()
    await turns()
    assert desk.sent == 1


async def test_one_who_asks_in_every_turn_does_not_put_it_off_for_ever():
    desk = Desk(0.0)
    for _ in range(10):
        asyncio.get_running_loop().call_soon(
            desk.outlet.send_next
        )  # before what the outlet itself has queued
        desk.outlet.send_next()
        await asyncio.sleep(0)
    assert desk.sent > 3


async def test_what_waits_for_the_pace_goes_with_what_does_not_wait():
    desk = Desk(0.001)
    desk.outlet.send_paced()
    await turns()
    desk.outlet.send_paced()
    due = desk.outlet._due
    desk.outlet.send_next()
    await turns()
    assert (desk.sent, due.cancelled()) == (2, True)


async def test_once_stopped_nothing_is_sent_until_somebody_asks_again():
    desk = Desk(0.0)
    desk.outlet.send_next()
    desk.outlet.stop()
    await turns()
    assert desk.sent == 0
    desk.outlet.send_next()
    await turns()
    assert desk.sent == 1
