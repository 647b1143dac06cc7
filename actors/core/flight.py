"""An attempt that is with a client: whose it is, and at which endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.endpoint_state import EndpointState
from actors.core.open_call import OpenCall


@dataclass(frozen=True, slots=True)
class Flight:
    """A call that is under way, and where."""

    record: OpenCall
    endpoint: EndpointState
