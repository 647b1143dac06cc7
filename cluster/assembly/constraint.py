"""Names what limits the throughput of an application: endpoints, a source, or the limit of tasks. Pure."""

from __future__ import annotations

from actors.core.dispatch.state import NOTHING_WAITS
from actors.core.limits.breaker import BreakerState
from cluster.assembly.topology import TopologyStatistics


def binding(known: TopologyStatistics, active_tasks: int | None) -> str:
    """Return the constraint that limits throughput now. `active_tasks` is the limit, None if it is unknown.

    The dispatcher knows only calls: if none of them waits, a source or the limit of tasks may be the cause.
    The text has no counts of tasks, which may be those of other tenants.
    """
    if known.dispatcher is None:
        return "the dispatcher does not answer"
    if known.dispatcher.binding != NOTHING_WAITS:
        return known.dispatcher.binding
    if down := [source.name for source in known.sources if source.breaker is not BreakerState.CLOSED]:
        return f"source {down[0]}, which is down: its fetches wait"
    active = sum(pipeline.active for pipeline in known.pipelines)
    slowest = max(known.sources, key=lambda source: source.in_flight, default=None)
    if slowest is not None and slowest.in_flight > active / 2:
        return f"source {slowest.name}: most tasks in progress wait for it"
    if active_tasks is not None and active >= active_tasks:
        return f"limits.active_tasks: no more than {active_tasks:,} tasks may be in progress"
    return NOTHING_WAITS
