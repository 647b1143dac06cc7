"""The calls that have not ended, indexed by key, by task and by deadline."""

from __future__ import annotations

from collections.abc import Iterable

from actors.core.dispatch.expiries import Expiries
from actors.core.dispatch.open_call import CallState, OpenCall
from actors.core.errors import InvariantError

_RECHECK_S = 1.0  # for a sent call, which its client ends at the deadline


class OpenCalls:
    """An index of `OpenCall` records. A task is identified by its run and its key."""

    def __init__(self) -> None:
        self._by_key: dict[str, OpenCall] = {}
        self._by_task: dict[tuple[str, str], dict[str, OpenCall]] = {}
        self._expiries: Expiries[tuple[str, str]] = Expiries()

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str) -> OpenCall | None:
        """Return the open call with this key, None if there is none."""
        return self._by_key.get(key)

    def add(self, record: OpenCall) -> None:
        """Add a call that has just been offered."""
        self._by_key[record.call.key] = record
        self._by_task.setdefault(record.owner, {})[record.call.key] = record
        self._expiries.schedule(record.owner, record.deadline)

    def remove(self, record: OpenCall) -> None:
        """Forget a call that has ended."""
        del self._by_key[record.call.key]
        calls = self._by_task[record.owner]
        del calls[record.call.key]
        if not calls:
            del self._by_task[record.owner]
            self._expiries.forget(record.owner)

    def of_task(self, run_id: str, task: str) -> list[OpenCall]:
        """Return the open calls of a task."""
        return list(self._by_task.get((run_id, task), {}).values())

    def take_expired(self, now: float) -> Iterable[OpenCall]:
        """Yield the calls whose deadline has passed and that are not sent. The caller must end them."""
        for owner in self._expiries.take_due(now):
            late = []
            for record in self._by_task.get(owner, {}).values():
                if record.deadline <= now and record.state is not CallState.SENT:
                    late.append(record)
                else:
                    self._expiries.schedule(owner, max(record.deadline, now + _RECHECK_S))
            yield from late

    def next_check(self) -> float | None:
        """Return when `take_expired` must be called next, None if it need not be."""
        return self._expiries.next_at()

    def count(self, state: CallState) -> int:
        """Return how many calls are in `state`. Costs O(open calls)."""
        return sum(record.state is state for record in self._by_key.values())

    def check_invariants(self) -> None:
        """Raise InvariantError if the indexes disagree."""
        if self.count(CallState.ENDED):
            raise InvariantError("a call that ended is still open")
        if sum(len(calls) for calls in self._by_task.values()) != len(self._by_key):
            raise InvariantError("the index by task is wrong")
