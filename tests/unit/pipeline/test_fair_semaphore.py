"""Turns: a semaphore whose queue is fair."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.messages.values import Priority
from actors.pipeline.fair_semaphore import Turns

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """Callers who note when their turn has come."""

    def __init__(self, slots):
        self.turns = Turns(slots)
        self.came = []
        self.tasks = {}

    async def queue(self, name, priority=BATCH, tenant=""):
        async def wait():
            await self.turns.take(priority, tenant)
            self.came.append(name)

        self.tasks[name] = asyncio.create_task(wait())
        await settle()

    async def give_back(self):
        self.turns.give_back()
        await settle()


async def test_so_many_go_at_once_and_the_next_when_one_is_done():
    line = Line(2)
    for name in "abc":
        await line.queue(name)
    assert line.came == ["a", "b"]
    await line.give_back()
    assert line.came == ["a", "b", "c"]
    assert line.turns.waiting == 0


async def test_interactive_ones_go_before_batch():
    line = Line(1)
    await line.queue("first")
    await line.queue("batch")
    await line.queue("interactive", INTERACTIVE)
    await line.give_back()
    assert line.came == ["first", "interactive"]


async def test_a_caller_with_many_does_not_keep_out_one_with_few():
    line = Line(1)
    await line.queue("first")
    for n in range(10):
        await line.queue(f"many-{n}", tenant="many")
    await line.queue("few", tenant="few")
    await line.give_back()
    await line.give_back()
    assert "few" in line.came


async def test_who_no_longer_waits_takes_no_turn():
    line = Line(1)
    for name in "abc":
        await line.queue(name)
    line.tasks["b"].cancel()
    await settle()
    await line.give_back()
    assert line.came == ["a", "c"]


async def test_a_turn_that_comes_with_its_cancellation_goes_to_the_next():
    line = Line(1)
    for name in "abc":
        await line.queue(name)
    line.turns.give_back()  # b's turn has come, and it has not run yet
    line.tasks["b"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await line.tasks["b"]
    await settle()
    assert line.came == ["a", "c"]


async def test_every_turn_given_back_can_be_taken_again():
    line = Line(1)
    await line.queue("a")
    await line.give_back()
    await line.queue("b")
    assert line.came == ["a", "b"]


async def test_who_left_a_moment_before_a_turn_came_does_not_keep_it():
    line = Line(1)
    for name in "abc":
        await line.queue(name)
    line.tasks["b"].cancel()
    line.turns.give_back()  # b has not noticed yet
    await settle()
    assert line.came == ["a", "c"]
