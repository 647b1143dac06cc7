"""Aggregates the observations of one dimension, before the model writes its finding.

Rule 1: equal observations give equal results, to the last bit, in any order of arrival and in every run.
Rule 2: no single source and no single item decides. Items of one source count as correlated, so that a source
with a thousand items weighs at most `1 / WITHIN_SOURCE_CORRELATION` times as much as one with a single item.
The mean is winsorised: `WINSORISED` of the weight on each side is moved inwards.

The estimate, with its sources:

* weights: n correlated items are worth ``n / (1 + (n - 1) * rho)`` independent ones (the design effect; Kish,
  *Survey Sampling*, 1965), shared equally among the items of a source;
* score: the weighted winsorised mean (Wilcox, *Introduction to Robust Estimation and Hypothesis Testing*,
  which also recommends 20 %). Huber's estimator is not used: its scale is 0 if more than half of the values
  are equal, as a model's ratings often are;
* spread: the weighted median absolute deviation, scaled to the standard deviation of a normal distribution;
* interval: the Bayesian bootstrap of the winsorised values (Rubin, *Annals of Statistics* 9, 1981): each
  resample gives every observation an exponential weight. Its distance from the score has two factors. One is
  ``1 / (1 - 2 * WINSORISED)``, since winsorising reduces the spread (Dixon and Tukey, *Technometrics* 10,
  1968). The other is the root of the design effect, since the resampling treats correlated items as
  independent. The interval stays within the range of the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

import numpy as np

from actors.core.task.dimensions import LARGEST_VALUE, NOTHING, Aggregate, DimensionSettings, Observation

WITHIN_SOURCE_CORRELATION = 0.5
WINSORISED = 0.2
RESAMPLES = 200
COVERAGE = 0.9  # of the interval
BEST_EVIDENCE = 3  # items named on each side

_MAD_TO_DEVIATION = 1.4826  # 1 / (the normal distribution's third quartile)
_TAIL = round(RESAMPLES * (1 - COVERAGE) / 2)
_Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
_canonical_order = attrgetter("value", "item_id", "source")


def aggregate(settings: DimensionSettings, observations: Sequence[Observation], seed: int) -> Aggregate:
    """Return the aggregate of `observations`, estimated as the module's docstring describes.

    `seed` is the seed of the resampling; see `seed_of`. Raises ValueError if a value is not finite, or is too
    large for sums.
    """
    for observation in observations:
        if not -LARGEST_VALUE <= observation.value <= LARGEST_VALUE:  # also rejects NaN
            raise ValueError(
                f"dimension {settings.name}: {observation.item_id} has the value {observation.value}, "
                f"which is not a number between -{LARGEST_VALUE:g} and {LARGEST_VALUE:g}"
            )
    if not observations:
        return NOTHING
    ordered = sorted(observations, key=_canonical_order)
    values = [observation.value for observation in ordered]
    by_source: dict[str, list[float]] = {}
    for observation in ordered:
        by_source.setdefault(observation.source, []).append(observation.value)
    means = {source: math.fsum(by_source[source]) / len(by_source[source]) for source in by_source}
    score, spread, low, high = _estimate(values, _weights(ordered, by_source), seed)
    n = len(ordered)
    against = min(BEST_EVIDENCE, n // 2)
    return Aggregate(
        n=n,
        score=score,
        spread=spread,
        low=low,
        high=high,
        source_means=means,
        agreement=_agreement(list(means.values()), settings.maximum - settings.minimum),
        evidence_for=tuple(o.item_id for o in reversed(ordered[max(against, n - BEST_EVIDENCE) :])),
        evidence_against=tuple(o.item_id for o in ordered[:against]),
    )


def _weights(ordered: Sequence[Observation], by_source: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the weight of each observation; that of an independent one is 1."""
    worth = {
        source: 1 / (1 + (len(values) - 1) * WITHIN_SOURCE_CORRELATION)
        for source, values in by_source.items()
    }
    return [worth[observation.source] for observation in ordered]


def _estimate(values: list[float], weights: list[float], seed: int) -> tuple[float, float, float, float]:
    """Return score, spread, low and high of `values`, which are sorted."""
    least, most = values[0], values[-1]
    x = np.array(values)
    w = np.array(weights)
    lower, upper = _between(x, w, WINSORISED)
    winsorised = x.clip(lower, upper)
    weighted = np.stack((winsorised * w, w))
    total, worth = weighted.sum(axis=1).tolist()
    # Rounding could put the mean of equal numbers slightly outside their range.
    score = min(max(total / worth, least), most)

    deviations = np.abs(x - sum(_between(x, w, 0.5)) / 2)
    order = deviations.argsort(kind="stable")
    mad = sum(_between(deviations[order], w[order], 0.5)) / 2

    resampled = weighted @ np.random.default_rng(seed).standard_exponential((len(values), RESAMPLES))
    means = resampled[0] / resampled[1]
    means.sort()
    design_effect = worth / math.fsum(weight * weight for weight in weights)
    stretch = math.sqrt(design_effect) / (1 - 2 * WINSORISED)
    low = score - stretch * max(0.0, score - float(means[_TAIL]))
    high = score + stretch * max(0.0, float(means[-1 - _TAIL]) - score)
    return score, _MAD_TO_DEVIATION * float(mad), max(low, least), min(high, most)


def _between(x: _Vector, weights: _Vector, tail: float) -> tuple[float, float]:
    """Return the two values of the sorted `x` beyond which lies `tail` of the weight on each side.

    They are not interpolated: an interpolated quantile would jump when two values of different weight change
    places, and a higher value could lower the score.
    """
    cumulated = weights.cumsum()
    cut, rounding = tail * cumulated[-1], 1e-9 * cumulated[-1]
    first = cumulated.searchsorted(cut - rounding, side="left")
    last = cumulated.searchsorted(cumulated[-1] - cut + rounding, side="right")
    return float(x[first]), float(x[min(int(last), len(x) - 1)])


def _agreement(means: Sequence[float], scale: float) -> float:
    """Return 1 minus the ratio of the means' standard deviation to its maximum, half of the scale."""
    centre = math.fsum(means) / len(means)
    deviation = math.sqrt(math.fsum((mean - centre) ** 2 for mean in means) / len(means))
    return max(0.0, 1 - 2 * deviation / scale)
