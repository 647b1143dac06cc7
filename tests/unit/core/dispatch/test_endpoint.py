"""One endpoint as the dispatcher sees it: who gets an attempt, and what its end means for whom."""

from __future__ import annotations

import random

import pytest

from actors.core.dispatch.endpoint import EndpointState
from actors.core.errors import Blame, Failure, FailureKind, InvariantError
from actors.core.limiter.limiter import LimiterSettings, Permit, Reason, Wait
from actors.core.limits.breaker import BreakerSettings, BreakerState
from actors.core.limits.price import Price
from actors.core.messages.attempts import AttemptEnded, RateHeaders, Refusal
from actors.core.messages.values import TokenCounts, Usage

NOW = 100.0


class ScriptedLimiter:
    """A limiter that learns nothing: it allows what a test sets, and notes what it is told."""

    def __init__(self, settings, *, now, rng):
        self.limit = settings.max_in_flight
        self.paused_until = None
        self.rate_until = None
        self.open = {}
        self.told = []
        self.number = 0

    @property
    def in_flight(self):
        return len(self.open)

    def try_acquire(self, now, *, tokens, streams=True):
        if self.paused_until is not None and now < self.paused_until:
            return Wait(self.paused_until, Reason.PAUSE)
        if self.in_flight >= self.limit:
            return Wait(None, Reason.LIMIT)
        if self.rate_until is not None and now < self.rate_until:
            return Wait(self.rate_until, Reason.RATE)
        return self.adopt(now, tokens=tokens, streams=streams)

    def adopt(self, now, *, tokens, streams=True):
        self.number += 1
        self.open[self.number] = Permit(self.number, now, self.in_flight + 1, tokens, 0, sample=False)
        return self.open[self.number]

    def backlog(self, now):
        return 0 if self.paused_until is not None and now < self.paused_until else self.limit // 8

    def note(self, what, permit, now, **more):
        self.told.append((what, now - permit.sent_at, more))
        del self.open[permit.id]

    def on_success(self, permit, now, **more):
        self.note("success", permit, now, **more)

    def on_refused(self, permit, now, **more):
        self.note("refused", permit, now, **more)

    def on_rejected(self, permit, now, **more):
        self.note("rejected", permit, now, **more)

    def on_failure(self, permit, now):
        self.note("failure", permit, now)

    def on_cancelled(self, permit, now):
        self.note("cancelled", permit, now)

    def tick(self, now):
        return None

    def statistics(self):
        return self

    def check_invariants(self):
        pass


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr("actors.core.dispatch.endpoint.AdaptiveLimiter", ScriptedLimiter)


class Desk:
    """An endpoint, a clock, and attempts that are numbered as they are placed."""

    def __init__(self, *clients, slots=16, failures=5):
        self.state = EndpointState(
            "main",
            LimiterSettings(slots),
            BreakerSettings(failures=failures, streak_s=0.0, results=1000),
            Price(1.0, 4.0),
            now=NOW,
            rng=random.Random(1),
        )
        self.now = NOW
        self.number = 0
        for client in clients:
            self.state.pool.join(client)
        self.state.shares(self.now)

    @property
    def limiter(self):
        return self.state._limiter

    def place(self, tokens=100):
        """Place one more attempt; return the client, or what binds."""
        self.number += 1
        client, binding = self.state.place(self.number, tokens, self.now)
        return client or binding

    def fill(self, count):
        return [self.place() for _ in range(count)]

    def end(self, attempt, kind=None, blame=Blame.ENDPOINT, *, took_s=0.3, **more):
        if kind is not None:
            more["error"] = Failure(kind, blame, "said the test")
        self.state.on_ended(AttemptEnded(attempt, took_s=took_s, **more), Usage(100), self.now)
        self.state.check_invariants()

    @property
    def known(self):
        return self.state.statistics()


@pytest.mark.parametrize("kind", [FailureKind.REFUSED, FailureKind.IN_DOUBT])
def test_an_endpoint_that_only_refuses_or_fails_for_ten_seconds_is_in_trouble_until_it_answers(kind):
    desk = Desk("a", failures=100)
    desk.fill(4)
    desk.end(1, kind)
    desk.now += 9.0
    desk.end(2, kind)
    assert desk.state.trouble(desk.now, "") == ""
    desk.now += 1.0
    assert desk.state.trouble(desk.now, "") == str(kind)  # the tenant of its call is not known
    assert (desk.known.is_failing, desk.known.answered) == (True, 0)
    desk.end(3)
    assert desk.state.trouble(desk.now, "") == ""
    assert (desk.known.is_failing, desk.known.answered) == (False, 1)


def test_timeouts_do_not_count_in_the_mean_duration_of_an_answer():
    desk = Desk("a")
    desk.fill(2)
    desk.end(1, took_s=2.0)
    desk.end(2, FailureKind.IN_DOUBT, took_s=600.0)
    assert desk.known.attempts.answer_s == 2.0


# ---- where an attempt goes -------------------------------------------------------------------------------


def test_an_attempt_goes_to_a_client_with_a_free_slot_and_takes_a_permit():
    desk = Desk("a", "b")
    assert desk.fill(4) == ["a", "b", "a", "b"]
    assert desk.known.limiter.in_flight == 4
    desk.state.check_invariants()


def test_without_a_client_nothing_is_placed():
    desk = Desk()
    assert desk.place() == "the limit of main: 16 in flight"
    assert desk.known.limiter.in_flight == 0


def test_beyond_the_limit_a_few_wait_at_clients_without_a_permit():
    desk = Desk("a")
    assert desk.fill(18) == ["a"] * 18
    assert (desk.known.limiter.in_flight, desk.known.waiting) == (16, 2)
    assert desk.place() == "the limit of main: 16 in flight"
    desk.state.check_invariants()


def test_an_attempt_that_a_client_started_by_itself_gets_its_permit_afterwards():
    desk = Desk("a")
    desk.fill(17)
    desk.end(1)
    for started in desk.state.pool.promote():
        desk.state.adopt(started, 100, desk.now)
    assert (desk.known.limiter.in_flight, desk.known.waiting) == (16, 0)
    desk.state.check_invariants()


def test_a_known_rate_makes_attempts_wait_and_says_until_when():
    desk = Desk("a")
    desk.limiter.rate_until = NOW + 0.5
    assert desk.place() == "main: rate, for 0.5 s more"
    assert desk.state.next_wake(desk.now, wanted=True) == NOW + 0.5
    desk.now += 0.5
    assert desk.place() == "a"


def test_nobody_is_woken_for_a_rate_that_no_call_waits_for():
    desk = Desk("a")
    desk.limiter.rate_until = NOW + 0.5
    desk.place()
    assert desk.state.next_wake(desk.now, wanted=False) is None


def test_what_waits_for_a_rate_does_not_wait_at_a_client():
    desk = Desk("a")
    desk.fill(15)
    desk.limiter.rate_until = NOW + 0.5
    assert desk.place() == "main: rate, for 0.5 s more"
    assert desk.known.waiting == 0


def test_the_load_is_below_one_where_there_is_room():
    desk = Desk("a", slots=4)
    loads = []
    for _ in range(4):
        loads.append(desk.state.load())
        desk.place()
    assert loads == [0.25, 0.5, 0.75, 1.0]
    assert desk.state.load() > 1


# ---- what an end means -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "blame", "told", "counts"),
    [
        (None, Blame.ENDPOINT, "success", (1, 0, 0)),
        (FailureKind.UNUSABLE, Blame.ENDPOINT, "rejected", (0, 0, 1)),
        (FailureKind.PERMANENT, Blame.TASK, "rejected", (0, 0, 1)),
        (FailureKind.PERMANENT, Blame.UNKNOWN, "cancelled", (0, 0, 0)),
        (FailureKind.MISCONFIGURED, Blame.CONFIG, "rejected", (0, 0, 1)),
        (FailureKind.REFUSED, Blame.ENDPOINT, "refused", (0, 1, 0)),
        (FailureKind.TRANSIENT, Blame.ENDPOINT, "failure", (0, 0, 1)),
        (FailureKind.IN_DOUBT, Blame.ENDPOINT, "failure", (0, 0, 1)),
        (FailureKind.IN_DOUBT, Blame.CLUSTER, "cancelled", (0, 0, 0)),
        (FailureKind.TRANSIENT, Blame.CLUSTER, "cancelled", (0, 0, 0)),
        (FailureKind.CANCELLED, Blame.TASK, "cancelled", (0, 0, 0)),
        (FailureKind.DEADLINE, Blame.LIMIT, "cancelled", (0, 0, 0)),
        (FailureKind.UNSTORED, Blame.CLUSTER, "cancelled", (0, 0, 0)),
    ],
)
def test_every_end_gives_the_permit_back_as_what_it_means(kind, blame, told, counts):
    desk = Desk("a")
    desk.place()
    desk.end(1, kind, blame)
    known = desk.known
    assert (known.succeeded, known.refused, known.failed) == counts
    assert [what for what, _, _ in desk.limiter.told] == [told]
    assert known.limiter.in_flight == 0
    assert known.clients["a"].started == 0


def test_the_limiter_learns_what_an_answer_took_and_said():
    desk = Desk("a")
    desk.place()
    desk.now += 0.5
    headers = RateHeaders(remaining_requests=7)
    desk.end(1, usage=Usage(10, 20), headers=headers)
    assert desk.limiter.told == [
        (
            "success",
            0.5,
            {
                "input_tokens": 10,
                "output_tokens": 20,
                "headers": headers,
                "streamed": 0,
                "took_s": 0.3,
            },
        )
    ]


def test_the_limiter_learns_what_kind_of_refusal_it_was_and_what_was_asked_for():
    desk = Desk("a")
    desk.place()
    headers = RateHeaders(remaining_requests=0)
    error = Failure(FailureKind.REFUSED, Blame.ENDPOINT, "later", 5.0)
    desk.end(1, error=error, refusal=Refusal.REQUESTS, headers=headers)
    assert desk.limiter.told == [
        ("refused", 0.0, {"retry_after": 5.0, "kind": Refusal.REQUESTS, "headers": headers})
    ]


@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.IN_DOUBT])
def test_failures_of_the_endpoint_open_its_breaker(kind):
    desk = Desk("a")
    desk.fill(5)
    for attempt in range(1, 6):
        desk.end(attempt, kind)
    assert desk.known.breaker is BreakerState.OPEN
    assert desk.known.last_failure == "said the test"
    assert desk.place() == "the breaker of main is open for 1.0 s more"
    assert desk.state.next_wake(desk.now, wanted=True) == NOW + 1.0
    desk.state.check_invariants()


@pytest.mark.parametrize(
    ("kind", "blame"),
    [
        (FailureKind.REFUSED, Blame.ENDPOINT),
        (FailureKind.PERMANENT, Blame.TASK),
        (FailureKind.UNUSABLE, Blame.ENDPOINT),
        (FailureKind.IN_DOUBT, Blame.CLUSTER),
        (FailureKind.CANCELLED, Blame.TASK),
    ],
)
def test_what_is_no_failure_of_the_endpoint_leaves_its_breaker_closed(kind, blame):
    desk = Desk("a")
    desk.fill(10)
    for attempt in range(1, 11):
        desk.end(attempt, kind, blame)
    assert desk.known.breaker is BreakerState.CLOSED


def test_after_its_pause_the_breaker_lets_one_canary_through_and_its_answer_opens_the_way():
    desk = Desk("a")
    desk.fill(5)
    for attempt in range(1, 6):
        desk.end(attempt, FailureKind.TRANSIENT)
    desk.now += 1.0
    assert desk.place() == "a"
    canary = desk.number
    assert desk.place().startswith("the breaker of main is open")
    desk.state.check_invariants()
    desk.end(canary)
    assert desk.fill(3) == ["a"] * 3


def test_a_canary_that_stays_silent_is_waited_for_by_a_time_in_the_future():
    """Else the dispatcher would be woken for it again and again, at once."""
    desk = Desk("a")
    desk.fill(5)
    for attempt in range(1, 6):
        desk.end(attempt, FailureKind.TRANSIENT)
    desk.now += 1.0
    desk.place()  # the canary
    for _ in range(5):
        assert "breaker" in desk.place()
        wake = desk.state.next_wake(desk.now, wanted=True)
        assert wake > desk.now
        desk.now = wake
        if desk.place() == "a":
            return
    raise AssertionError("no other canary went out")


def test_the_shares_follow_the_limit():
    desk = Desk("a", "b")
    desk.limiter.limit = 11
    assert desk.state.shares(desk.now) == [("a", 6), ("b", 5)]


def test_an_attempt_that_started_unnoticed_counts_from_when_it_was_sent():
    """Counted from its end, it would look like the fastest answer that ever was."""
    desk = Desk("a")
    desk.fill(17)
    desk.now += 5.0
    desk.end(17, took_s=2.0)
    assert [(what, took_s) for what, took_s, _ in desk.limiter.told] == [("success", 2.0)]


def test_an_attempt_that_never_started_tells_the_limiter_nothing():
    desk = Desk("a")
    desk.fill(17)
    desk.end(17, FailureKind.CANCELLED, Blame.TASK, took_s=0.0)
    assert desk.limiter.told == []
    assert desk.known.limiter.in_flight == 16
    assert desk.known.waiting == 0


# ---- pauses ----------------------------------------------------------------------------------------------


def test_a_pause_takes_all_shares_and_its_end_gives_them_back():
    desk = Desk("a", "b")
    desk.limiter.paused_until = NOW + 5.0
    assert desk.state.shares(desk.now) == [("a", 0), ("b", 0)]
    desk.now += 5.0
    assert desk.state.shares(desk.now) == [("a", 8), ("b", 8)]


def test_a_call_that_waits_is_woken_at_the_end_of_a_pause_though_nothing_is_in_flight():
    desk = Desk("a")
    desk.limiter.paused_until = NOW + 5.0
    desk.state.shares(desk.now)
    assert desk.place() != "a"
    assert desk.state.next_wake(desk.now, wanted=True) == NOW + 5.0
    assert desk.state.next_wake(desk.now, wanted=False) is None


def test_an_attempt_that_waits_at_a_client_is_woken_at_the_end_of_a_pause():
    desk = Desk("a")
    desk.fill(17)
    desk.limiter.paused_until = NOW + 5.0
    desk.state.shares(desk.now)
    for attempt in range(1, 17):
        desk.end(attempt)
        assert desk.state.pool.promote() == []
    assert desk.known.waiting == 1
    assert desk.state.next_wake(desk.now, wanted=False) == NOW + 5.0
    desk.now += 5.0
    desk.state.shares(desk.now)
    assert desk.state.pool.promote() == [17]


# ---- the rest --------------------------------------------------------------------------------------------


def test_each_kind_of_token_has_its_own_price():
    assert Price(1.0, 4.0).usage(TokenCounts(500_000, 250_000)) == Usage(500_000, 250_000, 1.5)
    assert Price().usage(TokenCounts(10, 20)) == Usage(10, 20, 0.0)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda state: state._permits.clear(), "permits kept"),
        (lambda state: state._breaker_permits.clear(), "permits of the breaker differ"),
    ],
)
def test_the_invariants_notice(spoil, problem):
    desk = Desk("a")
    desk.place()
    spoil(desk.state)
    with pytest.raises(InvariantError, match=problem):
        desk.state.check_invariants()
