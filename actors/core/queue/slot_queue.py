"""One endpoint's lane at one client: the slots it has, the attempts started, the attempts that wait.

Rule: attempts start in the order they came, whenever fewer than `slots` are started; those that go first
before the others, which leave `reserved` slots free for them. The dispatcher's mirror (`fleet.py`) counts
on it.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from actors.core.errors import InvariantError
from actors.core.messages.attempts import Attempt


class LaneStatistics(Struct, frozen=True):
    """A snapshot of a lane."""

    slots: int
    started: int
    waiting: int


class Lane:
    """See the module's rule. Every method that can free a slot returns the attempts to start now."""

    def __init__(self) -> None:
        self._slots = self._reserved = 0
        self._started: set[int] = set()
        self._first: OrderedDict[int, Attempt] = OrderedDict()
        self._waiting: OrderedDict[int, Attempt] = OrderedDict()  # the others

    def set_slots(self, slots: int, reserved: int = 0) -> list[Attempt]:
        """Have `slots` from now on. Fewer than are started stops none: they end by themselves."""
        self._slots, self._reserved = slots, reserved
        return self._fill()

    def offer(self, attempt: Attempt) -> list[Attempt]:
        """Take an attempt in."""
        (self._first if attempt.first else self._waiting)[attempt.id] = attempt
        return self._fill()

    def end(self, attempt_id: int, *, refused: bool = False) -> list[Attempt]:
        """Take note that a started attempt has ended.

        After a refusal nothing more starts until the next `set_slots`: the slot that this frees would be
        refilled before the limit can fall.
        """
        self._started.discard(attempt_id)
        if refused:
            self._slots = min(self._slots, len(self._started))
        return self._fill()

    def withdraw(self, attempt_id: int) -> Attempt | None:
        """Take an attempt out that has not started; None where it has, or is not known."""
        return self._first.pop(attempt_id, None) or self._waiting.pop(attempt_id, None)

    def withdraw_all(self) -> list[Attempt]:
        """Take out all attempts that have not started."""
        withdrawn = [*self._first.values(), *self._waiting.values()]
        self._first.clear()
        self._waiting.clear()
        return withdrawn

    def statistics(self) -> LaneStatistics:
        """Return a frozen snapshot."""
        return LaneStatistics(self._slots, len(self._started), len(self._first) + len(self._waiting))

    def check_invariants(self) -> None:
        """Raise InvariantError where an attempt waits beside a free slot, or is in both places."""
        free = self._slots - len(self._started)
        if (self._first and free > 0) or (self._waiting and free > self._reserved):
            raise InvariantError("an attempt waits beside a free slot")
        if self._started & (self._waiting.keys() | self._first.keys()):
            raise InvariantError("an attempt is started and waits")

    def _fill(self) -> list[Attempt]:
        started: list[Attempt] = []
        for line, slots in ((self._first, self._slots), (self._waiting, self._slots - self._reserved)):
            while line and len(self._started) < slots:
                attempt_id, attempt = line.popitem(last=False)
                self._started.add(attempt_id)
                started.append(attempt)
        return started
