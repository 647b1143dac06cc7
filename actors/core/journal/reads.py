"""Queries about runs and tasks: functions over committed rows, usable with or without a journal.

A process that reads without the journal sees only committed rows. While a run is running, rows that it reads
one after another may come from different commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile

from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import StoreError
from actors.core.journal import keys
from actors.core.journal.attempts import AttemptRow, load_account, load_attempt
from actors.core.journal.batch import Codec, Reader, range_of, scan_all
from actors.core.journal.bounds import (
    LONGEST_WAIT_S,
    MOST_NUMBER,
    MOST_ROWS,
    first_after,
    rows_of,
    within_page,
)
from actors.core.journal.groups import read_group
from actors.core.journal.rows import ACCEPTED, DAMAGED, RunRow, load_event, load_report, load_run, load_task
from actors.core.journal.turn import Totals
from actors.core.messages.attempts import Held
from actors.core.messages.journal import (
    AttemptView,
    FindTasks,
    LatestTasks,
    LoggedEvent,
    Query,
    ReadAttempts,
    ReadEvents,
    ReadFailures,
    ReadGroup,
    ReadHistory,
    ReadLatest,
    ReadRun,
    ReadSpent,
    ReadTask,
    ReadTasks,
    RunView,
    Spent,
    TaskTally,
    TaskView,
)
from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from actors.core.metrics.history import History
from actors.core.metrics.history_format import unpack

_MOST_COUNTED = 100_000
_FEWEST_ORDINALS = 256  # in the first range of a page that begins with the latest task
_MOST_ORDINALS = 50_000  # in the ranges of one page
_ROWS_OF_A_SCAN = 100  # of rows that may be large: a page may end after any of them


class Waiting(Struct, frozen=True):
    """A placeholder for an answer: repeat `query` after a new event of its task or run, or after `wait_s`.

    The last repetition must have `wait_s` 0.
    """

    query: ReadEvents


def answer(query: Query, reader: Reader, codec: Codec) -> Json:
    """Return the answer to a query, or `Waiting` if there is no event yet and the query may wait for one."""
    match query:
        case ReadSpent() | ReadHistory() | ReadRun():
            return _about_run(query, reader, codec)
        case ReadTask() | ReadAttempts():
            return _about_task(query, reader, codec)
        case ReadTasks() | ReadLatest() | FindTasks() | ReadFailures():
            return _some_tasks(query, reader, codec)
        case ReadGroup():
            return read_group(reader, codec, query.run_id, query.group)
        case ReadEvents():
            wait_s = min(query.wait_s, LONGEST_WAIT_S)
            events = read_events(reader, codec, query)
            return events or (Waiting(replace(query, wait_s=wait_s)) if wait_s > 0 else ())


def _about_run(query: ReadSpent | ReadHistory | ReadRun, reader: Reader, codec: Codec) -> Json:
    match query:
        case ReadSpent():
            return read_spent(reader, codec, query)
        case ReadHistory():
            return reader.get(keys.history(query.run_id))
        case ReadRun():
            return read_run(reader, codec, query.run_id)


def _about_task(query: ReadTask | ReadAttempts, reader: Reader, codec: Codec) -> Json:
    match query:
        case ReadTask():
            return read_task(reader, codec, query.run_id, query.task)
        case ReadAttempts():
            attempts = read_attempts(reader, codec, query.run_id, query.task, min(query.limit, MOST_ROWS))
            return tuple(attempts[: query.limit])


def _some_tasks(
    query: ReadTasks | ReadLatest | FindTasks | ReadFailures, reader: Reader, codec: Codec
) -> Json:
    match query:
        case ReadTasks():
            return read_tasks(reader, codec, query)
        case ReadLatest():
            return read_latest(reader, codec, query)
        case FindTasks():
            return find_tasks(reader, codec, query)
        case ReadFailures():
            return read_failures(reader, codec, query)


def list_runs(reader: Reader, codec: Codec, limit: int = 100, after: str = "") -> tuple[RunView, ...]:
    """Return up to `limit` runs in order of their ids, after the id `after`. Reads two rows per run.

    A run whose rows cannot be read has the state "damaged", so that the others can be listed.
    """
    if limit < 1:
        return ()
    low, high = _after(b"r", after)
    rows = list(islice((row for row in scan_all(reader, low, high, limit) if _is_run(row[0])), limit))
    totals = {key[1:]: data for key, data in reader.scan(*_after(b"u", after), limit)}
    return tuple(_some_run_view(codec, key, row, totals.get(key[1:])) for key, row in rows)


def read_run(reader: Reader, codec: Codec, run_id: str) -> RunView | None:
    """Return a run, None if there is no such run."""
    row = reader.get(keys.run(run_id))
    if row is None:
        return None
    return _run_view(codec, load_run(codec, row), reader.get(keys.totals(run_id)))


def read_history(reader: Reader, run_id: str) -> History | None:
    """Return the history of a run's endpoints, None if none is stored. Raises `StoreError`."""
    data = reader.get(keys.history(run_id))
    try:
        return None if data is None else unpack(data)
    except ValueError as error:
        raise StoreError(f"the history of run {run_id} cannot be read: {error}") from error


def read_totals(reader: Reader, codec: Codec, run_id: str) -> Totals:
    """Return a run's counts. All are 0 if there is no such run."""
    data = reader.get(keys.totals(run_id))
    return Totals() if data is None else Totals.load(codec, data)


def read_spent(reader: Reader, codec: Codec, query: ReadSpent) -> Spent:
    """Return the counts and usage of a run's calls, without the estimates of the query's `held` attempts.

    The store may change between two reads. Each attempt is read before and after the counts: an attempt that
    changed in between is counted twice, here and by the dispatcher, but never omitted.
    """
    held = [each for each in query.held if each.run_id == query.run_id]
    before = {each.id: _attempt_row(reader, codec, each) for each in held}
    spent = read_totals(reader, codec, query.run_id).spent
    in_doubt, ended = spent.in_doubt, set()
    for each in held:
        row, now = before[each.id], _attempt_row(reader, codec, each)
        if row is not None and row.outcome is not None:
            ended.add(each.id)
        elif row is not None and now is not None and now.outcome is None:
            in_doubt = in_doubt.less(row.usage)
    return replace(spent, in_doubt=in_doubt, ended=tuple(sorted(ended)))


def _attempt_row(reader: Reader, codec: Codec, held: Held) -> AttemptRow | None:
    data = reader.get(keys.attempt(keys.calls(held.run_id, held.task), held.call_key, held.id))
    if data is not None:
        return load_attempt(codec, data)[0]
    account = reader.get(keys.account(held.run_id, held.task))  # present if the task has ended
    return None if account is None else load_account(codec, account).get(held.call_key, {}).get(held.id)


def read_task(reader: Reader, codec: Codec, run_id: str, key: str) -> tuple[TaskView, Report | None] | None:
    """Return a task and its report, which is None until it has ended, or None if there is no such task."""
    row = reader.get(keys.task(run_id, key))
    if row is None:
        return None
    view = load_task(codec, row)
    # A task may end between two reads. A task that is shown as running must not have a report.
    report = None if view.state == ACCEPTED else reader.get(keys.report(run_id, key))
    return view, None if report is None else load_report(codec, report)


def read_tasks(reader: Reader, codec: Codec, query: ReadTasks) -> tuple[TaskView, ...]:
    """Return a page of a run's tasks in order of acceptance. It is shorter than `limit` if they are large."""
    if query.limit < 1:
        return ()
    rows = (_required(reader, b"t" + keys.part(query.run_id) + key) for key in _listed(reader, query))
    return tuple(load_task(codec, row) for row in within_page(rows))


def read_latest(reader: Reader, codec: Codec, query: ReadLatest) -> LatestTasks:
    """Return a page of a run's tasks, latest first.

    A store scans upwards only. So the ordinals below `before` are read in ranges, which grow until the page
    is full. A page may be short, or empty, if few tasks are in the state.
    """
    prefix, limit = _prefix_of(query), min(query.limit, MOST_ROWS)
    before = read_totals(reader, codec, query.run_id).tally.accepted
    if query.before is not None:
        before = min(max(query.before, 0), before)
    found: list[tuple[bytes, bytes]] = []
    low, span, looked_at = before, max(limit, _FEWEST_ORDINALS), 0
    while low and len(found) < limit and looked_at < _MOST_ORDINALS:
        high, low = low, max(0, low - span)
        found += reversed(reader.scan(prefix + keys.number(low), prefix + keys.number(high), span))
        looked_at, span = looked_at + span, 2 * span
    of_run = b"t" + keys.part(query.run_id)
    rows = (_required(reader, of_run + _as_part(key)) for _, key in found[:limit])
    tasks = tuple(load_task(codec, row) for row in within_page(rows))
    if len(tasks) < len(found):
        low = tasks[-1].ordinal if tasks else before
    return LatestTasks(tasks, low or None)


def find_tasks(reader: Reader, codec: Codec, query: FindTasks) -> tuple[TaskView, ...]:
    """Return a page of the tasks whose keys have a prefix, in order of keys."""
    if query.limit < 1:
        return ()
    of_run = b"t" + keys.part(query.run_id)
    prefix = low = of_run + keys.beginning(query.prefix)
    if query.after >= 0:
        last = reader.get(keys.ordinal(query.run_id, min(query.after, MOST_NUMBER)))
        if last is None:
            return ()
        low = max(prefix, of_run + _as_part(last) + b"\0")
    found = _scanned(reader, low, range_of(of_run)[1], rows_of(query))
    rows = takewhile(lambda pair: pair[0].startswith(prefix), found)
    return tuple(load_task(codec, row) for row in within_page(row for _, row in rows))


def read_failures(reader: Reader, codec: Codec, query: ReadFailures) -> tuple[Report, ...]:
    """Return reports of a run's tasks in a state, reduced to what names the cause of a failure."""
    if query.limit < 1:
        return ()
    of_run = b"p" + keys.part(query.run_id)
    found = (reader.get(of_run + key) for key in _listed(reader, query))
    # A task may be reopened between two reads. Then its report is gone.
    reports = (load_report(codec, row) for row in within_page(row for row in found if row is not None))
    return tuple(
        replace(each, dimensions=(), items=each.items if len(each.items) == 1 else ()) for each in reports
    )


def _prefix_of(query: ReadTasks | ReadLatest | ReadFailures) -> bytes:
    """Return the prefix of the keys that list these tasks by their ordinals."""
    if query.tenant is not None:
        return keys.state_of_tenant(query.run_id, query.tenant, query.state)
    return keys.state(query.run_id, query.state) if query.state else keys.ordinal(query.run_id)


def _listed(reader: Reader, query: ReadTasks | ReadFailures) -> Iterator[bytes]:
    """Yield the keys, as parts, of tasks in order of acceptance."""
    prefix = _prefix_of(query)
    low, high = prefix + keys.number(first_after(query)), range_of(prefix)[1]
    return (_as_part(key) for _, key in reader.scan(low, high, rows_of(query)))


def read_attempts(
    reader: Reader, codec: Codec, run_id: str, key: str, most: int | None = None
) -> list[AttemptView]:
    """Return the attempts of a task, in the order in which they began; of an open task `most` at most."""
    account = reader.get(keys.account(run_id, key))
    if account is not None:
        views = [
            row.view(call, attempt)
            for call, rows in load_account(codec, account).items()
            for attempt, row in rows.items()
        ]
    else:
        calls_at = keys.calls(run_id, key)
        views = [
            load_attempt(codec, data)[0].view(*keys.attempt_of(calls_at, at))
            for at, data in islice(scan_all(reader, *range_of(calls_at)), most)
        ]
    return sorted(views, key=lambda view: (view.began_at, view.call_key, view.number))


def count_unended(reader: Reader, codec: Codec, run_id: str) -> int:
    """Return how many attempts of a run have no end and were not superseded, of at most 100,000 attempts.

    They are in flight if the run's owner is alive.
    """
    rows = (
        load_attempt(codec, data)[0] for _, data in scan_all(reader, *range_of(keys.calls_of_run(run_id)))
    )
    return sum(row.is_unended for row in islice(rows, _MOST_COUNTED))


def read_events(reader: Reader, codec: Codec, query: ReadEvents) -> tuple[LoggedEvent, ...]:
    """Return a page of the events of a run, a group or a task, without waiting.

    It is shorter than `limit` if the events are large.
    """
    if query.limit < 1:
        return ()
    return tuple(load_event(codec, row) for row in within_page(_event_rows(reader, query)))


def _event_rows(reader: Reader, query: ReadEvents) -> Iterator[bytes]:
    """Yield the rows of a page of events. They are read one at a time, or in small scans."""
    at, first = keys.event(query.run_id), keys.number(first_after(query))
    if query.group is not None:
        prefix = keys.group_event(query.run_id, query.group)
        found = reader.scan(prefix + first, range_of(prefix)[1], rows_of(query))
        yield from (_required(reader, at + key[len(prefix) :]) for key, _ in found)
    elif query.task is not None:
        prefix = keys.task_event(query.run_id, query.task)
        ids = reader.scan(prefix + first, range_of(prefix)[1], rows_of(query))
        yield from (_required(reader, at + event_id) for _, event_id in ids)
    else:
        yield from (data for _, data in _scanned(reader, at + first, range_of(at)[1], rows_of(query)))


def _scanned(reader: Reader, low: bytes, high: bytes, most: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield up to `most` pairs of [low, high), of which a few are in memory at a time."""
    while most > 0:
        some = reader.scan(low, high, min(most, _ROWS_OF_A_SCAN))
        yield from some
        if len(some) < _ROWS_OF_A_SCAN:
            return
        low, most = some[-1][0] + b"\0", most - len(some)


def _is_run(key: bytes) -> bool:
    """Return whether a key that begins as that of a run's row is one: nothing follows the run's id."""
    try:
        return keys.run(keys.run_of(key) or "") == key
    except ValueError:
        return False


def _some_run_view(codec: Codec, key: bytes, row: bytes, totals: bytes | None) -> RunView:
    try:
        return _run_view(codec, load_run(codec, row), totals)
    except (StoreError, TypeError, ValueError, LookupError, RecursionError):
        run_id = keys.run_of(key) or ""
        return RunView(run_id, run_id, DAMAGED, 0.0, None, TaskTally(), Totals().spent, {}, {}, {})


def _run_view(codec: Codec, row: RunRow, data: bytes | None) -> RunView:
    totals = Totals() if data is None else Totals.load(codec, data)
    return RunView(
        row.run_id,
        row.name,
        row.state,
        row.began_at,
        row.ended_at,
        totals.tally,
        totals.spent,
        row.config,
        row.origin,
        row.summary,
    )


def _after(kind: bytes, name: str) -> tuple[bytes, bytes]:
    return kind + keys.part(name) + b"\0" if name else kind, range_of(kind)[1]


def _as_part(key: bytes) -> bytes:
    return keys.part(key.decode("utf-8", "surrogatepass"))


def _required(reader: Reader, key: bytes) -> bytes:
    data = reader.get(key)
    if data is None:
        raise StoreError(f"the store is damaged: an index names the row {key!r}, which is missing")
    return data
