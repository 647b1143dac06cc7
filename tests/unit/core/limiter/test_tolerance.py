"""Refusals whose rate does not depend on what is in flight, and how they are told from a bound."""

from __future__ import annotations

import pytest

from actors.core.limiter.tolerance import Tolerance


def refuse(tolerance, *, sent_with=10, limit=20.0):
    """Record a refusal; return whether it says nothing about the limit."""
    return tolerance.tolerates_refusal() or tolerance.begins_with(sent_with, limit)


def contradicted(times, *, answers_each=3):
    """Return a tolerance that was contradicted so often, with answers to as many in flight between."""
    tolerance = Tolerance(0.0)
    tolerance.answered(0.0, 10)
    for _ in range(times):
        assert not refuse(tolerance)
        for _ in range(answers_each):
            tolerance.answered(0.0, 10)
    return tolerance


def test_the_seventh_contradiction_begins_tolerance_and_the_limit_before_the_first_is_known():
    tolerance = Tolerance(0.0)
    tolerance.answered(0.0, 10)
    assert [refuse(tolerance, limit=20.0 - n) for n in range(7)] == [False] * 7  # all are refused: an outage
    tolerance = contradicted(0)
    told = []
    for number in range(7):
        told.append(refuse(tolerance, limit=20.0 - number))
        tolerance.answered(0.0, 10)
    assert told == [False] * 6 + [True]
    assert tolerance.limit_before == 20.0


def test_a_refusal_with_more_in_flight_than_was_answered_is_no_contradiction():
    tolerance = contradicted(6)
    assert not refuse(tolerance, sent_with=11)
    assert refuse(tolerance, sent_with=10)


def test_forty_answers_outweigh_a_contradiction():
    assert not refuse(contradicted(6, answers_each=41))


@pytest.mark.parametrize(("at", "counts"), [((3.0, 5.9), True), ((3.0, 6.0), False)])
def test_what_was_answered_counts_for_as_long_as_it_is_recent(at, counts):
    tolerance = Tolerance(0.0)
    tolerance.answered(0.0, 10)
    for now in at:
        tolerance.answered(now, 1)
    told = []
    for _ in range(7):
        told.append(refuse(tolerance))
        tolerance.answered(at[-1], 1)
    assert told[-1] is counts


def test_where_most_attempts_are_refused_there_is_no_tolerance():
    assert not refuse(contradicted(6, answers_each=0))


def test_a_tolerated_share_stays_tolerated_and_one_that_doubles_does_not():
    tolerance = contradicted(6)
    assert refuse(tolerance)
    for _ in range(30):
        assert refuse(tolerance)
        for _ in range(3):
            tolerance.answered(1.0, 10)
    told = [tolerance.tolerates_refusal() for _ in range(60)]
    assert told[0]
    assert not told[-1]
    assert 20 <= sum(told) <= 45
    assert not refuse(tolerance)  # it takes seven contradictions again
