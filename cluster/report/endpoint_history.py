"""Sums up the history of the endpoints of a run: what slowed it down."""

from __future__ import annotations

from collections.abc import Iterator

from actors.core.messages.values import Json
from actors.core.metrics.history import COUNTS, EndpointHistory, History
from cluster.report.console import plain

_SHOWN = 5  # endpoints
# A run starts and ends without a dispatcher. A longer time is a pause: between a sample and its run, or
# between an interruption and the command that continues the run.
_PAUSE_S, _PAUSE_SHARE = 10.0, 0.1
_WORDS = {
    "answered": "answered",
    "refused": "refused",
    "cuts": "cuts of the limit",
    "failed": "failed",
    "in_doubt": "in doubt",
}


def work_s(lasted_s: float, history: History | None) -> float:
    """Return how long a run was at work: `lasted_s` without its pauses, if it had any that count."""
    active_s = sum(history.active_s) if history is not None else 0.0
    is_paused = active_s and lasted_s - active_s > max(_PAUSE_S, lasted_s * _PAUSE_SHARE)
    return active_s if is_paused else lasted_s


def endpoint_documents(history: History | None) -> list[dict[str, Json]]:
    """Return the sums for each endpoint as JSON objects; none without a history."""
    return [_document(series) for series in (history or History()).endpoints if series.is_used]


def _document(series: EndpointHistory) -> dict[str, Json]:
    used = [index for index, limit in enumerate(series.limit.most) if limit]
    limit = {
        "last": series.limit.most[-1],
        "least": min((series.limit.least[index] for index in used), default=0),
        "most": max(series.limit.most),
    }
    return {
        "name": series.name,
        "limit": limit,
        "most_in_flight": max(series.in_flight.most),
        "most_queued": max(series.queued.most),
        **{name: sum(getattr(series, name)) for name in COUNTS},
    }


def endpoint_lines(history: History | None) -> Iterator[str]:
    """Yield a line for each endpoint, as `status` prints it."""
    documents = endpoint_documents(history)
    for each in documents[:_SHOWN]:
        limit = each["limit"]
        moved = "" if limit["least"] == limit["most"] else f" ({limit['least']:,} to {limit['most']:,})"
        counts = [f"{each[name]:,} {word}" for name, word in _WORDS.items() if each[name]]
        queued = [f"up to {each['most_queued']:,} queued"] if each["most_queued"] else []
        text = " · ".join([f"limit {limit['last']:,}{moved}", *counts, *queued])
        yield f"endpoint {plain(each['name'], 60)}: {text}"
    if len(documents) > _SHOWN:
        yield f"endpoint and {len(documents) - _SHOWN:,} more"
