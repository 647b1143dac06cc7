"""Maps the names that tenants give to tasks and groups to internal names, which are unique across tenants.

The internal name of the key ``review-1`` of tenant ``ann`` is ``ann<US>review-1``, with a unit separator,
which keys from outside must not contain. Actors and stores use internal names; sources and prompts see keys.
"""

from __future__ import annotations

_SEPARATOR = "\x1f"


def within(tenant: str, name: str) -> str:
    """Return the internal name of a tenant's task or group."""
    return f"{tenant}{_SEPARATOR}{name}"


def tenant_of(name: str) -> str | None:
    """Return the tenant of an internal name, None if it belongs to no tenant."""
    tenant, separator, _ = name.partition(_SEPARATOR)
    return tenant if separator else None


def given_name(name: str) -> str:
    """Return a name as the tenant gave it."""
    _, separator, given = name.partition(_SEPARATOR)
    return given if separator else name
