"""Who goes next among flows of which each is soon done: the one that came first, up to a burst.

Rule 1: each flow has a place in line, given when it comes. The one that has calls waiting and the foremost
place is served; one that has nothing to ask just now keeps its place.
Rule 2: whoever has had its burst of tokens goes to the end of the line. So a long flow gives way, and among
long ones each gets the same.
Rule 3: while one flow is served, an operation costs O(1).

This is deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) with a quantum that most flows never use
up: to take turns call by call, as `flows` has it, would have all of them end at the very end.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TypeVar

from actors.core.queue.active_list import Listed, Roster

F = TypeVar("F", bound="InLine")

_REMEMBERED = 4096  # idle flows whose place is kept; others come back at the end of the line


class InLine(Listed):
    """What stands in line, at its `place`. `spent` is what it has had of its burst."""

    __slots__ = ("place", "spent")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.place = -1  # none yet
        self.spent = 0


class Line(Roster[F]):
    """Flows in line; one that is idle for long is dropped."""

    __slots__ = ("_burst", "_idle", "_places")

    def __init__(self, burst: int) -> None:
        super().__init__()
        self._burst = burst
        self._places = itertools.count()
        self._idle: dict[str, F] = {}  # the longest idle first

    def charge(self, flow: F, tokens: int) -> None:
        """Count a call taken from the first flow; one that has had its burst goes to the end."""
        flow.queued -= 1
        flow.unsettled += 1
        flow.spent += tokens
        if flow.spent >= self._burst:
            flow.spent -= self._burst
            flow.place = next(self._places)
            self._move(flow, flow.place)
        elif not flow.queued:
            heapq.heappop(self._heap)
            flow.listed = False

    def settle(self, flow: F, excess: int) -> None:
        """Correct a charge by `excess` tokens, which may be negative."""
        flow.unsettled -= 1
        flow.spent += excess
        if not flow.listed and not flow.unsettled:
            self._rest(flow)

    def clear(self) -> None:
        """Forget all flows, and who was idle."""
        super().clear()
        self._idle.clear()

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this line. Costs O(flows)."""
        yield from super().problems()
        if any(place != flow.place for place, _, flow in self._heap):
            yield "a flow is listed at another place than its own"
        for flow in self.flows.values():
            if (flow.name in self._idle) != (not flow.listed and not flow.unsettled):
                yield f"{flow.name!r} is idle and not remembered as such, or the other way round"

    def _rank(self, flow: F) -> float:
        if flow.place < 0:
            flow.place = next(self._places)
        self._idle.pop(flow.name, None)
        return flow.place

    def _rest(self, flow: F) -> None:
        """Remember the place of an idle flow that is under way; one that had nothing yet may come anew."""
        if flow.spent <= 0:
            del self.flows[flow.name]
            return
        self._idle[flow.name] = flow
        while len(self._idle) > _REMEMBERED:
            del self.flows[next(iter(self._idle))]
            del self._idle[next(iter(self._idle))]
