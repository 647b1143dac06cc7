"""Whose names are whose: with more than one token, each caller has keys, batches and lists of its own.

Rule 1: what belongs to another caller does not exist: it is 404, and its name is free.
Rule 2: with one token or none a name means the same inside and outside, as in every store written before.
Rule 3: what was accepted before a second token was configured belongs to the caller that handed it in.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.core.messages.journal import TaskView
from actors.core.task_names import tenant_of, within


@dataclass(frozen=True, slots=True)
class Space:
    """The names of one caller. `is_own` is False where every caller sees everything."""

    tenant: str = ""
    is_own: bool = False

    @property
    def owner(self) -> str | None:
        """Whose tasks are listed, None for everybody's."""
        return self.tenant if self.is_own else None

    def inside(self, name: str) -> str:
        """Return what a task or batch of this caller is called inside."""
        return within(self.tenant, name) if self.is_own else name

    def outside(self, name: str) -> str:
        """Return what this caller calls a task or batch of its own."""
        return name.removeprefix(within(self.tenant, "")) if self.is_own else name

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return what a task or batch of this name may be called inside, the most recent way first."""
        return (self.inside(name), name) if self.is_own else (name,)

    def owns(self, view: TaskView) -> bool:
        """Whether a task belongs to this caller."""
        return not self.is_own or view.tenant == self.tenant

    def is_inside(self, name: str) -> bool:
        """Whether this inside name belongs to this caller by its form."""
        return not self.is_own or tenant_of(name) == self.tenant


EVERYBODY = Space()
