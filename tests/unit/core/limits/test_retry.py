"""Whether to try again, and when."""

from __future__ import annotations

import math
import random
import time

import pytest

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.retry import (
    GiveUp,
    GiveUpReason,
    Retry,
    RetryBudget,
    RetryPolicy,
    RetrySettings,
    parse_retry_after,
)


class Highest(random.Random):
    """Draws the upper end of every range: what a wait is at most."""

    def uniform(self, a, b):
        return b


class Lowest(random.Random):
    """Draws the lower end of every range: what a wait is at least."""

    def uniform(self, a, b):
        return a


@pytest.fixture
def policy():
    policy = RetryPolicy(RetrySettings(budget=0.0))
    yield policy
    policy.check_invariants(0.0)


def failure(kind=FailureKind.TRANSIENT, retry_after_s=None):
    return Failure(kind, Blame.ENDPOINT, "did not work", retry_after_s)


def test_the_longest_wait_doubles_up_to_the_cap(policy):
    policy = RetryPolicy(RetrySettings(attempts=100))
    waits = [policy.next(n, failure(), Highest(), 0.0).after_s for n in range(1, 9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_shortest_wait_is_none_so_that_calls_spread(policy):
    assert policy.next(5, failure(), Lowest(), 0.0) == Retry(0.0)


def test_the_same_seed_gives_the_same_waits(policy):
    one, other = random.Random(7), random.Random(7)
    assert policy.next(1, failure(), one, 0.0) == policy.next(1, failure(), other, 0.0)


def test_a_huge_count_of_refusals_does_not_overflow():
    policy = RetryPolicy(RetrySettings())
    assert policy.next(9_999, failure(FailureKind.REFUSED), Highest(), 0.0) == Retry(30.0)


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.PERMANENT,
        FailureKind.DEADLINE,
        FailureKind.CANCELLED,
        FailureKind.BUDGET,
        FailureKind.UNUSABLE,
    ],
)
def test_what_does_not_pass_is_not_tried_again(policy, kind):
    assert policy.next(1, failure(kind), random.Random(0), 0.0) == GiveUp(GiveUpReason.FINAL)


def test_every_kind_of_failure_has_a_decision(policy):
    for kind in FailureKind:
        assert isinstance(policy.next(1, failure(kind), random.Random(0), 0.0), Retry | GiveUp)


@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.IN_DOUBT])
def test_attempts_count_the_first_one(policy, kind):
    assert isinstance(policy.next(5, failure(kind), random.Random(0), 0.0), Retry)
    assert policy.next(6, failure(kind), random.Random(0), 0.0) == GiveUp(GiveUpReason.ATTEMPTS)


def test_refusals_have_no_bound(policy):
    refused = failure(FailureKind.REFUSED)
    assert isinstance(policy.next(10**9, refused, random.Random(0), 0.0), Retry)


def test_refusals_do_not_use_the_retry_budget(policy):
    """A limiter that finds its limit provokes refusals; calls must not fail for that."""
    for _ in range(100):
        assert isinstance(policy.next(1, failure(FailureKind.REFUSED), random.Random(0), 0.0), Retry)
    assert policy.statistics(0.0).budget.retries == 0


def test_an_outage_does_not_multiply_the_load():
    policy = RetryPolicy(RetrySettings(budget=0.2))
    for _ in range(100):
        policy.on_first_attempt(0.0)
    decisions = [policy.next(1, failure(), random.Random(0), 0.0) for _ in range(100)]
    assert sum(isinstance(decision, Retry) for decision in decisions) == 10 + 20
    assert decisions[-1] == GiveUp(GiveUpReason.BUDGET)
    snapshot = policy.statistics(0.0)
    assert (snapshot.retries, snapshot.gave_up, snapshot.budget.denied) == (30, 70, 70)


def test_a_wish_is_a_floor_and_calls_spread_above_it(policy):
    assert policy.next(1, failure(retry_after_s=7.0), Lowest(), 0.0) == Retry(7.0)
    assert policy.next(1, failure(retry_after_s=7.0), Highest(), 0.0) == Retry(7.5)


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.TRANSIENT, FailureKind.IN_DOUBT])
def test_a_wish_beyond_the_cap_is_granted(policy, kind):
    assert policy.next(1, failure(kind, retry_after_s=60.0), Lowest(), 0.0) == Retry(60.0)


@pytest.mark.parametrize(
    ("wish", "taken"), [(-1.0, 0.0), (math.nan, 0.0), (3600.1, 3600.0), (1e9, 3600.0), (math.inf, 3600.0)]
)
def test_an_absurd_wish_is_bounded_and_said(policy, wish, taken):
    decision = policy.next(1, failure(retry_after_s=wish), Lowest(), 0.0)
    assert decision.after_s == taken
    assert str(wish) in decision.note


def test_attempts_count_from_one(policy):
    with pytest.raises(ValueError, match="from 1"):
        policy.next(0, failure(), random.Random(0), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"base_s": 0.0},
        {"base_s": 31.0},
        {"cap_s": math.inf},
        {"budget": -0.1},
        {"budget": math.inf},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="retry"):
        RetrySettings(**wrong)


# ---- the budget ------------------------------------------------------------------------------------------


def test_some_retries_are_allowed_without_any_traffic():
    budget = RetryBudget(0.2, min_per_s=1.0, ttl_s=10.0)
    assert [budget.try_withdraw(0.0) for _ in range(11)] == [True] * 10 + [False]


def test_first_attempts_buy_retries_by_the_ratio():
    budget = RetryBudget(0.1, min_per_s=0.0)
    for _ in range(20):
        budget.deposit(0.0)
    assert [budget.try_withdraw(0.0) for _ in range(3)] == [True, True, False]
    assert budget.statistics(0.0).denied == 1


def test_a_share_that_no_float_holds_exactly_is_granted_in_full():
    budget = RetryBudget(0.29, min_per_s=0.0)
    for _ in range(100):
        budget.deposit(0.0)
    assert sum(budget.try_withdraw(0.0) for _ in range(100)) == 29


def test_first_attempts_and_retries_age_out():
    budget = RetryBudget(0.5, min_per_s=0.1, ttl_s=10.0)
    for _ in range(4):
        budget.deposit(0.0)
    for _ in range(3):
        assert budget.try_withdraw(0.0)
    assert not budget.try_withdraw(9.9)
    assert budget.try_withdraw(11.1)
    assert not budget.try_withdraw(11.1)
    assert budget.statistics(11.1).first_attempts == 0


@pytest.mark.parametrize("arguments", [{"ratio": -0.1}, {"ratio": math.nan}, {"ratio": 0.1, "min_per_s": -1}])
def test_a_budget_needs_shares(arguments):
    with pytest.raises(ValueError, match="retry budget"):
        RetryBudget(**arguments)


# ---- the header ------------------------------------------------------------------------------------------

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 2 ", 2.0),
        ("0", 0.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1", 0.0),
        ("1000000000", 3600.0),
        ("9" * 60, 3600.0),
        ("Sun, 06 Nov 1994 08:49:39 GMT", 2.0),
        ("Sunday, 06-Nov-94 08:49:39 GMT", 2.0),
        ("Sun Nov  6 08:49:39 1994", 2.0),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        ("Tue, 06 Nov 2035 08:49:37 GMT", 3600.0),
    ],
)
def test_a_retry_after_is_understood(value, seconds):
    assert parse_retry_after(value, wall_now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "nan",
        "inf",
        "1e3",
        "0x10",
        "1,5",
        "1 s",
        "--1",
        "\u0665",
        "Sun, 99 Nov 1994 08:49:39 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:39 GMT",
        "1" * 65,
    ],
)
def test_what_is_no_retry_after_is_none(value):
    assert parse_retry_after(value, wall_now=NOW) is None


@pytest.fixture
def in_tokyo(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_a_date_without_a_zone_is_read_as_gmt_wherever_this_runs(in_tokyo):
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:39 -0000", wall_now=NOW) == 2.0
