"""Headrace without a journal between its actors, to measure the cost of a run without durability.

No configuration offers this, because it has no guarantees. The journal's actor still records the beginning
and the end of the run; clients and pipelines have no address of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from actors.transport.discovery import RayAddress


@contextlib.contextmanager
def without_journal() -> Iterator[None]:
    """Build topologies without the journal's address while the context lasts."""

    def address(name: str, namespace: str) -> RayAddress[Any, Any] | None:
        return None if name == "journal" else RayAddress(name, namespace)

    with mock.patch("cluster.assembly.ray.RayAddress", address):
        yield
