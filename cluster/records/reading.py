"""Reads runs from a store without a cluster: page by page, also while a run goes on."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterator

from actors.core.errors import ConfigError
from actors.core.journal import keys
from actors.core.journal.reads import list_runs, read_attempts, read_events, read_task, read_tasks
from actors.core.journal.rows import RUNNING, load_report
from actors.core.messages.journal import LoggedEvent, ReadEvents, ReadTasks, RunView, TaskView
from actors.core.messages.tasks import Report
from actors.journal.stores.base import Store
from cluster.records.records import CODEC
from cluster.report.views import TaskHistory

HEARTBEAT_S = 1.5  # a process that runs a run shows a sign of life every second, by the default lease
_LOOK_S = 0.1
_PAGE = 200
_MOST_EVENTS = 1_000


def all_runs(store: Store) -> Iterator[RunView]:
    """Yield all runs in order of their ids, a page in memory at a time."""
    after = ""
    while page := list_runs(store, CODEC, _PAGE, after):
        yield from page
        after = page[-1].run_id


def newest_runs(store: Store, count: int) -> tuple[list[RunView], int]:
    """Return the `count` runs that began last, newest first, and how many there are beside them."""
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
    """Return those of `runs` that are said to be running and whose heart stood still while this looked.

    Looks for 1.5 s at the most, and not at all where nothing runs. A store tells nobody of changes: whoever
    wants to see one without a journal has to look again.
    """
    waiting = {run.run_id: store.get(keys.heartbeat(run.run_id)) for run in runs if run.state == RUNNING}
    deadline = clock() + HEARTBEAT_S
    while waiting and clock() < deadline:
        pause(_LOOK_S)
        waiting = {
            run_id: seen for run_id, seen in waiting.items() if store.get(keys.heartbeat(run_id)) == seen
        }
    return frozenset(waiting)


def all_tasks(store: Store, run_id: str, state: str = "") -> Iterator[TaskView]:
    """Yield a run's tasks in order of acceptance, a page in memory at a time."""
    after = -1
    while page := read_tasks(store, CODEC, ReadTasks(run_id, state, after, _PAGE)):
        yield from page
        after = page[-1].ordinal


def all_reports(store: Store, run_id: str) -> Iterator[Report]:
    """Yield the reports of a run's ended tasks in order of acceptance, one in memory at a time."""
    for task in all_tasks(store, run_id):
        data = store.get(keys.report(run_id, task.key))
        if data is not None:
            yield load_report(CODEC, data)


def history_of(store: Store, run_id: str, key: str) -> TaskHistory:
    """Return all that is known of a task. Raises ConfigError where the run has no such task."""
    known = read_task(store, CODEC, run_id, key)
    if known is None:
        raise ConfigError(
            f"run {run_id} has no task {key!r}; `python driver.py results {run_id}` shows the keys of those "
            "that have ended. A task that the run had no room for yet is not known either"
        )
    events: list[LoggedEvent] = []
    while left := _MOST_EVENTS - len(events):
        after = events[-1].task_id if events else 0
        page = read_events(store, CODEC, ReadEvents(run_id, key, after, left))
        if not page:
            break
        events += page
    return TaskHistory(run_id, *known, read_attempts(store, CODEC, run_id, key), tuple(events))
