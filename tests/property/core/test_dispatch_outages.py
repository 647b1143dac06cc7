"""An endpoint is of no use for hours: few requests go out, no call is lost, and then all is as before."""

from __future__ import annotations

import heapq
import random

import pytest

from actors.core.dispatch.events import AttemptDone
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limits.retry import RetrySettings
from actors.core.messages.attempts import AttemptEnded, Refusal
from actors.core.messages.values import Usage
from tests.unit.support.dispatch_desk import Desk, call

HOUR_S = 3600.0
BEGINS_S = 60.0
AFTER_S = 90.0
SLOTS = 40
CALLS = 200  # that wait at any time

OUTAGES = {
    "refusals": {"kind": FailureKind.REFUSED},
    "refusals with Retry-After": {"kind": FailureKind.REFUSED, "wish": 30.0},
    "refusals with an absurd Retry-After": {"kind": FailureKind.REFUSED, "wish": 1e9},
    "a refused key": {"kind": FailureKind.MISCONFIGURED, "blame": Blame.CONFIG},
    "no connection": {"kind": FailureKind.TRANSIENT, "sent": False},
    "errors": {"kind": FailureKind.TRANSIENT},
}


class World:
    """A dispatcher that always has calls waiting, and an endpoint that has one outage."""

    def __init__(self, lasts_s, *, begins_s=BEGINS_S, kind, wish=None, blame=Blame.ENDPOINT, sent=True):
        self.desk = Desk(slots=SLOTS, retry=RetrySettings())
        self.rng = random.Random(3)
        self.begins, self.is_over = self.desk.now + begins_s, self.desk.now + begins_s + lasts_s
        self.failure = Failure(kind, blame, "out", wish)
        self.sent = sent
        self.ends = []
        self.offered = self.in_outage = 0
        self.answered_again_at = None

    def run(self):
        desk, state = self.desk, self.desk.state
        while desk.now < self.is_over + AFTER_S:
            self.offer()
            self.begin()
            wake = state.next_wake(desk.now)
            times = [time for time in (wake, self.ends[0][0] if self.ends else None) if time is not None]
            desk.now = max(min(times), desk.now + 1e-6)
            ended = []
            while self.ends and self.ends[0][0] <= desk.now:
                ended.append(AttemptDone(heapq.heappop(self.ends)[2]))
            desk.happen(*ended)
        return self

    def offer(self):
        missing = CALLS - (self.offered - len(self.desk.completions))
        if missing >= 20:
            numbers = range(self.offered, self.offered + missing)
            self.offered += missing
            self.desk.offer(*(call(f"k{n}", f"t{n // 20}", expires_in_s=72 * HOUR_S) for n in numbers))

    def begin(self):
        begun, now = list(self.desk.attempts), self.desk.now
        self.desk.attempts.clear()
        for _, attempt in begun:
            if self.begins <= now < self.is_over:
                self.in_outage += 1
                outcome = AttemptEnded(
                    attempt.id,
                    error=self.failure,
                    refusal=Refusal.UNKNOWN if self.failure.kind is FailureKind.REFUSED else None,
                    took_s=0.05,
                    sent=self.sent,
                )
                heapq.heappush(self.ends, (now + 0.05, attempt.id, outcome))
                continue
            took_s = self.rng.lognormvariate(0.0, 0.3)
            outcome = AttemptEnded(attempt.id, {"q": 1.0}, usage=Usage(10, 10, 0.0), took_s=took_s)
            heapq.heappush(self.ends, (now + took_s, attempt.id, outcome))
            is_full = self.desk.known.endpoints[0].limiter.in_flight >= 0.8 * SLOTS
            if now >= self.is_over and is_full and self.answered_again_at is None:
                self.answered_again_at = now


@pytest.mark.parametrize("begins_s", [0.0, BEGINS_S], ids=["from the start", "later"])
@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_of_hours_loses_no_call_and_is_over_within_a_minute(name, begins_s):
    world = World(2 * HOUR_S, begins_s=begins_s, **OUTAGES[name]).run()
    assert all(done.error is None for done in world.desk.completions.values())
    assert world.answered_again_at is not None
    assert world.answered_again_at - world.is_over <= 60.0
    assert world.in_outage <= 600 + 2 * HOUR_S / 3.0
    assert world.desk.known.stopped_by is None
    assert len(world.desk.state._pauses._heap) <= CALLS
