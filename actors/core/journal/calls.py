"""Intents and outcomes of attempts.

Rule 1: a cleared intent counts as in doubt at once. Its outcome replaces that count.
Rule 2: the first answer to a call is kept. Later outcomes are counted, since they may be billed. After the
    end of the task they change the run's counts and the task's attempts, but not the report.
Rule 3: no attempt is cleared for a task that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.errors import InvalidTransitionError, InvariantError
from actors.core.journal import keys
from actors.core.journal.attempts import AttemptRow, bill, dump_attempt, load_attempt
from actors.core.journal.rows import ACCEPTED, dump_answer, load_answer
from actors.core.journal.turn import OpenTurn, TaskBook
from actors.core.limits.attempt_cost import charged
from actors.core.messages.journal import Answer, AttemptOutcome, Cleared, Intent
from actors.core.messages.values import Done, Json, Usage

_MOST_ALIKE = 8  # rows of attempts at one call with the same outcome


def on_intent(turn: OpenTurn, book: TaskBook, record: Intent) -> Cleared | Answer:
    """Clear an attempt, or return the stored answer to its call.

    Raises InvalidTransitionError if the task has ended: the attempt must not be sent.
    """
    call, attempt = record.call_key, record.attempt
    if book.state != ACCEPTED:
        raise InvalidTransitionError(f"task {book.key} of run {book.run.run_id}", book.state, "a call")
    answered = book.answers.get(call)
    if answered is not None:
        return _answer(turn, book, call, answered)
    rows = book.attempts.get(call)
    if rows is None:
        rows = {}
    elif attempt in rows:
        return Cleared()
    row = AttemptRow.begun(record, turn.now)
    known = turn.store.get(keys.content(record.content)) if record.content else None
    answer = None if known is None else load_answer(turn.codec, known)
    if answer is not None:
        row.reuse(answer, turn.now)
        book.answers[call] = attempt
    elif not row.is_hedge:
        _supersede(turn, book, call)
    values = None if answer is None else answer.values
    turn.store.put(keys.attempt(book.calls_at, call, attempt), dump_attempt(turn.codec, row, values))
    rows[attempt] = row
    book.attempts[call] = rows
    book.run.totals.account.add(row)
    turn.change(book.run)
    return Cleared() if answer is None else answer


def on_outcome(turn: OpenTurn, book: TaskBook, record: AttemptOutcome) -> Done:
    """Count the end of an attempt, and keep its answer if it is the first one to the call."""
    call, ended = record.call_key, record.ended
    rows = book.attempts.get(call, {})
    row = rows.get(ended.id)
    if row is not None and row.outcome is not None:
        return Done()  # a repeated record
    if row is None and ended.error is not None and any(other.repeats > 1 for other in rows.values()):
        return Done()  # a repeated record, whose row has been folded
    values = ended.values
    estimate = Usage() if row is None else row.usage
    if values is not None:
        # Before any change: this raises if the values are not a JSON document.
        answer = dump_answer(turn.codec, Answer(values, charged(ended, estimate)))
        if record.content:
            turn.store.put(keys.content(record.content), answer)
    account = book.run.totals.account
    if row is None:
        row = AttemptRow(0, "", "", turn.now)  # it has no intent: only its end is known
        book.attempts.setdefault(call, rows)[ended.id] = row
    else:
        account.remove(row)
    row.end(ended, turn.now)
    if len(rows) > 1:
        _bill_among(turn, book, record, row)
    else:
        bill(row, ())
    account.add(row)
    if row.billed:
        book.run.totals.receipt.enter(row, record)
    turn.change(book.run)
    if book.state != ACCEPTED:
        turn.change_account(keys.account(book.run.run_id, book.key), book)
        return Done()
    _fold(turn, book, call, row)
    is_first = values is not None and call not in book.answers
    if is_first:
        book.answers[call] = ended.id
    stored = dump_attempt(turn.codec, row, values if is_first else None)
    turn.store.put(keys.attempt(book.calls_at, call, ended.id), stored)
    return Done()


def _fold(turn: OpenTurn, book: TaskBook, call: str, row: AttemptRow) -> None:
    """Fold an earlier attempt into `row` if many have the same outcome.

    A day of refusals makes thousands of attempts at one call. The first of them keep separate rows.
    """
    rows = book.attempts[call]
    if len(rows) <= _MOST_ALIKE:
        return
    alike = [attempt for attempt, other in rows.items() if other is not row and other.is_like(row)]
    if len(alike) >= _MOST_ALIKE:
        row.absorb(rows.pop(alike[-1]))
        turn.drop(keys.attempt(book.calls_at, call, alike[-1]))


def _supersede(turn: OpenTurn, book: TaskBook, call: str) -> None:
    """Mark the attempts at `call` whose end is unknown: another attempt is about to be sent."""
    for attempt, row in book.attempts.get(call, {}).items():
        if row.outcome is None and not row.is_superseded:
            row.is_superseded = True
            turn.store.put(keys.attempt(book.calls_at, call, attempt), dump_attempt(turn.codec, row, None))


def _bill_among(turn: OpenTurn, book: TaskBook, record: AttemptOutcome, row: AttemptRow) -> None:
    """Decide whether `row` is billed, given the other attempts at its call. One of them may become free."""
    call = record.call_key
    rows = book.attempts[call]
    replayed = bill(row, (other for other in rows.values() if other is not row))
    if replayed is None:
        return
    account = book.run.totals.account
    account.remove(replayed)
    book.run.totals.receipt.take_back(replayed, record)
    replayed.billed = False
    account.add(replayed)
    if book.state == ACCEPTED:
        attempt = next(attempt for attempt, other in rows.items() if other is replayed)
        key = keys.attempt(book.calls_at, call, attempt)
        _, values = _stored(turn, key)
        turn.store.put(key, dump_attempt(turn.codec, replayed, values))


def _answer(turn: OpenTurn, book: TaskBook, call: str, attempt: int) -> Answer:
    row, values = _stored(turn, keys.attempt(book.calls_at, call, attempt))
    if values is None:
        raise InvariantError(f"call {call} of task {book.key} has no stored answer")
    return Answer(values, row.usage)


def _stored(turn: OpenTurn, key: bytes) -> tuple[AttemptRow, Mapping[str, Json] | None]:
    data = turn.store.get(key)
    if data is None:
        raise InvariantError(f"the attempt at key {key!r} has no row")
    return load_attempt(turn.codec, data)
