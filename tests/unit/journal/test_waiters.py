"""Whoever waits for an event is told of the first there is, whenever it comes."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.messages.journal import ReadEvents
from actors.journal.waiters import EventWaiters

RUN = "r1"
LONG_S = 1e6
T1, T2 = frozenset({(RUN, "t1")}), frozenset({(RUN, "t2")})


class Desk:
    def __init__(self):
        self.looks = []
        self.waiters = EventWaiters(lambda query, reply: self.looks.append((query, reply)))

    def add(self, task="t1", wait_s=LONG_S):
        query, reply = ReadEvents(RUN, task, wait_s=wait_s), lambda value, urgent=False: None
        self.waiters.add(query, reply)
        return query, reply

    def looked_again(self):
        return [(query.run_id, query.task) for query, _ in self.looks]


@pytest.fixture
async def desk():
    return Desk()


async def test_a_commit_wakes_those_that_it_concerns(desk):
    _, mine = desk.add("t1")
    desk.add("t2")
    desk.add(None)
    desk.waiters.touch(T1)
    assert desk.looked_again() == [(RUN, "t1"), (RUN, None)]
    assert desk.looks[0][1] is mine
    assert desk.looks[0][0].wait_s == pytest.approx(LONG_S, rel=0.01)
    assert len(desk.waiters) == 1


@pytest.mark.parametrize("task", ["t1", None])
async def test_what_became_durable_while_somebody_looked_is_looked_for_again(desk, task):
    with desk.waiters.answering():
        desk.waiters.touch(T1)
        desk.add(task)
    assert desk.looked_again() == [(RUN, task)]
    assert len(desk.waiters) == 0


async def test_what_was_durable_before_a_look_began_is_not_looked_for_again(desk):
    desk.waiters.touch(T1)
    with desk.waiters.answering():
        desk.add("t1")
    assert (desk.looks, len(desk.waiters)) == ([], 1)


async def test_another_tasks_event_during_a_look_concerns_nobody(desk):
    with desk.waiters.answering():
        desk.waiters.touch(T2)
        desk.add("t1")
    assert (desk.looks, len(desk.waiters)) == ([], 1)


async def test_what_is_touched_while_nobody_looks_is_not_remembered(desk):
    with desk.waiters.answering():
        pass
    desk.waiters.touch(T1)  # a batch of a million tasks that nobody asks about
    assert not desk.waiters._touched_meanwhile


async def test_who_waits_in_vain_looks_a_last_time(desk):
    desk.add("t1", wait_s=0.001)
    async with asyncio.timeout(10):
        while not desk.looks:
            await asyncio.sleep(0)
    assert [query.wait_s for query, _ in desk.looks] == [0.0]
    assert len(desk.waiters) == 0
