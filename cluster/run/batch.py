"""Runs a batch: tasks stream to the pipelines within a window, and reports stream out as tasks end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from actors.core.errors import Blame, Failure, FailureKind, HeadraceError, StoreUnavailableError
from actors.core.messages.journal import RunOpened
from actors.core.messages.tasks import Cancel, Report, Submit, Task, TaskState
from actors.core.task.shards import shard
from actors.runtime.futures import retrieve
from actors.transport.courier import Courier
from cluster.assembly.topology import Topology
from cluster.config.model import HeadraceConfig
from cluster.program import program
from cluster.records.input_digest import RunInput, refuse_changed
from cluster.records.run_journal import CLOSE_WITHIN_S, Repetition, RunJournal, RunOrigin, may_succeed
from cluster.report.console import plain
from cluster.report.receipt import receipt_of
from cluster.report.results import ResultWriter
from cluster.report.summary import RunState, RunSummary, RunTotals, summary_json
from cluster.report.tables.targets import ResultsError
from cluster.report.views import CAUSE_CHARACTERS
from cluster.run.fault_watch import FaultWatch
from cluster.run.form_watch import MOST_UNUSABLE, FormWatch
from cluster.run.host import ShowsProgress
from cluster.run.progress_views import ProgressViews
from cluster.run.stopping import StopRequest, unless_stopped

_log = logging.getLogger(__name__)

_REFRESH_S = 0.5
_JUDGED_WITHIN_S = 5.0
_PROBED_S = 10.0  # further tasks are submitted after this time without an answer
_FIRST_REFRESH_S = 0.1  # until the first answer
_ALONE_S = 2.0  # the other tasks wait this long at most for the first answer: some endpoints are slow
_DRAIN_WITHIN_S = 20.0  # schedulers that send SIGTERM send SIGKILL 30 s later
_CANCEL_WITHIN_S = 5.0  # the canceller ends the tasks that have not ended by then
_KEPT_REPORTS = 50  # for the summary table; the result files hold all


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """The summary of a run that has ended, and its first reports.

    `fails_again`: the task at whose failure the run stopped would fail again.
    """

    summary: RunSummary
    reports: tuple[Report, ...]
    fails_again: bool = False


class BatchRun:
    """Streams tasks through a topology, on one event loop. `can_go_on`: the run can be resumed.

    The first task goes alone for at most `alone_s` seconds: a wrong configuration costs only its calls.
    """

    def __init__(
        self,
        config: HeadraceConfig,
        run_id: str,
        topology: Topology,
        writer: ResultWriter,
        *,
        total: int | None,
        origin: RunOrigin | None = None,
        retry: Repetition = Repetition(),  # noqa: B008 - it is frozen
        run_input: RunInput | None = None,
        stops_at_failure: bool = False,
        preflight: Callable[[], Awaitable[None]] | None = None,
        say: Callable[[str], None] = _log.warning,
        clock: Callable[[], float] = time.monotonic,
        alone_s: float = _ALONE_S,
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._topology = topology
        self._writer = writer
        self._total = total
        self._origin = origin or RunOrigin.of(config)
        self._retry = retry
        self._input = run_input
        self._stops_at_failure = stops_at_failure
        self._preflight = preflight
        self._say = say
        self._clock = clock
        self._alone_s = alone_s
        self._first_ended = asyncio.Event()  # whether a call or a task has ended
        self.can_go_on = False
        self._unready = ""  # why the preflight failed
        self._started = clock()
        self._views = ProgressViews(
            config, run_id, total, is_priced=self._origin.priced, started=self._started
        )
        self._totals = RunTotals()
        self._reports: list[Report] = []
        # A quarter more tasks than may be active: with fewer, a pipeline waits for a task when one ends.
        window = min(
            config.limits.accepted_tasks, config.limits.active_tasks + config.limits.active_tasks // 4 + 1
        )
        self._room = asyncio.Semaphore(window)
        self._window = window
        self._outstanding: dict[str, Courier[Submit | Cancel, Report]] = {}  # by task key
        self._failure: BaseException | None = None
        self._all_submitted = False
        self._over = asyncio.Event()
        self._cancel_requested = asyncio.Event()
        self._faults = FaultWatch()
        self._forms: FormWatch | None = FormWatch()
        self._has_usable = self._has_unusable = False  # among the answers of this process
        self._news = asyncio.Event()
        self._fault: Failure | None = None
        self._faulty = asyncio.Event()

    async def run(self, tasks: Iterable[Task], progress: ShowsProgress, stop: StopRequest) -> BatchEnded:
        """Run `tasks` until all have ended or `stop` is set. Raises the error that ends the run early.

        The run is opened in the journal before the first task and closed after the last. The journal gives
        the reports of tasks that had ended before, except of those that `retry` chooses. The first failed
        task ends a run that `stops_at_failure`.
        """
        journal = RunJournal(self._topology.journal_courier(), self._run_id)
        try:
            await unless_stopped(self._begin(journal), stop, "the run began")
            ended = await self._run(tasks, progress, stop, journal)
        except BaseException:
            if self._unready:
                await journal.release(RunState.FAILED, {"stopped_by": self._unready})
            else:
                await journal.release(RunState.INTERRUPTED)
            raise
        finally:
            await journal.close()
        return ended

    async def _begin(self, journal: RunJournal) -> None:
        opened = await journal.open(self._config.name, self._origin)
        self._writer.open()  # after the run is opened: only its owner may change the files
        await self._compare_input(opened, journal)
        self.can_go_on = True  # after the comparison: a resume with the same input would fail, too
        again = await journal.ended_in(self._retry)
        self._views.ended_before = opened.tasks.ended - len(again)
        if (failed := opened.tasks.failed - len(again)) >= MOST_UNUSABLE:
            # It may have stopped the run before, and the user continues the run.
            usable = opened.tasks.succeeded + opened.tasks.partial
            self._forms = None if usable else FormWatch(failed)
            if not usable:
                least = f"at most {MOST_UNUSABLE} more are asked until an answer fits"
                self._say(f"no row has an answer so far: {least}")
        if self._preflight is not None and (again or self._has_open_tasks(opened)):
            try:
                await self._preflight()
            except HeadraceError as error:
                self._unready = str(error)
                raise
        await journal.reopen(again)

    def _has_open_tasks(self, opened: RunOpened) -> bool:
        """Return whether a task is not yet done. A run without one needs no endpoint."""
        return self._total is None or opened.tasks.ended < self._total

    async def _compare_input(self, opened: RunOpened, journal: RunJournal) -> None:
        """Report how the input has changed since the run was started. Raises `InputChangedError`."""
        before = opened.origin.get("input")
        if self._input is None or before in (None, self._input.stored()):
            return
        changes = await self._input.changes(before, journal.tasks())
        refuse_changed(changes, self._run_id)
        self._say(changes.text(self._run_id))

    async def _run(
        self, tasks: Iterable[Task], progress: ShowsProgress, stop: StopRequest, journal: RunJournal
    ) -> BatchEnded:
        couriers = self._topology.couriers(window=self._window)
        watching = asyncio.create_task(self._watch(progress))
        feeding = asyncio.create_task(self._feed(tasks, couriers))
        cancelling = asyncio.create_task(self._await_cancel(journal))
        for task in (watching, feeding, cancelling):
            task.add_done_callback(self._on_helper_done)
        events = (stop, self._over, self._cancel_requested, self._faulty)
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._failure is not None:
                raise self._failure
            ended_as = await self._wind_up(self._ended_as(stop), feeding, stop)
        finally:
            helpers = (feeding, watching, cancelling, *waits)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            for courier in couriers:
                await courier.close()
        if ended_as is not None:
            await self._topology.stop_asking()  # calls that continue would be missing from the sum
        summary = await self._summary(journal, ended_as)
        summary = await self._end(journal, summary, is_whole=ended_as is None)
        fails_again = self._fault is not None and self._fault.kind is FailureKind.PERMANENT
        return BatchEnded(summary, tuple(self._reports), fails_again)

    async def _summary(self, journal: RunJournal, ended_as: RunState | None) -> RunSummary:
        is_stopped = ended_as is not None
        tally, spent = await asyncio.gather(
            journal.tally(is_stopped=is_stopped), journal.spent(is_stopped=is_stopped)
        )
        summary = self._totals.summary(
            self._run_id,
            elapsed_s=self._clock() - self._started,
            ended_as=ended_as,
            open_tasks=None if tally is None else tally.accepted - tally.ended,
        )
        if is_stopped and tally is not None and tally.ended > summary.tasks.ended:
            # Some tasks ended without a report to this process.
            summary = replace(summary, tasks=tally)
        summary = replace(summary, is_priced=self._origin.priced)
        if spent is not None:
            summary = replace(summary, receipt=receipt_of(spent))
            if is_stopped:  # the calls of tasks without a report are not in the totals
                summary = replace(summary, calls=spent.counts, usage=spent.usage)
        elif is_stopped:
            summary = replace(summary, is_complete=False)
        if ended_as is RunState.FAILED and self._fault is not None:
            summary = replace(summary, stopped_by=self._fault.message)
        return summary

    def _ended_as(self, stop: StopRequest) -> RunState | None:
        """Return the state of a run that ends early, None if all tasks have ended."""
        if self._over.is_set():
            return None
        if stop.is_set():
            return RunState.INTERRUPTED
        if self._fault is not None:
            return RunState.FAILED
        return RunState.CANCELLED if self._cancel_requested.is_set() else None

    async def _end(self, journal: RunJournal, summary: RunSummary, *, is_whole: bool) -> RunSummary:
        """Close the run, which confirms that this process still owns it; then publish its files.

        `is_whole`: every task of the input has ended.
        """
        # On this thread, a million rows would stop the heartbeat that keeps the run's lease.
        await asyncio.gather(
            asyncio.to_thread(self._writer.finish, is_whole=is_whole), self._topology.save_history()
        )
        summary = replace(summary, results=self._writer.paths)
        if summary.state is not RunState.INTERRUPTED:
            await journal.end(summary.state, summary_json(summary))
        else:
            try:
                await journal.end(summary.state, summary_json(summary), CLOSE_WITHIN_S)
            except StoreUnavailableError as error:
                _log.warning("%s. The result files are unchanged", error)
                return replace(summary, results=())
        try:
            await asyncio.to_thread(self._writer.publish)  # it may upload
        except ResultsError as error:
            raise ResultsError(
                f"{error}. Run {self._run_id} is closed as {summary.state}, and its reports are stored: "
                f"`{program()} results {self._run_id}` prints them"
            ) from error
        return summary

    async def _await_cancel(self, journal: RunJournal) -> None:
        await journal.wait_for_cancel()
        self._cancel_requested.set()

    async def _cancel_outstanding(self) -> None:
        """Cancel every outstanding task and its calls in flight."""
        for key, courier in self._outstanding.items():
            cancelled = courier.post(Cancel(key, self._run_id), urgent=True)
            cancelled.add_done_callback(retrieve)  # the future of the task raises the same error
        self._all_submitted = True
        self._check_over()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_WITHIN_S):
                await self._over.wait()

    async def _wind_up(
        self, ended_as: RunState | None, feeding: asyncio.Task[None], stop: StopRequest
    ) -> RunState | None:
        """Submit no more tasks of a run that ends early, and return the state in which it ends."""
        if ended_as is RunState.CANCELLED:
            feeding.cancel()
            await self._cancel_outstanding()
        elif ended_as is RunState.INTERRUPTED:
            feeding.cancel()
            await self._drain(stop)
            return self._ended_as(stop)  # the last tasks may have ended meanwhile
        return ended_as

    async def _drain(self, stop: StopRequest) -> None:
        """Wait for the answers in flight, which the endpoint would charge for again, but not for long."""
        self._say(
            f"stopping: no further call is made, and answers in flight have {_DRAIN_WITHIN_S:.0f} s to "
            "arrive; Ctrl-C again gives them up"
        )
        with stop.waiting() as hurry:
            draining = asyncio.ensure_future(self._topology.drain())
            draining.add_done_callback(retrieve)
            hurrying = asyncio.ensure_future(hurry.wait())
            await asyncio.wait(
                (draining, hurrying), timeout=_DRAIN_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
            )
            for waiting in (draining, hurrying):
                waiting.cancel()
            await asyncio.gather(draining, hurrying, return_exceptions=True)

    async def _feed(
        self, tasks: Iterable[Task], couriers: tuple[Courier[Submit | Cancel, Report], ...]
    ) -> None:
        try:
            for ordinal, task in enumerate(tasks):
                await self._room.acquire()
                courier = couriers[shard(task.key, len(couriers))]
                self._totals.accepted()
                future = await courier.send(Submit(self._run_id, task))
                self._outstanding[task.key] = courier
                future.add_done_callback(partial(self._on_report, task, ordinal))
                if not self._first_ended.is_set():
                    await self._await_first_end()
                if self._config.is_map:
                    await self._await_usable()
        except HeadraceError as error:  # bad input: outstanding tasks end before it is raised
            self._failure = error
            if self._outstanding:
                self._say(f"no further task is read, and those that were accepted end first: {error}")
        self._all_submitted = True
        self._check_over()

    async def _await_first_end(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._alone_s):
                await self._first_ended.wait()
        if self._faults.has_fault:  # either it stops the run, or an answer refutes it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_JUDGED_WITHIN_S):
                    await self._first_ended.wait()
        self._first_ended.set()

    async def _await_usable(self) -> None:
        """Hold the other tasks back until an answer is usable: those that do not fit are billed, too."""
        while self._forms is not None and not self._has_usable:
            if self._forms.is_answered or len(self._outstanding) < self._forms.left:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(_PROBED_S):
                    await self._news.wait()
            except TimeoutError:  # a slow endpoint must not wait for its answers a few at a time
                self._has_usable = not self._has_unusable

    def _on_helper_done(self, helper: asyncio.Task[None]) -> None:
        """End the run when a helper fails, for example because of a full disk."""
        if not helper.cancelled() and helper.exception() is not None:
            self._failure = helper.exception()
            self._over.set()

    def _on_report(self, task: Task, ordinal: int, future: asyncio.Future[Report]) -> None:
        self._room.release()
        self._first_ended.set()
        del self._outstanding[task.key]
        error = future.exception()
        if error is None:
            if not ordinal:
                self._say_failure(future.result())
            try:
                self._add(task, future.result(), ordinal)
            except HeadraceError as unwritten:
                self._failure = unwritten
                self._over.set()
        elif self._failure is None:
            self._failure = error  # the pipeline is lost, or rejects the task
            self._over.set()
        self._check_over()

    def _say_failure(self, first: Report) -> None:
        """Show why the first task failed: the cause may be that of all others."""
        if first.state is TaskState.FAILED and first.errors:
            cause = plain(first.errors[0], CAUSE_CHARACTERS)
            self._say(f"the first task, {plain(first.key)}, failed: {cause}")

    def _add(self, task: Task, report: Report, ordinal: int) -> None:
        self._totals.add(report)
        if len(self._reports) < _KEPT_REPORTS:
            self._reports.append(report)
        self._writer.write(task, report, ordinal)
        if self._stops_at_failure and report.state is TaskState.FAILED and self._fault is None:
            self._fault = _first_failure(report)
            self._faulty.set()
        if self._forms is not None and self._fault is None:
            self._fault = self._forms.look(report)
            if self._fault is not None:
                self._faulty.set()
        self._news.set()

    def _check_over(self) -> None:
        if self._all_submitted and not self._outstanding:
            self._over.set()

    async def _watch(self, progress: ShowsProgress) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S if self._first_ended.is_set() else _FIRST_REFRESH_S)
            known = await self._topology.statistics()
            if known.dispatcher is not None and known.dispatcher.completed + known.dispatcher.failed:
                self._first_ended.set()
            if known.dispatcher is not None and not self._has_usable:
                self._has_unusable |= known.dispatcher.calls.unusable > 0
                if known.dispatcher.completed:
                    self._has_usable = True
                    self._news.set()
            for text in self._faults.news(known.dispatcher):
                self._say(f"{text}. The run uses the other endpoints")
            self._fault = self._fault or self._faults.look(known.dispatcher, self._clock())
            if self._fault is not None:
                self._faulty.set()
            progress.show(self._views.view(known, self._totals.tasks(), self._clock()))


def _first_failure(report: Report) -> Failure:
    """Return the failure of a failed task, which names it."""
    cause = report.errors[0] if report.errors else "it has no answer"
    kind = FailureKind.TRANSIENT if may_succeed(report) else FailureKind.PERMANENT
    return Failure(kind, Blame.TASK, f"{report.key} failed: {cause}")
