"""The history is read before it is stored, stored at intervals and on request, and ends no dispatcher."""

from __future__ import annotations

import asyncio
import random

from actors.core.dispatch.events import CallOffered
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.errors import FencedError, StoreUnavailableError
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.calls import Call
from actors.core.messages.journal import KeepHistory, ReadHistory
from actors.core.messages.values import Done
from actors.core.metrics.history import EndpointReading, HistoryRecorder
from actors.core.metrics.history_format import pack, unpack
from actors.dispatcher.history_keeper import HistoryKeeper
from actors.transport.inbox import Inbox
from tests.unit.support.courier_target import At, DirectLink
from tests.unit.support.leaping_loop import run_leaping

EARLIER = HistoryRecorder()
EARLIER.add(0.0, 1e9, [EndpointReading("main")])
EARLIER.add(1.0, 1e9 + 1, [EndpointReading("main", 7)])


class World:
    """A dispatcher's state with one queued call, and a journal that answers as scripted."""

    def __init__(self, *answers):
        self.asked = []
        self.answers = list(answers)
        self.is_silent = False
        rules = EndpointRules("main", LimiterSettings(4, start=4))
        self.loop = asyncio.get_running_loop()
        self.state = DispatchState(DispatchSettings((rules,)), now=self.loop.time(), rng=random.Random(1))
        self.state.handle([CallOffered(Call("k", "evaluate", "prompt", 100, "t"))], self.loop.time())
        inbox = Inbox(self.on_item)
        clock = self.loop.time
        journal = At("journal", lambda: DirectLink(inbox))
        self.keeper = HistoryKeeper(self.state, journal, "r1", clock, lambda: 1e9 + clock())

    def on_item(self, item, reply):
        self.asked.append((self.loop.time(), item))
        if not self.is_silent:
            reply(self.answers.pop(0) if self.answers else Done())

    async def active(self, seconds):
        """Let the dispatcher take turns for `seconds`."""
        for _ in range(int(seconds * 4)):
            self.keeper.observe()
            await asyncio.sleep(0.25)

    @property
    def kept(self):
        return [unpack(item.packed) for _, item in self.asked if isinstance(item, KeepHistory)]


def in_world(act, *answers):
    async def main():
        world = World(*answers)
        await act(world)
        await world.keeper.close()
        return world

    return run_leaping(main())


def test_a_later_dispatcher_continues_the_stored_series_and_stores_it_every_five_seconds():
    world = in_world(lambda world: world.active(21), pack(EARLIER.history()))
    assert world.asked[0][1] == ReadHistory("r1")
    assert len(world.kept) == 4
    assert all(sum(history.endpoints[0].answered) == 7 for history in world.kept)
    assert world.kept[-1].endpoints[0].queued.most[-1] == 1
    assert sum(world.kept[-1].active_s) > 19


def test_nothing_is_stored_before_the_earlier_history_was_read():
    async def act(world):
        await world.active(60)
        assert not world.kept
        await world.active(60)

    away = [StoreUnavailableError("the disk is full")] * 6  # for 1 + 2 + 4 + 8 + 16 + 30 s
    world = in_world(act, *away, pack(EARLIER.history()))
    assert sum(world.kept[0].endpoints[0].answered) == 7


def test_a_history_that_cannot_be_read_begins_anew():
    world = in_world(lambda world: world.active(11), b"damaged")
    assert [sum(history.endpoints[0].answered) for history in world.kept] == [0, 0]


def test_a_record_that_is_refused_is_replaced_by_the_next_one():
    world = in_world(lambda world: world.active(16), None, FencedError("taken over"))
    assert len(world.kept) == 3


def test_one_record_waits_while_the_journal_is_silent_and_the_end_of_a_run_waits_two_seconds():
    async def act(world):
        await world.active(1)
        world.is_silent = True
        await world.active(60)
        assert len(world.kept) == 1
        began = world.loop.time()
        await world.keeper.save()
        assert world.loop.time() - began == 2.0

    in_world(act, None)


def test_the_end_of_a_run_stores_what_came_since_the_last_record():
    async def act(world):
        await world.active(6)
        await world.keeper.save()
        assert sum(world.kept[-1].active_s) >= 5.5

    in_world(act, None)


def test_an_idle_dispatcher_stores_nothing_more():
    async def act(world):
        await world.active(6)
        await asyncio.sleep(6)
        known = len(world.kept)
        await asyncio.sleep(3600)
        assert len(world.kept) == known

    in_world(act, None)
