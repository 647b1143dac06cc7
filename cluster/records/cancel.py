"""Cancels a run: requests that its owner ends it, then ends the remaining tasks.

Rule 1: Only the owner of a run ends its tasks. The canceller claims the run after its owner has closed it or
    was silent for a whole lease. A former owner that wakes up is fenced, and sends nothing.
Rule 2: The heartbeat decides whether an owner is alive; no wall clock does.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.core.errors import RunTakenError
from actors.core.journal import keys
from actors.core.journal.batch import WriteBatch
from actors.core.journal.reads import read_attempts, read_tasks
from actors.core.journal.rows import ACCEPTED, RUNNING
from actors.core.journal.state import JournalState
from actors.core.journal.turn import Defer, Observed, Retried
from actors.core.liveness import LeaseWatch
from actors.core.messages.journal import CloseRun, Finish, OpenRun, ReadTasks, Record, RunView, TaskView
from actors.core.messages.tasks import Report, TaskState
from actors.core.messages.values import CallCounts, Json, Usage
from actors.journal.stores.base import Store
from cluster.program import program
from cluster.records.owner_watch import observed
from cluster.records.records import CODEC, found_run

WITHIN_S = 30.0
_PAGE = 200
_CANCELLED = "cancelled"
_WHY = "cancelled on request"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The result of a cancellation: the run, the number of tasks ended by it, and whether it was running."""

    run: RunView
    ended_here: int
    was_running: bool

    @property
    def cancelled(self) -> bool:
        """Whether the run is cancelled. If not, it had ended before."""
        return self.run.state == _CANCELLED


class Canceller:
    """Cancels one run of `store`. `lease_s` is the configured lease of its owner."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        lease_s: float,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._lease_s = lease_s
        self._pause = pause
        self._clock = clock
        self._now = now
        owner = f"{socket.gethostname()}/{os.getpid()}/cancel"
        self._journal = JournalState(owner, secrets.token_hex(6), CODEC, lease_s=lease_s)

    def cancel(self) -> Cancellation:
        """Return once the run has ended. A run that had ended before does not change.

        Raises `ConfigError` if there is no such run, and `RunTakenError` if its owner is alive but did not
        end it within 30 s; the request remains.
        """
        was_running = self._run().state == RUNNING
        silent = None
        if was_running:
            self._store.commit(WriteBatch({keys.cancel_request(self._run_id): b"1"}))
            silent = self._await_end()
        run = self._run()
        if run.tasks.ended == run.tasks.accepted and run.state not in (RUNNING, "interrupted"):
            return Cancellation(run, 0, was_running)
        self._claim(run, silent)
        ended_here = self._end_tasks()
        self._commit(CloseRun(self._run_id, _CANCELLED, _summary(self._run(), run.summary)))
        return Cancellation(self._run(), ended_here, was_running)

    def _run(self) -> RunView:
        return found_run(self._store, self._run_id)

    def _await_end(self) -> Observed | None:
        """Return None once the run is closed, or the last sign of an owner that is silent for a whole lease.

        A store sends no notice of changes, so this reads it repeatedly.
        """
        began, watch = self._clock(), LeaseWatch(self._lease_s)
        while self._clock() - began < WITHIN_S:
            looked = self._clock()
            if self._run().state != RUNNING:
                return None
            sign = observed(self._store, self._run_id)
            if watch.observe(sign, looked, self._clock()):
                return sign
            self._pause(watch.pause_s)
        raise RunTakenError(
            f"run {self._run_id} did not end within {WITHIN_S:.0f} s, although its process is alive. The "
            "request remains, and the run ends when its process reads it. See "
            f"`{program()} status {self._run_id}`, or press Ctrl-C where it runs"
        )

    def _claim(self, run: RunView, silent: Observed | None) -> None:
        """Become the owner of the run."""
        claim = OpenRun(self._run_id, run.name, run.config, run.origin, accept_config=True)
        reply = self._commit(claim if silent is None else Retried(claim, silent))
        if isinstance(reply, Defer):
            raise RunTakenError(
                f"run {self._run_id} was started again during the cancellation; cancel it again"
            )

    def _end_tasks(self) -> int:
        """End every open task as cancelled. Return their number."""
        count, asked = 0, ReadTasks(self._run_id, ACCEPTED, limit=_PAGE)
        while page := read_tasks(self._store, CODEC, asked):
            self._commit(*(Finish(self._run_id, self._cancelled(task)) for task in page))
            self._store.commit(
                self._journal.beat(self._store)
            )  # thousands of tasks may take longer than a lease
            count += len(page)
        return count

    def _cancelled(self, task: TaskView) -> Report:
        attempts = read_attempts(self._store, CODEC, self._run_id, task.key)
        planned = len({attempt.call_key for attempt in attempts})
        elapsed_s = max(0.0, self._now() - task.accepted_at)
        return Report(
            task.key,
            TaskState.CANCELLED,
            overall=None,
            dimensions=(),
            sources={},
            calls=CallCounts(planned=planned),
            usage=Usage(),
            elapsed_s=elapsed_s,
            errors=(_WHY,),
        )

    def _commit(self, *records: Record | Retried) -> Json:
        """Commit records; return the reply to the last one. Raises the first reply that is an error."""
        turn = self._journal.handle(records, self._now(), self._store)
        for reply in turn.replies:
            if isinstance(reply, Exception):
                raise reply
        if not turn.batch.is_empty:
            self._store.commit(turn.batch)
        return turn.replies[-1]


def _summary(run: RunView, left: Mapping[str, Json]) -> dict[str, Json]:
    """Return the summary of a cancelled run: that `left` by its owner, with the present counts of tasks."""
    ended = {state.value: getattr(run.tasks, state) for state in TaskState}
    return {
        **left,
        "run_id": run.run_id,
        "state": _CANCELLED,
        "tasks": {"submitted": run.tasks.accepted, **ended},
    }
