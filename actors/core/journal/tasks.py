"""The records of a task, from its acceptance to its report.

Rule 1: the first acceptance, collection and report of a task are kept. A repeated record changes nothing.
Rule 2: event ids have no gaps, since they are assigned in the commit that writes the event. A note with the
    kind and data of an earlier note of the task is a repetition and makes no event. After the end of a task
    it gets no more notes.
Rule 3: a task's counts cover all attempts that were made for it, in all lives of all actors.
Rule 4: a reopened task is in the state before its end. If a source returned nothing, all sources are asked
    again. The cost of its attempts stays counted, and stored answers are used again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from msgspec.structs import replace

from actors.core.errors import InvalidTransitionError, InvariantError, TaskConflictError
from actors.core.journal import keys
from actors.core.journal.attempts import Account, dump_account, dump_attempt, load_account, load_attempt
from actors.core.journal.batch import CheckedCodec, range_of, scan_all
from actors.core.journal.groups import check_request, count_in_group, open_group
from actors.core.journal.rows import (
    ACCEPTED,
    dump_event,
    dump_fetched,
    dump_report,
    dump_task,
    load_event,
    load_fetched,
    load_report,
    load_task,
)
from actors.core.journal.turn import OpenTurn, RunBook, TaskBook
from actors.core.messages.journal import (
    Accept,
    Accepted,
    Answer,
    Collected,
    Finish,
    LoggedEvent,
    Note,
    Reopen,
    TaskView,
)
from actors.core.messages.tasks import Report
from actors.core.messages.values import Done, Json, Usage
from actors.core.task_names import given_name, tenant_of

REOPENED = "reopened"
AUTO_KEEPS_CALLS_OF = 10_000  # tasks: the answers of a larger run would take too much disk space


class Tasks:
    """The tasks of a journal, with a cache of those that were used recently."""

    def __init__(self, codec: CheckedCodec, keep: str, most_cached: int) -> None:
        if keep not in ("reports", "calls", "auto"):
            raise ValueError(f"keep must be reports, calls or auto, not {keep!r}")
        self._codec = codec
        self._keep = keep
        self._most_cached = most_cached
        self._books: OrderedDict[tuple[str, str], TaskBook] = OrderedDict()  # least recently used first
        self.loads = 0

    def __len__(self) -> int:
        return len(self._books)

    def forget(self) -> None:
        """Drop the cache."""
        self._books.clear()

    def shrink(self) -> None:
        """Drop the least recently used tasks from the cache.

        Call this only between turns: before its commit, the changes of a turn are not in the store.
        """
        while len(self._books) > self._most_cached:
            self._books.popitem(last=False)

    def check_invariants(self) -> None:
        """Raise InvariantError if a cached task is inconsistent."""
        for (run_id, key), book in self._books.items():
            if (book.run.run_id, book.key) != (run_id, key):
                raise InvariantError(f"task {key} of run {run_id} is cached as {book.key}")
            for call, attempt in book.answers.items():
                if attempt not in book.attempts.get(call, {}):
                    raise InvariantError(f"call {call} was answered by attempt {attempt}, which is unknown")

    def book(self, turn: OpenTurn, run: RunBook, key: str, what: str) -> TaskBook:
        """Return a task of `run`. `what` names the record in errors.

        Raises InvalidTransitionError if the task was never accepted.
        """
        name = (run.run_id, key)
        book = self._books.get(name)
        if book is not None and book.run is run:
            self._books.move_to_end(name)
            return book
        row = turn.store.get(keys.task(*name))
        if row is None:
            raise InvalidTransitionError(f"task {key} of run {run.run_id}", "unknown", what)
        return self._load(turn, run, load_task(self._codec, row))

    # ---- records -----------------------------------------------------------------------------------------

    def accept(self, turn: OpenTurn, run: RunBook, record: Accept) -> Accepted:
        """Accept a task, or return its progress. Raises TaskConflictError."""
        run_id, key = name = (run.run_id, record.task.key)
        params = self._codec.normal(record.task.params)
        row = turn.store.get(keys.task(*name))
        if row is not None:
            view = load_task(self._codec, row)
            if view.params != params:
                raise TaskConflictError(
                    f"run {run_id} has a task {given_name(key)} with other params; use another key"
                )
            check_request(turn, record)
            open_group(turn, record)
            return self._known(turn, run, view)
        check_request(turn, record)
        view = TaskView(
            key,
            run.totals.tasks[ACCEPTED],
            ACCEPTED,
            params,
            record.tenant,
            record.priority,
            turn.now,
            None,
            record.expires_in_s,
            record.group,
        )
        turn.store.put(keys.task(*name), dump_task(self._codec, view))
        ordinal_of = key.encode("utf-8", "surrogatepass")
        turn.store.put(keys.ordinal(run_id, view.ordinal), ordinal_of)
        _list(turn, run_id, view)
        owner = tenant_of(key)
        if owner is not None:
            turn.store.put(keys.state_of_tenant(run_id, owner, "", view.ordinal), ordinal_of)
        book = self._books[name] = TaskBook(run, view, keys.calls(*name))
        book.last_event = 0  # a new task has no events in the store
        run.totals.tasks[ACCEPTED] += 1
        self._append(turn, book, "accepted", {})
        return Accepted(key, True, turn.now)

    def collect(self, turn: OpenTurn, book: TaskBook, record: Collected) -> Done:
        """Store the data from a task's sources."""
        key = keys.fetched(book.run.run_id, book.key)
        if book.state == ACCEPTED and turn.store.get(key) is None:
            sources: dict[str, Json] = {
                each.source: {
                    "items": len(each.items),
                    "error": None if each.error is None else str(each.error),
                }
                for each in record.fetched
            }
            turn.store.put(key, dump_fetched(self._codec, record.fetched))
            self._append(turn, book, "collected", {"sources": sources})
        return Done()

    def note(self, turn: OpenTurn, book: TaskBook, record: Note) -> Done:
        """Append an event for a note, unless the task has one."""
        data = self._codec.normal(record.data)
        if book.state == ACCEPTED:
            self._load_events(turn, book)
            if self._mark(record.kind, data) not in book.noted:
                self._append(turn, book, record.kind, data)
        return Done()

    def finish(self, turn: OpenTurn, book: TaskBook, record: Finish) -> Report:
        """End a task. Return the stored report, which is the first one."""
        name = (book.run.run_id, book.key)
        if book.state != ACCEPTED:
            return self._report(turn, *name)
        account = Account()
        for rows in book.attempts.values():
            for row in rows.values():
                account.add(row)
        # The report of a cancelled pipeline omits the calls that were in flight, although they are billed.
        planned = max(record.report.calls.planned, sum(map(bool, book.attempts.values())))
        reused = record.report.calls.reused
        calls = replace(account.call_counts, planned=planned, reused=reused)
        report = replace(record.report, calls=calls, usage=account.usage)
        turn.store.put(keys.report(*name), dump_report(self._codec, report))
        self._end(turn, book, report)
        totals = book.run.totals
        totals.tasks[report.state.value] += 1
        totals.account.counts["planned"] += planned
        totals.account.counts["reused"] += reused
        return report

    def reopen(self, turn: OpenTurn, book: TaskBook, record: Reopen) -> Done:
        """Undo the end of a task that the record names."""
        name = (book.run.run_id, book.key)
        view = self._view(turn, *name)
        if view.state == ACCEPTED or view.ended_at != record.ended_at:
            return Done()
        calls, totals = self._report(turn, *name).calls, book.run.totals
        totals.tasks[view.state] -= 1
        totals.account.counts["planned"] -= calls.planned
        totals.account.counts["reused"] -= calls.reused
        self._restore_calls(turn, book)
        self._drop_gaps(turn, *name)
        turn.drop(keys.report(*name))
        self._move(turn, book.run.run_id, view, replace(view, state=ACCEPTED, ended_at=None))
        self._append(turn, book, REOPENED, {"state": view.state})
        del self._books[name]  # the cached task has the ended state
        return Done()

    # ---- shared steps ------------------------------------------------------------------------------------

    def _known(self, turn: OpenTurn, run: RunBook, view: TaskView) -> Accepted:
        """Return the progress of a task that was accepted before."""
        name = (run.run_id, view.key)
        if view.state != ACCEPTED:
            return Accepted(view.key, False, view.accepted_at, self._report(turn, *name))
        fetched = turn.store.get(keys.fetched(*name))
        calls_at = keys.calls(*name)
        answered: dict[str, Mapping[str, Json]] = {}
        paid: dict[str, Usage] = {}
        for key, data in scan_all(turn.store, *range_of(calls_at)):
            row, values = load_attempt(self._codec, data)
            call, _ = keys.attempt_of(calls_at, key)
            if row.billed:
                paid[call] = paid.get(call, Usage()) + row.usage
            if values is not None:
                answered[call] = values
        return Accepted(
            view.key,
            False,
            view.accepted_at,
            fetched=None if fetched is None else load_fetched(self._codec, fetched),
            answers={call: Answer(values, paid.get(call, Usage())) for call, values in answered.items()},
            age_s=max(0.0, turn.now - view.accepted_at),  # the clock may have been set back since
        )

    def _end(self, turn: OpenTurn, book: TaskBook, report: Report) -> None:
        """Move a task to the state of its report, and drop the data about its calls unless it is kept."""
        name = (book.run.run_id, book.key)
        before = self._view(turn, *name)
        view = replace(before, state=report.state.value, ended_at=turn.now)
        self._move(turn, book.run.run_id, before, view)
        self._append(turn, book, "ended", {"state": view.state})
        turn.store.put(keys.account(*name), dump_account(self._codec, book.attempts))
        if not self._keeps_calls(book.run):
            turn.store.delete(*range_of(book.calls_at))
            turn.drop(keys.fetched(*name))
        del self._books[name]

    def _move(self, turn: OpenTurn, run_id: str, before: TaskView, after: TaskView) -> None:
        """Store a task in another state, and list it there."""
        turn.store.put(keys.task(run_id, after.key), dump_task(self._codec, after))
        for key in _listings(run_id, before):
            turn.drop(key)
        _list(turn, run_id, after)

    def _restore_calls(self, turn: OpenTurn, book: TaskBook) -> None:
        """Write the attempts of an ended task as separate rows again, with the stored answers."""
        turn.settle()  # else a pending change of the account would write it again after this
        for call, rows in book.attempts.items():
            for attempt, row in rows.items():
                at = keys.attempt(book.calls_at, call, attempt)
                kept = turn.store.get(at)  # it lacks the changes after the end
                values = None if kept is None else load_attempt(self._codec, kept)[1]
                turn.store.put(at, dump_attempt(self._codec, row, values))
        turn.drop(keys.account(book.run.run_id, book.key))

    def _drop_gaps(self, turn: OpenTurn, run_id: str, key: str) -> None:
        """Drop the data from the sources if one of them failed or returned nothing, so that all are asked."""
        at = keys.fetched(run_id, key)
        data = turn.store.get(at)
        if data is not None and not all(
            one.items and one.error is None for one in load_fetched(self._codec, data)
        ):
            turn.drop(at)

    def _view(self, turn: OpenTurn, run_id: str, key: str) -> TaskView:
        row = turn.store.get(keys.task(run_id, key))
        if row is None:
            raise InvariantError(f"task {key} of run {run_id} has no row")
        return load_task(self._codec, row)

    def _keeps_calls(self, run: RunBook) -> bool:
        if self._keep == "auto":
            return run.totals.tasks[ACCEPTED] <= AUTO_KEEPS_CALLS_OF
        return self._keep == "calls"

    def _report(self, turn: OpenTurn, run_id: str, key: str) -> Report:
        data = turn.store.get(keys.report(run_id, key))
        if data is None:
            raise InvariantError(f"task {key} of run {run_id} has ended and has no report")
        return load_report(self._codec, data)

    def _append(self, turn: OpenTurn, book: TaskBook, kind: str, data: Mapping[str, Json]) -> None:
        """Append an event to those of the task and of the run."""
        self._load_events(turn, book)
        run = book.run
        run.totals.events += 1
        number = book.last_event = (book.last_event or 0) + 1
        event = LoggedEvent(run.totals.events, number, book.key, turn.now, kind, data)
        turn.store.put(keys.event(run.run_id, event.id), dump_event(self._codec, event))
        turn.store.put(keys.task_event(run.run_id, book.key, number), keys.number(event.id))
        if book.group:
            count_in_group(turn, run.run_id, book.group, event)
        book.noted.add(self._mark(kind, data))
        turn.change(run)
        turn.touch(run.run_id, book.key)

    def _mark(self, kind: str, data: Mapping[str, Json]) -> bytes:
        return self._codec.dumps([kind, data])

    # ---- loading -----------------------------------------------------------------------------------------

    def _load(self, turn: OpenTurn, run: RunBook, view: TaskView) -> TaskBook:
        self.loads += 1
        name = (run.run_id, view.key)
        book = TaskBook(run, view, keys.calls(*name))
        if view.state != ACCEPTED:
            account = turn.store.get(keys.account(*name))
            book.attempts = {} if account is None else load_account(self._codec, account)
        else:
            for key, data in scan_all(turn.store, *range_of(book.calls_at)):
                call, attempt = keys.attempt_of(book.calls_at, key)
                row, values = load_attempt(self._codec, data)
                book.attempts.setdefault(call, {})[attempt] = row
                if values is not None:
                    book.answers[call] = attempt
        self._books[name] = book
        return book

    def _load_events(self, turn: OpenTurn, book: TaskBook) -> None:
        if book.last_event is not None:
            return
        run_id = book.run.run_id
        book.last_event = 0
        for _, event_id in scan_all(turn.store, *range_of(keys.task_event(run_id, book.key))):
            data = turn.store.get(b"".join((keys.event(run_id), event_id)))
            if data is None:
                raise InvariantError(f"event {int.from_bytes(event_id, 'big')} of run {run_id} is missing")
            event = load_event(self._codec, data)
            book.last_event = event.task_id
            if event.kind == REOPENED:
                book.noted.clear()  # the same events may occur again after the reopening
            book.noted.add(self._mark(event.kind, event.data))


def _listings(run_id: str, view: TaskView) -> tuple[bytes, ...]:
    """Return the keys that list a task under its state: among all tasks and among its tenant's."""
    among_all, owner = keys.state(run_id, view.state, view.ordinal), tenant_of(view.key)
    if owner is None:
        return (among_all,)
    return among_all, keys.state_of_tenant(run_id, owner, view.state, view.ordinal)


def _list(turn: OpenTurn, run_id: str, view: TaskView) -> None:
    for key in _listings(run_id, view):
        turn.store.put(key, view.key.encode("utf-8", "surrogatepass"))
