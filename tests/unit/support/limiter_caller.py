"""A caller with more to ask than its limiter allows, for tests of the limiter."""

from __future__ import annotations

import random

from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings, Permit
from actors.core.limiter.refusal_bound import LimitMode


class LimiterCaller:
    """Asks, answers and refuses, with a clock that is moved by hand."""

    def __init__(self, most=1000, start=16, **rates):
        settings = LimiterSettings(max_in_flight=most, start=start, **rates)
        self.limiter = AdaptiveLimiter(settings, now=0.0, rng=random.Random(1))
        self.now = 0.0
        self.permits: list[Permit] = []

    @property
    def limit(self):
        return self.limiter.limit

    @property
    def mode(self):
        return self.limiter.statistics().mode

    def ask(self, tokens=100):
        return self.limiter.try_acquire(self.now, tokens=tokens)

    def fill(self):
        """Start all that may start; return what was started, and why no more."""
        started = []
        while isinstance(got := self.ask(), Permit):
            started.append(got)
        self.permits += started
        return started, got

    def pass_time(self, seconds, *, fill=True):
        """Let time pass in steps of 10 ms, starting whatever may start."""
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.limiter.tick(self.now)
            if fill:
                self.fill()

    def answer(self, count=1):
        for _ in range(count):
            self.limiter.on_success(self.permits.pop(0), self.now, input_tokens=50, output_tokens=50)

    def refuse(self, permit=None, **how):
        """Refuse a permit, the last one by default, a round trip after it was sent."""
        permit = permit or self.permits[-1]
        self.permits.remove(permit)
        self.now = max(self.now, permit.sent_at + 0.05)
        self.limiter.on_refused(permit, self.now, **how)

    def meet_bound(self, at):
        """Ramp up to a bound of `at`, be refused there, and have one attempt let in after it."""
        while len(self.permits) <= at:
            self.pass_time(0.01)
        first = self.permits[at]
        while len(self.permits) > at:
            self.refuse(self.permits[-1] if self.permits[-1] is not first else first)
        self.answer()
        self.fill()
        self.pass_time(0.2)
        assert (self.mode, self.limit) == (LimitMode.STEADY, at)
