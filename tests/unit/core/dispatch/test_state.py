"""The dispatcher's rules, one story at a time: what becomes of a call, and where its attempts go."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from actors.core.dispatch.events import (
    AttemptDone,
    CallOffered,
    ClientBegan,
    ClientLeft,
    DrainBegan,
    Lost,
)
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limiter.limiter import AdaptiveLimiter
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import Attempt, AttemptEnded, Refusal, SetShare
from actors.core.messages.calls import Correction
from actors.core.messages.values import CallCounts, Priority, Usage
from tests.unit.support.dispatch_desk import IN_DOUBT, NOW, REFUSED, TRANSIENT, Desk, call

# ---- the plain way ---------------------------------------------------------------------------------------


def test_a_call_becomes_an_attempt_and_its_answer_completes_it():
    desk = Desk()
    desk.offer(call(expires_in_s=60.0))
    [(client, attempt)] = desk.attempts
    assert client == "c1"
    assert attempt == Attempt(
        *(attempt.id, "k1", "main", "evaluate", "prompt of k1", 1, "k1", 60.0),
        task="t1",
        estimate=Usage(0, 100, 100.0),
        stream=True,
    )
    desk.end(0)
    done = desk.completions["k1"]
    assert done.values == {"quality": 1.0}
    assert done.error is None
    assert done.counts == CallCounts(planned=1, billed=1)
    assert done.usage == Usage(0, 50, 50.0)
    assert (desk.known.completed, desk.known.failed, desk.known.sent) == (1, 0, 0)
    assert (desk.known.calls, desk.known.usage) == (done.counts, done.usage)


def test_while_it_drains_no_attempt_begins_and_the_last_end_is_told():
    desk = Desk(slots=2)
    desk.offer(*(call(f"k{n}") for n in range(4)))
    desk.happen(DrainBegan())
    desk.end(0, TRANSIENT)  # it would be repeated
    desk.wait(60.0)
    assert (desk.keys, desk.drained) == (["k0", "k1"], 0)
    desk.end(1)
    assert (desk.keys, list(desk.completions), desk.drained) == (["k0", "k1"], ["k1"], 1)


def test_a_drain_with_nothing_in_flight_is_over_at_once():
    desk = Desk()
    desk.happen(DrainBegan())
    desk.offer(call())
    assert (desk.attempts, desk.drained > 0) == ([], True)


def test_a_client_is_told_its_share_before_it_is_given_work():
    state = Desk(clients=()).state
    out = state.handle([ClientBegan("c1"), CallOffered(call())], NOW)
    assert [type(each.message) for each in out] == [SetShare, Attempt]
    assert out[0].message == SetShare("main", 4)


def test_without_a_client_calls_wait_and_nobody_is_woken_for_them():
    desk = Desk(clients=())
    desk.offer(call(expires_in_s=600.0))
    assert desk.attempts == []
    assert desk.known.binding == "no client actor is running"
    assert desk.state.next_wake(desk.now) == NOW + 600.0
    desk.happen(ClientBegan("c1"))
    assert desk.keys == ["k1"]


def test_no_more_is_sent_than_the_limit_and_an_end_sends_the_next():
    desk = Desk(slots=2)
    desk.offer(*(call(f"k{n}") for n in range(4)))
    assert desk.keys == ["k0", "k1"]
    assert desk.known.binding == "the limit of main: 2 in flight"
    desk.end(0)
    assert desk.keys == ["k0", "k1", "k2"]
    desk.end(1)
    desk.end(2)
    assert desk.known.binding == "too few tasks"


def test_interactive_calls_go_before_batch_calls():
    desk = Desk(slots=1)
    desk.offer(call("now"))
    desk.offer(call("later"), call("sooner", priority=Priority.INTERACTIVE))
    desk.end("now")
    assert desk.keys == ["now", "sooner"]


def test_the_same_call_offered_again_while_it_is_open_is_the_same_call():
    desk = Desk()
    desk.offer(call(), call())
    desk.offer(call())
    desk.end(0)
    assert desk.keys == ["k1"]
    assert desk.known.calls.planned == 1


def test_a_call_offered_again_after_its_end_is_a_new_call():
    desk = Desk()
    desk.offer(call())
    desk.end(0)
    desk.completions.clear()
    desk.offer(call())
    desk.end(1)
    assert desk.keys == ["k1", "k1"]
    assert desk.attempts[0][1].id != desk.attempts[1][1].id


def test_what_does_not_fit_into_the_queue_is_refused_and_leaves_nothing_behind():
    desk = Desk(slots=1, max_queued=2)
    desk.offer(call("k0"))
    desk.offer(call("k1"), call("k2"), call("k3"))
    assert desk.refused == ["k3"]
    assert desk.known.queued == 2
    for n in range(3):
        desk.end(n)
    assert desk.completions.keys() == {"k0", "k1", "k2"}


def test_the_least_loaded_endpoint_gets_the_next_call():
    desk = Desk(endpoints=("one", "two"), slots=2)
    desk.offer(*(call(f"k{n}") for n in range(4)))
    assert [attempt.endpoint for _, attempt in desk.attempts] == ["one", "two", "one", "two"]
    desk.offer(call("k4"))
    desk.end(1)
    assert desk.attempts[4][1].endpoint == "two"


# ---- failures --------------------------------------------------------------------------------------------


def test_a_refused_call_goes_back_to_the_head():
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"), call("k3"))
    desk.end(0, REFUSED, refusal=Refusal.CONCURRENCY)
    assert desk.keys == ["k1", "k2"]  # it sits out a pause, the next does not
    desk.now += 5.0
    desk.end(1)
    assert desk.keys == ["k1", "k2", "k1"]
    assert desk.attempts[2][1].number == 2
    assert desk.attempts[2][1].idempotency_key == "k1"


def test_a_refused_call_waits_as_long_as_the_endpoint_asked():
    desk = Desk()
    desk.offer(call())
    desk.end(0, REFUSED, wish=3.0, refusal=Refusal.CONCURRENCY)
    assert desk.known.waiting == 1
    desk.wait(2.9)
    assert desk.keys == ["k1"]
    desk.wait(1.2)
    assert desk.keys == ["k1", "k1"]


def test_refusals_do_not_count_as_tries():
    desk = Desk(retry=RetrySettings(attempts=2, base_s=0.01, cap_s=0.1))
    desk.offer(call())
    for n in range(10):
        desk.end(n, REFUSED, refusal=Refusal.CONCURRENCY)
        desk.wait(5.0)
    desk.end(10, TRANSIENT)
    desk.wait(5.0)
    desk.end(11)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, refused=10, failed=1)


def test_a_call_is_refused_until_its_deadline_and_no_sooner_given_up():
    desk = Desk()
    desk.offer(call(expires_in_s=3000.0))
    for n in range(100):
        desk.end(n, REFUSED, refusal=Refusal.CONCURRENCY)
        desk.wait(15.0)
    assert not desk.completions
    desk.end(100)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, refused=100)


@pytest.mark.parametrize("kind", [TRANSIENT, IN_DOUBT])
def test_a_failure_that_passes_is_tried_again_under_the_same_key_until_the_tries_are_used_up(kind):
    desk = Desk()
    desk.offer(call())
    for n in range(3):
        desk.end("k1", kind)
        desk.offer(call(f"other{n}"))
        desk.end(f"other{n}")  # the endpoint works, so that the call itself may be the cause
        desk.wait(2.1)
    made = [(a.number, a.idempotency_key) for _, a in desk.attempts if a.call_key == "k1"]
    assert made == [(1, "k1"), (2, "k1"), (3, "k1")]
    assert desk.error().kind is kind
    assert "given up after 3 requests: attempts" in desk.error().message
    counted = {"failed": 3} if kind is TRANSIENT else {"in_doubt": 3}
    assert desk.completions["k1"].counts == CallCounts(planned=1, **counted)


@pytest.mark.parametrize("kind", [FailureKind.PERMANENT, FailureKind.DEADLINE, FailureKind.CANCELLED])
def test_a_failure_that_does_not_pass_ends_the_call_as_it_is(kind):
    desk = Desk()
    desk.offer(call())
    desk.end(0, kind)
    assert desk.error() == Failure(kind, Blame.ENDPOINT, "said the test")
    assert desk.known.failed == 1
    assert desk.known.recent_failures == (f"t1: {kind}: said the test",)


def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_was_wrong_and_paid_for():
    desk = Desk(reasks=1)
    desk.offer(call())
    correction = Correction("{}", "quality is missing")
    desk.end(0, FailureKind.UNUSABLE, correction=correction)
    again = desk.attempts[1][1]
    assert (again.correction, again.number, again.idempotency_key) == (correction, 2, "k1.1")
    desk.end(1, FailureKind.UNUSABLE, correction=correction)
    done = desk.completions["k1"]
    assert done.error.kind is FailureKind.UNUSABLE
    assert done.counts == CallCounts(planned=1, billed=2, unusable=2)
    assert done.usage == Usage(0, 100, 100.0)


def test_a_question_is_corrected_as_often_as_the_settings_say():
    desk = Desk(reasks=2)
    desk.offer(call())
    for attempt in range(3):
        assert not desk.completions
        desk.end(attempt, FailureKind.UNUSABLE, correction=Correction("{}", "quality is missing"))
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=3, unusable=3)


def test_an_unusable_answer_that_the_same_question_would_have_again_is_paid_for_once():
    desk = Desk(reasks=2)
    desk.offer(call())
    desk.end(0, FailureKind.UNUSABLE, is_final=True)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, unusable=1)


def test_each_form_has_its_own_number_of_reasks():
    desk = Desk(reasks=1, form_reasks={"evaluate": 0})
    other = replace(call("k2"), form="synthesize")
    desk.offer(call("k1"), other)
    desk.end("k1", FailureKind.UNUSABLE)
    desk.end("k2", FailureKind.UNUSABLE)

    assert list(desk.completions) == ["k1"]
    assert desk.keys == ["k1", "k2", "k2"]


def test_an_answer_that_broke_off_is_asked_for_again_under_the_same_key():
    desk = Desk()
    desk.offer(call())
    desk.end(0, FailureKind.UNUSABLE)
    assert desk.attempts[1][1].idempotency_key == "k1"


def test_an_answer_that_the_endpoint_repeats_is_billed_once():
    desk = Desk()
    desk.offer(call())
    desk.end(0, FailureKind.UNUSABLE)
    desk.end(1, replayed=True)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, unusable=1)
    assert desk.completions["k1"].usage == Usage(0, 50, 50.0)


def test_beyond_the_retry_budget_retries_wait_while_first_attempts_could_be_sent():
    desk = Desk(slots=40, retry=RetrySettings(attempts=3, base_s=0.001, cap_s=0.001, budget=0.0))
    desk.offer(*(call(f"k{n}") for n in range(30)))
    desk.offer(*(call(f"later{n}", task="t2") for n in range(300)))
    for n in range(30):
        desk.end(n, TRANSIENT)
    for n in range(30, 330):
        retried = sum(key.startswith("k") for key in desk.keys) - 30
        if desk.known.queued:
            assert retried <= 10 + desk.now - NOW  # ten are allowed to begin with, then one a second
        desk.end(n)
        desk.wait(0.01)
    for n in range(330, 360):
        if n >= len(desk.attempts):
            desk.wait(1.5)
        desk.end(n)
    assert len(desk.completions) == 330
    assert all(done.error is None for done in desk.completions.values())


# ---- clients that are lost -------------------------------------------------------------------------------


@pytest.mark.parametrize(("may_have_run", "counted"), [(True, {"in_doubt": 1}), (False, {})])
def test_an_attempt_lost_with_its_client_is_made_again_and_counted_for_what_it_may_be(may_have_run, counted):
    desk = Desk()
    desk.offer(call())
    lost = desk.attempts[0][1].id
    desk.happen(Lost(lost, may_have_run), ClientLeft("c1"))
    desk.happen(ClientBegan("c2"))
    desk.wait(1.0)
    assert desk.attempts[1][0] == "c2"
    desk.happen(AttemptDone(AttemptEnded(lost, {"quality": 0.0})))  # too late: it was counted as lost
    assert not desk.completions
    desk.end(1)
    assert desk.completions["k1"].counts == CallCounts(planned=1, billed=1, **counted)
    assert desk.completions["k1"].values == {"quality": 1.0}


def test_a_client_may_leave_before_the_loss_of_its_last_attempt_is_known():
    """A courier that fails hands an attempt back at once, but its news come in another turn of the loop."""
    desk = Desk(slots=2)
    desk.offer(call("k1"), call("k2"))
    first, second = (attempt.id for _, attempt in desk.attempts)
    desk.happen(Lost(first, True), ClientLeft("c1"), Lost(second, False), ClientBegan("c2"))
    desk.wait(1.0)
    assert desk.keys[2:] in (["k1", "k2"], ["k2", "k1"])
    assert {client for client, _ in desk.attempts[2:]} == {"c2"}


def test_an_attempt_that_waits_at_a_client_is_started_by_a_larger_share_too(monkeypatch):
    """Unnoticed it would fly without a permit until some other attempt ends."""
    monkeypatch.setattr(AdaptiveLimiter, "backlog", lambda limiter, now: 1)
    desk = Desk(clients=("c1", "c2"), slots=4)
    desk.offer(*(call(f"k{n}") for n in range(5)))
    assert desk.known.endpoints[0].waiting == 1
    lost = [Lost(attempt.id, True) for client, attempt in desk.attempts[:4] if client == "c2"]
    desk.happen(*lost, ClientLeft("c2"))
    known = desk.known.endpoints[0]
    assert (known.limiter.in_flight, known.waiting) == (3, 0)


def test_a_client_that_begins_anew_is_told_its_share_again():
    desk = Desk()
    desk.told.clear()
    desk.happen(ClientBegan("c1"))
    assert desk.told == [("c1", SetShare("main", 4))]


def test_two_clients_share_the_limit():
    desk = Desk(clients=("c1", "c2"), slots=5)
    desk.offer(*(call(f"k{n}") for n in range(6)))
    assert sorted(client for client, _ in desk.attempts) == ["c1", "c1", "c1", "c2", "c2"]


# ---- what it tells of itself -----------------------------------------------------------------------------


def test_a_breaker_that_is_open_sends_calls_to_another_endpoint():
    desk = Desk(endpoints=("one", "two"), slots=40, retry=RetrySettings(attempts=1))
    desk.step_s = 0.001
    desk.offer(*(call(f"k{n}", task=f"t{n}") for n in range(60)))
    assert [attempt.endpoint for _, attempt in desk.attempts[:2]] == ["one", "two"]
    for n in range(0, 60, 2):
        desk.end(n, TRANSIENT)
    desk.offer(call("next"), call("one more"))
    assert [attempt.endpoint for _, attempt in desk.attempts[60:]] == ["two", "two"]


def test_only_the_latest_failures_are_remembered():
    desk = Desk(slots=100)
    desk.offer(*(call(f"k{n}", task=f"t{n}") for n in range(30)))
    for n in range(30):
        desk.end(n, FailureKind.PERMANENT)
    known = desk.known.recent_failures
    assert len(known) == 20
    assert known[-1].startswith("t29")


def test_with_nothing_to_do_there_is_nothing_to_wake_up_for():
    desk = Desk()
    assert desk.known.binding == "too few tasks"
    assert desk.state.next_wake(desk.now) is None


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda state: state._in_flight._in_flight.clear(), "attempts in flight differ"),
        (lambda state: state._open._by_key.popitem(), "queue differ"),
        (lambda state: state._open._by_task.clear(), "index by task"),
    ],
)
def test_the_invariants_notice(spoil, problem):
    desk = Desk(slots=1)
    desk.offer(call("k1"), call("k2"))
    spoil(desk.state)
    with pytest.raises(InvariantError, match=problem):
        desk.state.check_invariants()


def test_a_refusal_has_its_client_told_its_share_again_at_once():
    """It starts nothing until then, and would wait for ever where the limit stays as it is."""
    desk = Desk(slots=4)
    desk.offer(*(call(f"k{n}") for n in range(8)))
    desk.told.clear()
    desk.end(0, REFUSED)
    assert [type(message) for _, message in desk.told] == [SetShare]
    assert desk.urgent[-1]
