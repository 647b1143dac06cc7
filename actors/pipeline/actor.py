"""The pipeline actor: admits tasks, runs a bounded number of them at once, and answers with their reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from actors.core.errors import (
    FencedError,
    HeadraceError,
    OverloadedError,
    PeerLostError,
    ShareExceededError,
    StoreError,
    text_of,
)
from actors.core.limits.admission import Admission, Backlog
from actors.core.limits.rolling_count import RollingCount
from actors.core.message_size import weight
from actors.core.messages.calls import Call
from actors.core.messages.journal import Accepted
from actors.core.messages.protocols import (
    FromDispatcher,
    FromJournal,
    FromSource,
    ToDispatcher,
    ToJournal,
    ToSource,
)
from actors.core.messages.tasks import Cancel, Report, Submit, Task, TaskState
from actors.core.metrics.measures import ACTIVE_TASKS, BACKPRESSURE, TASKS, MeasureReading
from actors.core.task.shards import shard
from actors.pipeline.batches import BatchStatistics
from actors.pipeline.fair_semaphore import FairSemaphore
from actors.pipeline.recovery import TaskRecovery
from actors.pipeline.steps import PureSteps
from actors.pipeline.task_recorder import TaskRecorder
from actors.pipeline.task_rules import TaskJob, TaskRules
from actors.pipeline.task_run import TaskRunner
from actors.runtime.futures import retrieve
from actors.runtime.telemetry.logs import log_about
from actors.runtime.telemetry.tracer import Tracer
from actors.transport.address import Address
from actors.transport.courier import Courier
from actors.transport.courier_settings import CourierSettings, CourierStatistics, OnRestart
from actors.transport.inbox import Inbox, Reply

_log = logging.getLogger(__name__)

_UNHURRIED_S = 0.05  # linger of messages about fetches and reports, which no slot at an endpoint waits for
_DRAIN_WINDOW_S = 30.0  # window in which the rate of ended tasks is measured
_LONGEST_WAIT_S = 60.0  # largest retry-after sent to a caller
_PAGE = 200


class PipelineSettings(Struct, frozen=True):
    """The settings of the pipeline with number `index` of `count`.

    recovers: the run whose accepted tasks the pipeline resumes from the journal, because no driver submits
    them again.
    began_at: when this run was started or last resumed, in seconds since 1970. A restart of the pipeline does
    not change it.
    """

    rules: TaskRules
    active_tasks: int
    accepted_tasks: int
    index: int = 0
    count: int = 1
    recovers: str | None = None
    began_at: float = 0.0


class PipelineStatistics(Struct, frozen=True):
    """A snapshot of a pipeline.

    accepted: tasks that wait to be run.
    turned_away: submissions that were refused because the backlog was full.
    drain_per_s: tasks that end per second.
    tenants: the number of unfinished tasks of each tenant.
    recovery_trouble: why accepted tasks cannot be resumed now; empty if they can.
    """

    name: str
    active: int
    accepted: int
    ended: int
    turned_away: int
    drain_per_s: float
    states: Mapping[TaskState, int]
    to_dispatcher: CourierStatistics
    to_journal: CourierStatistics | None
    dimension_steps: BatchStatistics
    tenants: Mapping[str, int] = field(default_factory=dict)
    recovery_trouble: str = ""


class _Entry(Struct):
    """An unfinished task, and the replies that wait for its acceptance or its report."""

    submit: Submit
    since: float
    deadline: float
    for_acceptance: list[Reply] = field(default_factory=list)
    for_report: list[Reply] = field(default_factory=list)
    accepted: Accepted | None = None
    serving: asyncio.Task[None] | None = None
    working: asyncio.Task[Report] | None = None  # the part of `serving` that a cancellation ends
    is_cancelled: bool = False


class Pipeline:
    """Answers `Submit` with a `Report`, or with `Accepted` if the caller asks only for acceptance.

    Answers `Cancel` with the final report of the task, or None if it has no such task. Replies with
    `OverloadedError` when its backlog is full, and with the error of the journal when that fails.
    """

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        dispatcher: Address[ToDispatcher, FromDispatcher],
        sources: Mapping[str, Address[ToSource, FromSource]],
        steps: PureSteps,
        *,
        journal: Address[ToJournal, FromJournal] | None = None,
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer | None = None,
    ) -> None:
        self._name = name
        self._tracer = tracer
        self._settings = settings
        self._clock = clock
        self._recorder = TaskRecorder(journal)
        self._dispatcher = Courier(
            dispatcher,
            settings=CourierSettings(
                max_outstanding=100_000, max_outstanding_bytes=256 << 20, on_restart=OnRestart.RESEND
            ),
            size_of=lambda call: call.size if isinstance(call, Call) else 128,
        )
        self._runner = TaskRunner(
            settings.rules,
            self._dispatcher,
            {source: _to_source(address) for source, address in sources.items()},
            self._recorder,
            steps=steps,
            clock=clock,
        )
        self._slots = FairSemaphore(settings.active_tasks)
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._backlog = Backlog(settings.accepted_tasks)
        self._active = self._turned_away = 0
        self._states = dict.fromkeys(TaskState, 0)
        self._drained = RollingCount(_DRAIN_WINDOW_S)
        self._room = asyncio.Event()
        self.inbox = Inbox(self._on_item, interval_s=_UNHURRIED_S)
        self._recovery = TaskRecovery(self._recover) if settings.recovers else None
        # The events of a task are followed over HTTP. For each row of a batch this one would cost a tenth of
        # the store and of the processor time.
        self._notes_starts = self._recovery is not None or not settings.rules.is_map

    def statistics(self) -> PipelineStatistics:
        """Return a frozen snapshot."""
        return PipelineStatistics(
            name=self._name,
            active=self._active,
            accepted=len(self._entries) - self._active,
            ended=sum(self._states.values()),
            turned_away=self._turned_away,
            drain_per_s=self._drain_per_s(),
            states=dict(self._states),
            to_dispatcher=self._dispatcher.statistics(),
            to_journal=self._recorder.statistics(),
            dimension_steps=self._runner.statistics(),
            tenants=self._backlog.tenants,
            recovery_trouble="" if self._recovery is None else self._recovery.trouble,
        )

    async def close(self) -> None:
        """Stop. The journal keeps the state of unfinished tasks."""
        if self._recovery is not None:
            self._recovery.close()
        serving = [entry.serving for entry in self._entries.values() if entry.serving is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._runner.close()
        await self._dispatcher.close()
        await self._recorder.close()

    def __repr__(self) -> str:
        return f"{self._name}({self._settings.active_tasks} tasks at once)"  # no counts: see `Dispatcher`

    # ---- admission ---------------------------------------------------------------------------------------

    def _on_item(self, item: Submit | Cancel, reply: Reply) -> None:
        match item:
            case Submit():
                self._on_submit(item, reply)
            case Cancel(task, run_id):
                self._on_cancel((run_id, task), reply)

    def _on_submit(self, submit: Submit, reply: Reply) -> None:
        entry = self._entries.get((submit.run_id, submit.task.key))
        if entry is None:
            match self._backlog.ask(submit.tenant, self._active):
                case Admission.FULL:
                    self._turned_away += 1
                    reply(OverloadedError(f"the backlog of {self._name}", self._retry_after_s()))
                    return
                case Admission.SHARE:
                    self._turned_away += 1
                    reply(ShareExceededError("this caller's share of the backlog", self._retry_after_s()))
                    return
            entry = self._take_in(submit)
        elif entry.submit.task != submit.task or submit.idempotency:
            self._ask_journal(submit, reply)
            return
        self._answer(entry, submit, reply)

    def _answer(self, entry: _Entry, submit: Submit, reply: Reply) -> None:
        if submit.until_accepted and entry.accepted is not None:
            reply(replace(_bare(entry.accepted), is_new=False))
        elif submit.until_accepted:
            entry.for_acceptance.append(reply)
        else:
            entry.for_report.append(reply)

    def _ask_journal(self, submit: Submit, reply: Reply) -> None:
        """Have the journal compare `submit` with the task of the same key, and reply with any conflict.

        Without a conflict it is the same task, and `submit` is answered like a repetition.
        """

        def on_answer(asked: asyncio.Future[Accepted]) -> None:
            entry = self._entries.get((submit.run_id, submit.task.key))
            if asked.exception() is not None or (submit.until_accepted and asked.result()):
                reply(asked.exception() or _bare(asked.result()))
            elif entry is not None:
                self._answer(entry, submit, reply)
            else:
                reply(asked.result().report)

        asyncio.ensure_future(self._recorder.accept(submit, 0.0)).add_done_callback(on_answer)

    def _has_room(self) -> bool:
        return len(self._backlog) - self._active < self._settings.accepted_tasks

    def _take_in(self, submit: Submit, accepted: Accepted | None = None) -> _Entry:
        now = self._clock()
        entry = _Entry(submit, now, now + self._allowed_s(submit))
        entry.accepted = accepted
        self._entries[submit.run_id, submit.task.key] = entry
        self._backlog.add(submit.tenant)
        entry.serving = asyncio.create_task(self._serve(entry))
        entry.serving.add_done_callback(lambda served: self._on_served(entry, served))
        return entry

    def _on_served(self, entry: _Entry, served: asyncio.Task[None]) -> None:
        """Answer all waiters with the error if the task could not be stored. Recovery resumes it later."""
        error = None if served.cancelled() else served.exception()
        if error is not None:
            self._forget(entry)
            if self._recovery is not None:
                self._recovery.again()
            for reply in (*entry.for_acceptance, *entry.for_report):
                reply(error)

    def _forget(self, entry: _Entry) -> None:
        del self._entries[entry.submit.run_id, entry.submit.task.key]
        self._backlog.remove(entry.submit.tenant)
        self._room.set()

    async def _recover(self) -> None:
        """Resume the accepted tasks of a run that no driver submits again."""
        run_id, after = str(self._settings.recovers), -1
        while views := await self._recorder.unfinished(run_id, after, _PAGE):
            after = views[-1].ordinal
            for view in views:
                if shard(view.key, self._settings.count) != self._settings.index:
                    continue
                while not self._has_room():
                    self._room.clear()
                    await self._room.wait()
                if (run_id, view.key) not in self._entries:
                    task = Task(view.key, view.params)
                    self._take_in(
                        Submit(run_id, task, view.tenant, view.priority, expires_in_s=view.expires_in_s),
                        Accepted(view.key, False, view.accepted_at),
                    )

    def _allowed_s(self, submit: Submit) -> float:
        return submit.expires_in_s or self._settings.rules.task_deadline_s

    def _deadline(self, submit: Submit, accepted: Accepted, latest: float) -> float:
        """Return the deadline of a task, `latest` at most.

        The time since its acceptance counts, across restarts of the pipeline. A task that was accepted before
        the run was resumed gets its full time again: otherwise all would fail at once after a pause.
        """
        if accepted.accepted_at < self._settings.began_at:
            return latest
        left_s = max(0.0, self._allowed_s(submit) - accepted.age_s)
        return min(latest, self._clock() + left_s)

    # ---- one task ----------------------------------------------------------------------------------------

    async def _serve(self, entry: _Entry) -> None:
        """Have a task accepted, run it when it gets a slot, store its report and answer with it."""
        submit, accepted = entry.submit, entry.accepted
        is_recovered = accepted is not None
        if accepted is None:
            accepted = await self._recorder.accept(submit, entry.deadline - self._clock())
        answer = entry.accepted = _bare(accepted)
        for reply in entry.for_acceptance:
            reply(answer, urgent=True)  # a client of the HTTP API waits for it
            answer = replace(answer, is_new=False)
        entry.for_acceptance.clear()
        report = accepted.report
        if report is None:
            job = TaskJob(submit, accepted, self._deadline(submit, accepted, entry.deadline))
            if self._tracer is not None:
                job.trace = self._tracer.task_trace(submit.run_id, job.key)
            result = await self._run(entry, job, is_recovered=is_recovered)
            report = await self._finish(job, replace(result, elapsed_s=self._clock() - entry.since))
            self._states[report.state] += 1
            self._drained.add(self._clock())
            if self._tracer is not None and job.trace is not None:
                self._tracer.task_ended(job.trace, report)
        self._forget(entry)
        for reply in entry.for_report:
            reply(report)

    async def _finish(self, job: TaskJob, report: Report) -> Report:
        """Store a report and return the one that is stored. One that is too large fails its task only."""
        try:
            return await self._recorder.finish(job.submit.run_id, report)
        except (StoreError, FencedError, PeerLostError):
            raise
        except HeadraceError as error:
            failed = _without_result(job, TaskState.FAILED, text_of(error)[:500])
            return await self._recorder.finish(job.submit.run_id, replace(failed, elapsed_s=report.elapsed_s))

    async def _run(self, entry: _Entry, job: TaskJob, *, is_recovered: bool) -> Report:
        """Run a task and return its report. A task that was cancelled before its acceptance makes no call."""
        if not entry.is_cancelled:
            entry.working = asyncio.create_task(self._run_in_slot(job, is_recovered=is_recovered))
            try:
                return await entry.working
            except asyncio.CancelledError:
                if not entry.is_cancelled:
                    raise  # the process ends; the task is unfinished and will be resumed
        return _without_result(job, TaskState.CANCELLED, "cancelled on request")

    async def _run_in_slot(self, job: TaskJob, *, is_recovered: bool) -> Report:
        """Wait for a slot, run the task, and return its report. A defect also results in a report.

        Reads the state of a recovered task from the journal only once it has a slot: the items of a backlog
        of thousands of tasks would fill the memory. Raises the errors of the journal; the task is then
        unfinished and will be resumed.
        """
        log_about(job.key)
        try:
            await self._slots.acquire(job.submit.priority, job.submit.tenant)
            self._active += 1
            try:
                if is_recovered:
                    job.known = await self._recorder.accept(job.submit, job.deadline - self._clock())
                    job.deadline = self._deadline(job.submit, job.known, job.deadline)
                if job.known.report is not None:
                    return job.known.report
                if self._notes_starts:
                    await self._recorder.note(job.submit.run_id, job.key, "started", {})
                return await self._runner.run_task(job)
            finally:
                self._active -= 1
                self._slots.release()
        except (StoreError, FencedError, PeerLostError):
            raise
        except HeadraceError as error:  # e.g. a record of this task that is too large
            return _without_result(job, TaskState.FAILED, text_of(error)[:500])
        except Exception as error:  # noqa: BLE001 - a defect fails only the task that meets it
            _log.exception("task %s failed", job.key)
            text = f"a defect of Headrace: {type(error).__name__}: {error}"[:500]
            return _without_result(job, TaskState.FAILED, text)

    def _on_cancel(self, owner: tuple[str, str], reply: Reply) -> None:
        entry = self._entries.get(owner)
        if entry is None:
            reply(None)
            return
        entry.for_report.append(reply)
        run_id, task = owner
        self._dispatcher.post(Cancel(task, run_id), urgent=True).add_done_callback(retrieve)
        entry.is_cancelled = True
        if entry.working is not None:  # else `_run` ends the task once it is accepted
            entry.working.cancel()

    # ---- pace --------------------------------------------------------------------------------------------

    def _drain_per_s(self) -> float:
        return self._drained.total(self._clock()) / _DRAIN_WINDOW_S

    def _retry_after_s(self) -> float:
        """Return in how many seconds a tenth of the backlog will have ended, at the current rate."""
        pace = self._drain_per_s()
        return min(_LONGEST_WAIT_S, max(1.0, self._settings.accepted_tasks / 10 / pace)) if pace else 5.0


def readings(known: PipelineStatistics) -> Iterator[MeasureReading]:
    """Yield the metrics of a pipeline."""
    yield MeasureReading(ACTIVE_TASKS, known.active)
    yield MeasureReading(BACKPRESSURE, known.turned_away, ("pipeline",))
    for state, count in known.states.items():
        yield MeasureReading(TASKS, count, (state.value,))


def _to_source(address: Address[ToSource, FromSource]) -> Courier[ToSource, FromSource]:
    settings = CourierSettings(
        max_outstanding=10_000,
        max_outstanding_bytes=64 << 20,
        on_restart=OnRestart.RESEND,
        interval_s=_UNHURRIED_S,
    )
    return Courier(address, settings=settings, size_of=weight)


def _bare(accepted: Accepted) -> Accepted:
    """Return `accepted` without the items and answers, which a caller does not need."""
    return replace(accepted, fetched=None, answers={})


def _without_result(job: TaskJob, state: TaskState, why: str) -> Report:
    return Report(
        key=job.key,
        state=state,
        overall=None,
        dimensions=(),
        sources={},
        calls=job.counts,
        usage=job.usage,
        elapsed_s=0.0,
        errors=(why,),
    )
