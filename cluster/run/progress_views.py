"""Makes the views of a run's progress from the statistics of its actors. Pure: the time is an argument."""

from __future__ import annotations

from actors.core.limits.breaker import BreakerState
from actors.core.messages.journal import TaskTally
from actors.sources.actor import SourceStatistics
from cluster.assembly.topology import TopologyStatistics
from cluster.config.model import HeadraceConfig
from cluster.report.console import EndpointView, ProgressView, SourceHealth, SourceView
from cluster.run.speed_limit import SpeedLimit


class ProgressViews:
    """Makes the views of one run. A rate is the mean since the view before. `total` counts its tasks.

    `ended_before` is the number of tasks that had ended before this process began to run it.
    """

    def __init__(
        self, config: HeadraceConfig, run_id: str, total: int | None, *, is_priced: bool, started: float
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._total = total
        self._is_priced = is_priced
        self._started = started
        self._calls_before = (started, 0)
        self._speed_limit = SpeedLimit(config.limits.active_tasks)
        self.ended_before = 0

    def view(self, known: TopologyStatistics, tasks: TaskTally, now: float) -> ProgressView:
        """Return the view at the time `now`. `tasks` are the counts of tasks so far."""
        dispatcher = known.dispatcher
        done = dispatcher.completed + dispatcher.failed if dispatcher else 0
        since, before = self._calls_before
        pace = (done - before) / max(now - since, 1e-9)
        self._calls_before = (now, done)
        counts = dispatcher.calls if dispatcher else None
        endpoints = dispatcher.endpoints if dispatcher else ()
        binding = self._speed_limit.text(known, now)
        return ProgressView(
            run_id=self._run_id,
            name=self._config.name,
            elapsed_s=now - self._started,
            tasks_total=self._total,
            tasks_active=sum(pipeline.active for pipeline in known.pipelines),
            tasks=tasks,
            ended_before=self.ended_before,
            calls_done=done,
            calls_per_s=max(0.0, pace),
            queued=dispatcher.queued if dispatcher else 0,
            retries=counts.in_doubt + counts.failed + counts.unusable if counts else 0,
            refused=sum(endpoint.refused for endpoint in endpoints),  # those of open calls too
            endpoints=tuple(
                EndpointView(endpoint.name, endpoint.limiter.limit, endpoint.limiter.in_flight)
                for endpoint in endpoints
            ),
            sources=tuple(SourceView(one.name, _health(one), one.failed) for one in known.sources),
            binding=binding,
            tokens=dispatcher.usage.input_tokens + dispatcher.usage.output_tokens if dispatcher else 0,
            cost_usd=dispatcher.usage.cost_usd if dispatcher else 0.0,
            budget_usd=self._config.limits.budget_usd,
            is_priced=self._is_priced,
            unit="rows" if self._config.is_map else "tasks",
            is_outage=self._speed_limit.is_outage,
        )


def _health(source: SourceStatistics) -> SourceHealth:
    if source.breaker is not BreakerState.CLOSED:
        return SourceHealth.OPEN
    return SourceHealth.FAILING if source.failed > source.fetched else SourceHealth.OK
