"""What a client tells the journal is counted by its true size, and is told though there is no room for it."""

from __future__ import annotations

import asyncio

import pytest

from actors.core.errors import Blame, Failure, FailureKind, StoreError
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.values import Done
from actors.llm import call_recorder
from actors.llm.call_recorder import CallRecorder
from actors.transport.courier_settings import CourierSettings
from tests.unit.support.courier_target import At, FlakyLink, Target, until


class Journal(Target):
    def release(self):
        held, self.held = self.held, []
        for _, reply in held:
            reply(Done())


@pytest.fixture
async def desk(monkeypatch):
    journal = Journal(hold=True)
    journal.on_item = journal.inbox._on_item = lambda item, reply: journal.held.append((item, reply))

    def settings(**given):
        return CourierSettings(
            **{**given, "max_outstanding_bytes": 3_000_000, "interval_s": 0.0, "retry_s": 0.0}
        )

    monkeypatch.setattr(call_recorder, "CourierSettings", settings)
    recorder = CallRecorder(At("journal", lambda: FlakyLink(journal)))
    yield journal, recorder
    await recorder.close()


def attempt(number):
    return Attempt(number, f"k{number}", "main", "form", "prompt", 1, f"k{number}", 60.0)


async def test_an_end_of_megabytes_counts_as_such_and_waits_for_room_without_being_lost(desk):
    journal, recorder = desk
    outcomes = [AttemptEnded(n, {"finding": "x" * 2_000_000}) for n in range(3)]
    told = [recorder.record(attempt(n), outcome, urgent=False) for n, outcome in enumerate(outcomes)]
    clearance = recorder.intend(attempt(3))
    await until(lambda: journal.held)
    assert recorder._courier.statistics().outstanding_bytes > 2_000_000
    for _ in range(4):
        await until(lambda: journal.held)
        journal.release()
        await asyncio.sleep(0)
    assert await asyncio.gather(*told) == outcomes
    assert await clearance == Done()


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.IN_DOUBT])
async def test_a_refusal_that_cannot_be_stored_is_told_all_the_same(desk, kind):
    """The client has stopped for it, and goes on only once the dispatcher has heard of it."""
    journal, recorder = desk
    ended = AttemptEnded(1, error=Failure(kind, Blame.ENDPOINT, "too many requests"))
    told = recorder.record(attempt(1), ended, urgent=True)
    await until(lambda: journal.held)
    journal.held.pop()[1](StoreError("the store is damaged"))
    expected = FailureKind.REFUSED if kind is FailureKind.REFUSED else FailureKind.UNSTORED
    assert (await told).error.kind is expected
