"""Where an attempt goes, and what it may cost there."""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import OpenCall
from actors.core.messages.values import Priority, Usage


def place(
    endpoints: Sequence[EndpointState], attempt: int, record: OpenCall, now: float
) -> tuple[EndpointState | None, str]:
    """Find an endpoint and a client for `attempt`, the least loaded first, and count it as under way there.

    Returns both; or None and, in words, what binds.
    """
    if len(endpoints) > 1:
        endpoints = sorted(endpoints, key=EndpointState.load)
    binding = ""
    for endpoint in endpoints:
        if not endpoint.pool.has_clients:
            return None, "no client actor is up"
        if record.shuns(endpoint.name, now):
            continue
        streams = endpoint.wants_stream(now) if record.streams is None else record.streams
        first = record.call.priority is Priority.INTERACTIVE and endpoint.lets_first(now)
        tokens = estimate(endpoint, record).tokens
        client, binding = endpoint.place(attempt, tokens, now, streams=streams, first=first)
        if client is not None:
            record.streams, record.first = streams, first
            return endpoint, client
    return None, binding


def place_beside(
    endpoints: Sequence[EndpointState], there: EndpointState, attempt: int, record: OpenCall, now: float
) -> tuple[EndpointState | None, str]:
    """Find a place for a second attempt beside one that is `there`: elsewhere, if there is a choice."""
    others = [endpoint for endpoint in endpoints if endpoint is not there]
    endpoint, said = place(others, attempt, record, now)
    return (endpoint, said) if endpoint is not None else place([there], attempt, record, now)


def estimate(endpoint: EndpointState, record: OpenCall) -> Usage:
    """Return what an attempt at this call may take at `endpoint`."""
    return endpoint.estimate(record.input_tokens, record.call.output_tokens)
