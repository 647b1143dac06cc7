"""Flows that have calls waiting, the foremost first: what levels (`flows.py`) and lines (`line.py`) share.

Nothing is scanned. An operation costs O(log n) in the flows that have calls waiting. A flow whose calls were
cancelled is a ghost: it keeps its place until it comes first, or until half of the places are of that kind.
"""

from __future__ import annotations

import heapq
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

F = TypeVar("F", bound="Listed")

_SLACK = 16  # ghosts that are not worth clearing away


class Listed:
    """What a roster holds, which alone changes it.

    `queued` counts calls never taken, `unsettled` those charged and not settled. It is `listed` while it is
    in the roster's heap; where it stands there is fixed so long.
    """

    __slots__ = ("listed", "name", "queued", "unsettled")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queued = 0
        self.unsettled = 0
        self.listed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self.queued} queued, {self.unsettled} unsettled>"


class Roster(ABC, Generic[F]):
    """Flows by their rank. Whoever makes a flow puts it into `flows`; the roster drops one that rests."""

    __slots__ = ("_ghosts", "_heap", "_serial", "flows")

    def __init__(self) -> None:
        self.flows: dict[str, F] = {}
        self._heap: list[tuple[float, int, F]] = []  # the serial breaks ties: first come, first served
        self._serial = itertools.count()
        self._ghosts = 0  # listed flows that have nothing queued any more

    def enqueue(self, flow: F) -> None:
        """Count a call that `flow` got, and list it if it was not."""
        flow.queued += 1
        if flow.queued > 1:
            return
        if flow.listed:  # its calls were cancelled, and its place was not cleared yet
            self._ghosts -= 1
            return
        flow.listed = True
        heapq.heappush(self._heap, (self._rank(flow), next(self._serial), flow))

    def first(self) -> F:
        """Return the flow to serve. There must be one with calls queued."""
        while not self._heap[0][2].queued:
            self._ghosts -= 1
            self._unlist(heapq.heappop(self._heap)[2])
        return self._heap[0][2]

    def cancel(self, flow: F) -> None:
        """Count a call that left without being served."""
        flow.queued -= 1
        if flow.queued:
            return
        self._ghosts += 1
        if self._ghosts * 2 > len(self._heap) + _SLACK:
            ghosts = [flow for _, _, flow in self._heap if not flow.queued]
            self._heap = [item for item in self._heap if item[2].queued]
            heapq.heapify(self._heap)
            self._ghosts = 0
            for ghost in ghosts:
                self._unlist(ghost)

    def clear(self) -> None:
        """Forget all flows: the end of a busy period. Nothing may be queued or unsettled."""
        self.flows.clear()
        self._heap.clear()
        self._ghosts = 0

    def problems(self) -> Iterator[str]:
        """Yield what is impossible about this roster. Costs O(flows)."""
        listed = Counter(item[2].name for item in self._heap)
        if listed != Counter(flow.name for flow in self.flows.values() if flow.listed):
            yield f"the flows listed are not those in the heap: {listed}"
        if self._ghosts != sum(not item[2].queued for item in self._heap):
            yield f"{self._ghosts} ghosts are not what the heap holds"
        for flow in self.flows.values():
            if flow.queued < 0 or flow.unsettled < 0 or (flow.queued and not flow.listed):
                yield f"{flow.name!r}: {flow.queued} queued, {flow.unsettled} unsettled, listed {flow.listed}"

    def _move(self, flow: F, rank: float) -> None:
        """Give the first flow its next place, or none where nothing of it is queued any more."""
        if flow.queued:
            heapq.heapreplace(self._heap, (rank, next(self._serial), flow))
        else:
            heapq.heappop(self._heap)
            flow.listed = False

    def _unlist(self, flow: F) -> None:
        flow.listed = False
        if not flow.unsettled:
            self._rest(flow)

    # ---- what a kind of roster has to say ----------------------------------------------------------------

    @abstractmethod
    def _rank(self, flow: F) -> float:
        """Return where `flow`, which was not listed, takes its place: the lowest is served first."""

    @abstractmethod
    def _rest(self, flow: F) -> None:
        """Take note of a flow that is neither listed nor has calls unsettled."""
