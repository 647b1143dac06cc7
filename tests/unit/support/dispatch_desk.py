"""A dispatcher with a clock, for tests: takes what it says apart, and has attempts end as a test wants."""

from __future__ import annotations

import random

from actors.core.dispatch.events import AttemptDone, CallOffered, ClientBegan, Complete, Drained, Refuse, Tell
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.price import Price
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call
from actors.core.messages.values import Priority, Usage

NOW = 100.0
IN_DOUBT, REFUSED, TRANSIENT = FailureKind.IN_DOUBT, FailureKind.REFUSED, FailureKind.TRANSIENT


def call(key="k1", task="t1", *, tokens=100, expires_in_s=600.0, priority=Priority.BATCH, tenant="", **more):
    """Return a call whose whole estimate is that of its answer."""
    more.setdefault("output_tokens", tokens)
    return Call(key, "evaluate", f"prompt of {key}", tokens, task, tenant, priority, expires_in_s, **more)


class Desk:
    """A dispatcher with one client and a clock. What it says is kept; an end comes `step_s` later."""

    def __init__(
        self, *, slots=4, clients=("c1",), endpoints=("main",), rate=None, tokens_rate=None, **settings
    ):
        rules = tuple(
            EndpointRules(
                name, LimiterSettings(slots, rate, tokens_rate, start=slots), Price(0.0, 1_000_000.0)
            )
            for name in endpoints
        )
        retry = settings.pop("retry", RetrySettings(attempts=3, base_s=0.1, cap_s=1.0))
        self.state = DispatchState(DispatchSettings(rules, retry, **settings), now=NOW, rng=random.Random(1))
        self.now = NOW
        self.step_s = 0.1
        self.attempts = []  # with their clients, in order
        self.completions = {}
        self.refused = []
        self.drained = 0  # how often it said so
        self.told = []  # shares and aborts
        self.urgent = []  # of those: whether each was
        self.happen(*(ClientBegan(name) for name in clients))

    def happen(self, *events):
        for instruction in self.state.handle(events, self.now):
            match instruction:
                case Tell(client, Attempt() as attempt):
                    self.attempts.append((client, attempt))
                case Tell(client, message, urgent):
                    self.told.append((client, message))
                    self.urgent.append(urgent)
                case Complete(completion):
                    assert completion.key not in self.completions
                    self.completions[completion.key] = completion
                case Refuse(key):
                    self.refused.append(key)
                case Drained():
                    self.drained += 1
        self.state.check_invariants()

    def offer(self, *calls):
        self.happen(*(CallOffered(each) for each in calls))

    def end(self, which, kind=None, *, wish=None, took_s=0.3, tokens=50, blame=Blame.ENDPOINT, **more):
        """Have an attempt end: the one made as number `which`, or the last one for the call of that key."""
        self.now += self.step_s
        if isinstance(which, str):
            attempt = [attempt for _, attempt in self.attempts if attempt.call_key == which][-1]
        else:
            attempt = self.attempts[which][1]
        if kind is None:
            more |= {"values": {"quality": 1.0}}
        else:
            more |= {"error": Failure(kind, blame, more.pop("said", "said the test"), wish)}
        if kind in (None, FailureKind.UNUSABLE):
            more.setdefault("usage", Usage(0, tokens, tokens * 1.0))
        self.happen(AttemptDone(AttemptEnded(attempt.id, took_s=took_s, **more)))

    def wait(self, seconds):
        """Let time pass, ringing the alarm whenever it is due."""
        until = self.now + seconds
        while (wake := self.state.next_wake(self.now)) is not None and wake <= until:
            assert wake > self.now, "an alarm in the past would ring for ever"
            self.now = wake
            self.happen()
        self.now = until
        self.happen()

    @property
    def keys(self):
        return [attempt.call_key for _, attempt in self.attempts]

    @property
    def known(self):
        return self.state.statistics()

    def error(self, key="k1"):
        return self.completions[key].error
