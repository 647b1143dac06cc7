"""More than one endpoint: a call that one turned away goes to another, and holds nobody up."""

from __future__ import annotations

import pytest

from actors.core.errors import FailureKind
from tests.unit.support.dispatch_desk import IN_DOUBT, REFUSED, TRANSIENT, Desk, call


def where(desk, key):
    return [attempt.endpoint for _, attempt in desk.attempts if attempt.call_key == key]


@pytest.mark.parametrize("kind", [REFUSED, TRANSIENT])
def test_a_call_that_one_endpoint_turns_away_goes_to_another_at_once(kind):
    desk = Desk(endpoints=("one", "two"), slots=4)
    desk.offer(call("k1"))
    desk.end("k1", kind, wish=30.0)
    assert where(desk, "k1") == ["one", "two"]
    desk.end("k1")
    assert desk.completions["k1"].error is None


def test_an_attempt_in_doubt_goes_back_where_its_answer_may_be_waiting():
    desk = Desk(endpoints=("one", "two"), slots=4)
    desk.offer(call("k1"))
    desk.end("k1", IN_DOUBT)
    desk.wait(2.0)
    assert where(desk, "k1") == ["one", "one"]


def test_a_call_that_all_endpoints_turn_away_waits_for_the_first_that_may_have_it():
    desk = Desk(endpoints=("one", "two"), slots=4)
    desk.offer(call("k1"))
    desk.end("k1", REFUSED, wish=20.0)
    desk.end("k1", REFUSED, wish=5.0)
    assert desk.known.waiting == 1
    desk.wait(4.9)
    assert where(desk, "k1") == ["one", "two"]
    desk.wait(1.5)
    assert where(desk, "k1") == ["one", "two", "two"]


def test_a_call_that_waits_for_a_full_endpoint_lets_others_go_where_it_was_turned_away():
    desk = Desk(endpoints=("one", "two"), slots=2)
    desk.offer(*(call(f"k{n}") for n in range(4)))
    assert [attempt.endpoint for _, attempt in desk.attempts] == ["one", "two", "one", "two"]
    desk.offer(call("k4"), call("k5"))
    desk.end("k0", TRANSIENT, wish=30.0)  # "two" is full, so it waits; its slot at "one" is for another
    assert where(desk, "k4") == ["one"]
    assert where(desk, "k0") == ["one"]
    desk.end("k1")
    assert {key for key in ("k0", "k5") if "two" in where(desk, key)}
    assert desk.known.sent == 4


def test_no_endpoint_is_shunned_for_ever():
    desk = Desk(endpoints=("one", "two"), slots=1)
    desk.offer(call("k1"))
    for _ in range(4):
        desk.end("k1", FailureKind.REFUSED, wish=1.0)
        desk.wait(5.0)
    desk.end("k1")
    assert desk.completions["k1"].error is None
    assert set(where(desk, "k1")) == {"one", "two"}
