"""The totals over the calls of a dispatcher, and its latest failures."""

from __future__ import annotations

from collections import deque

from actors.core.dispatch.open_call import OpenCall
from actors.core.errors import Failure, FailureKind
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.values import CallCounts, Usage

_RECENT_FAILURES = 20


class DispatchTotals:
    """Sums over calls that have ended."""

    def __init__(self) -> None:
        self.calls = CallCounts()
        self.usage = Usage()
        self.completed = 0
        self.failed = 0
        self._recent: deque[str] = deque(maxlen=_RECENT_FAILURES)

    @property
    def recent_failures(self) -> tuple[str, ...]:
        """The messages of the latest failures, oldest first."""
        return tuple(self._recent)

    def add_failure(self, record: OpenCall, failure: Failure) -> None:
        """Record the failure of an attempt, or of a call that was not sent.

        A refusal is no failure: the call waits, and is attempted again.
        """
        if failure.kind is FailureKind.REFUSED:
            return
        self._recent.append(f"{record.call.task}: {failure}")

    def ended(self, record: OpenCall, failure: Failure | None) -> None:
        """Count a call that has ended."""
        self.calls += record.counts
        self.usage += record.usage
        self.completed += failure is None
        self.failed += failure is not None

    def add_late(self, record: OpenCall, outcome: AttemptEnded, estimate: Usage) -> None:
        """Count an attempt of a call that had already ended with the answer of another attempt."""
        alone = OpenCall(record.call, 0.0)
        alone.counts, alone.revision = CallCounts(), record.revision
        alone.account(outcome, estimate)
        self.calls += alone.counts
        self.usage += alone.usage
