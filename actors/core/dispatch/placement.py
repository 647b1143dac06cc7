"""Chooses an endpoint and a client for an attempt, and estimates its cost."""

from __future__ import annotations

from collections.abc import Sequence

from actors.core.dispatch.endpoint import EndpointState
from actors.core.dispatch.open_call import OpenCall
from actors.core.messages.values import Priority, Usage


def place(
    endpoints: Sequence[EndpointState], attempt: int, record: OpenCall, now: float
) -> tuple[EndpointState | None, str]:
    """Find an endpoint, the least loaded first, and a client for `attempt`, and record the attempt there.

    Return both; or None and a description of the constraint.
    """
    if len(endpoints) > 1:
        endpoints = sorted(endpoints, key=EndpointState.load)
    binding = ""
    for endpoint in endpoints:
        if not endpoint.pool.has_clients:
            return None, "no client actor is running"
        if record.excludes(endpoint.name, now):
            continue
        streams = endpoint.wants_stream(now) if record.streams is None else record.streams
        first = record.call.priority is Priority.INTERACTIVE and endpoint.may_go_first(now)
        may_take, form = estimate(endpoint, record), record.call.form
        client, binding = endpoint.place(
            attempt, may_take.tokens, now, streams=streams, first=first, form=form
        )
        if client is not None:
            record.streams, record.first, record.estimate = streams, first, may_take
            return endpoint, client
    return None, binding


def place_beside(
    endpoints: Sequence[EndpointState], there: EndpointState, attempt: int, record: OpenCall, now: float
) -> tuple[EndpointState | None, str]:
    """Place a second attempt beside one at `there`, at another endpoint if one has room."""
    others = [endpoint for endpoint in endpoints if endpoint is not there]
    endpoint, client = place(others, attempt, record, now)
    return (endpoint, client) if endpoint is not None else place([there], attempt, record, now)


def estimate(endpoint: EndpointState, record: OpenCall) -> Usage:
    """Return the estimated usage of an attempt at this call at `endpoint`."""
    call = record.call
    return endpoint.estimate(record.input_tokens, call.output_tokens, is_bound=bool(call.attachments))
