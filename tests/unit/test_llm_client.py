"""The client's shell without Ray: attempts keep their slots busy, and each one offered is answered once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from actors import llm_client_actor
from actors.core.errors import FailureKind
from actors.core.lane import LaneStatistics
from actors.core.messages import Abort, Attempt, AttemptEnded, Delivery, Done, Poll, Progress, SetShare, Watch


class ScriptedEndpoint:
    """An endpoint that answers when it is told to."""

    def __init__(self, settings, forms):
        self.asked = []
        self.may_answer = asyncio.Event()

    async def attempt(self, attempt, timeout_s, on_streamed=None):
        self.asked.append(attempt.id)
        if on_streamed is not None:
            on_streamed(3)
        await self.may_answer.wait()
        return AttemptEnded(attempt.id, {"quality": 1.0}, took_s=0.3)

    async def close(self):
        pass


class Desk:
    """A client, and the courier that speaks to it, one message at a time."""

    def __init__(self):
        self.client = llm_client_actor.LLMClient("c1", [SimpleNamespace(name="main")], [], 60.0)
        self.endpoint = self.client._endpoints["main"]
        self.number = 0
        self.answers = {}

    async def send(self, *items):
        """Deliver `items` in one message; each is answered under its number, from 1 on."""
        first = self.number + 1
        self.number += len(items)
        numbered = tuple(enumerate(items, first))
        self.take(await self.client.deliver(Delivery("d", None, 0, first, numbered, tuple(self.answers))))
        await self.hear()

    async def hear(self):
        for _ in range(10):
            await asyncio.sleep(0)
        self.take(await self.client.collect(Poll("d", 0, tuple(self.answers), 0.0)))

    def take(self, receipt):
        for item_id, reply in receipt.replies:
            assert item_id not in self.answers
            self.answers[item_id] = reply

    @property
    def lane(self):
        return self.client._lanes["main"].statistics()


@pytest.fixture
async def desk(monkeypatch):
    monkeypatch.setattr(llm_client_actor, "OpenAICompatible", ScriptedEndpoint)
    monkeypatch.setattr(llm_client_actor, "settle_in", lambda: None)
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
    assert desk.lane == LaneStatistics(slots=1, started=0, waiting=0)


async def test_an_abort_stops_an_attempt_that_runs_and_frees_its_slot(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.send(Abort((1,)))
    ended = desk.answers[2]
    assert (ended.id, ended.error.kind) == (1, FailureKind.CANCELLED)
    assert ended.took_s > 0  # it may have been sent
    assert desk.endpoint.asked == [1, 2]


async def test_an_abort_takes_out_an_attempt_that_waits(desk):
    await desk.send(SetShare("main", 1), attempt(1), attempt(2))
    await desk.send(Abort((2,)))
    assert (desk.answers[3].error.kind, desk.answers[3].took_s) == (FailureKind.CANCELLED, 0.0)
    assert desk.lane == LaneStatistics(slots=1, started=1, waiting=0)


async def test_an_attempt_that_is_aborted_before_its_first_step_is_answered_and_frees_its_slot(desk):
    """A task that is cancelled before it has run never enters its own `try`."""
    await desk.send(SetShare("main", 1), attempt(1), Abort((1,)), attempt(2))
    assert (desk.answers[2].error.kind, desk.answers[2].took_s) == (FailureKind.CANCELLED, 0.0)
    assert desk.endpoint.asked == [2]
    assert desk.lane == LaneStatistics(slots=1, started=1, waiting=0)


async def test_an_abort_of_what_is_not_here_is_answered(desk):
    await desk.send(Abort((9,)))
    assert desk.answers == {1: Done()}


async def test_who_watches_is_told_how_far_streams_have_come(desk):
    await desk.send(SetShare("main", 2), attempt(1, stream=True), attempt(2), Watch())
    progress = desk.answers[4]
    assert isinstance(progress, Progress)
    assert [(mark.attempt, mark.streamed) for mark in progress.marks] == [(1, 3)]
