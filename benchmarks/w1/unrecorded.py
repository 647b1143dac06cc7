"""Headrace with no journal between its actors: what a run costs apart from being durable.

No configuration offers that, since nothing is promised then. The journal's actor stays, for the run's own
begin and end; clients and pipelines are told of none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from actors.transport.discovery import RayAddress


@contextlib.contextmanager
def without_journal() -> Iterator[None]:
    """Have topologies that are built meanwhile do without, as those parts do that get no address of it."""

    def address(name: str, namespace: str) -> RayAddress[Any, Any] | None:
        return None if name == "journal" else RayAddress(name, namespace)

    with mock.patch("cluster.assembly.ray.RayAddress", address):
        yield
