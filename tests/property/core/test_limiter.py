"""What holds for a limiter whatever its endpoint and callers do, and what it reaches in simulated worlds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings, Permit, Wait
from actors.core.limiter.refusal_bound import LimitMode
from actors.core.messages.attempts import RateHeaders, Refusal
from benchmarks.limiter.simulation import SCENARIOS, Ours, run

headers = st.none() | st.builds(
    RateHeaders,
    limit_tokens=st.none() | st.integers(-1, 10**6),
    remaining_tokens=st.none() | st.integers(-1, 10**6),
    limit_requests=st.none() | st.integers(-1, 10**4),
    remaining_requests=st.none() | st.integers(-1, 10**4),
)
which = st.integers(0, 10**6)
events = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 5000)),
    st.tuples(st.just("adopt"), st.integers(0, 5000)),
    st.tuples(st.just("answer"), which, headers),
    st.tuples(st.just("refuse"), which, st.sampled_from(Refusal), st.none() | st.floats(-1, 1e6), headers),
    st.tuples(st.just("fail"), which),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("stream"), which, st.integers(0, 300)),
    st.tuples(st.just("wait"), st.floats(0, 20)),
    st.tuples(st.just("wake")),
)
some_settings = st.builds(
    LimiterSettings,
    max_in_flight=st.integers(1, 60),
    start=st.integers(1, 100),
    requests_per_minute=st.none() | st.floats(1, 1e5),
    tokens_per_minute=st.none() | st.floats(1, 1e7),
)


class LimiterModel:
    """Drives a limiter by arbitrary events and checks each step against what is promised."""

    def __init__(self, known):
        self.known = known
        self.now = 0.0
        self.limiter = AdaptiveLimiter(known, now=0.0, rng=random.Random(0))
        self.permits = []

    def take(self, index):
        return self.permits.pop(index % len(self.permits)) if self.permits else None

    def step(self, event):
        kind, *rest = event
        limiter, cuts = self.limiter, self.limiter._bound.epoch
        if kind == "start":
            self.start(rest[0])
        elif kind == "adopt":
            self.permits.append(limiter.adopt(self.now, tokens=rest[0]))
        elif kind == "wait":
            self.now += rest[0]
        elif kind == "wake":
            self.wake()
        elif (permit := self.take(rest[0])) is not None:
            self.end(kind, permit, rest[1:])
        assert limiter._bound.epoch - cuts <= (kind == "refuse")
        self.check()

    def start(self, tokens):
        before, paused_until = self.limiter.in_flight, self.limiter.paused_until
        got = self.limiter.try_acquire(self.now, tokens=tokens)
        if isinstance(got, Permit):
            assert before < self.limiter.limit
            assert paused_until is None or paused_until <= self.now
            self.permits.append(got)
        else:
            assert isinstance(got, Wait)
            assert got.until is None or got.until > self.now

    def wake(self):
        at = self.limiter.tick(self.now)
        assert at is None or at > self.now  # an earlier time would spin
        self.now = self.now if at is None else at

    def end(self, kind, permit, rest):
        limiter, now = self.limiter, self.now
        if kind == "answer":
            limiter.on_success(permit, now, input_tokens=10, output_tokens=20, headers=rest[0])
        elif kind == "refuse":
            limiter.on_refused(permit, now, kind=rest[0], retry_after=rest[1], headers=rest[2])
            assert limiter.paused_until is None or limiter.paused_until <= now + 60
        elif kind == "fail":
            limiter.on_failure(permit, now)
        elif kind == "cancel":
            limiter.on_cancelled(permit, now)
        else:
            limiter.on_tokens(permit, now, tokens=rest[0])
            self.permits.append(permit)

    def check(self):
        self.limiter.check_invariants()
        statistics = self.limiter.statistics()
        assert 1 <= statistics.limit <= self.known.max_in_flight
        assert statistics.in_flight == len(self.permits)
        assert 0 <= self.limiter.backlog(self.now) <= statistics.limit // 4
        assert statistics.mode is not LimitMode.RECOVERY or self.limiter.backlog(self.now) == 0


@given(some_settings, st.lists(events, max_size=150))
@settings(max_examples=150, deadline=None)
def test_no_order_of_events_breaks_a_promise(known, steps):
    model = LimiterModel(known)
    for event in steps:
        model.step(event)
    for permit in model.permits:
        model.limiter.on_cancelled(permit, model.now)
    assert model.limiter.in_flight == 0
    model.limiter.check_invariants()


@given(some_settings, st.lists(st.floats(0, 5), max_size=60))
@settings(max_examples=100, deadline=None)
def test_without_an_answer_the_limit_stays_where_one_was_seen_to_be_safe(known, waits):
    model = LimiterModel(known)
    for wait in waits:
        model.start(100)
        model.now += wait
        model.limiter.tick(model.now)
        assert model.limiter.limit <= max(known.start, 64)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=80), st.integers(0, 4000))
@settings(max_examples=100, deadline=None)
def test_what_is_started_keeps_to_a_known_rate_in_any_minute(waits, tokens):
    model = LimiterModel(LimiterSettings(max_in_flight=100, start=100, tokens_per_minute=6000.0))
    started = []
    for wait in waits:
        if isinstance(got := model.limiter.try_acquire(model.now, tokens=tokens), Permit):
            model.limiter.on_failure(got, model.now)
            started.append(model.now)
        model.now += wait
    for begin in started:
        within = [at for at in started if begin <= at < begin + 60]
        assert (len(within) - 1) * tokens <= 6000


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("cap 512", "short, cap 1000")])
def test_the_targets_hold_in_a_world_it_knows_nothing_of(name):
    got = run(name, Ours, seeds=1 if name.startswith("short") else 2)  # a second takes them 5 s each
    assert not SCENARIOS[name][1].missed(got), got
