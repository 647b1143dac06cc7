"""Calls that name their endpoints: where they go, and what they wait for."""

from __future__ import annotations

import pytest

from actors.core.dispatch.events import AttemptDone
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.hedge import HedgeSettings
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.values import Priority
from tests.unit.support.dispatch_desk import REFUSED, TRANSIENT, Desk, call

A, B = ("a",), ("b",)


def desk(**more):
    return Desk(slots=1, endpoints=("a", "b"), **more)


def at(desk):
    """Return the endpoint of each attempt, by the key of its call."""
    return {attempt.call_key: attempt.endpoint for _, attempt in desk.attempts}


def test_calls_for_a_full_endpoint_do_not_hold_back_those_for_another():
    one = desk()
    one.offer(*(call(f"a{n}", endpoints=A) for n in range(3)), call("b0", endpoints=B))

    assert at(one)["b0"] == "b"
    assert one.known.binding == "the limit of a: 1 in flight"


def test_the_limits_of_two_full_endpoints_are_both_named():
    both = desk()
    both.offer(*(call(f"{name}{n}", endpoints=(name,)) for name in "ab" for n in range(3)))

    assert both.known.binding == "the limit of a: 1 in flight; the limit of b: 1 in flight"


def test_an_open_breaker_holds_back_only_the_calls_for_its_endpoint():
    one = Desk(slots=40, endpoints=("a", "b"))
    one.offer(*(call(f"a{n}", endpoints=A) for n in range(25)))
    for n in range(25):
        one.end(f"a{n}", TRANSIENT)
    one.offer(call("a-late", endpoints=A), call("b-late", endpoints=B))

    assert at(one)["b-late"] == "b"
    assert "a-late" not in one.keys
    assert "the breaker of a" in one.known.binding


def test_a_retry_stays_at_the_endpoints_of_its_call():
    one = desk()
    one.offer(call("k1", endpoints=A))
    one.end("k1", REFUSED)
    one.wait(5)

    assert [attempt.endpoint for _, attempt in one.attempts] == ["a", "a"]


def test_a_second_attempt_beside_a_silent_one_stays_at_the_endpoints_of_its_call():
    one = Desk(slots=4, endpoints=("a", "b"), hedge=HedgeSettings(after_s=1.0, budget=1.0))
    one.offer(call("k1", endpoints=A), call("k2", endpoints=("a", "b")))
    one.wait(2)

    assert {attempt.endpoint for _, attempt in one.attempts if attempt.call_key == "k1"} == {"a"}
    assert one.keys.count("k1") == 2


def test_the_bound_of_queued_calls_is_over_all_endpoints():
    one = desk(max_queued=3)
    one.offer(*(call(f"{name}{n}", endpoints=(name,)) for n in range(4) for name in "ab"))
    one.offer(*(call(f"c{n}", endpoints=A) for n in range(3)))

    assert one.known.queue.queued == one.known.queued == 3
    assert len(one.refused) == one.known.queue.refused
    assert len(one.refused) + len(one.attempts) + 3 == 11


def test_a_large_call_is_not_starved_by_small_ones_of_another_set():
    """The tokens of the endpoint that it waits for are not given to the others meanwhile."""
    one = Desk(slots=4, endpoints=("a", "b"), tokens_rate=6000)
    one.offer(*(call(f"small{n}", tokens=50, endpoints=A) for n in range(400)))
    one.offer(call("large", tokens=3000))
    one.offer(*(call(f"b{n}", tokens=5900, endpoints=B) for n in range(2)))
    for n in range(300):
        if n < len(one.attempts):
            one.end(n)
        else:
            one.wait(1)

    assert one.keys.index("large") < 200


def test_an_interactive_call_waits_for_one_batch_call_of_another_set_at_most():
    one = desk()
    one.offer(*(call(f"batch{n}", endpoints=A) for n in range(50)))
    one.offer(call("now", priority=Priority.INTERACTIVE))
    assert at(one)["now"] == "b"

    one.offer(call("soon", priority=Priority.INTERACTIVE))
    one.end("batch0")
    one.end("batch1")

    assert one.keys == ["batch0", "now", "batch1", "soon"]


def test_the_same_endpoints_in_another_order_are_one_set():
    one = desk()
    one.offer(call("k1", endpoints=("a", "b")), call("k2", endpoints=("b", "a")), call("k3"))
    one.offer(*(call(f"later{n}", endpoints=("b", "a")) for n in range(2)))

    assert one.known.binding.count("the limit of") == 1


def test_a_call_that_names_an_unknown_endpoint_ends_with_the_setting_to_correct():
    one = desk()
    one.offer(call("k1", endpoints=("a", "fsat")), call("k2", endpoints=A))

    error = one.error("k1")
    assert (error.kind, error.blame) == (FailureKind.PERMANENT, Blame.CONFIG)
    assert "no endpoint is named fsat" in error.message
    assert one.keys == ["k2"]


@pytest.mark.parametrize("others", [(), B])
def test_the_fault_of_all_endpoints_of_some_calls_is_shown_though_another_endpoint_answers(others):
    one = Desk(slots=4, endpoints=("a", "b"))
    one.offer(call("k1", endpoints=A), call("k2", endpoints=others))
    one.end("k1", FailureKind.MISCONFIGURED, blame=Blame.CONFIG)
    one.end("k2")

    stopped_by = one.known.stopped_by
    assert stopped_by is not None
    assert stopped_by.kind is FailureKind.MISCONFIGURED
    assert "k1" not in one.completions, "it waits: the run is stopped and can be resumed"


def test_calls_that_expire_in_the_queue_name_their_failing_endpoint_in_equal_words():
    one = Desk(slots=40, endpoints=("a", "b"))
    one.offer(*(call(f"a{n}", endpoints=A) for n in range(25)))
    for n in range(25):
        one.end(f"a{n}", TRANSIENT)
    one.offer(call("k1", endpoints=A, expires_in_s=20.0), call("k2", endpoints=A, expires_in_s=44.0))
    one.wait(60.0)

    queued = "the deadline passed while the call was queued"
    assert one.error("k1").kind is FailureKind.DEADLINE
    assert one.error("k1").message == f"{queued}; endpoint a answers no call: said the test"
    assert one.error("k2") == one.error("k1")


@pytest.mark.parametrize(("said", "told"), [("HTTP 500: alice asked", ", HTTP 500"), ("alice asked", "")])
def test_the_text_of_a_failure_is_not_quoted_in_the_errors_of_another_tenant(said, told):
    one = Desk(slots=40, endpoints=("a", "b"))
    one.offer(*(call(f"a{n}", endpoints=A, tenant="alice") for n in range(25)))
    for n in range(25):
        one.end(f"a{n}", TRANSIENT, said=said)
    one.offer(*(call(who, endpoints=A, tenant=who, expires_in_s=20.0) for who in ("alice", "bob")))
    one.wait(30.0)

    queued = "the deadline passed while the call was queued; endpoint a answers no call: "
    assert one.error("alice").message == queued + said
    assert one.error("bob").message == f"{queued}transient{told}"


def test_a_call_that_expires_behind_refused_ones_names_the_refusal():
    one = Desk(slots=4, endpoints=("a", "b"))
    one.offer(*(call(f"a{n}", endpoints=A) for n in range(4)))
    for n in range(4):
        one.end(f"a{n}", FailureKind.REFUSED)
    one.offer(*(call(f"k{n}", endpoints=A, expires_in_s=15.0) for n in range(9)))
    one.wait(16.0)

    queued = "the deadline passed while the call was queued"
    assert one.error("k8").message == f"{queued}; endpoint a answers no call: said the test"


def test_a_call_that_expires_behind_others_blames_no_endpoint_that_answers():
    one = desk()
    one.offer(call("k1", endpoints=A), call("k2", endpoints=A, expires_in_s=5.0))
    one.wait(6.0)

    assert one.error("k2").message == "the deadline passed while the call was queued"


def test_the_error_of_an_expired_call_is_bounded():
    names = [f"e{n}" for n in range(9)]
    one = Desk(slots=40, endpoints=names)
    one.offer(*(call(f"{name}-{n}", endpoints=(name,)) for name in names for n in range(25)))
    for _, attempt in list(one.attempts):
        failure = Failure(TRANSIENT, Blame.ENDPOINT, "long\nwords " * 1000)
        one.happen(AttemptDone(AttemptEnded(attempt.id, took_s=0.3, error=failure)))
        one.now += 0.1
    one.offer(call("k1", expires_in_s=5.0))
    one.wait(6.0)

    assert "and 6 more endpoints" in one.error("k1").message
    assert len(one.error("k1").message) < 900
    assert "\n" not in one.error("k1").message
