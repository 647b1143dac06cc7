"""Calls that name their endpoints: each ends once, and goes nowhere else; no set of endpoints starves."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from actors.core.dispatch.events import AttemptDone, CallOffered, ClientBegan, Tell
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call
from actors.core.messages.values import Priority, Usage
from tests.property.core.test_dispatch import FOR_EVER, Dispatching, clients, tasks

NAMES = ("e0", "e1", "e2")
names = st.sets(st.sampled_from(NAMES)).map(lambda chosen: tuple(sorted(chosen)))


class Routing(Dispatching):
    """The dispatcher of `Dispatching` with three endpoints, and calls that may use any set of them."""

    @initialize(
        most=st.lists(st.integers(1, 8), min_size=3, max_size=3),
        per_minute=st.sampled_from([None, None, 600.0]),
        budget=st.sampled_from([None, None, 4000]),
        first=st.sets(clients),
    )
    def begin(self, most, per_minute, budget, first):
        self.begin_with(most, per_minute, budget, first)

    @rule(
        task=tasks,
        count=st.integers(1, 8),
        tokens=st.integers(0, 400),
        priority=st.sampled_from(Priority),
        left=st.sampled_from([0.0, 0.2, 2.0, FOR_EVER, FOR_EVER, FOR_EVER]),
        endpoints=names,
    )
    def offer(self, task, count, tokens, priority, left, *, endpoints):
        self.offer_calls(task, count, tokens, priority, left, endpoints=endpoints)


TestRouting = Routing.TestCase
TestRouting.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


class Crowd:
    """A dispatcher with one client, and a number of calls of each set that always wait."""

    def __init__(self, sets, tokens, rng, per_minute):
        rules = [EndpointRules(name, LimiterSettings(2, None, per_minute, start=2)) for name in NAMES]
        self.state = DispatchState(DispatchSettings(tuple(rules)), now=0.0, rng=rng)
        self.now = 0.0
        self.rng = rng
        self.tokens = tokens
        self.number = 0
        self.sent = []  # attempts that have not ended
        self.served = Counter()
        self.handle(ClientBegan("c"))
        self.handle(*(self.call(endpoints) for endpoints in sets for _ in range(4)))

    def call(self, endpoints):
        self.number += 1
        tokens = self.tokens[endpoints]
        key = f"{','.join(endpoints)}:{self.number}"
        return CallOffered(
            Call(key, "f", "", tokens, f"t{self.number % 3}", expires_in_s=1e9, endpoints=endpoints)
        )

    def handle(self, *events):
        for instruction in self.state.handle(events, self.now):
            if isinstance(instruction, Tell) and isinstance(instruction.message, Attempt):
                self.on_sent(instruction.message)

    def on_sent(self, attempt):
        endpoints = self.endpoints_of(attempt)
        assert attempt.endpoint in (endpoints or NAMES)
        self.sent.append(attempt)
        self.served[endpoints] += 1

    def endpoints_of(self, attempt):
        return tuple(filter(None, attempt.call_key.partition(":")[0].split(",")))

    def step(self):
        """End an attempt, and offer a call of the same set; without one, let time pass."""
        self.now += 0.05
        if not self.sent:
            wake = self.state.next_wake(self.now)
            assert wake is not None, "calls wait, and nothing would wake the dispatcher"
            self.now = max(self.now, wake)
            self.handle()
            return
        attempt = self.sent.pop(self.rng.randrange(len(self.sent)))
        endpoints = self.endpoints_of(attempt)
        usage = Usage(self.tokens[endpoints], 0)
        self.handle(AttemptDone(AttemptEnded(attempt.id, {}, usage=usage, took_s=0.05)), self.call(endpoints))
        self.state.check_invariants()


@settings(max_examples=60, deadline=None)
@given(
    sets=st.sets(names, min_size=2, max_size=5),
    sizes=st.lists(st.sampled_from([10, 100, 300]), min_size=5, max_size=5),
    per_minute=st.sampled_from([None, 200_000.0]),
    seed=st.integers(0, 1000),
)
def test_no_set_of_endpoints_starves_while_the_others_always_have_calls(sets, sizes, per_minute, seed):
    ordered = sorted({() if len(each) == len(NAMES) else each for each in sets})  # () means all
    crowd = Crowd(ordered, dict(zip(ordered, sizes, strict=False)), random.Random(seed), per_minute)

    for _ in range(300):
        crowd.step()
    crowd.served.clear()
    for _ in range(300):  # a call of 300 tokens makes way for 30 of 10 tokens from each of the other sets
        crowd.step()

    assert all(crowd.served[each] for each in ordered), crowd.served
