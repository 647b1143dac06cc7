"""What a task is called inside, where several callers of one service each have names of their own.

A caller's key ``review-1`` is kept as ``ann<US>review-1``, with a unit separator, which no key that comes
from outside may hold. Actors and stores use the whole name; sources and prompts see the key.
"""

from __future__ import annotations

_SEPARATOR = "\x1f"


def within(tenant: str, name: str) -> str:
    """Return the inside name of a tenant's task or group."""
    return f"{tenant}{_SEPARATOR}{name}"


def tenant_of(name: str) -> str | None:
    """Return whose name it is, None for one that belongs to no single tenant."""
    tenant, separator, _ = name.partition(_SEPARATOR)
    return tenant if separator else None


def given_name(name: str) -> str:
    """Return a name as its tenant gave it."""
    _, separator, given = name.partition(_SEPARATOR)
    return given if separator else name
