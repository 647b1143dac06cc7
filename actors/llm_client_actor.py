"""A client of the endpoints: keeps its share of each endpoint's limit busy, and parses and checks answers.

Whatever grows with the number of calls and needs no view of the whole happens here, since there can be
many of these.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import ray

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.lane import Lane, LaneStatistics
from actors.core.messages import Abort, Attempt, AttemptEnded, Done, SetShare, Watch
from actors.endpoints.base import EndpointSettings
from actors.endpoints.forms import AnswerForm
from actors.endpoints.openai_compatible import OpenAICompatible
from actors.inbox import Inbox, Reply
from actors.process import settle_in
from actors.progress_watch import ProgressWatch
from actors.ray_link import Reachable


@dataclass(frozen=True, slots=True)
class LLMClientStatistics:
    """What a client is doing, by endpoint."""

    name: str
    lanes: Mapping[str, LaneStatistics]
    ended: int


@dataclass(frozen=True, slots=True)
class _Offered:
    at: float
    reply: Reply


class LLMClient(Reachable):
    """Answers `Attempt` with `AttemptEnded`, `SetShare` and `Abort` with `Done`, `Watch` with `Progress`."""

    def __init__(
        self, name: str, endpoints: Iterable[EndpointSettings], forms: Iterable[AnswerForm], timeout_s: float
    ) -> None:
        by_name = {form.name: form for form in forms}
        self._name = name
        self._endpoints = {settings.name: OpenAICompatible(settings, by_name) for settings in endpoints}
        self._lanes = {endpoint: Lane() for endpoint in self._endpoints}
        self._timeout_s = timeout_s
        self._offered: dict[int, _Offered] = {}
        self._running: dict[int, asyncio.Task[AttemptEnded]] = {}
        self._progress = ProgressWatch()
        self._ended = 0
        self._closing = False
        self._inbox = Inbox(self._on_item)
        settle_in()

    async def statistics(self) -> LLMClientStatistics:
        """Return a frozen snapshot."""
        lanes = {endpoint: lane.statistics() for endpoint, lane in self._lanes.items()}
        return LLMClientStatistics(self._name, lanes, self._ended)

    async def close(self) -> None:
        """Let go of all connections; attempts under way end as aborted, and no other is started."""
        self._closing = True
        self._progress.close()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for endpoint in self._endpoints.values():
            await endpoint.close()

    def __repr__(self) -> str:
        return f"{self._name}({len(self._running)} in flight)"

    def _on_item(self, item: Attempt | SetShare | Abort | Watch, reply: Reply) -> None:
        match item:
            case Attempt():
                self._offered[item.id] = _Offered(time.monotonic(), reply)
                self._start(self._lanes[item.endpoint].offer(item))
            case SetShare(endpoint, slots, reserved):
                self._start(self._lanes[endpoint].set_slots(slots, reserved))
                reply(Done())
            case Abort(ids):
                for attempt_id in ids:
                    self._abort(attempt_id)
                reply(Done())
            case Watch():
                self._progress.watch(reply)

    def _start(self, attempts: list[Attempt]) -> None:
        if self._closing:
            return  # without connections each would end as a defect
        for attempt in attempts:
            running = asyncio.create_task(self._run(attempt))
            self._running[attempt.id] = running
            running.add_done_callback(partial(self._on_done, attempt))

    async def _run(self, attempt: Attempt) -> AttemptEnded:
        started = time.monotonic()
        waited = started - self._offered[attempt.id].at
        try:
            return await self._ask(attempt, waited)
        except asyncio.CancelledError:
            took = max(time.monotonic() - started, 1e-9)  # it may have been sent: never 0
            return AttemptEnded(attempt.id, error=_aborted(), waited_s=waited, took_s=took)

    def _on_done(self, attempt: Attempt, running: asyncio.Task[AttemptEnded]) -> None:
        del self._running[attempt.id]
        # Aborted in the turn it was started in, a task ends as cancelled and has run no line of `_run`.
        outcome = AttemptEnded(attempt.id, error=_aborted()) if running.cancelled() else running.result()
        refused = outcome.error is not None and outcome.error.kind is FailureKind.REFUSED
        self._end(outcome, urgent=refused)
        self._start(self._lanes[attempt.endpoint].end(attempt.id, refused=refused))

    async def _ask(self, attempt: Attempt, waited: float) -> AttemptEnded:
        if waited > 0.001:
            attempt = replace(attempt, expires_in_s=attempt.expires_in_s - waited)
            outcome = await self._make(attempt)
            return replace(outcome, waited_s=waited)
        return await self._make(attempt)

    def _make(self, attempt: Attempt) -> Awaitable[AttemptEnded]:
        on_streamed = partial(self._progress.note, attempt.id) if attempt.stream else None
        return self._endpoints[attempt.endpoint].attempt(attempt, self._timeout_s, on_streamed)

    def _end(self, outcome: AttemptEnded, *, urgent: bool = False) -> None:
        self._ended += 1
        self._progress.forget(outcome.id)
        self._offered.pop(outcome.id).reply(outcome, urgent=urgent)

    def _abort(self, attempt_id: int) -> None:
        running = self._running.get(attempt_id)
        if running is not None:
            running.cancel()
            return
        for lane in self._lanes.values():
            if lane.withdraw(attempt_id) is not None:
                self._end(AttemptEnded(attempt_id, error=_aborted()))


def _aborted() -> Failure:
    return Failure(FailureKind.CANCELLED, Blame.TASK, "the attempt was aborted")


LLMClientActor = ray.remote(LLMClient)
