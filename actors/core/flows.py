"""Who goes next among flows, in proportion to their weights.

Rule 1: each flow has a tag, the virtual time at which its next call may start. The flow with the smallest tag
is served, and its tag moves on by tokens / weight. The virtual time of a level is the tag of the flow that
was served last.
Rule 2: a flow that wakes up starts at the later of its own tag and the virtual time: being idle earns
nothing, and coming back does not cancel what was taken.
Rule 3: nothing is scanned. An operation costs O(log n) in the flows that have calls waiting; a flow whose
calls were cancelled keeps its place until it comes first, or until half of the places are of that kind.

This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), with charges that are corrected later.
Levels are stacked by whoever owns them: a flow may hold a level of its own.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

F = TypeVar("F", bound="Flow")

_REMEMBERED = 1024  # idle flows per level whose tag is kept; others may come back a call too early
_SLACK = 16  # ghosts that are not worth clearing away


class Flow:
    """What competes on a level, which alone changes it.

    `queued` counts calls never taken, `unsettled` those charged and not settled. `tag` is fixed while the
    flow is `listed` in its level's heap; corrections gather in `debt` until it is served.
    """

    __slots__ = ("debt", "listed", "name", "queued", "tag", "unsettled", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.tag = 0.0
        self.debt = 0.0
        self.queued = 0
        self.unsettled = 0
        self.listed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.queued} queued, {self.unsettled} unsettled>"


class Level(Generic[F]):
    """Flows that compete. Whoever makes a flow puts it into `flows`; the level drops it when it is idle."""

    __slots__ = ("_ghosts", "_heap", "_idle", "_serial", "_virtual", "flows")

    def __init__(self) -> None:
        self.flows: dict[str, F] = {}
        self._virtual = 0.0
        self._heap: list[tuple[float, int, F]] = []  # the serial breaks ties: first come, first served
        self._ghosts = 0  # listed flows that have nothing queued any more
        self._idle: list[tuple[float, int, F]] = []
        self._serial = itertools.count()

    def enqueue(self, flow: F) -> None:
        """Count a call that `flow` got, and list it if it was asleep."""
        flow.queued += 1
        if flow.queued > 1:
            return
        if flow.listed:  # its calls were cancelled, and its place was not cleared yet
            self._ghosts -= 1
            return
        # After refunds the virtual time may lie ahead of all flows: starting there would be starving.
        now = min(self._virtual, self._heap[0][0]) if self._heap else self._virtual
        flow.tag = max(flow.tag, now)
        flow.listed = True
        heapq.heappush(self._heap, (flow.tag, next(self._serial), flow))

    def first(self) -> F:
        """Return the flow to serve. There must be one with calls queued."""
        while not self._heap[0][2].queued:
            self._ghosts -= 1
            self._unlist(heapq.heappop(self._heap)[2])
        return self._heap[0][2]

    def charge(self, flow: F, tokens: int) -> None:
        """Count a call taken from the first flow, and move on its tag."""
        self._virtual = flow.tag
        flow.queued -= 1
        flow.unsettled += 1
        flow.tag += (tokens + flow.debt) / flow.weight
        flow.debt = 0.0
        if flow.queued:
            heapq.heapreplace(self._heap, (flow.tag, next(self._serial), flow))
        else:
            heapq.heappop(self._heap)
            flow.listed = False

    def settle(self, flow: F, excess: int) -> None:
        """Correct a charge by `excess` tokens, which may be negative."""
        flow.unsettled -= 1
        if flow.listed:
            flow.debt += excess
            return
        flow.tag += excess / flow.weight
        if not flow.unsettled:
            self._rest(flow)

    def cancel(self, flow: F) -> None:
        """Count a call that left without being served."""
        flow.queued -= 1
        if flow.queued:
            return
        self._ghosts += 1
        if self._ghosts * 2 > len(self._heap) + _SLACK:
            ghosts = [item[2] for item in self._heap if not item[2].queued]
            self._heap = [item for item in self._heap if item[2].queued]
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
        self._virtual = 0.0

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this level. Costs O(flows)."""
        listed = Counter(item[2].name for item in self._heap)
        if listed != Counter(flow.name for flow in self.flows.values() if flow.listed):
            yield f"the flows listed are not those in the heap: {listed}"
        if self._ghosts != sum(not item[2].queued for item in self._heap):
            yield f"{self._ghosts} ghosts are not what the heap holds"
        for flow in self.flows.values():
            if flow.queued < 0 or flow.unsettled < 0 or (flow.queued and not flow.listed):
                yield f"{flow.name!r}: {flow.queued} queued, {flow.unsettled} unsettled, listed {flow.listed}"

    def _unlist(self, flow: F) -> None:
        flow.listed = False
        flow.tag += flow.debt / flow.weight
        flow.debt = 0.0
        if not flow.unsettled:
            self._rest(flow)

    def _rest(self, flow: F) -> None:
        """Forget an idle flow as soon as the virtual time has passed its tag.

        Forgotten earlier, a flow with one call at a time would come back at the virtual time, each time
        before the others, and starve them.
        """
        heapq.heappush(self._idle, (flow.tag, next(self._serial), flow))
        while self._idle and (self._idle[0][0] <= self._virtual or len(self._idle) > _REMEMBERED):
            tag, _, idle = heapq.heappop(self._idle)
            came_back = idle.listed or idle.unsettled or idle.tag != tag
            if not came_back and self.flows.get(idle.name) is idle:  # an old item may outlive its flow
                del self.flows[idle.name]
