"""Headrace without a journal between its actors, to measure the cost of a run without durability.

No configuration offers this, because it has no guarantees. The journal's actor still records the beginning
and the end of the run; clients and pipelines have no address of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from unittest import mock

from actors.transport.address import Address


@contextlib.contextmanager
def without_journal(engine: str) -> Iterator[None]:
    """Build topologies without the journal's address while the context lasts."""
    assembly = import_module(f"cluster.assembly.{engine}")
    kind = "LocalAddress" if engine == "local" else "RayAddress"
    made = getattr(assembly, kind)

    def address(name: str, where: Any) -> Address[Any, Any] | None:
        return None if name == "journal" else made(name, where)

    with mock.patch.object(assembly, kind, address):
        yield
