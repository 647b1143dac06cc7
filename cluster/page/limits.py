"""The limits of the endpoints over time, from the history that the dispatcher stored with the run."""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.messages.values import Json
from actors.core.metrics.history import EndpointHistory, History

_MOST_ENDPOINTS = 4  # have a plot each


def limit_series(history: History | None, began_at: float) -> list[dict[str, Json]]:
    """Return the columns of a plot for each of the busiest endpoints. Null stands for a gap."""
    if history is None:
        return []
    return [_columns(history, endpoint, began_at) for endpoint in _busiest(history)[:_MOST_ENDPOINTS]]


def _busiest(history: History) -> Sequence[EndpointHistory]:
    used = (one for one in history.endpoints if one.is_used)
    return sorted(used, key=lambda one: -sum(one.answered))


def _columns(history: History, endpoint: EndpointHistory, began_at: float) -> dict[str, Json]:
    columns: dict[str, list[Json]] = {name: [] for name in ("t", "limit", "in_flight", "cuts")}
    gaps = set(history.gaps)
    for place, (at, until) in enumerate(zip(history.at, history.until, strict=True)):
        if place in gaps:
            for name, values in columns.items():
                middle = (history.until[place - 1] + at) / 2
                values.append(round(middle - began_at, 2) if name == "t" else None)
        row = {
            "t": round((at + until) / 2 - began_at, 2),
            "limit": round(endpoint.limit.mean[place], 1),
            "in_flight": round(endpoint.in_flight.mean[place], 1),
            "cuts": endpoint.cuts[place],
        }
        for name, value in row.items():
            columns[name].append(value)
    return {"name": endpoint.name, **columns}
