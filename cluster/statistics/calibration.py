"""Whether answers with a confidence of 0.8 are right in 80 of 100 cases."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct


class CalibrationBin(Struct, frozen=True):
    """The answers with a confidence from `low` to `high` (exclusive; in the last bin inclusive)."""

    low: float
    high: float
    count: int
    confidence: float  # the mean; NaN in an empty bin
    accuracy: float  # the share of right answers; NaN in an empty bin


class Calibration(Struct, frozen=True):
    """Bins of equal width, and the expected calibration error; NaN without answers."""

    bins: tuple[CalibrationBin, ...]
    error: float

    @property
    def count(self) -> int:
        """The number of answers."""
        return sum(each.count for each in self.bins)


def calibration(confidences: Iterable[float], correct: Iterable[bool], bins: int = 10) -> Calibration:
    """Return the calibration of answers with these confidences, of which some are correct.

    The expected calibration error is the mean distance of confidence and accuracy, weighted with the number
    of answers in a bin (Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017). Raises ValueError
    if a confidence is not from 0 to 1, or the series differ in length.
    """
    counts, right = [0] * bins, [0] * bins
    sums = [0.0] * bins
    for confidence, is_correct in zip(confidences, correct, strict=True):
        if not 0 <= confidence <= 1:  # also rejects NaN
            raise ValueError(f"a confidence is from 0 to 1, not {confidence}")
        place = min(int(confidence * bins), bins - 1)
        counts[place] += 1
        sums[place] += confidence
        right[place] += bool(is_correct)
    found = tuple(
        CalibrationBin(
            low=place / bins,
            high=(place + 1) / bins,
            count=count,
            confidence=sums[place] / count if count else math.nan,
            accuracy=right[place] / count if count else math.nan,
        )
        for place, count in enumerate(counts)
    )
    distance = math.fsum(each.count * abs(each.confidence - each.accuracy) for each in found if each.count)
    return Calibration(found, distance / sum(counts) if sum(counts) else math.nan)
