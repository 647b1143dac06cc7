"""The active list: the tenants or tasks that have calls queued, in the order in which they are served."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from typing import Generic, TypeVar

from msgspec import Struct

M = TypeVar("M", bound="Member")

_SLACK = 16  # old entries that are not worth a rebuild of the heap


class Member(Struct, eq=False):
    """A tenant or a task. The lowest rank is served first. `entry` is its place in the heap while active."""

    name: str
    rank: float
    entry: tuple[float, int, Member] | None = None


class ActiveList(Generic[M]):
    """Members by rank; those of equal rank in the order in which they got it.

    `members` holds the active ones, and of the others the `most_idle` that were active last, by name. Nothing
    is scanned: a member that moves or leaves has its old entry stay in the heap until that comes first, or
    until such entries are half of the heap.
    """

    __slots__ = ("_heap", "_idle", "_most_idle", "_serial", "members")

    def __init__(self, most_idle: int) -> None:
        self.members: dict[str, M] = {}
        self._most_idle = most_idle
        self._idle: OrderedDict[str, M] = OrderedDict()
        self._heap: list[tuple[float, int, M]] = []
        self._serial = itertools.count()

    def first(self) -> M:
        """Return the member to serve. There must be an active one."""
        while (entry := self._heap[0]) is not entry[2].entry:
            heapq.heappop(self._heap)
        return entry[2]

    def put(self, member: M) -> None:
        """Put `member`, which has calls queued, where its rank belongs."""
        old = member.entry
        if old is None:
            self._idle.pop(member.name, None)
        elif old[0] == member.rank:
            return
        member.entry = entry = (member.rank, next(self._serial), member)
        if self._heap and self._heap[0] is old:
            heapq.heapreplace(self._heap, entry)
            return
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * (len(self.members) - len(self._idle)) + _SLACK:
            self._heap = [each for each in self._heap if each is each[2].entry]
            heapq.heapify(self._heap)

    def retire(self, member: M) -> None:
        """Take `member`, which has no calls queued, out of the order."""
        if member.entry is None:
            return
        member.entry = None
        self._idle[member.name] = member
        if len(self._idle) > self._most_idle:
            del self.members[self._idle.popitem(last=False)[0]]

    def clear(self) -> None:
        """Forget all members. None may be active."""
        self.members.clear()
        self._idle.clear()
        self._heap.clear()

    def is_sound(self) -> bool:
        """Return whether the heap holds the active members, each with its rank. Costs O(members)."""
        listed = {entry[2].name: entry[0] for entry in self._heap if entry is entry[2].entry}
        active = {name: one.rank for name, one in self.members.items() if name not in self._idle}
        return listed == active and self._idle.keys() <= self.members.keys()
