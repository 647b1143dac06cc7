"""The client's shell without Ray: attempts keep their slots busy, and each one offered is answered once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors.core.errors import FailureKind, SourceError, StoreUnavailableError
from actors.core.messages.attempts import (
    Abort,
    Adopt,
    Attempt,
    AttemptEnded,
    Held,
    SetShare,
    StreamProgress,
    TakeOver,
    WatchStreams,
)
from actors.core.messages.journal import Answer, Cleared
from actors.core.messages.values import Done, Usage
from actors.core.queue.slot_queue import SlotStatistics
from actors.llm import client as llm_client_actor
from tests.unit.support.courier_target import Visitor


class ScriptedEndpoint:
    """An endpoint that answers when it is told to."""

    def __init__(self, settings, forms, *_):
        self.name = settings.name
        self.asked = []
        self.waited = []
        self.may_answer = asyncio.Event()

    async def attempt(self, attempt, timeout_s, on_streamed=None, *, waited_s=0.0):
        self.asked.append(attempt.id)
        self.waited.append(waited_s)
        if on_streamed is not None:
            on_streamed(3, 0.1)
        await self.may_answer.wait()
        return AttemptEnded(attempt.id, {"quality": 1.0}, took_s=0.3)

    async def close(self):
        pass


class Desk:
    """A client, and the courier that speaks to it, one message at a time."""

    def __init__(self):
        self.client = llm_client_actor.LLMClient("c1", [SimpleNamespace(name="main", model="m")], [], 60.0)
        self.endpoint = self.client._endpoints["main"]
        self.visitor = Visitor(self.client.inbox)
        self.answers = self.visitor.answers

    async def send(self, *items):
        """Deliver `items` in one message; each is answered under its number, from 1 on."""
        self.visitor.deliver(*items)
        await self.hear()

    async def hear(self):
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def queue(self):
        return self.client._queues["main"].statistics()


@pytest.fixture
async def desk(monkeypatch):
    monkeypatch.setattr(llm_client_actor, "open_endpoint", ScriptedEndpoint)
    desk = Desk()
    yield desk
    await desk.client.close()


def attempt(number, *, stream=False):
    return Attempt(number, f"k{number}", "main", "form", "prompt", 1, f"k{number}", 60.0, stream=stream)


async def test_attempts_start_within_the_share_and_the_next_when_one_has_ended(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    assert desk.answers == {1: Done()}
    assert desk.endpoint.asked == [1]
    desk.endpoint.may_answer.set()
    await desk.hear()
    assert desk.endpoint.asked == [1, 2]
    assert [desk.answers[n].values for n in (2, 3)] == [{"quality": 1.0}] * 2
    assert desk.queue == SlotStatistics(slots=1, started=0, waiting=0)


async def test_an_endpoint_learns_how_long_an_attempt_has_waited_for_its_slot(desk):
    """What is left of the time of a call is less by it."""
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    desk.endpoint.may_answer.set()
    await desk.hear()
    first, second = desk.endpoint.waited
    assert 0.0 <= first <= second < 60.0


async def test_what_answers_take_sets_the_pace_of_messages(desk):
    await desk.send(SetShare("main", 1), attempt(1))
    desk.endpoint.may_answer.set()
    await desk.hear()
    assert desk.client._linger.interval_s == pytest.approx(0.003 / 16)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("no such thing"), "defect: RuntimeError: no such thing"),
        (SystemExit(3), "defect: SystemExit: 3"),
        (SourceError("no file"), "no file"),
        ("nonsense", "defect: TypeError: an attempt ended with str"),
    ],
)
async def test_whatever_an_endpoint_raises_or_returns_ends_its_attempt_and_frees_the_slot(
    desk, monkeypatch, raised, said
):
    async def attempt_badly(*_, **__):
        if isinstance(raised, BaseException):
            raise raised
        return raised

    monkeypatch.setattr(desk.endpoint, "attempt", attempt_badly)
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    assert [desk.answers[n].error.message for n in (2, 3)] == [said] * 2
    assert {desk.answers[n].error.kind for n in (2, 3)} == {FailureKind.PERMANENT}
    assert desk.queue == SlotStatistics(slots=1, started=0, waiting=0)


async def test_an_abort_stops_an_attempt_that_runs_and_frees_its_slot(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.send(Abort((1,)))
    ended = desk.answers[2]
    assert (ended.id, ended.error.kind) == (1, FailureKind.CANCELLED)
    assert ended.sent
    assert desk.endpoint.asked == [1, 2]


async def test_what_ends_since_the_client_closes_is_told_to_nobody_so_that_its_task_does_not_end(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.client.close()
    await desk.hear()
    assert desk.answers == {1: Done()}


async def test_an_abort_takes_out_an_attempt_that_waits(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.send(Abort((2,)))
    assert (desk.answers[3].error.kind, desk.answers[3].sent) == (FailureKind.CANCELLED, False)
    assert desk.queue == SlotStatistics(slots=1, started=1, waiting=0)


async def test_an_attempt_that_is_aborted_before_its_first_step_is_answered_and_frees_its_slot(desk):
    """A task that is cancelled before it has run never enters its own `try`."""
    await desk.send(SetShare("main", 1), attempt(1), Abort((1,)), attempt(2))
    assert (desk.answers[2].error.kind, desk.answers[2].sent) == (FailureKind.CANCELLED, False)
    assert desk.endpoint.asked == [2]
    assert desk.queue == SlotStatistics(slots=1, started=1, waiting=0)


async def test_an_abort_of_what_is_not_here_is_answered(desk):
    await desk.send(Abort((9,)))
    assert desk.answers == {1: Done()}


async def test_who_watches_is_told_how_far_streams_have_come(desk):
    await desk.send(SetShare("main", 2), attempt(1, stream=True), attempt(2), WatchStreams())
    progress = desk.answers[4]
    assert isinstance(progress, StreamProgress)
    assert [(mark.attempt, mark.streamed) for mark in progress.marks] == [(1, 3)]


async def test_a_client_that_leaves_ends_what_is_in_flight_and_sends_nothing_more(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2), WatchStreams())
    leaving = asyncio.create_task(desk.client.leave())
    await desk.hear()
    assert desk.answers[4].is_leaving
    assert not desk.answers[3].may_have_run  # the dispatcher gives it to another client
    await desk.send(SetShare("main", 5), attempt(3))
    assert (desk.answers[5], desk.answers[6].may_have_run) == (Done(), False)
    assert not leaving.done()
    desk.endpoint.may_answer.set()
    await leaving
    async with asyncio.timeout(5):
        while 2 not in desk.answers:  # replies gather for some milliseconds
            await asyncio.sleep(0)
    assert desk.endpoint.asked == [1]
    assert desk.answers[2].values == {"quality": 1.0}
    await desk.client.leave()  # of an idle client


# ---- a dispatcher that begins anew -----------------------------------------------------------------------


async def test_a_dispatcher_that_begins_is_told_what_is_in_flight_and_what_waits_is_dropped(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.send(TakeOver())
    assert desk.answers[4] == (Held(1, "k1", "main", 1, Usage()),)
    assert desk.queue == SlotStatistics(slots=1, started=1, waiting=0)


async def test_the_end_of_an_adopted_attempt_goes_to_the_dispatcher_that_asked(desk):
    await desk.send(SetShare("main", 1), attempt(1))
    await desk.send(TakeOver(), Adopt(1))
    desk.endpoint.may_answer.set()
    await desk.hear()
    assert desk.answers[4].values == {"quality": 1.0}
    assert 2 not in desk.answers  # whoever offered it is gone


async def test_an_attempt_that_ends_before_it_is_adopted_is_kept_for_that(desk):
    await desk.send(SetShare("main", 1), attempt(1))
    await desk.send(TakeOver())
    desk.endpoint.may_answer.set()
    await desk.hear()
    await desk.send(Adopt(1))
    assert desk.answers[4].values == {"quality": 1.0}


async def test_an_attempt_that_nobody_knows_is_in_doubt(desk):
    await desk.send(Adopt(99))
    assert desk.answers[1].error.kind is FailureKind.IN_DOUBT


# ---- the journal -----------------------------------------------------------------------------------------


class ScriptedJournal:
    """Stands for the recorder: clears and stores when it is told to."""

    def __init__(self, journal, linger, models):
        self.intents = {}
        self.ends = {}

    def intend(self, attempt):
        self.intents[attempt.id] = future = asyncio.get_running_loop().create_future()
        return future

    def record(self, attempt, outcome, *, urgent):
        stored = asyncio.get_running_loop().create_future()
        self.ends[attempt.id] = (outcome, stored)
        return stored

    def store(self, attempt_id):
        outcome, stored = self.ends[attempt_id]
        stored.set_result(outcome)

    async def close(self):
        pass


@pytest.fixture
async def journaled(monkeypatch):
    monkeypatch.setattr(llm_client_actor, "open_endpoint", ScriptedEndpoint)
    monkeypatch.setattr(llm_client_actor, "CallRecorder", ScriptedJournal)
    desk = Desk()
    desk.journal = desk.client._recorder
    yield desk
    await desk.client.close()


async def test_an_attempt_is_sent_only_once_its_intent_is_durable(journaled):
    await journaled.send(SetShare("main", 1), attempt(1))
    assert journaled.endpoint.asked == []
    journaled.journal.intents[1].set_result(Cleared())
    await journaled.hear()
    assert journaled.endpoint.asked == [1]


async def test_an_attempt_that_waits_for_a_slot_is_cleared_meanwhile(journaled):
    await journaled.send(SetShare("main", 1), attempt(1), attempt(2))
    assert journaled.journal.intents.keys() == {1, 2}


async def test_an_end_is_told_once_it_is_durable_and_its_slot_is_free_before(journaled):
    await journaled.send(SetShare("main", 1), attempt(1), attempt(2))
    for intent in journaled.journal.intents.values():
        intent.set_result(Cleared())
    journaled.endpoint.may_answer.set()
    await journaled.hear()
    assert journaled.endpoint.asked == [1, 2]
    assert journaled.answers == {1: Done()}
    journaled.journal.store(1)
    await journaled.hear()
    assert journaled.answers[2].values == {"quality": 1.0}


async def test_an_answer_that_the_journal_has_is_told_without_a_request(journaled):
    await journaled.send(SetShare("main", 1), attempt(1))
    journaled.journal.intents[1].set_result(Answer({"quality": 0.5}, Usage(1, 1)))
    await journaled.hear()
    assert journaled.endpoint.asked == []
    assert journaled.answers[2] == AttemptEnded(1, {"quality": 0.5}, reused=True)


async def test_an_attempt_that_cannot_be_stored_fails_unsent_with_the_reason(journaled):
    await journaled.send(SetShare("main", 1), attempt(1))
    journaled.journal.intents[1].set_exception(StoreUnavailableError("the disk is full"))
    await journaled.hear()
    journaled.journal.store(1)
    await journaled.hear()
    assert journaled.endpoint.asked == []
    assert "the disk is full" in journaled.answers[2].error.message
    assert journaled.answers[2].error.kind is FailureKind.UNSTORED
    assert not journaled.answers[2].sent


async def test_an_attempt_aborted_before_it_was_cleared_was_never_sent(journaled):
    await journaled.send(SetShare("main", 1), attempt(1), attempt(2))
    await journaled.send(Abort((1, 2)))
    for number in (1, 2):
        journaled.journal.store(number)
    await journaled.hear()
    assert journaled.endpoint.asked == []
    assert [journaled.answers[number].sent for number in (2, 3)] == [False, False]
