"""The limits of the endpoints over time, from the history that the dispatcher stored with the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.core.messages.values import Json
from actors.core.metrics.history import EndpointHistory, History

_MOST_ENDPOINTS = 4  # have a plot each
_GAP_S = 1.0


@dataclass(frozen=True, slots=True)
class LimitCourse:
    """How the limit of an endpoint went: its first, smallest, largest and last value, and what cut it.

    cuts: how often it was reduced after refusals, or closed by a breaker. waited: the share of the time in
    which calls waited for a slot.
    """

    endpoint: str
    first: int
    least: int
    most: int
    last: int
    cuts: int
    refused: int
    waited: float


def limit_courses(history: History | None) -> list[LimitCourse]:
    """Return the course of each endpoint that answered or refused anything, the busiest first."""
    if history is None:
        return []
    return [_course(history, endpoint) for endpoint in _busiest(history)]


def limit_series(history: History | None, began_at: float) -> list[dict[str, Json]]:
    """Return the columns of a plot for each of the busiest endpoints. Null stands for a gap."""
    if history is None:
        return []
    return [_columns(history, endpoint, began_at) for endpoint in _busiest(history)[:_MOST_ENDPOINTS]]


def _busiest(history: History) -> Sequence[EndpointHistory]:
    used = [one for one in history.endpoints if sum(one.answered) + sum(one.refused) + sum(one.failed)]
    return sorted(used, key=lambda one: -sum(one.answered))


def _course(history: History, endpoint: EndpointHistory) -> LimitCourse:
    known = [place for place, most in enumerate(endpoint.limit.most) if most]
    active_s = sum(history.active_s)
    waited_s = sum(
        seconds for seconds, queued in zip(history.active_s, endpoint.queued.mean, strict=True) if queued >= 1
    )
    return LimitCourse(
        endpoint.name,
        first=round(endpoint.limit.mean[known[0]]) if known else 0,
        least=min((endpoint.limit.least[place] for place in known), default=0),
        most=max(endpoint.limit.most, default=0),
        last=round(endpoint.limit.mean[known[-1]]) if known else 0,
        cuts=sum(endpoint.cuts),
        refused=sum(endpoint.refused),
        waited=waited_s / active_s if active_s else 0.0,
    )


def _columns(history: History, endpoint: EndpointHistory, began_at: float) -> dict[str, Json]:
    columns: dict[str, list[Json]] = {name: [] for name in ("t", "limit", "in_flight", "cuts")}
    until = None
    for place, at in enumerate(history.at):
        if until is not None and at - until > _GAP_S:
            for name, values in columns.items():
                values.append(round((until + at) / 2 - began_at, 2) if name == "t" else None)
        until = history.until[place]
        row = {
            "t": round((at + until) / 2 - began_at, 2),
            "limit": round(endpoint.limit.mean[place], 1),
            "in_flight": round(endpoint.in_flight.mean[place], 1),
            "cuts": endpoint.cuts[place],
        }
        for name, value in row.items():
            columns[name].append(value)
    return {"name": endpoint.name, **columns}
