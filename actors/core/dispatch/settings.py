"""The settings and the statistics of the dispatcher."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from actors.core.dispatch.endpoint import EndpointStatistics
from actors.core.errors import Failure
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.breaker import BreakerSettings
from actors.core.limits.hedge import HedgeSettings
from actors.core.limits.price import Price
from actors.core.limits.retry import RetrySettings
from actors.core.messages.values import CallCounts, Usage
from actors.core.metrics.history import History
from actors.core.queue.fair_queue import FairQueueStatistics


class EndpointRules(Struct, frozen=True):
    """The settings of one endpoint. `address`: the settings that lead to it, named if it is not reached."""

    name: str
    limiter: LimiterSettings
    price: Price = field(default_factory=Price)
    # One failure among hundreds of attempts is no outage: only a high rate, or many in a row, opens it.
    breaker: BreakerSettings = field(default_factory=lambda: BreakerSettings(failures=20))
    address: str = "base_url"


class DispatchSettings(Struct, frozen=True):
    """The settings of the dispatcher.

    reasks: how often a call is asked again after an unusable answer, where `form_reasks` does not name its
    form.
    tenant_weights: the relative share of tokens of each tenant, 1 by default.
    """

    endpoints: tuple[EndpointRules, ...]
    retry: RetrySettings = field(default_factory=RetrySettings)
    reasks: int = 2
    form_reasks: Mapping[str, int] = field(default_factory=dict)
    max_queued: int = 100_000
    budget_usd: float | None = None
    budget_tokens: int | None = None
    hedge: HedgeSettings | None = None
    tenant_weights: Mapping[str, float] = field(default_factory=dict)


class DispatchStatistics(Struct, frozen=True):
    """A snapshot of the dispatcher.

    waiting: calls that wait before another attempt, or for the answer of an equal call.
    hedged: second attempts made because the first was silent.
    binding: a description of the constraint that currently limits throughput.
    stopped_by: the fault if every endpoint that some calls may use has one (`EndpointStatistics.fault`):
    until it is corrected, none of these calls is answered, and all wait for their deadlines.
    history: of the whole run, with those before a restart.
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
    history: History
    stopped_by: Failure | None = None
