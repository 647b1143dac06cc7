"""An attempt that is with a client: where it goes, and where those under way are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.core.endpoint_state import EndpointState
from actors.core.messages import Priority
from actors.core.open_call import OpenCall


@dataclass(frozen=True, slots=True)
class Flight:
    """A call that is under way, and where."""

    record: OpenCall
    endpoint: EndpointState


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
        if record.shuns(endpoint.name, now):
            continue
        streams = endpoint.wants_stream(now) if record.streams is None else record.streams
        first = record.call.priority is Priority.INTERACTIVE and endpoint.lets_first(now)
        client, binding = endpoint.place(attempt, record.call.tokens, now, streams=streams, first=first)
        if client is not None:
            record.streams, record.first = streams, first
            return endpoint, client
    return None, binding


def by_client(sent: Mapping[int, Flight], task: str) -> dict[str, list[int]]:
    """Return the attempts under way for `task`, by the client that has them."""
    found: dict[str, list[int]] = {}
    for attempt, flight in sent.items():
        client = flight.endpoint.fleet.holder(attempt)
        if flight.record.call.task == task and client is not None:
            found.setdefault(client, []).append(attempt)
    return found
