"""Totals of the attempts at one endpoint, for monitoring. They only grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from actors.core.limits.attempt_cost import charged, counted_as, is_answered
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.values import Usage
from actors.core.metrics.histogram import Histogram, HistogramTotals

_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class AttemptStatistics(Struct, frozen=True):
    """A snapshot. `outcomes` counts attempts by "succeeded", "reused", or the kind of the failure.

    answer_s: the mean duration of the attempts that were answered, in seconds; 0 without one.
    """

    outcomes: Mapping[str, int]
    usage: Usage
    seconds: HistogramTotals
    answer_s: float = 0.0


class AttemptTotals:
    """Adds up attempts as they end."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()  # attempts without an answer, by `counted_as`
        self._seconds = Histogram(_CALL_SECONDS)
        self._usage = Usage()
        self.answers, self._answers_s = 0, 0.0

    def add(self, outcome: AttemptEnded, estimate: Usage) -> None:
        """Count an ended attempt, whose estimate was `estimate`. An attempt that was not sent has no time."""
        if outcome.error is not None:
            self._outcomes[outcome.error.kind.value] += 1
        else:
            self._outcomes["reused" if outcome.reused else "succeeded"] += 1
        if outcome.took_s > 0:
            self._seconds.add(outcome.took_s)
        if is_answered(outcome):
            self.answers += 1
            self._answers_s += outcome.took_s
        else:
            self.counted[counted_as(outcome)] += 1
        if is_answered(outcome) and not outcome.replayed:  # a replayed answer was billed before
            self._usage += charged(outcome, estimate)

    def statistics(self) -> AttemptStatistics:
        """Return a frozen snapshot."""
        return AttemptStatistics(
            dict(self._outcomes), self._usage, self._seconds.totals(), self._answers_s / max(1, self.answers)
        )
