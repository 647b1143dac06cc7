"""What the dispatcher is told, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.dispatch.endpoint import EndpointStatistics, Price
from actors.core.errors import Failure
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.breaker import BreakerSettings
from actors.core.limits.hedge import HedgeSettings
from actors.core.limits.retry import RetrySettings
from actors.core.messages.values import CallCounts, Usage
from actors.core.queue.fair_queue import FairQueueStatistics


class EndpointRules(Struct, frozen=True):
    """What the dispatcher is told of one endpoint."""

    name: str
    limiter: LimiterSettings
    price: Price = field(default_factory=Price)
    # One failure among hundreds in flight says little: only a bad rate, or many in a row, opens it.
    breaker: BreakerSettings = field(default_factory=lambda: BreakerSettings(failures=20))


class DispatchSettings(Struct, frozen=True):
    """What the dispatcher is told. `reasks`: how often an answer that does not fit is asked for again.

    `tenant_weights`: what a tenant gets of the tokens beside others, 1 where not named.
    """

    endpoints: tuple[EndpointRules, ...]
    retry: RetrySettings = field(default_factory=RetrySettings)
    reasks: int = 2
    max_queued: int = 100_000
    budget_usd: float | None = None
    budget_tokens: int | None = None
    hedge: HedgeSettings | None = None
    tenant_weights: Mapping[str, float] = field(default_factory=dict)


class DispatchStatistics(Struct, frozen=True):
    """A snapshot. `waiting` calls sit out a pause before another try; `binding` says in words what binds.

    `stopped_by` is set while every endpoint that calls could go to has a fault (`EndpointStatistics.fault`):
    until that is mended no call is answered, and all wait for their deadlines. It is None otherwise.

    `hedged` counts second attempts beside ones that said nothing.
    """

    queued: int
    waiting: int
    sent: int
    completed: int
    failed: int
    hedged: int
    calls: CallCounts
    usage: Usage
    endpoints: tuple[EndpointStatistics, ...]
    recent_failures: tuple[str, ...]
    binding: str
    queue: FairQueueStatistics
    stopped_by: Failure | None = None
