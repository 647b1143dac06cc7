"""A computed step that does not end keeps its thread, and only its own item waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Literal

import pytest

from actors.core.errors import Blame, Failure
from actors.pipeline.batches import Batches
from actors.pipeline.steps import _MOST_STUCK, ComputeJob, ThreadSteps
from tests.unit.support.computed_steps import Words

_HELD: dict[str, threading.Event] = {}


class Holding(Words):
    """Does not end for a text that `_HELD` has, until its event is set."""

    kind: Literal["holding"]

    def compute(self, item):
        if item["text"] in _HELD:
            _HELD[item["text"]].wait()
        return super().compute(item)


STEP = Holding(name="c", kind="holding")


@pytest.fixture
def steps():
    made = ThreadSteps((), patience_s=0.01)
    yield made
    for event in _HELD.values():
        event.set()
    _HELD.clear()
    made.close()


@pytest.fixture
def submit(steps):
    batches = Batches(steps.run, parallel=1, max_jobs=256, timeout_s=60.0, interval_s=0.0)

    def submit(text):
        if text.startswith("held"):
            _HELD.setdefault(text, threading.Event())
        return batches.submit(ComputeJob(STEP, {"text": text}))

    return submit


async def test_one_job_that_does_not_end_delays_no_other_of_its_batch_and_none_after_it(submit, caplog):
    first, held, last = submit("one"), submit("held by a lock"), submit("two words")
    assert [(await each)["count"] for each in (first, last)] == [1, 2]
    assert (await submit("a later batch"))["count"] == 3
    assert not held.done()
    assert "step c took over 0.01 s" in caplog.text
    _HELD["held by a lock"].set()
    assert (await held)["count"] == 4


async def test_no_more_threads_are_left_than_the_bound_and_the_cause_is_named(submit):
    held = [submit(f"held {n}") for n in range(_MOST_STUCK)]
    refused = await submit("fine")
    assert isinstance(refused, Failure)
    assert refused.blame is Blame.CONFIG
    assert refused.message.startswith(f"step c: {_MOST_STUCK} calls of compute have not ended")
    _HELD["held 0"].set()
    assert (await held[0])["count"] == 2
    assert (await submit("fine again"))["count"] == 2, "a thread is free again"
    assert not any(each.done() for each in held[1:])


async def test_a_batch_that_is_given_up_holds_up_no_later_one(steps):
    _HELD["held"] = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await steps.run([ComputeJob(STEP, {"text": "held"})])
    assert [each["count"] for each in await steps.run([ComputeJob(STEP, {"text": "fine"})])] == [1]
