"""Single flight: of several calls with equal content one is attempted, and the others get its answer.

Applies only to calls with a `content`.
"""

from __future__ import annotations

from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.errors import InvariantError


class EqualCalls:
    """The followers of the leading call of each content."""

    def __init__(self) -> None:
        self._followers: dict[str, list[OpenCall]] = {}

    def join(self, record: OpenCall) -> bool:
        """Return True if `record` must be attempted. Otherwise make it follow the leading call."""
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
        """Remove a call that has ended, and return the calls that still follow it."""
        if not leader.leads:
            return []
        leader.leads = False
        followers = self._followers.pop(leader.call.content)
        return [record for record in followers if record.state is CallState.FOLLOWING]

    def check_invariants(self) -> None:
        """Raise InvariantError if a call follows one with another content."""
        for content, followers in self._followers.items():
            if any(record.call.content != content for record in followers):
                raise InvariantError("a call follows one with another content")
