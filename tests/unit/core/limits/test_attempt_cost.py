"""How an attempt is counted and charged: dispatcher and journal come to the same, whatever its end."""

from __future__ import annotations

import itertools

import pytest

from actors.core.dispatch.open_call import OpenCall
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.journal.attempts import AttemptRow
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Call, Correction
from actors.core.messages.journal import ReadSpent
from actors.core.messages.values import CallCounts, Usage
from tests.unit.support.journal_desk import RUN, Desk, intent, outcome

TOOK = Usage(10, 5, 0.25)
ESTIMATE = Usage(100, 50, 2.5)
CALL = Call("k1", "evaluate", "prompt", 100, "t1", run_id=RUN)


def end(kind, **more):
    if kind in (None, FailureKind.UNUSABLE):
        more.setdefault("usage", TOOK)
    error = None if kind is None else Failure(kind, Blame.ENDPOINT, f"it was {kind}")
    values = {"quality": 0.5} if kind is None else None
    return AttemptEnded(1, values, error, took_s=0.3, **more)


@pytest.mark.parametrize(
    ("kind", "sent", "is_second", "replayed"),
    [
        (kind, sent, is_second, replayed)
        for kind, sent, is_second, replayed in itertools.product(
            [None, *FailureKind], [True, False], [False, True], [False, True]
        )
        if sent or kind not in (None, FailureKind.UNUSABLE)
        if sent or not is_second
    ],
)
def test_the_dispatcher_and_the_journal_count_an_attempt_alike(kind, sent, is_second, replayed):
    ended = end(kind, sent=sent, is_second=is_second, replayed=replayed)
    record = OpenCall(CALL, 0.0)
    record.account(ended, ESTIMATE)
    desk = Desk()
    desk.open()
    desk.accept("t1")
    desk.tell_all(
        intent(1), outcome(1, ended.values, kind, sent=sent, is_second=is_second, replayed=replayed)
    )
    stored = desk.tell(ReadSpent(RUN))
    assert record.counts == CallCounts(planned=1) + stored.counts
    assert record.usage == stored.usage


@pytest.mark.parametrize("kind", [FailureKind.CANCELLED, FailureKind.TRANSIENT, FailureKind.PERMANENT])
def test_what_was_not_sent_is_not_counted_however_long_it_took(kind):
    record = OpenCall(CALL, 0.0)
    record.account(end(kind, sent=False), ESTIMATE)
    assert record.counts == CallCounts(planned=1)


def test_what_was_sent_and_stopped_at_once_is_in_doubt():
    record = OpenCall(CALL, 0.0)
    record.account(AttemptEnded(1, error=end(FailureKind.CANCELLED).error, took_s=0.0), ESTIMATE)
    assert record.counts == CallCounts(planned=1, in_doubt=1)


def test_a_row_of_the_first_stores_is_read():
    """As commit c214ec8 wrote it: thirteen fields, and neither flags nor whether it was sent."""
    stored = [2, "main", "k1.1", 7.0, 9.0, "answered", "", True, False, 10, 5, 0.25, ""]
    row = AttemptRow.of_list(stored)
    assert row == AttemptRow(2, "main", "k1.1", 7.0, 9.0, "answered", "", True, False, Usage(10, 5, 0.25))
    assert AttemptRow.of_list(row.as_list()) == row


def test_a_row_is_read_as_it_was_stored():
    row = AttemptRow(1, "main", "", 7.0)
    row.end(end(FailureKind.UNUSABLE, is_second=True, correction=Correction("{}", "no")), 9.0)
    assert AttemptRow.of_list(row.as_list()) == row
    assert row.is_second
