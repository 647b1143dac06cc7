"""When the courier sends: what gathers travels together, the urgent waits for nothing, silence is free."""

from __future__ import annotations

import asyncio
from collections import Counter

from actors.transport.courier import MAX_BYTES, MAX_ITEMS
from actors.transport.inbox import Inbox
from tests.unit.support.courier_target import FlakyLink, Target, make, turns, until


async def test_items_that_gather_travel_together():
    target = Target()
    link = FlakyLink(target)
    courier = make(link)
    await asyncio.gather(*[courier.call(n) for n in range(100)])
    assert link.delivered <= 3
    await courier.close()


async def test_an_urgent_item_needs_no_room_and_overtakes_nothing():
    target = Target()
    order = []
    target.on_item = lambda item, reply: (order.append(item), reply(item))
    target.restart()
    courier = make(FlakyLink(target), outstanding=2)
    futures = [courier.post(1), courier.post(2), courier.post(0, urgent=True)]
    await asyncio.gather(*futures)
    assert order == [1, 2, 0]
    await courier.close()


async def test_an_urgent_item_ends_the_pause_between_deliveries():
    target = Target()
    now = [0.0]
    courier = make(FlakyLink(target), interval=3600.0, clock=lambda: now[0])
    for n in range(3):
        await courier.call(n)
    waiting = courier.post(3)
    await turns(200)
    assert 3 not in target.ran
    await asyncio.gather(waiting, courier.post(4, urgent=True))
    assert target.ran == Counter(range(5))
    await courier.close()


async def test_an_urgent_reply_waits_for_no_company():
    target = Target(hold=True)
    now = [0.0]
    target.inbox = Inbox(target.on_item, interval_s=3600.0, clock=lambda: now[0])
    courier = make(FlakyLink(target))
    futures = [courier.post(n) for n in range(6)]
    await until(lambda: len(target.held) == 6)
    for item, reply in target.held[:4]:
        reply(item)
        await turns()
    assert [future.done() for future in futures] == [True] * 3 + [False] * 3
    item, reply = target.held[4]
    reply(item, urgent=True)
    await turns()
    assert [future.done() for future in futures] == [True] * 5 + [False]
    await courier.close()


async def test_after_a_quiet_spell_an_item_goes_at_once():
    target = Target()
    now = [0.0]
    courier = make(FlakyLink(target), interval=3600.0, clock=lambda: now[0])
    for n in range(3):
        await courier.call(n)
    now[0] = 4000.0
    assert await courier.call(3) == 6
    await courier.close()


async def test_nothing_is_sent_while_there_is_nothing_to_say():
    target = Target()
    courier = make(FlakyLink(target))
    await courier.call(1)
    await turns(200)
    before = courier.statistics().messages
    await turns(200)
    assert courier.statistics().messages == before
    await courier.close()


async def test_what_one_delivery_does_not_hold_goes_on_without_a_pause():
    target = Target()
    now = [0.0]
    link = FlakyLink(target)
    courier = make(link, interval=3600.0, clock=lambda: now[0], outstanding=10_000)
    for n in range(3):
        await courier.call(n)
    await asyncio.gather(*[courier.call(n) for n in range(1000)])
    assert link.batches[3:] == [256, 256, 256, 232]
    await courier.close()


async def test_as_many_items_as_one_delivery_holds_end_the_pause_and_fewer_do_not():
    target = Target()
    now = [0.0]
    link = FlakyLink(target)
    courier = make(link, interval=3600.0, clock=lambda: now[0], outstanding=10_000)
    for n in range(3):
        await courier.call(n)
    futures = [courier.post(n) for n in range(MAX_ITEMS - 1)]
    await turns(100)
    assert link.batches[3:] == []
    await asyncio.gather(*futures, courier.post(0))
    assert link.batches[3:] == [MAX_ITEMS]
    await courier.close()


async def test_a_delivery_holds_a_bounded_size_and_one_larger_item_goes_alone():
    target = Target()
    link = FlakyLink(target)
    courier = make(link, size_of=lambda item: item, size=100 * MAX_BYTES)
    third = MAX_BYTES // 3
    sizes = [1, MAX_BYTES, 3 * MAX_BYTES, third, third, third, third]
    await asyncio.gather(*[courier.call(size) for size in sizes])
    assert link.batches == [1, 1, 1, 3, 1]
    await courier.close()
