"""Who goes next among flows, in proportion to their weights.

Rule 1: each flow has a tag, the virtual time at which its next call may start. The flow with the smallest tag
is served, and its tag moves on by tokens / weight. The virtual time of a level is the tag of the flow that
was served last.
Rule 2: a flow that wakes up starts at the later of its own tag and the virtual time: being idle earns
nothing, and coming back does not cancel what was taken.

This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), with charges that are corrected later.
Levels are stacked by whoever owns them: a flow may hold a level of its own.
"""

from __future__ import annotations

import heapq
from typing import TypeVar

from actors.core.queue.active_list import Listed, Roster

F = TypeVar("F", bound="Flow")

_REMEMBERED = 1024  # idle flows per level whose tag is kept; others may come back a call too early


class Flow(Listed):
    """What competes on a level. `tag` is fixed while it is listed; corrections gather in `debt` meanwhile."""

    __slots__ = ("debt", "tag", "weight")

    def __init__(self, name: str, weight: float) -> None:
        super().__init__(name)
        self.weight = weight
        self.tag = 0.0
        self.debt = 0.0


class Level(Roster[F]):
    """Flows that compete; one that is idle is dropped."""

    __slots__ = ("_idle", "_virtual")

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._idle: list[tuple[float, int, F]] = []

    def charge(self, flow: F, tokens: int) -> None:
        """Count a call taken from the first flow, and move on its tag."""
        self._virtual = flow.tag
        flow.queued -= 1
        flow.unsettled += 1
        flow.tag += (tokens + flow.debt) / flow.weight
        flow.debt = 0.0
        self._move(flow, flow.tag)

    def settle(self, flow: F, excess: int) -> None:
        """Correct a charge by `excess` tokens, which may be negative."""
        flow.unsettled -= 1
        if flow.listed:
            flow.debt += excess
            return
        flow.tag += excess / flow.weight
        if not flow.unsettled:
            self._rest(flow)

    def clear(self) -> None:
        """Forget all flows, and begin at the virtual time 0 again."""
        super().clear()
        self._idle.clear()
        self._virtual = 0.0

    def _rank(self, flow: F) -> float:
        # After refunds the virtual time may lie ahead of all flows: starting there would be starving.
        now = min(self._virtual, self._heap[0][0]) if self._heap else self._virtual
        flow.tag = max(flow.tag, now)
        return flow.tag

    def _unlist(self, flow: F) -> None:
        flow.tag += flow.debt / flow.weight
        flow.debt = 0.0
        super()._unlist(flow)

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
