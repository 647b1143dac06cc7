"""Cancels a run: whoever runs it is asked to end it, and what has not ended after that is ended here.

Rule 1: the rules of owners hold: tasks are ended by whoever has claimed the run, after its owner closed it or
    was silent for a whole lease. A process that comes back from a long sleep is fenced, and sends nothing.
Rule 2: no clock decides that a run may be taken, only its heartbeat, as `journal_runs` has it.
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
from cluster.records.records import CODEC, found_run

WITHIN_S = 30.0
_PAGE = 200
_CANCELLED = "cancelled"
_WHY = "cancelled on request"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What came of it: the run as it is now, how many tasks were ended here, and whether it ran at first."""

    run: RunView
    ended_here: int
    was_running: bool

    @property
    def cancelled(self) -> bool:
        """Whether the run is cancelled; else it had come to its end before."""
        return self.run.state == _CANCELLED


class Canceller:
    """Cancels one run of `store`. `lease_s` is how long its owner may be silent, as it is configured."""

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
        """Return once the run has ended. A run that had ended before stays as it is.

        Raises ConfigError where there is no such run, `RunTakenError` where its owner did not end it in 30 s
        though it is alive: the wish stays.
        """
        was_running = self._run().state == RUNNING
        silent = None
        if was_running:
            self._store.commit(WriteBatch({keys.cancel_wish(self._run_id): b"1"}))
            silent = self._await_end()
        run = self._run()
        if run.tasks.ended == run.tasks.accepted and run.state not in (RUNNING, "interrupted"):
            return Cancellation(run, 0, was_running)
        self._claim(run, silent)
        ended_here = self._end_tasks()
        self._tell(CloseRun(self._run_id, _CANCELLED, _summary(self._run(), run.summary)))
        return Cancellation(self._run(), ended_here, was_running)

    def _run(self) -> RunView:
        return found_run(self._store, self._run_id)

    def _await_end(self) -> Observed | None:
        """Return None once the run is closed, or what was seen of an owner that is silent for a whole lease.

        A store tells nobody of changes: whoever waits for one without a journal has to look again.
        """
        began, watch = self._clock(), LeaseWatch(self._lease_s)
        while self._clock() - began < WITHIN_S:
            looked = self._clock()
            if self._run().state != RUNNING:
                return None
            writer = self._store.get(keys.writer(self._run_id)) or b""
            sign = Observed(writer, self._store.get(keys.heartbeat(self._run_id)))
            if watch.observe((sign.writer, sign.heartbeat), looked, self._clock()):
                return sign
            self._pause(watch.pause_s)
        raise RunTakenError(
            f"run {self._run_id} did not end within {WITHIN_S:.0f} s, though its process is alive. The wish "
            "stays, and the run ends once that sees it. Look again with "
            f"`python driver.py status {self._run_id}`, or press Ctrl-C where it runs"
        )

    def _claim(self, run: RunView, silent: Observed | None) -> None:
        """Have the run be ours to write."""
        claim = OpenRun(self._run_id, run.name, run.config, run.origin, accept_config=True)
        reply = self._tell(claim if silent is None else Retried(claim, silent))
        if isinstance(reply, Defer):
            raise RunTakenError(
                f"run {self._run_id} was begun again while it was being cancelled; cancel it once more"
            )

    def _end_tasks(self) -> int:
        """End every task that has not, as cancelled. Return how many there were."""
        count, asked = 0, ReadTasks(self._run_id, ACCEPTED, limit=_PAGE)
        while page := read_tasks(self._store, CODEC, asked):
            self._tell(*(Finish(self._run_id, self._cancelled(task)) for task in page))
            self._store.commit(self._journal.beat(self._store))  # thousands of tasks may outlast a lease
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

    def _tell(self, *records: Record | Retried) -> Json:
        """Commit records; return the last one's reply. Raises the first that is an error."""
        turn = self._journal.handle(records, self._now(), self._store)
        for reply in turn.replies:
            if isinstance(reply, Exception):
                raise reply
        if not turn.batch.is_empty:
            self._store.commit(turn.batch)
        return turn.replies[-1]


def _summary(run: RunView, left: Mapping[str, Json]) -> dict[str, Json]:
    """Return the summary of a cancelled run: what its owner `left`, with how its tasks stand now."""
    tally = run.tasks
    tasks = {name: getattr(tally, name) for name in ("succeeded", "partial", "failed", "cancelled")}
    return {
        **left,
        "run_id": run.run_id,
        "state": _CANCELLED,
        "tasks": {"submitted": tally.accepted, **tasks},
    }
