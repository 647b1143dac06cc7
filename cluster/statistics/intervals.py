"""Intervals: of a share, of a mean, and of the difference between two runs on the same tasks.

The difference of means is a paired one: the mean of the differences of single tasks. Its interval must hold
for 30 tasks, for skewed differences, and where most answers are equal. Simulated samples of 30 showed:

* the percentile bootstrap covers the mean of exponential values in 91 of 100, and BCa in 92. If four of
  five differences are zero, BCa covers in 81;
* the bootstrap-t interval (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, section 12.5;
  Hall, *Annals of Statistics* 16, 1988) covers in 94, but in 85 with zeros, where it corrects for the
  skewness of the few others;
* Student's t interval covers in 97 with zeros, but in 92 of exponential and 86 of skewed values with zeros.

So the interval holds both the bootstrap-t interval and Student's: it covers in 94 to 98. A resample of equal
values has a variance of zero; as Polansky does (*Canadian Journal of Statistics* 28, 2000), each variance has
a lower bound. Above `MOST_RESAMPLED` values Hall's transformation, which is the limit of the
bootstrap-t interval, takes its place, so that a million rows take no longer.

No interval of a mean holds if the values that matter most are absent from the sample. Of 30 differences of
which 80 % are zero, 16 % are +0.25 and 4 % are -1, with the mean zero, three in ten samples have no -1, and
the sample looks like a gain. So fewer than `FEWEST_CHANGES` differences other than zero, the usual least
number for a normal approximation of a count, detect nothing: the interval reaches zero. How many values
skewness needs: Boos and Hughes-Oliver, *The American Statistician* 54, 2000.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from actors.core.estimate.student import t_cdf, t_quantile, transformed, untransformed

MOST_RESAMPLED = 2_000
FEWEST_CHANGES = 10
RESAMPLES = 5_000
_DRAWN = 2_000_000  # values of resamples in memory at once

_Numbers: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]


class Interval(Struct, frozen=True):
    """An estimate between two bounds. Without any data it is NaN, between the widest bounds."""

    low: float
    estimate: float
    high: float
    confidence: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside of the bounds."""
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """Return a share in per cent, with its bounds."""
        if math.isnan(self.estimate):
            return "unknown"
        return f"{self.estimate:.1%} ({self.bounds_text()})"

    def bounds_text(self) -> str:
        """Return the bounds of a share in per cent."""
        return f"{self.low:.1%} to {self.high:.1%}"


class PairedMean(Struct, frozen=True):
    """The mean of `n` differences, with the two-sided p-value of the hypothesis that it is zero.

    The p-value is below 1 - confidence where the interval excludes zero, and nowhere else.
    """

    interval: Interval
    p: float
    n: int


class _Moments(Struct, frozen=True):
    n: int
    mean: float
    error: float  # the standard error of the mean
    slant: float  # the skewness, divided by the root of n


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the share of `successes` in `n`, with the score interval of Wilson (*JASA* 22, 1927).

    Raises ValueError if `successes` is not from 0 to `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if not n:
        return Interval(0.0, math.nan, 1.0, confidence)
    z = _z(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(
        low=max(0.0, centre - half) if successes else 0.0,
        estimate=share,
        high=min(1.0, centre + half) if successes < n else 1.0,
        confidence=confidence,
    )


def share_difference(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> Interval:
    """Return by how much the share of successes in B exceeds that in A, of `n` pairs.

    `only_a` pairs are a success in A alone, and `only_b` in B alone. The interval is that of Bonett and Price
    (*Journal of Educational and Behavioral Statistics* 37, 2012), which Fagerland, Lydersen and Laake
    (*Statistics in Medicine* 33, 2014) recommend also for small samples. Raises ValueError if more pairs
    differ than there are.
    """
    if min(only_a, only_b) < 0 or only_a + only_b > n:
        raise ValueError(f"{only_a} and {only_b} of {n} pairs cannot differ")
    if not n:
        return Interval(-1.0, math.nan, 1.0, confidence)
    a, b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = _z(confidence) * math.sqrt((a + b - (b - a) ** 2) / (n + 2))
    estimate = (only_b - only_a) / n
    return Interval(
        low=max(-1.0, min(estimate, b - a - half)),
        estimate=estimate,
        high=min(1.0, max(estimate, b - a + half)),
        confidence=confidence,
    )


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Return the mean of independent values, with an interval that allows for skewness; see the module.

    The bounds are infinite for fewer than two values. Raises ValueError if a value is not finite.
    """
    return _analytic(_moments(_numbers(values)), confidence).interval


def paired_bootstrap(
    differences: Iterable[float],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> PairedMean:
    """Return the mean of the differences of independent pairs, B minus A; see the module.

    Equal generators give equal results. If fewer than `FEWEST_CHANGES` differences are not zero while others
    are, the interval reaches zero, and the p-value is 1. The bounds are infinite for fewer than two
    differences. Raises ValueError if a difference is not finite.
    """
    values = _numbers(differences)
    found = _resampled(values, rng, resamples, confidence)
    if np.count_nonzero(values) < min(FEWEST_CHANGES, found.n):
        known = found.interval
        to_zero = Interval(min(known.low, 0.0), known.estimate, max(known.high, 0.0), confidence)
        return PairedMean(to_zero, 1.0, found.n)
    return found


def _resampled(values: _Numbers, rng: np.random.Generator, resamples: int, confidence: float) -> PairedMean:
    moments = _moments(values)
    if moments.n < 2 or moments.n > MOST_RESAMPLED or not moments.error:
        return _analytic(moments, confidence)
    floor = (float(np.ptp(values)) / moments.n) ** 2 / moments.n
    error = math.sqrt(moments.error**2 + floor)
    t = np.sort(_resampled_t(values - moments.mean, rng, resamples, floor))
    tail = int((1 - confidence) / 2 * (resamples + 1))
    below, above = float(t[max(tail - 1, 0)]), float(t[min(resamples - tail, resamples - 1)])
    observed = moments.mean / error
    beyond = min(int((t >= observed).sum()), int((t <= observed).sum()))
    p = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    return _with_student(
        moments,
        confidence,
        low=moments.mean - above * error,
        high=moments.mean - below * error,
        p=p if beyond else min(p, _analytic(moments, confidence).p),  # resamples show no smaller one
    )


def _resampled_t(centred: _Numbers, rng: np.random.Generator, resamples: int, floor: float) -> _Numbers:
    """Return the t statistic of each resample, with `floor` added to the squared error of its mean."""
    n = len(centred)
    found = np.empty(resamples)
    rows = max(1, _DRAWN // n)
    for start in range(0, resamples, rows):
        drawn = centred[rng.integers(0, n, (min(rows, resamples - start), n), dtype=np.int32)]
        means = drawn.mean(axis=1)
        squares = np.einsum("ij,ij->i", drawn, drawn) / n
        variances = np.maximum(squares - means * means, 0.0) / (n - 1)
        found[start : start + rows] = means / np.sqrt(variances + floor)
    return found


def _analytic(moments: _Moments, confidence: float) -> PairedMean:
    """Return the interval without resamples: Hall's together with Student's."""
    n, mean, error = moments.n, moments.mean, moments.error
    if n < 2:
        return PairedMean(Interval(-math.inf, mean, math.inf, confidence), 1.0, n)
    if not error:
        # All values are equal. Only the test of signs says how likely that is.
        p = 2 * 0.5**n if mean else 1.0
        to_zero = 0.0 if p > 1 - confidence else mean
        return PairedMean(Interval(min(mean, to_zero), mean, max(mean, to_zero), confidence), p, n)
    quantile = t_quantile((1 + confidence) / 2, n - 1)
    above, below = untransformed(quantile, moments.slant), untransformed(-quantile, moments.slant)
    p = 2 * t_cdf(-abs(transformed(mean / error, moments.slant)), n - 1)
    return _with_student(moments, confidence, low=mean - above * error, high=mean - below * error, p=p)


def _with_student(moments: _Moments, confidence: float, *, low: float, high: float, p: float) -> PairedMean:
    """Return the interval that holds the given one and Student's; the p-value is the larger."""
    half = t_quantile((1 + confidence) / 2, moments.n - 1) * moments.error
    by_student = 2 * t_cdf(-abs(moments.mean / moments.error), moments.n - 1)
    low, high = min(low, moments.mean - half), max(high, moments.mean + half)
    return PairedMean(Interval(low, moments.mean, high, confidence), max(p, by_student), moments.n)


def _numbers(values: Iterable[float]) -> _Numbers:
    given = values if isinstance(values, np.ndarray) else list(values)
    found: _Numbers = np.asarray(given, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError("not all values are finite numbers")
    return found


def _moments(values: _Numbers) -> _Moments:
    n = len(values)
    if not n:
        return _Moments(0, math.nan, math.nan, math.nan)
    mean = float(values.mean())
    centred = values - mean
    variance = float(centred @ centred) / n
    if n < 2 or math.sqrt(variance) <= 1e-12 * max(abs(mean), float(np.abs(values).max())):
        return _Moments(n, mean, 0.0, 0.0)  # equal but for rounding
    skewness = float(np.mean(centred**3)) / variance**1.5
    return _Moments(n, mean, math.sqrt(variance / (n - 1)), skewness / math.sqrt(n))


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)
