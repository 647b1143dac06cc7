"""A semaphore whose queue is fair."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.messages.values import Priority
from actors.pipeline.fair_semaphore import FairSemaphore

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Waiters:
    """Callers that note when they have a slot."""

    def __init__(self, slots):
        self.semaphore = FairSemaphore(slots)
        self.came = []
        self.tasks = {}

    async def queue(self, name, priority=BATCH, tenant=""):
        async def wait():
            await self.semaphore.acquire(priority, tenant)
            self.came.append(name)

        self.tasks[name] = asyncio.create_task(wait())
        await settle()

    async def release(self):
        self.semaphore.release()
        await settle()


async def test_as_many_run_at_once_as_there_are_slots_and_the_next_when_one_is_released():
    waiters = Waiters(2)
    for name in "abc":
        await waiters.queue(name)
    assert waiters.came == ["a", "b"]
    await waiters.release()
    assert waiters.came == ["a", "b", "c"]
    assert waiters.semaphore.waiting == 0


async def test_interactive_ones_go_before_batch():
    waiters = Waiters(1)
    await waiters.queue("first")
    await waiters.queue("batch")
    await waiters.queue("interactive", INTERACTIVE)
    await waiters.release()
    assert waiters.came == ["first", "interactive"]


async def test_a_caller_with_many_does_not_keep_out_one_with_few():
    waiters = Waiters(1)
    await waiters.queue("first")
    for n in range(10):
        await waiters.queue(f"many-{n}", tenant="many")
    await waiters.queue("few", tenant="few")
    await waiters.release()
    await waiters.release()
    assert "few" in waiters.came


async def test_a_cancelled_waiter_takes_no_slot():
    waiters = Waiters(1)
    for name in "abc":
        await waiters.queue(name)
    waiters.tasks["b"].cancel()
    await settle()
    await waiters.release()
    assert waiters.came == ["a", "c"]


async def test_a_slot_that_comes_with_a_cancellation_goes_to_the_next_waiter():
    waiters = Waiters(1)
    for name in "abc":
        await waiters.queue(name)
    waiters.semaphore.release()  # b has its slot, and has not run yet
    waiters.tasks["b"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiters.tasks["b"]
    await settle()
    assert waiters.came == ["a", "c"]


async def test_every_released_slot_can_be_acquired_again():
    waiters = Waiters(1)
    await waiters.queue("a")
    await waiters.release()
    await waiters.queue("b")
    assert waiters.came == ["a", "b"]


async def test_a_waiter_cancelled_a_moment_before_its_slot_comes_does_not_keep_it():
    waiters = Waiters(1)
    for name in "abc":
        await waiters.queue(name)
    waiters.tasks["b"].cancel()
    waiters.semaphore.release()  # b has not noticed yet
    await settle()
    assert waiters.came == ["a", "c"]
