"""The verdict over a run: each promise is found broken where it is."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec import structs

from actors.core.messages.journal import AttemptView, LoggedEvent, ReceiptLine, RunView, Spent, TaskTally
from actors.core.messages.values import CallCounts, Usage
from cluster.chaos.verdict import Evidence, checks
from simulators.ledger import LedgerEntry, Phase


def line(key, finding="nonce:1", overall=0.5):
    return {
        "key": key,
        "state": "succeeded",
        "overall": overall,
        "dimensions": [{"name": "quality", "finding": f"{finding} {key}"}],
        "sources": {},
    }


def attempt(call, number=1, outcome="answered", *, billed=True, **more):
    more.setdefault("in_doubt", outcome is None)
    return AttemptView(call, number, number, "sim", 0.0, 1.0, outcome, "", billed, Usage(1, 1), **more)


def entry(key, *, billed=1, seq=0):
    return LedgerEntry(seq, 0.0, 1.0, key, 1, Phase.SENT, 200, None, 1, 1, billed, 1, None, False, "")


def event(number, task, kind, task_id):
    return LoggedEvent(number, task_id, task, 0.0, kind, {})


def sound(**changes):
    tally = TaskTally(accepted=2, succeeded=2)
    receipt = (ReceiptLine("main", "m", "evaluate", 2, Usage(2, 2)),)
    spent = Spent(CallCounts(planned=2, billed=2), Usage(2, 2), lines=receipt)
    lines = {key: line(key) for key in ("t1", "t2")}
    found = Evidence(
        results=lines,
        reference=dict(lines),
        repeated=(),
        run=RunView("r", "n", "succeeded", 0.0, 1.0, tally, spent, {}, {}, {}),
        attempts={"t1": [attempt("a")], "t2": [attempt("b")]},
        events=[
            event(1, "t1", "accepted", 1),
            event(2, "t2", "accepted", 1),
            event(3, "t1", "ended", 2),
            event(4, "t2", "ended", 2),
        ],
        ledger=[entry("a"), entry("b")],
        honours_keys=True,
        fired={"killed client": 1},
        planned={"killed client": 1},
        faults={"status": 3},
        planned_faults=["status"],
    )
    return dataclasses.replace(found, **changes)


def broken(found):
    return [check.name for check in checks(found) if not check.holds]


def test_a_sound_run_has_no_promise_broken():
    assert broken(sound()) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"results": {"t1": line("t1")}}, "no task is lost"),
        ({"repeated": ["t1"]}, "every task ends exactly once"),
        (
            {"events": [*sound().events, event(5, "t1", "ended", 3)]},
            "every task ends exactly once",
        ),
        (
            {"results": {"t1": line("t1"), "t2": line("t2", overall=0.1)}},
            "reports equal those of an undisturbed run",
        ),
        ({"ledger": [entry("a"), entry("a"), entry("b")]}, "no call is billed beyond its bound"),
        ({"ledger": [entry("a"), entry("a"), entry("b")]}, "where keys are honoured each is billed once"),
        ({"ledger": [entry("a")]}, "our books agree with the endpoint's"),
        ({"ledger": [entry("a"), entry("b"), entry("c")]}, "our books agree with the endpoint's"),
        (
            {"run": structs.replace(sound().run, spent=Spent(CallCounts(billed=2), Usage(2, 2)))},
            "the lines of the receipt add up",
        ),
        (
            {"results": {key: {**line("t1"), "key": key} for key in ("t1", "t2")}},
            "every answer is that to its own question",
        ),
        ({"events": sound().events[:-1]}, "every task ends exactly once"),
        (
            {"events": [structs.replace(it, id=it.id + (it.id > 2)) for it in sound().events]},
            "the event log has no gap and no repetition",
        ),
        ({"fired": {}}, "everything planned did happen"),
        ({"faults": {}}, "everything planned did happen"),
    ],
)
def test_a_broken_promise_is_found(changes, name):
    assert name in broken(sound(**changes))


def test_an_attempt_in_doubt_may_have_been_billed():
    twice = [entry("a"), entry("a", seq=1), entry("b")]
    doubt = {"t1": [attempt("a"), attempt("a", 2, None, billed=False)], "t2": [attempt("b")]}
    assert broken(sound(ledger=twice, attempts=doubt, honours_keys=False)) == []


def test_an_attempt_that_was_given_up_and_answered_is_billed_and_was_in_doubt():
    twice = [entry("a"), entry("a", seq=1), entry("b")]
    both = {"t1": [attempt("a", in_doubt=True), attempt("a", 2)], "t2": [attempt("b")]}
    assert broken(sound(ledger=twice, attempts=both, honours_keys=False)) == []


@pytest.mark.parametrize(
    ("is_hedge", "problems"), [(True, []), (False, ["no call is billed beyond its bound"])]
)
def test_a_hedged_call_may_be_billed_once_more(is_hedge, problems):
    twice = [entry("a"), entry("a", seq=1), entry("b")]
    both = {"t1": [attempt("a"), attempt("a", 2, is_hedge=is_hedge)], "t2": [attempt("b")]}
    assert broken(sound(ledger=twice, attempts=both, honours_keys=False)) == problems


def test_a_corrected_question_is_one_of_the_same_call_and_its_answer_another():
    asked = {"t1": [attempt("a", 1, "unusable"), attempt("a", 2)], "t2": [attempt("b")]}
    ledger = [entry("a"), entry("a.1"), entry("b")]
    results = {"t1": line("t1", overall=0.9), "t2": line("t2")}
    assert broken(sound(ledger=ledger, attempts=asked, results=results)) == []
