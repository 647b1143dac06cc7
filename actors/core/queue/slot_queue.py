"""The slots for one endpoint at one client: the attempts that are started, and those that wait for a slot.

Rule 1: attempts start in the order they came, whenever fewer than `slots` are started. Those that go first
start before the others, and the others leave `reserved` slots free for them.
Rule 2: a client starts the attempts that its queue returns. The dispatcher keeps a mirror of each client's
queue and learns from it which attempts have started. The two agree except for messages on the way.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from msgspec import Struct

from actors.core.errors import InvariantError

A = TypeVar("A")


class SlotStatistics(Struct, frozen=True):
    """A snapshot of a slot queue."""

    slots: int
    started: int
    waiting: int


class SlotQueue(Generic[A]):
    """Attempts by their ids, `A` being what the caller knows of one.

    Every method that can free a slot returns the attempts that start now.
    """

    __slots__ = ("_first", "_started", "_waiting", "reserved", "slots")

    def __init__(self) -> None:
        self.slots = self.reserved = 0
        self._started: set[int] = set()
        self._first: OrderedDict[int, A] = OrderedDict()  # these wait, and go first
        self._waiting: OrderedDict[int, A] = OrderedDict()  # the others

    def __len__(self) -> int:
        return len(self._started) + self.waiting

    @property
    def waiting(self) -> int:
        """Attempts that have not started."""
        return len(self._first) + len(self._waiting)

    def free(self, *, first: bool) -> int:
        """Return how many more attempts of this kind would start at once."""
        free = self.slots - len(self._started) - len(self._first)
        return free if first else free - self.reserved - len(self._waiting)

    def ahead(self, *, first: bool) -> int:
        """Return how many attempts come before another one of this kind."""
        return len(self._first) if first else len(self)

    def set_slots(self, slots: int, reserved: int = 0) -> list[A]:
        """Have `slots` from now on. Fewer than are started stop none: these end by themselves."""
        self.slots, self.reserved = slots, reserved
        return self._fill()

    def offer(self, attempt_id: int, attempt: A, *, first: bool = False) -> list[A]:
        """Take an attempt in."""
        (self._first if first else self._waiting)[attempt_id] = attempt
        return self._fill()

    def take_over(self, attempt_id: int) -> None:
        """Count an attempt in that was started before, whether or not a slot is free for it."""
        self._started.add(attempt_id)

    def end(self, attempt_id: int, *, refused: bool = False) -> list[A]:
        """Take note that a started attempt has ended.

        After a refusal, the slot that this frees stays empty until the next `set_slots`: it would be filled
        again before the limit can fall.
        """
        self._started.discard(attempt_id)
        if refused:
            self.slots = min(self.slots, len(self._started))
        return self._fill()

    def withdraw(self, attempt_id: int) -> A | None:
        """Take an attempt out that has not started; None where it has, or is not known."""
        return (self._first if attempt_id in self._first else self._waiting).pop(attempt_id, None)

    def withdraw_all(self) -> list[A]:
        """Take out all attempts that have not started."""
        withdrawn = [*self._first.values(), *self._waiting.values()]
        self._first.clear()
        self._waiting.clear()
        return withdrawn

    def statistics(self) -> SlotStatistics:
        """Return a frozen snapshot."""
        return SlotStatistics(self.slots, len(self._started), self.waiting)

    def check_invariants(self) -> None:
        """Raise InvariantError where an attempt waits beside a free slot, or is in both places."""
        free = self.slots - len(self._started)
        if (self._first and free > 0) or (self._waiting and free > self.reserved):
            raise InvariantError("an attempt waits beside a free slot")
        if self._started & (self._waiting.keys() | self._first.keys()):
            raise InvariantError("an attempt is started and waits")

    def _fill(self) -> list[A]:
        started: list[A] = []
        for queue, slots in ((self._first, self.slots), (self._waiting, self.slots - self.reserved)):
            while queue and len(self._started) < slots:
                attempt_id, attempt = queue.popitem(last=False)
                self._started.add(attempt_id)
                started.append(attempt)
        return started
