"""When a call comes back to an endpoint that its configuration keeps out of use."""

from __future__ import annotations

import random

import pytest

from actors.core.dispatch.aftermath import Aftermath
from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import OpenCall
from actors.core.errors import Blame, Failure, FailureKind
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.breaker import BreakerSettings
from actors.core.limits.price import Price
from actors.core.limits.retry import RetryPolicy, RetrySettings
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.values import Priority
from actors.core.queue.routes import Routes
from tests.unit.support.dispatch_desk import call

BAD = Failure(FailureKind.MISCONFIGURED, Blame.CONFIG, "the key is refused")


@pytest.mark.parametrize(("others_wait", "looks_left"), [(True, [0, 1, 2, 2]), (False, [0, 0, 0, 0])])
def test_a_call_leaves_looks_to_calls_that_were_not_tried_the_more_often_it_has_looked(
    others_wait, looks_left
):
    """Where its text is forbidden, only another call can show that the endpoint can be used."""
    rng = random.Random(1)
    where = EndpointState("main", LimiterSettings(4), BreakerSettings(), Price(), now=0.0, rng=rng)
    routes = Routes([where], 10)
    if others_wait:
        routes.of(()).queue.push(object(), priority=Priority.BATCH, tenant="", task="t2", tokens=1)
    aftermath = Aftermath(RetryPolicy(RetrySettings()), routes, rng)
    record, now, left = OpenCall(call(expires_in_s=7200.0), 0.0), 0.0, []
    for attempt in range(len(looks_left)):
        where.faults.on_placed(attempt, now)
        outcome = AttemptEnded(attempt, error=BAD)
        where.faults.on_ended(outcome, now)
        until = aftermath.of(record, outcome, where, now)
        look_at = where.faults.closed_until(now)
        left.append((until - look_at) // where.faults.pause_s)
        assert 0.5 <= until - look_at - left[-1] * where.faults.pause_s <= 1.0
        now = look_at
    assert left == looks_left
