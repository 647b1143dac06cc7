"""Reads runs from a store page by page, without a cluster and also while a run is in progress."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec.structs import replace

from actors.core.errors import ConfigError
from actors.core.journal import keys
from actors.core.journal.reads import (
    count_unended,
    list_runs,
    read_attempts,
    read_events,
    read_run,
    read_task,
    read_tasks,
)
from actors.core.journal.rows import RUNNING, load_report
from actors.core.messages.journal import AttemptView, LoggedEvent, ReadEvents, ReadTasks, RunView, TaskView
from actors.core.messages.tasks import Report, Task, TaskState
from actors.journal.stores.base import Store
from cluster.program import program
from cluster.records.records import CODEC
from cluster.report.failures import FailureCounts
from cluster.report.task_history import TaskHistory
from cluster.report.views import is_open, is_priced

HEARTBEAT_S = 1.5  # with the default lease, an owner writes its heartbeat every second
_LOOK_S = 0.1
_PAGE = 200
_MOST_EVENTS = 1_000
_MOST_REPORTS = 1_000  # of a state, for the causes: a status must not read a million reports


def all_runs(store: Store) -> Iterator[RunView]:
    """Yield all runs in order of their ids. One page is in memory at a time."""
    after = ""
    while page := list_runs(store, CODEC, _PAGE, after):
        yield from page
        after = page[-1].run_id


def newest_runs(store: Store, count: int) -> tuple[list[RunView], int]:
    """Return the `count` runs that began last, newest first, and the number of older runs."""
    seen = 0

    def counted() -> Iterator[RunView]:
        nonlocal seen
        for run in all_runs(store):
            seen += 1
            yield run

    newest = heapq.nlargest(count, counted(), key=lambda run: (run.began_at, run.run_id))
    return newest, seen - len(newest)


def silent_runs(
    store: Store,
    runs: Collection[RunView],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> frozenset[str]:
    """Return the ids of `runs` that are in state "running" but whose heartbeat does not change.

    Takes at most 1.5 s. A store sends no notice of changes, so this reads it repeatedly.
    """
    waiting = {run.run_id: store.get(keys.heartbeat(run.run_id)) for run in runs if run.state == RUNNING}
    deadline = clock() + HEARTBEAT_S
    while waiting and clock() < deadline:
        pause(_LOOK_S)
        waiting = {
            run_id: seen for run_id, seen in waiting.items() if store.get(keys.heartbeat(run_id)) == seen
        }
    return frozenset(waiting)


def in_flight(store: Store, run: RunView, silent: Collection[str]) -> int:
    """Return how many calls of a run are in flight: 0 unless its owner is alive.

    The run's counts may be older. They have these attempts in doubt, as they would be without the owner.
    """
    if run.state != RUNNING or run.run_id in silent:
        return 0
    return min(count_unended(store, CODEC, run.run_id), run.spent.counts.in_doubt)


def all_tasks(store: Store, run_id: str, state: str = "") -> Iterator[TaskView]:
    """Yield a run's tasks in order of acceptance. One page is in memory at a time."""
    after = -1
    while page := read_tasks(store, CODEC, ReadTasks(run_id, state, after, _PAGE)):
        yield from page
        after = page[-1].ordinal


def all_events(store: Store, run_id: str) -> Iterator[LoggedEvent]:
    """Yield a run's events in order. One page is in memory at a time."""
    after = 0
    while page := read_events(store, CODEC, ReadEvents(run_id, after=after, limit=_PAGE)):
        yield from page
        after = page[-1].id


def attempts_by_task(store: Store, run_id: str) -> dict[str, list[AttemptView]]:
    """Return all attempts of a run by the key of their task."""
    return {task.key: read_attempts(store, CODEC, run_id, task.key) for task in all_tasks(store, run_id)}


def all_ended(store: Store, run_id: str) -> Iterator[tuple[Task, Report]]:
    """Yield a run's ended tasks and their reports in the order of its input. One is in memory at a time."""
    for task in tasks_in_order(store, run_id):
        data = store.get(keys.report(run_id, task.key))
        if data is not None:
            yield Task(task.key, task.params), load_report(CODEC, data)


def tasks_in_order(store: Store, run_id: str) -> Iterator[TaskView]:
    """Yield a run's tasks in the order of its input: those of a sample, accepted first, at their places."""
    run = read_run(store, CODEC, run_id)
    sample = {} if run is None else run.origin.get("sample") or {}
    places: Mapping[str, int] = sample.get("places") or {}
    ahead = deque(sorted(places, key=places.__getitem__))
    position = 0
    for task in all_tasks(store, run_id):
        if task.key in places:
            continue
        while ahead and places[ahead[0]] <= position:
            yield from _known(store, run_id, ahead.popleft())
            position += 1
        yield task
        position += 1
    for key in ahead:
        yield from _known(store, run_id, key)


def _known(store: Store, run_id: str, key: str) -> Iterator[TaskView]:
    """Yield a task, if the run has accepted it."""
    known = read_task(store, CODEC, run_id, key)
    if known is not None:
        yield known[0]


def with_causes(store: Store, run: RunView) -> RunView:
    """Return `run` with the causes of its failures, which only the summary of a finished run holds.

    Those of another run are counted over its first failed and partial tasks, 1,000 of each.
    """
    if not is_open(run) and "failures" in run.summary:
        return run
    counts = FailureCounts()
    for state in (TaskState.FAILED, TaskState.PARTIAL):
        for task in itertools.islice(all_tasks(store, run.run_id, state), _MOST_REPORTS):
            data = store.get(keys.report(run.run_id, task.key))
            if data is not None:
                counts.add(load_report(CODEC, data))
    causes = [cause.document() for cause in counts.causes()]
    return replace(run, summary={**run.summary, "failures": causes})


def history_of(store: Store, run_id: str, key: str) -> TaskHistory:
    """Return the history of a task. Raises `ConfigError` if the run has no such task."""
    known = read_task(store, CODEC, run_id, key)
    if known is None:
        raise ConfigError(
            f"run {run_id} has no task {key!r}; `{program()} results {run_id}` shows the keys of tasks "
            "that have ended. The store does not yet have tasks that the run has not accepted"
        )
    run = read_run(store, CODEC, run_id)
    return TaskHistory(
        run_id,
        *known,
        read_attempts(store, CODEC, run_id, key),
        events_of(store, run_id, key),
        is_priced=run is None or is_priced(run),
    )


def events_of(store: Store, run_id: str, key: str) -> tuple[LoggedEvent, ...]:
    """Return the events of a task, 1,000 at most."""
    events: list[LoggedEvent] = []
    while left := _MOST_EVENTS - len(events):
        after = events[-1].task_id if events else 0
        page = read_events(store, CODEC, ReadEvents(run_id, key, after, left))
        if not page:
            break
        events += page
    return tuple(events)
