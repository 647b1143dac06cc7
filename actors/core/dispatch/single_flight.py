"""Single flight: of calls with equal content one is asked at a time, and its answer is theirs, too.

Only calls that carry a `content` take part; others each have an answer of their own.
"""

from __future__ import annotations

from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.errors import InvariantError


class EqualCalls:
    """Which call leads, and which follow it, for each content that is being asked."""

    def __init__(self) -> None:
        self._followers: dict[str, list[OpenCall]] = {}

    def join(self, record: OpenCall) -> bool:
        """Return whether `record` is to be asked; else it follows the one that is."""
        content = record.call.content
        if not content:
            return True
        if content in self._followers:
            if record.state is not CallState.FOLLOWING:
                record.move(CallState.FOLLOWING)
            self._followers[content].append(record)
            return False
        self._followers[content] = []
        record.leads = True
        return True

    def part(self, leader: OpenCall) -> list[OpenCall]:
        """Take note that `leader` has ended; return those that still follow it."""
        if not leader.leads:
            return []
        leader.leads = False
        followers = self._followers.pop(leader.call.content)
        return [record for record in followers if record.state is CallState.FOLLOWING]

    def check_invariants(self) -> None:
        """Raise InvariantError where a call follows nobody's content."""
        for content, followers in self._followers.items():
            if any(record.call.content != content for record in followers):
                raise InvariantError("a call follows one that is not its equal")
