"""Which attempts are cleared, which answers stand, and what they come to."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.journal.batch import NotStorableError
from actors.core.journal.reads import read_attempts, read_spent
from actors.core.journal.turn import Totals
from actors.core.messages.attempts import Held
from actors.core.messages.journal import Answer, Cleared, Finish, ReadRun, ReadSpent, ReadTask, Spent
from actors.core.messages.values import CallCounts, Done, Usage
from tests.unit.support.journal_desk import RUN, Desk, PlainJson, intent, outcome, report, sums

ONE = Usage(10, 5, 0.25)


@pytest.fixture
def desk():
    desk = Desk(keep="reports")
    desk.open()
    desk.accept("t1")
    return desk


def counts(desk):
    return desk.tell(ReadSpent(RUN)).counts


def attempts(desk, task="t1"):
    return read_attempts(desk.store, PlainJson(), RUN, task)


def test_an_intent_is_cleared_and_in_doubt_until_its_end_is_told(desk):
    assert desk.tell(intent(1)) == Cleared()
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(CallCounts(in_doubt=1), Usage())
    assert desk.tell(outcome(1)) == Done()
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(CallCounts(billed=1), ONE)


def test_an_intent_or_an_outcome_told_again_changes_nothing(desk):
    desk.tell_all(intent(1), intent(1), outcome(1), outcome(1), outcome(1, kind=FailureKind.REFUSED))
    before = dict(desk.store.rows)
    desk.begin("2")
    desk.tell_all(intent(1), outcome(1))
    del desk.store.rows[b"wr1\0\x01"], before[b"wr1\0\x01"]
    assert desk.store.rows == before


def test_a_call_with_an_answer_is_not_sent_again(desk):
    desk.tell_all(intent(1), outcome(1, {"q": 1}))
    assert desk.tell(intent(2)) == Answer({"q": 1}, ONE)
    desk.begin("2")
    assert desk.tell(intent(3)) == Answer({"q": 1}, ONE)
    assert len(attempts(desk)) == 1


def test_the_first_answer_stands_and_a_later_one_is_paid_for(desk):
    desk.tell_all(intent(1), intent(2), outcome(2, {"q": 2}), outcome(1, {"q": 1}))
    assert desk.tell(intent(3)).values == {"q": 2}
    assert desk.accept("t1")[0].answers["k1"].values == {"q": 2}
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(CallCounts(billed=2, in_doubt=1), ONE + ONE)


def test_a_task_that_is_accepted_again_learns_what_each_answer_cost_in_all_attempts(desk):
    desk.tell_all(intent(1), outcome(1, kind=FailureKind.UNUSABLE), intent(2), outcome(2, {"q": 2}))
    desk.tell_all(intent(3, "k2"), outcome(3, kind=FailureKind.REFUSED, call="k2"))
    assert desk.accept("t1")[0].answers == {"k1": Answer({"q": 2}, ONE + ONE)}


def test_equal_calls_share_an_answer_where_they_name_their_content(desk):
    desk.open("r2")
    desk.accept("t1", run_id="r2")
    desk.tell_all(intent(1, content="same"), outcome(1, {"q": 1}, content="same"))
    assert desk.tell(intent(1, content="same", run_id="r2")) == Answer({"q": 1}, ONE)
    assert desk.tell(intent(1, content="same", run_id="r2")) == Answer({"q": 1}, ONE)
    assert desk.tell(intent(1, "k2", content="other", run_id="r2")) == Cleared()
    assert sums(desk.tell(ReadSpent("r2"))) == Spent(CallCounts(in_doubt=1), Usage())
    views = read_attempts(desk.store, PlainJson(), "r2", "t1")
    assert [(view.outcome, view.billed, view.usage) for view in views] == [
        ("reused", False, ONE),
        (None, False, Usage()),
    ]
    # In the second run it cost nothing.
    assert desk.accept("t1", run_id="r2")[0].answers == {"k1": Answer({"q": 1}, Usage())}


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (FailureKind.REFUSED, True, CallCounts(refused=1)),
        (FailureKind.TRANSIENT, True, CallCounts(failed=1)),
        (FailureKind.PERMANENT, True, CallCounts(failed=1)),
        (FailureKind.TRANSIENT, False, CallCounts()),
        (FailureKind.IN_DOUBT, True, CallCounts(in_doubt=1)),
        (FailureKind.CANCELLED, True, CallCounts(in_doubt=1)),
        (FailureKind.CANCELLED, False, CallCounts()),
        (FailureKind.DEADLINE, False, CallCounts()),
        (FailureKind.UNUSABLE, True, CallCounts(billed=1, unusable=1)),
    ],
)
def test_an_attempt_counts_as_what_became_of_it(desk, kind, sent, expected):
    desk.tell_all(intent(1), outcome(1, kind=kind, sent=sent))
    assert counts(desk) == expected
    assert desk.tell(intent(2)) == Cleared()
    view = attempts(desk)[0]
    assert (view.outcome, view.message, view.billed) == (kind, f"it was {kind}", bool(expected.billed))


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_a_repeated_answer_is_billed_once_in_whatever_order_it_is_told(desk, order):
    """The endpoint billed the first, which was given up, and repeated its answer to the two others."""
    desk.tell_all(*(intent(attempt, number=attempt) for attempt in (1, 2, 3)))
    for attempt in order:
        desk.tell(outcome(attempt, {"by": attempt}, replayed=attempt > 1))
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(CallCounts(billed=1, in_doubt=1), ONE)
    assert [view.billed for view in attempts(desk)] == [True, False, False]
    assert desk.accept("t1")[0].answers["k1"].values == {"by": order[0]}


def test_a_repeated_answer_stands_in_for_one_that_nobody_heard(desk):
    desk.tell_all(intent(1), outcome(1, kind=FailureKind.IN_DOUBT), intent(2), outcome(2, replayed=True))
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(CallCounts(billed=1, in_doubt=1), ONE)


def test_the_receipt_divides_the_answers_by_endpoint_model_and_form(desk):
    used = Usage(100, 50, 0.5, 60, 20, 30)
    asked = [("k1", "a", "first"), ("k2", "a", "first"), ("k3", "a", "second"), ("k4", "b", "second")]
    for attempt, (call, model, form) in enumerate(asked):
        ended = replace(outcome(attempt, call=call, usage=used), model=model, form=form)
        desk.tell_all(intent(attempt, call), ended)
    desk.tell_all(intent(9, "k5"), outcome(9, call="k5", kind=FailureKind.REFUSED))
    found = desk.tell(ReadSpent(RUN)).lines
    assert [(line.endpoint, line.model, line.form, line.calls) for line in found] == [
        ("main", "a", "first", 2),
        ("main", "a", "second", 1),
        ("main", "b", "second", 1),
    ]
    assert found[0].usage == used + used
    desk.begin("2")  # another life of the journal reads it from the store
    assert desk.tell(ReadSpent(RUN)).lines == found


def test_a_corrected_question_is_billed_beside_the_first(desk):
    unusable = FailureKind.UNUSABLE
    desk.tell_all(
        intent(1), outcome(1, kind=unusable),
        intent(2, key="k1.1"), outcome(2, kind=unusable, replayed=True),
        intent(3, key="k1.1"), outcome(3, replayed=True),
    )  # fmt: skip
    assert counts(desk) == CallCounts(billed=2, unusable=2)


def test_a_report_counts_all_attempts_and_keeps_what_only_its_maker_knows(desk):
    desk.tell_all(
        intent(1), outcome(1, kind=FailureKind.REFUSED), intent(2), outcome(2),
        intent(3, "k2"), intent(4, "k3"), outcome(4, call="k3"),
    )  # fmt: skip
    ended = desk.tell(Finish(RUN, report(planned=4, reused=1)))
    assert ended.calls == CallCounts(planned=4, reused=1, billed=2, refused=1, in_doubt=1)
    assert ended.usage == ONE + ONE
    assert counts(desk) == ended.calls
    assert desk.tell(ReadRun(RUN)).spent.counts == ended.calls


def test_what_is_told_after_the_report_is_counted_and_changes_no_report(desk):
    desk.tell_all(intent(1), intent(2, "k2"))
    ended = desk.tell(Finish(RUN, report()))
    for life in "23":
        desk.tell_all(outcome(1), outcome(1), outcome(2, None, FailureKind.REFUSED, "k2"))
        desk.begin(life)
    assert desk.tell(ReadTask(RUN, "t1"))[1] == ended
    assert counts(desk) == CallCounts(planned=2, billed=1, refused=1)
    assert [(view.outcome, view.billed) for view in attempts(desk)] == [
        ("answered", True),
        ("refused", False),
    ]
    assert "c" not in desk.store.kinds()


def test_an_outcome_whose_intent_nobody_knows_is_counted(desk):
    assert desk.tell(outcome(7)) == Done()
    assert counts(desk) == CallCounts(billed=1)
    assert desk.tell(intent(8)).values == {"quality": 0.5}


def test_an_answer_that_no_document_can_hold_is_refused_and_stays_in_doubt(desk):
    replies = desk.tell_all(intent(1), outcome(1, {"q": {1}}), intent(1))
    assert isinstance(replies[1], NotStorableError)
    assert replies[2] == Cleared()
    assert counts(desk) == CallCounts(in_doubt=1)


def test_an_answer_whose_usage_is_not_reported_is_charged_the_estimate_of_its_intent(desk):
    """A later dispatcher learns from these sums what is left of the budget."""
    estimate = Usage(20, 30, 1.5)
    told = [intent(1, estimate=estimate), outcome(1, kind=FailureKind.UNUSABLE, usage=Usage())]
    told += [intent(2, estimate=estimate), outcome(2, usage=Usage(25, 0, 0.0), unmetered=True)]
    desk.tell_all(*told)
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(
        CallCounts(billed=2, unusable=1, estimated=2), estimate + Usage(25, 30, 1.5)
    )
    assert desk.tell(intent(3)) == Answer({"quality": 0.5}, Usage(25, 30, 1.5))
    assert [view.usage for view in attempts(desk)] == [estimate, Usage(25, 30, 1.5)]


def test_what_is_in_doubt_counts_at_its_estimate_until_its_end_is_known(desk):
    estimate = Usage(20, 30, 1.5)
    desk.tell_all(intent(1, estimate=estimate), intent(2, estimate=estimate), intent(3, estimate=estimate))
    desk.tell_all(outcome(1, kind=FailureKind.IN_DOUBT), outcome(2, kind=FailureKind.REFUSED))
    for life in "23":
        assert desk.tell(ReadSpent(RUN)).in_doubt == estimate + estimate
        assert [view.usage for view in attempts(desk)] == [Usage()] * 3
        desk.begin(life)
    desk.tell(outcome(3))
    assert sums(desk.tell(ReadSpent(RUN))) == Spent(
        CallCounts(billed=1, in_doubt=1, refused=1), ONE, in_doubt=estimate
    )


def held(attempt, call="k1", task="t1", run_id=RUN):
    return Held(attempt, call, "main", 1, Usage(), task, run_id)


def test_what_a_dispatcher_holds_is_counted_by_it_or_by_the_journal_and_not_by_both(desk):
    estimate = Usage(20, 30, 1.5)
    desk.accept("t2")
    desk.tell_all(intent(1, estimate=estimate), intent(2, "k2", estimate=estimate))
    desk.tell_all(intent(3, "k3", "t2", estimate=estimate), outcome(3, call="k3", task="t2"))
    desk.tell_all(outcome(2, call="k2"), Finish(RUN, report("t2")))
    mine = (held(1), held(2, "k2"), held(3, "k3", "t2"), held(4, "k4"), held(5, task="t9", run_id="r2"))
    spent = desk.tell(ReadSpent(RUN, mine))
    assert sums(spent) == Spent(CallCounts(planned=1, billed=2, in_doubt=1), ONE + ONE, Usage(), (2, 3))
    assert desk.tell(ReadSpent(RUN)).in_doubt == estimate


@pytest.mark.parametrize("fate", ["ends", "begins"])
def test_what_changes_while_it_is_read_is_counted_twice_rather_than_by_nobody(desk, fate):
    estimate = Usage(20, 30, 1.5)
    if fate == "ends":
        desk.tell(intent(1, estimate=estimate))

    class Moving:
        """A store that another turn is committed to between two reads."""

        reads = 0

        def get(self, key):
            self.reads += 1
            found = desk.store.get(key)
            if self.reads == 3 - (fate == "ends"):  # after the first read of the attempt, or of the counts
                desk.tell(outcome(1) if fate == "ends" else intent(1, estimate=estimate))
            return found

    spent = read_spent(Moving(), PlainJson(), ReadSpent(RUN, (held(1),)))
    assert spent.ended == ()
    if fate == "ends":
        assert (spent.usage, spent.in_doubt) == (Usage(), estimate)
    else:
        assert (spent.usage, spent.in_doubt) == (Usage(), Usage())


def test_counts_of_the_first_stores_are_read():
    """As commit c214ec8 wrote them: no estimate of what is in doubt."""
    counts = {"planned": 3, "billed": 2, "in_doubt": 1}
    stored = PlainJson.dumps([{"accepted": 1}, 5, counts, [10, 5, 0.25]])
    totals = Totals.load(PlainJson(), stored)
    assert totals.spent == Spent(CallCounts(planned=3, billed=2, in_doubt=1), ONE)
    assert Totals.load(PlainJson(), totals.dump(PlainJson())).spent == totals.spent


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("has_ended", [False, True])
def test_an_attempt_that_was_given_up_and_answered_is_billed_and_was_in_doubt(desk, first, has_ended):
    """A client that froze across a dispatcher's restart: its call was asked again, and both were paid for."""
    desk.tell_all(intent(1), intent(2, number=2))
    desk.tell(outcome(first))
    if has_ended:
        desk.tell(Finish(RUN, report()))
        desk.begin("2")
    desk.tell(outcome(3 - first))
    assert replace(counts(desk), planned=0) == CallCounts(billed=2, in_doubt=1)
    assert [(view.billed, view.in_doubt) for view in attempts(desk)] == [(True, True), (True, False)]
    assert desk.tell(ReadSpent(RUN)).in_doubt == Usage()


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (FailureKind.CANCELLED, False, CallCounts()),
        (FailureKind.REFUSED, True, CallCounts(refused=1)),
        (FailureKind.IN_DOUBT, True, CallCounts(in_doubt=1)),
        (FailureKind.UNUSABLE, True, CallCounts(billed=1, unusable=1, in_doubt=1)),
    ],
)
def test_an_attempt_that_was_given_up_counts_once_where_it_was_not_answered(desk, kind, sent, expected):
    desk.tell_all(intent(1), intent(2, number=2), outcome(1, kind=kind, sent=sent), outcome(2))
    assert counts(desk) == expected + CallCounts(billed=1)


def test_a_repeated_answer_to_an_attempt_that_was_given_up_is_not_in_doubt(desk):
    desk.tell_all(intent(1), intent(2, number=2), outcome(2), outcome(1, replayed=True))
    assert counts(desk) == CallCounts(billed=1)


def test_a_hedge_gives_up_nothing_and_is_given_up_with_the_other(desk):
    desk.tell_all(intent(1), intent(2, number=2, is_hedge=True), outcome(1), outcome(2))
    assert counts(desk) == CallCounts(billed=2)
    assert [view.is_hedge for view in attempts(desk)] == [False, True]
    desk.tell_all(intent(3, "k2"), intent(4, "k2", number=2, is_hedge=True), intent(5, "k2", number=3))
    desk.tell_all(*(outcome(each, call="k2") for each in (3, 4, 5)))
    assert counts(desk) == CallCounts(billed=5, in_doubt=2)


def test_attempts_are_read_in_the_order_in_which_they_began(desk):
    desk.tell(intent(9, "k2"))
    desk.tell(intent(3, "k1"))
    desk.tell(intent(5, "k2", number=2))
    assert [(view.call_key, view.attempt) for view in attempts(desk)] == [("k2", 9), ("k1", 3), ("k2", 5)]
    desk.tell(Finish(RUN, report()))
    assert [(view.call_key, view.attempt) for view in attempts(desk)] == [("k2", 9), ("k1", 3), ("k2", 5)]


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.IN_DOUBT, FailureKind.TRANSIENT])
def test_many_attempts_at_a_call_that_ended_alike_take_few_rows_and_are_all_counted(desk, kind):
    for attempt in range(1, 101):
        desk.tell_all(intent(attempt, estimate=ONE), outcome(attempt, kind=kind))
    told_again = outcome(50, kind=kind)
    before = counts(desk)
    desk.tell(told_again)
    assert counts(desk) == before
    assert sum((before.refused, before.in_doubt, before.failed)) == 100
    assert len(attempts(desk)) == 8
    assert sum(attempt.repeats for attempt in attempts(desk)) == 100
    desk.begin("2")  # the rows are read from the store
    desk.tell_all(intent(101), outcome(101, {"q": 1}))
    made = desk.tell(Finish(RUN, report())).calls
    assert replace(made, planned=0, billed=0) == before
    assert sum(attempt.repeats for attempt in attempts(desk)) == 101
    if kind is FailureKind.IN_DOUBT:
        assert desk.tell(ReadSpent(RUN)).in_doubt.tokens == 100 * ONE.tokens
