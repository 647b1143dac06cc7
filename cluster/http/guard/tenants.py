"""Separates callers: with more than one token, each has its own keys, batches and lists.

Rule 1: a task of another caller does not exist for this one: its address answers 404, and its name is free.
Rule 2: with one token or none a name is the same in the API and in the store.
Rule 3: a task that was accepted before a second token was configured belongs to the caller that submitted it.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.messages.journal import TaskView
from actors.core.task_names import tenant_of, within


@dataclass(frozen=True, slots=True)
class Space:
    """The name space of one caller. `is_own` is False if every caller sees everything."""

    tenant: str = ""
    is_own: bool = False

    @property
    def owner(self) -> str | None:
        """The caller whose tasks are listed, None for all callers."""
        return self.tenant if self.is_own else None

    def inside(self, name: str) -> str:
        """Return the name in the store of a task or batch of this caller."""
        return within(self.tenant, name) if self.is_own else name

    def outside(self, name: str) -> str:
        """Return the name in the API of a task or batch of this caller."""
        return name.removeprefix(within(self.tenant, "")) if self.is_own else name

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return the names that a task or batch may have in the store, the most recent form first."""
        return (self.inside(name), name) if self.is_own else (name,)

    def owns(self, view: TaskView) -> bool:
        """Return whether a task belongs to this caller."""
        return not self.is_own or view.tenant == self.tenant

    def is_inside(self, name: str) -> bool:
        """Return whether a name in the store belongs to this caller by its form."""
        return not self.is_own or tenant_of(name) == self.tenant


EVERYBODY = Space()
