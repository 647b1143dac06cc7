"""A dispatcher that begins anew takes over what its clients have in flight, and what the run has spent."""

from __future__ import annotations

import random

import pytest

from actors.core.dispatch.events import (
    AttemptDone,
    CallOffered,
    ClientBegan,
    Lost,
    SpentBefore,
    TaskCancelled,
    Tell,
)
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.attempts import Abort, AttemptEnded, Held, Refusal
from actors.core.messages.values import CallCounts, Usage
from tests.unit.support.dispatch_desk import NOW, REFUSED, TRANSIENT, Desk, call

HELD = Held(id=7, call_key="k1", endpoint="main", number=3, estimate=Usage(0, 100, 100.0))


def took_over(*held, **more):
    desk = Desk(clients=(), **more)
    desk.happen(ClientBegan("c1", held))
    return desk


def answered(attempt):
    return AttemptDone(AttemptEnded(attempt, {"quality": 1.0}, usage=Usage(1, 2), took_s=0.5))


def test_a_call_that_is_in_flight_already_is_not_sent_again_and_its_answer_completes_it():
    desk = took_over(HELD)
    desk.offer(call("k1"))
    assert desk.attempts == []
    desk.happen(answered(7))
    assert desk.completions["k1"].values == {"quality": 1.0}
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1)


def test_what_is_in_flight_already_takes_its_slot():
    desk = took_over(HELD, slots=2)
    desk.offer(call("k2"), call("k3"))
    assert desk.keys == ["k2"]
    assert desk.known.endpoints[0].limiter.in_flight == 2


def test_an_attempt_that_ends_before_its_call_is_offered_frees_its_slot_and_the_call_is_asked():
    desk = took_over(HELD, slots=1)
    desk.happen(answered(7))
    assert desk.known.sent == 0
    desk.offer(call("k1"))
    assert desk.keys == ["k1"]  # the client finds the answer with the journal


def test_an_adopted_attempt_that_fails_is_tried_again():
    desk = took_over(HELD)
    desk.offer(call("k1"))
    desk.happen(Lost(7, may_have_run=True))
    desk.wait(1.0)
    assert desk.keys == ["k1"]
    assert desk.attempts[0][1].number == 4
    desk.end(0)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, in_doubt=1)


def test_a_call_whose_first_turn_was_elsewhere_waits_for_room_where_the_queue_is_full():
    desk = took_over(HELD, slots=1, max_queued=1)
    desk.offer(call("k1"), call("k2"))
    desk.happen(Lost(7, may_have_run=False))
    desk.wait(30.0)
    assert "k2" in desk.keys
    desk.end("k2")
    desk.wait(3.0)
    desk.end("k1")
    assert desk.completions.keys() == {"k1", "k2"}


def test_an_adopted_attempt_of_a_cancelled_task_is_aborted():
    desk = took_over(HELD)
    desk.offer(call("k1"))
    desk.happen(TaskCancelled("t1"))
    assert ("c1", Abort((7,))) in desk.told


def test_an_attempt_at_an_endpoint_that_is_no_more_is_left_alone():
    desk = took_over(Held(8, "k1", "gone", 1, Usage(0, 10)))
    desk.offer(call("k1"))
    assert desk.keys == ["k1"]


def test_the_same_attempt_told_twice_is_counted_once():
    desk = took_over(HELD)
    desk.happen(ClientBegan("c1", (HELD,)))
    assert desk.known.sent == 1


# ---- a client that tells late what it holds --------------------------------------------------------------


def late(*calls, **more):
    """Return a desk with a client that begins, and another that tells late what it holds."""
    desk = Desk(clients=("c2",), **more)
    desk.offer(*calls)
    return desk


def test_a_queued_call_that_a_late_client_has_in_flight_is_not_asked_again():
    desk = late(call("k0"), call("k1"), slots=1)
    assert desk.keys == ["k0"]
    desk.happen(ClientBegan("c1", (HELD,)))
    desk.end("k0")
    desk.wait(10.0)
    assert desk.keys == ["k0"]
    desk.happen(answered(7))
    assert desk.completions["k1"].values == {"quality": 1.0}


def test_a_call_that_waits_for_another_try_is_not_tried_while_a_late_client_has_it_in_flight():
    desk = late(call("k1"))
    desk.end("k1", TRANSIENT)
    desk.happen(ClientBegan("c1", (HELD,)))
    desk.wait(10.0)
    assert desk.keys == ["k1"]
    desk.happen(Lost(7, may_have_run=True))
    desk.wait(10.0)
    assert desk.keys == ["k1", "k1"]
    assert desk.attempts[1][1].number == 4


def test_a_pause_that_a_late_client_made_needless_does_not_end_the_next_one():
    desk = late(call("k1"))
    desk.step_s = 0.0
    desk.end("k1", REFUSED, wish=1.0, refusal=Refusal.CONCURRENCY)
    desk.happen(ClientBegan("c1", (HELD,)))
    desk.happen(AttemptDone(AttemptEnded(7, error=Failure(REFUSED, Blame.ENDPOINT, "no", 5.0))))
    desk.wait(4.9)
    assert desk.keys == ["k1"]
    desk.wait(2.0)
    assert desk.keys == ["k1", "k1"]


def test_a_call_that_was_asked_again_takes_the_answer_that_a_late_client_brings_and_stops_the_other():
    desk = late(call("k1"))
    desk.happen(ClientBegan("c1", (HELD,)))
    desk.happen(answered(7))
    assert desk.completions["k1"].values == {"quality": 1.0}
    assert ("c2", Abort((desk.attempts[0][1].id,))) in desk.told
    desk.end("k1", FailureKind.CANCELLED)
    assert desk.known.sent == 0


def test_both_attempts_at_a_hedged_call_are_its_own():
    desk = took_over(HELD, Held(8, "k1", "main", 4, Usage(0, 100, 100.0)))
    desk.offer(call("k1"))
    desk.happen(answered(7))
    assert desk.completions["k1"].values == {"quality": 1.0}
    assert ("c1", Abort((8,))) in desk.told


def test_the_invariants_notice_an_attempt_kept_for_nobody():
    desk = took_over(HELD)
    desk.state._in_flight._unclaimed["k9"] = [99]
    with pytest.raises(InvariantError, match="k9"):
        desk.state.check_invariants()


def test_what_is_in_flight_already_is_charged_to_the_budget():
    """A budget of 100 with 100 in flight has nothing left for another call."""
    desk = took_over(HELD, budget_usd=100.0)
    desk.offer(call("k2", tokens=100))
    assert desk.attempts == []
    assert desk.known.binding.startswith("the budget")
    desk.happen(AttemptDone(AttemptEnded(7, {"quality": 1.0}, usage=Usage(0, 100, 100.0))))
    desk.offer(call("k3", tokens=1))
    assert {desk.error(key).kind for key in ("k2", "k3")} == {FailureKind.BUDGET}


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize(("took", "left"), [(40, ["k2"]), (None, [])])
def test_an_adopted_attempt_is_settled_when_it_ends_whether_or_not_its_call_was_offered(claimed, took, left):
    desk = took_over(HELD, budget_usd=150.0)
    if claimed:
        desk.offer(call("k1"))
    desk.offer(call("k2", tokens=100))
    assert desk.attempts == []
    end = None if took is None else AttemptDone(AttemptEnded(7, {}, usage=Usage(0, took, took * 1.0)))
    desk.happen(end or Lost(7, may_have_run=True))
    assert desk.keys == left


@pytest.mark.parametrize(("budget", "keys"), [({"budget_usd": 100.0}, ["k2"]), ({"budget_tokens": 100}, [])])
def test_what_was_spent_and_is_held_counts_against_its_own_kind_of_budget(budget, keys):
    desk = Desk(clients=(), **budget)
    desk.happen(SpentBefore(5.0, 30), ClientBegan("c1", (Held(7, "k1", "main", 1, Usage(0, 40, 5.0)),)))
    desk.offer(call("k2", tokens=90))
    assert desk.keys == keys


def test_an_adopted_attempt_may_be_beyond_the_budget():
    desk = took_over(HELD, Held(8, "k2", "main", 1, Usage(0, 100, 100.0)), budget_usd=100.0)
    desk.offer(call("k3", tokens=1))
    assert desk.attempts == []
    desk.happen(*(AttemptDone(AttemptEnded(it, {}, usage=Usage(0, 100, 100.0))) for it in (7, 8)))
    assert desk.error("k3").kind is FailureKind.BUDGET


def test_an_attempt_that_is_in_the_sum_of_what_was_spent_is_charged_once():
    """It ended after its client had told of it, and before the journal was asked."""
    desk = Desk(clients=(), budget_usd=150.0)
    desk.happen(SpentBefore(50.0, 50, counted=(7,)), ClientBegan("c1", (HELD,)))
    desk.offer(call("k2", tokens=100))
    assert desk.keys == ["k2"]
    desk.happen(AttemptDone(AttemptEnded(7, {}, usage=Usage(0, 50, 50.0))))
    desk.end("k2", tokens=100)
    assert desk.completions["k2"].error is None


def test_what_was_spent_before_counts_against_the_budget():
    rules = EndpointRules("main", LimiterSettings(4, start=4))
    state = DispatchState(DispatchSettings((rules,), budget_tokens=250), now=NOW, rng=random.Random(1))
    out = state.handle(
        [SpentBefore(0.0, 100), ClientBegan("c1"), *(CallOffered(call(f"k{n}")) for n in range(3))], NOW
    )
    asked = [step.message.call_key for step in out if isinstance(step, Tell) and hasattr(step.message, "id")]
    assert asked == ["k0"]


def test_an_answer_that_the_journal_had_is_reused_and_tells_nothing_of_the_endpoint():
    desk = Desk()
    desk.offer(call("k1"))
    desk.happen(AttemptDone(AttemptEnded(desk.attempts[0][1].id, {"quality": 1.0}, reused=True)))
    assert desk.completions["k1"].counts == CallCounts(planned=1, reused=1)
    assert desk.completions["k1"].usage == Usage()
    assert desk.known.endpoints[0].succeeded == 0


def test_a_cancelled_task_of_one_run_leaves_the_same_task_of_another_alone():
    desk = Desk()
    desk.offer(call("k1", run_id="one"), call("k2", run_id="two"))
    desk.happen(TaskCancelled("t1", "one"))
    assert [message for _, message in desk.told if isinstance(message, Abort)] == [
        Abort((desk.attempts[0][1].id,))
    ]
    desk.end("k1", FailureKind.CANCELLED)
    desk.end("k2")
    assert desk.completions["k2"].error is None
