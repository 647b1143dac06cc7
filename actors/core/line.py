"""Who goes next among flows of which each is soon done: the one that came first, up to a burst.

Rule 1: each flow has a place in line, given when it comes. The one that has calls waiting and the foremost
place is served; one that has nothing to ask just now keeps its place.
Rule 2: whoever has had its burst of tokens goes to the end of the line. So a long flow gives way, and among
long ones each gets the same.
Rule 3: nothing is scanned. An operation costs O(log n) in the flows that have calls waiting, and O(1) while
one flow is served.

This is deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) with a quantum that most flows never use
up: to take turns call by call, as `flows` has it, would have all of them end at the very end.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Generic, TypeVar

F = TypeVar("F", bound="InLine")

_REMEMBERED = 4096  # idle flows whose place is kept; others come back at the end of the line
_SLACK = 16  # ghosts that are not worth clearing away


class InLine:
    """What stands in line, which alone changes it.

    `queued` counts calls never taken, `unsettled` those charged and not settled. `spent` is what it has had
    of its burst. It is `listed` while it is in the line's heap.
    """

    __slots__ = ("listed", "name", "place", "queued", "spent", "unsettled")

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = -1  # none yet
        self.spent = 0
        self.queued = 0
        self.unsettled = 0
        self.listed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.queued} queued, {self.unsettled} unsettled>"


class Line(Generic[F]):
    """Flows in line. Whoever makes a flow puts it into `flows`; the line drops one that is idle for long."""

    __slots__ = ("_burst", "_ghosts", "_heap", "_idle", "_places", "flows")

    def __init__(self, burst: int) -> None:
        self.flows: dict[str, F] = {}
        self._burst = burst
        self._places = itertools.count()
        self._heap: list[tuple[int, F]] = []
        self._ghosts = 0  # listed flows that have nothing queued any more
        self._idle: dict[str, F] = {}  # the longest idle first

    def enqueue(self, flow: F) -> None:
        """Count a call that `flow` got, and list it if it was not."""
        flow.queued += 1
        if flow.queued > 1:
            return
        if flow.listed:  # its calls were cancelled, and it was not cleared away yet
            self._ghosts -= 1
            return
        if flow.place < 0:
            flow.place = next(self._places)
        self._idle.pop(flow.name, None)
        flow.listed = True
        heapq.heappush(self._heap, (flow.place, flow))

    def first(self) -> F:
        """Return the flow to serve. There must be one with calls queued."""
        while not self._heap[0][1].queued:
            self._ghosts -= 1
            self._unlist(heapq.heappop(self._heap)[1])
        return self._heap[0][1]

    def charge(self, flow: F, tokens: int) -> None:
        """Count a call taken from the first flow; one that has had its burst goes to the end."""
        flow.queued -= 1
        flow.unsettled += 1
        flow.spent += tokens
        if flow.spent >= self._burst:
            flow.spent -= self._burst
            flow.place = next(self._places)
            if flow.queued:
                heapq.heapreplace(self._heap, (flow.place, flow))
                return
        if not flow.queued:
            heapq.heappop(self._heap)
            flow.listed = False

    def settle(self, flow: F, excess: int) -> None:
        """Correct a charge by `excess` tokens, which may be negative."""
        flow.unsettled -= 1
        flow.spent += excess
        if not flow.listed and not flow.unsettled:
            self._rest(flow)

    def cancel(self, flow: F) -> None:
        """Count a call that left without being served."""
        flow.queued -= 1
        if flow.queued:
            return
        self._ghosts += 1
        if self._ghosts * 2 > len(self._heap) + _SLACK:
            ghosts = [flow for _, flow in self._heap if not flow.queued]
            self._heap = [item for item in self._heap if item[1].queued]
            heapq.heapify(self._heap)
            self._ghosts = 0
            for ghost in ghosts:
                self._unlist(ghost)

    def clear(self) -> None:
        """Forget all flows: the end of a busy period. Nothing may be queued or unsettled."""
        self.flows.clear()
        self._heap.clear()
        self._idle.clear()
        self._ghosts = 0

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this line. Costs O(flows)."""
        listed = sorted(flow.name for _, flow in self._heap)
        if listed != sorted(flow.name for flow in self.flows.values() if flow.listed):
            yield f"the flows listed are not those in the heap: {listed}"
        if any(place != flow.place for place, flow in self._heap):
            yield "a flow is listed at another place than its own"
        if self._ghosts != sum(not flow.queued for _, flow in self._heap):
            yield f"{self._ghosts} ghosts are not what the heap holds"
        for flow in self.flows.values():
            if flow.queued < 0 or flow.unsettled < 0 or (flow.queued and not flow.listed):
                yield f"{flow.name!r}: {flow.queued} queued, {flow.unsettled} unsettled, listed {flow.listed}"
            if (flow.name in self._idle) != (not flow.listed and not flow.unsettled):
                yield f"{flow.name!r} is idle and not remembered as such, or the other way round"

    def _unlist(self, flow: F) -> None:
        flow.listed = False
        if not flow.unsettled:
            self._rest(flow)

    def _rest(self, flow: F) -> None:
        """Remember the place of an idle flow that is under way; one that had nothing yet may come anew."""
        if flow.spent <= 0:
            del self.flows[flow.name]
            return
        self._idle[flow.name] = flow
        while len(self._idle) > _REMEMBERED:
            del self.flows[next(iter(self._idle))]
            del self._idle[next(iter(self._idle))]
