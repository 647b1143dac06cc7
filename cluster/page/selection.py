"""Chooses the tasks of which a page has the rows, if the file would be too large with all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from actors.core.messages.tasks import Report, TaskState

_FAILURES = 0.7  # the share of the file that failures may take
_MARGIN = 0.9  # the size of a task is an estimate
_HASHES = 2**64


@dataclass(frozen=True, slots=True)
class Selection:
    """The shares of the tasks that are kept: of the failed and incomplete ones, and of the others."""

    failures: float = 1.0
    others: float = 1.0

    @property
    def is_all(self) -> bool:
        """Whether no task is left out."""
        return self.failures >= 1 and self.others >= 1

    def keeps(self, key: str, report: Report | None) -> bool:
        """Return whether a task is kept: a random choice, the same each time."""
        share = self.failures if is_failure(report) else self.others
        if share >= 1:
            return True
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) < share * _HASHES

    @classmethod
    def fitting(cls, most: float, failures: int, others: int) -> Selection:
        """Return the selection of at most `most` tasks, failures first."""
        most *= _MARGIN
        kept = min(failures, most * _FAILURES if failures + others > most else failures)
        left = max(most - kept, 0.0)
        return cls(_share(kept, failures), _share(left, others))


def is_failure(report: Report | None) -> bool:
    """Return whether a task has failed, lacks something, or has not ended."""
    return report is None or report.state is not TaskState.SUCCEEDED


def _share(kept: float, count: int) -> float:
    return 1.0 if not count else min(1.0, kept / count)
