"""Where the dispatcher stops: a task is cancelled, time is up, an endpoint is paused, the budget is spent."""

from __future__ import annotations

import pytest

from actors.core.dispatch.events import ClientLeft, Lost, TaskCancelled
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.breaker import BreakerState
from actors.core.messages.attempts import Refusal, SetShare
from actors.core.messages.values import CallCounts, Priority, Usage
from tests.unit.support.dispatch_desk import IN_DOUBT, NOW, REFUSED, TRANSIENT, Desk, call

# ---- cancelling ------------------------------------------------------------------------------------------


def test_a_cancelled_task_ends_what_waits_at_once_and_aborts_what_is_sent():
    desk = Desk(slots=3)
    desk.offer(call("sent"), call("retried"), call("other", task="t2"))
    desk.end("retried", TRANSIENT)
    desk.offer(call("sent too"), call("queued"))
    assert (desk.known.sent, desk.known.waiting, desk.known.queued) == (3, 1, 1)
    desk.told.clear()
    desk.happen(TaskCancelled("t1"))
    assert desk.completions.keys() == {"retried", "queued"}
    assert {each.error.kind for each in desk.completions.values()} == {FailureKind.CANCELLED}
    sent = {attempt.call_key: attempt.id for _, attempt in desk.attempts}
    assert {client for client, _ in desk.told} == {"c1"}
    assert {abort.ids for _, abort in desk.told} == {(sent["sent"],), (sent["sent too"],)}


@pytest.mark.parametrize(
    ("sent", "counts"), [(True, CallCounts(planned=1, in_doubt=1)), (False, CallCounts(planned=1))]
)
def test_an_aborted_attempt_is_in_doubt_only_if_it_was_sent(sent, counts):
    desk = Desk()
    desk.offer(call())
    desk.happen(TaskCancelled("t1"))
    assert not desk.completions
    desk.end(0, FailureKind.CANCELLED, blame=Blame.TASK, sent=sent)
    assert desk.error() == Failure(FailureKind.CANCELLED, Blame.TASK, "the task was cancelled")
    assert desk.completions["k1"].counts == counts


@pytest.mark.parametrize("kind", [TRANSIENT, REFUSED, IN_DOUBT, FailureKind.UNUSABLE])
def test_a_cancelled_call_is_not_tried_again_however_its_attempt_ends(kind):
    desk = Desk()
    desk.offer(call())
    desk.happen(TaskCancelled("t1"))
    desk.end(0, kind)
    desk.wait(100.0)
    assert desk.error().kind is FailureKind.CANCELLED
    assert desk.keys == ["k1"]


def test_an_answer_that_came_before_the_abort_counts():
    desk = Desk()
    desk.offer(call())
    desk.happen(TaskCancelled("t1"))
    desk.end(0)
    assert desk.completions["k1"].values == {"quality": 1.0}


def test_a_task_without_calls_may_be_cancelled():
    desk = Desk()
    desk.happen(TaskCancelled("t9"))
    assert desk.told == [("c1", SetShare("main", 4))]


# ---- deadlines -------------------------------------------------------------------------------------------


def test_a_call_whose_turn_does_not_come_in_time_ends_at_its_deadline():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2", task="t2", expires_in_s=5.0))
    desk.wait(4.9)
    assert "k2" not in desk.completions
    desk.wait(0.1)
    assert desk.error("k2").kind is FailureKind.DEADLINE
    assert desk.completions["k2"].counts == CallCounts(planned=1)
    desk.end(0)
    assert desk.keys == ["k1"]


def test_a_call_with_less_time_than_an_earlier_one_of_its_task_ends_at_its_own_deadline():
    desk = Desk(slots=1)
    desk.offer(call("k0"), call("k1", expires_in_s=600.0))
    desk.offer(call("k2", expires_in_s=5.0))
    desk.wait(5.0)
    assert desk.completions.keys() == {"k2"}
    desk.wait(594.9)
    assert desk.completions.keys() == {"k2"}
    desk.wait(0.1)
    assert desk.completions.keys() == {"k1", "k2"}


@pytest.mark.parametrize("tasks", [1, 200])
def test_calls_that_come_one_by_one_leave_few_alarms_behind(tasks):
    desk = Desk()
    for n in range(200):
        desk.offer(call(f"k{n}", task=f"t{n % tasks}"))
        desk.end(n)
    assert len(desk.state._open._expiries) <= 65


def test_calls_with_less_and_less_time_leave_no_alarm_behind():
    desk = Desk(slots=1)
    desk.offer(call("k0", task="t0"))
    for n in (5, 4, 3, 2, 1):
        desk.offer(call(f"k{n}", expires_in_s=10.0 * n))
    for n in (1, 2, 3, 4, 5):
        desk.wait(10.0)
        assert len(desk.completions) == n
    assert len(desk.state._open._expiries) == 1


def test_a_call_without_time_is_never_sent():
    desk = Desk()
    desk.offer(call(expires_in_s=0.0))
    assert desk.attempts == []
    assert desk.error().kind is FailureKind.DEADLINE


def test_an_answer_that_does_not_fit_is_not_asked_for_again_after_the_deadline():
    desk = Desk(slots=2)
    desk.offer(call("k1", expires_in_s=5.0), call("k2", expires_in_s=600.0))
    desk.wait(5.0)
    desk.end(0, FailureKind.UNUSABLE)
    assert desk.keys == ["k1", "k2"]
    assert desk.error("k1").kind is FailureKind.DEADLINE
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, unusable=1)


def test_a_call_is_not_made_to_wait_for_a_try_that_would_come_too_late():
    desk = Desk()
    desk.offer(call(expires_in_s=5.0))
    desk.end(0, TRANSIENT, wish=10.0)
    assert desk.error().kind is FailureKind.DEADLINE
    assert desk.error().blame is Blame.ENDPOINT
    assert "no time was left for another attempt after: said the test" in desk.error().message


def test_a_refused_call_is_tried_again_before_its_deadline_though_the_endpoint_asked_for_more():
    desk = Desk()
    desk.offer(call(expires_in_s=20.0))
    desk.end(0, REFUSED, wish=3600.0, refusal=Refusal.CONCURRENCY)
    desk.wait(11.0)
    assert desk.keys == ["k1", "k1"]
    desk.end(1, REFUSED, wish=3600.0, refusal=Refusal.CONCURRENCY)
    while not desk.completions:
        desk.wait(1.0)
        if len(desk.known.endpoints) and desk.known.sent:
            desk.end("k1", REFUSED, wish=3600.0, refusal=Refusal.CONCURRENCY)
    assert desk.now == pytest.approx(120.0, abs=1.5)
    assert desk.error().kind is FailureKind.DEADLINE
    assert "no time was left for another attempt after: said the test" in desk.error().message


def test_a_sent_call_ends_by_itself_though_its_deadline_has_passed():
    desk = Desk()
    desk.offer(call(expires_in_s=5.0))
    desk.wait(10.0)
    assert not desk.completions
    desk.end(0)
    assert desk.completions["k1"].values == {"quality": 1.0}


# ---- rates and pauses ------------------------------------------------------------------------------------


def test_a_known_rate_is_kept_by_waking_up_for_each_call():
    desk = Desk(slots=100, rate=60.0)
    desk.offer(*(call(f"k{n}") for n in range(5)))
    assert desk.keys == ["k0"]
    assert desk.known.binding.startswith("main: rate")
    for n in range(1, 5):
        desk.wait(1.2)
        assert len(desk.keys) == n + 1


def test_nobody_is_woken_for_an_endpoint_while_no_client_is_up():
    """An alarm for a moment that has passed would ring a thousand times a second."""
    desk = Desk(slots=100, rate=60.0)
    desk.offer(call("k0"), call("k1"))
    desk.happen(Lost(desk.attempts[0][1].id, True), ClientLeft("c1"))
    desk.wait(60.0)
    assert desk.state.next_wake(desk.now) == NOW + 600.0


def test_what_waits_behind_a_pause_goes_at_its_end_though_the_refused_call_has_given_up():
    desk = Desk(slots=1)
    desk.offer(call("k1", expires_in_s=3.0), call("k2", task="t2"))
    desk.end(0, REFUSED, wish=5.0, refusal=Refusal.REQUESTS)
    desk.wait(3.0)
    assert desk.completions.keys() == {"k1"}
    assert desk.keys == ["k1"]
    desk.wait(2.0)
    assert desk.keys == ["k1", "k2"]


# ---- the budget ------------------------------------------------------------------------------------------


def test_what_the_budget_cannot_pay_for_ends_as_such():
    desk = Desk(budget_tokens=250)
    desk.offer(*(call(f"k{n}", tokens=100) for n in range(2)))
    desk.end(0, tokens=100)
    desk.end(1, tokens=100)
    desk.offer(call("k2", tokens=100), call("k3", tokens=50))
    assert desk.error("k2").kind is FailureKind.BUDGET
    assert "limits.budget_usd" in desk.error("k2").message
    assert desk.keys == ["k0", "k1", "k3"]


def test_money_is_bounded_by_the_dearest_endpoint():
    desk = Desk(budget_usd=99.0)
    desk.offer(call(tokens=100))
    assert desk.error().kind is FailureKind.BUDGET


def test_a_call_waits_for_what_others_hold_reserved_and_may_not_need():
    desk = Desk(budget_tokens=150)
    desk.offer(call("k1", tokens=100), call("k2", tokens=100))
    assert desk.keys == ["k1"]
    assert desk.known.binding.startswith("the budget")
    desk.end(0, tokens=40)
    assert desk.keys == ["k1", "k2"]
    desk.end(1, tokens=100)
    assert all(done.error is None for done in desk.completions.values())


def test_an_answer_that_is_asked_for_again_is_paid_from_the_budget_again():
    desk = Desk(budget_tokens=150)
    desk.offer(call(tokens=100))
    desk.end(0, FailureKind.UNUSABLE, tokens=100)
    assert desk.keys == ["k1"]
    assert desk.error().kind is FailureKind.BUDGET
    assert desk.known.usage.output_tokens <= 150


def test_an_attempt_in_doubt_is_charged_all_that_it_may_have_cost():
    desk = Desk(budget_tokens=150)
    desk.offer(call(tokens=100))
    desk.end(0, IN_DOUBT)
    desk.wait(5.0)
    assert desk.keys == ["k1"]
    assert desk.error().kind is FailureKind.BUDGET


@pytest.mark.parametrize("kind", [REFUSED, TRANSIENT])
def test_an_attempt_that_was_not_billed_costs_nothing_of_the_budget(kind):
    desk = Desk(budget_tokens=100)
    desk.offer(call(tokens=100))
    desk.end(0, kind)
    desk.wait(5.0)
    desk.end(1)
    assert desk.completions["k1"].error is None


def test_a_call_that_waits_for_a_slot_holds_no_part_of_the_budget():
    desk = Desk(slots=1, budget_tokens=200)
    desk.offer(call("k1", tokens=100), call("k2", tokens=100))
    desk.offer(call("k3", tokens=100, priority=Priority.INTERACTIVE))
    desk.end(0, tokens=100)
    assert desk.keys == ["k1", "k3"]
    desk.end(1, tokens=100)
    assert desk.error("k2").kind is FailureKind.BUDGET


@pytest.mark.parametrize("kind", [None, FailureKind.UNUSABLE])
@pytest.mark.parametrize("unmetered", [Usage(), Usage(0, 30, 30.0)])
def test_an_answer_whose_usage_is_not_reported_is_charged_its_estimate(kind, unmetered):
    """Otherwise nothing would ever be charged, however many answers such an endpoint gives."""
    desk = Desk(budget_usd=250.0)
    for n in range(3):
        desk.offer(call(f"k{n}", tokens=100))
        desk.end(-1, kind, usage=unmetered, unmetered=True)
    assert desk.keys == (["k0", "k0"] if kind else ["k0", "k1"])
    assert desk.known.usage == Usage(0, 200, 200.0)
    assert desk.known.calls.estimated == 2
    assert desk.error("k2").kind is FailureKind.BUDGET


def test_an_answer_that_took_more_than_its_estimate_is_charged_in_full():
    desk = Desk(budget_usd=1000.0)
    desk.offer(call(tokens=100))
    desk.end(0, usage=Usage(0, 900, 900.0), unmetered=True)
    assert desk.known.usage == Usage(0, 900, 900.0)
    assert desk.known.calls.estimated == 1


@pytest.mark.parametrize(
    ("budget", "usage"),
    [({"budget_usd": 200.0}, Usage(0, 900, 1.0)), ({"budget_tokens": 200}, Usage(0, 1, 900.0))],
)
def test_tokens_are_charged_to_the_budget_of_tokens_and_dollars_to_that_of_dollars(budget, usage):
    desk = Desk(**budget)
    desk.offer(call("k0", tokens=100))
    desk.end("k0", usage=usage)
    desk.offer(call("k1", tokens=100))
    assert desk.keys == ["k0", "k1"]
    desk.end("k1", usage=Usage(0, 100, 100.0))
    desk.offer(call("k2", tokens=100))
    assert desk.error("k2").kind is FailureKind.BUDGET


# ---- an endpoint that resets connections -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [TRANSIENT, IN_DOUBT])
def test_the_limit_bounds_the_attempts_at_an_endpoint_that_resets_each_connection_at_once(kind):
    """Each attempt in doubt may be billed. Answers to earlier attempts still arrive meanwhile."""
    desk, limit = Desk(slots=16), 16
    desk.offer(*(call(f"k{number}", tokens=1) for number in range(1000)))
    desk.step_s = 0.02
    for number in range(160):
        desk.end(number)
    desk.step_s = 0.001
    earlier, sent_before = list(range(160, 176)), len(desk.attempts)
    for number in range(sent_before, 1000):
        if earlier and number % 3 == 0:
            desk.end(earlier.pop(0))
        if number >= len(desk.attempts):
            break
        desk.end(number, kind, took_s=0.001)
    assert desk.known.endpoints[0].breaker is BreakerState.OPEN
    assert len(desk.attempts) - sent_before <= 4 * limit
