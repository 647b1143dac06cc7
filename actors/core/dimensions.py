"""What a task's evaluations say about one dimension: aggregate and verify, the two steps around the model.

Rule 1: equal observations give equal results, to the last bit, in whatever order they came; a rerun agrees.
Rule 2: no single source and no single item decides. Items of one source are taken as correlated, so a source
that returns a thousand counts at most `1 / WITHIN_SOURCE_CORRELATION` times one that returns a single item;
and the outer `WINSORISED` of the weight on each side is pulled in before the mean is taken.
Rule 3: the number comes from the evaluations and never from the model's synthesis; what the model adds is the
finding and the choice of evidence, and both are checked.

The estimate, step by step, with its sources:

* weights: n correlated items are worth ``n / (1 + (n - 1) * rho)`` independent ones (the design effect; Kish,
  *Survey Sampling*, 1965), shared equally among the items of a source;
* score: the weighted winsorised mean (Wilcox, *Introduction to Robust Estimation and Hypothesis Testing*,
  which also recommends 20 %). Not Huber's, whose scale collapses to 0 where more than half of the values are
  equal, as a model's ratings often are;
* spread: the weighted median absolute deviation, scaled to agree with a normal distribution's deviation;
* interval: the Bayesian bootstrap of the winsorised values (Rubin, *Annals of Statistics* 9, 1981): each
  resample gives every observation an exponential weight. Its distance from the score is stretched twice: by
  ``1 / (1 - 2 * WINSORISED)``, since pulling values in hid some of their spread (Dixon and Tukey,
  *Technometrics* 10, 1968), and by the root of the design effect, without which correlated items would pass
  for independent ones. It stays in the values' range.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias, TypeGuard

import numpy as np
from msgspec import Struct

from actors.core.messages import DimensionResult, Evaluation, Json

WITHIN_SOURCE_CORRELATION = 0.5
WINSORISED = 0.2
RESAMPLES = 200
COVERAGE = 0.9  # of the interval
BEST_EVIDENCE = 3  # items named on each side
LOW_AGREEMENT = 0.5  # below it sources count as disagreeing
MAX_FINDING = 2_000  # characters
LARGEST_VALUE = 1e100  # beyond it sums and squares could overflow

# What `synthesize` asks of the model, in the terms of ``evaluate.output``. There is no bound on lengths here:
# an answer that is too long is cut and flagged, which costs nothing; one that does not fit is paid for again.
SYNTHESIS_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "finding": {"type": "string"},
    "evidence": {"type": "array", "items": {"type": "string"}},
    "score": {"type": "number"},
}

_MAD_TO_DEVIATION = 1.4826  # 1 / (the normal distribution's third quartile)
_TAIL = round(RESAMPLES * (1 - COVERAGE) / 2)
_Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
_canonical_order = attrgetter("value", "item_id", "source")


class Flag(enum.StrEnum):
    """What a reader of a dimension's result should know before trusting it."""

    THIN = "thin"  # fewer than two observations
    SOURCES_DISAGREE = "sources_disagree"
    NO_FINDING = "no_finding"  # the model was to be asked, and there is no answer
    EMPTY_FINDING = "empty_finding"
    LONG_FINDING = "long_finding"  # cut to `MAX_FINDING` characters
    NO_EVIDENCE = "no_evidence"  # the answer cites nothing that exists; the aggregate's evidence stands in
    UNKNOWN_EVIDENCE = "unknown_evidence"  # the answer cites items that do not exist; they were dropped
    SCORE_OUTSIDE_INTERVAL = "score_outside_interval"  # the model's own score; the reported one is inside


class DimensionSettings(Struct, frozen=True):
    """One dimension: which field of the evaluations it rests on and what it weighs in the overall score.

    `minimum` and `maximum` are the field's scale. A negative `weight` says that less is better. `synthesize`
    is the prompt's template, None where no finding is asked for. Raises ValueError on an empty scale or a
    weight that is no number.
    """

    name: str
    field: str
    weight: float = 1.0
    synthesize: str | None = None
    minimum: float = 0.0
    maximum: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"dimension {self.name}: weight must be a number, got {self.weight}")
        if not 0 < self.maximum - self.minimum <= LARGEST_VALUE:
            raise ValueError(
                f"dimension {self.name}: the scale of field {self.field} must have min < max, "
                f"got {self.minimum} and {self.maximum}"
            )


class Observation(Struct, frozen=True):
    """What one evaluation says about one dimension. `quote` is the model's own words on the item."""

    item_id: str
    source: str
    value: float
    quote: str = ""


class Aggregate(Struct, frozen=True):
    """What all observations of a dimension say together. Where there are none, the numbers are None.

    [`low`, `high`] covers `COVERAGE` of the resamples and contains `score`; of a single observation it is
    that value, so look at `n` too. `agreement` is 1 where the sources' means are equal, 0 where they are as
    far apart as the scale allows. Evidence lists item ids, the most extreme first; none is on both sides.
    """

    n: int
    score: float | None
    spread: float | None
    low: float | None
    high: float | None
    source_means: Mapping[str, float]
    agreement: float
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]


NOTHING = Aggregate(0, None, None, None, None, {}, 1.0, (), ())


def seed_of(task: str) -> int:
    """Return the seed that belongs to a task's key: the same in every process and every run."""
    return int.from_bytes(hashlib.sha256(task.encode("utf-8", "surrogatepass")).digest()[:8])


def observe(settings: DimensionSettings, evaluations: Sequence[Evaluation]) -> tuple[Observation, ...]:
    """Return what `evaluations` say about this dimension, quoting the first text among their fields.

    Raises ValueError where a value is missing or not a number that can be added up: evaluations were
    validated when they were answered, so this is a defect, or a changed configuration.
    """
    observations = []
    for evaluation in evaluations:
        value = evaluation.values.get(settings.field)
        if not _is_number(value):
            raise ValueError(
                f"dimension {settings.name}: the evaluation of {evaluation.item_id} has no usable number "
                f"in its field {settings.field}"
            )
        quote = next((text for text in evaluation.values.values() if isinstance(text, str)), "")
        observations.append(Observation(evaluation.item_id, evaluation.source, float(value), quote))
    return tuple(observations)


def aggregate(settings: DimensionSettings, observations: Sequence[Observation], seed: int) -> Aggregate:
    """Return what `observations` say together, by the estimate that the module describes.

    `seed` drives the resampling; see `seed_of`. Raises ValueError where a value is not finite or is too large
    to be added up.
    """
    for observation in observations:
        if not -LARGEST_VALUE <= observation.value <= LARGEST_VALUE:  # false of NaN, too
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


def verify(
    settings: DimensionSettings,
    aggregated: Aggregate,
    answer: Mapping[str, Json] | None,
    known_ids: Collection[str],
) -> DimensionResult:
    """Return the dimension's result: the aggregate's numbers, and of the model's `answer` what holds.

    `answer` has the form `SYNTHESIS_FIELDS`; None where the model was not asked or did not answer. Whatever
    does not hold is left out or cut, and flagged; nothing in an answer makes this fail.
    """
    flags: list[Flag] = []
    if aggregated.n < 2:
        flags.append(Flag.THIN)
    if aggregated.agreement < LOW_AGREEMENT:
        flags.append(Flag.SOURCES_DISAGREE)
    finding = ""
    evidence: tuple[str, ...] = ()
    if answer is not None:
        finding = _checked_finding(answer.get("finding"), flags)
        evidence = _checked_evidence(answer.get("evidence"), known_ids, flags)
        if not _inside(answer.get("score"), aggregated, settings.maximum - settings.minimum):
            flags.append(Flag.SCORE_OUTSIDE_INTERVAL)
    elif settings.synthesize is not None:
        flags.append(Flag.NO_FINDING)
    return DimensionResult(
        name=settings.name,
        score=aggregated.score,
        low=aggregated.low,
        high=aggregated.high,
        n=aggregated.n,
        finding=finding,
        evidence=evidence or aggregated.evidence_for + aggregated.evidence_against,
        flags=tuple(flag.value for flag in flags),
    )


def _weights(ordered: Sequence[Observation], by_source: Mapping[str, Sequence[float]]) -> list[float]:
    """Return what each observation is worth, where 1 is an independent one."""
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
    # Rounding could put a mean of equal numbers just outside them.
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
    """Return the sorted values that leave `tail` of the weight outside, on either side.

    These are values of `x`, not points between them: interpolated, a quantile would jump where two values of
    different weight change places, and a higher value could lower the score.
    """
    cumulated = weights.cumsum()
    cut, rounding = tail * cumulated[-1], 1e-9 * cumulated[-1]
    first = cumulated.searchsorted(cut - rounding, side="left")
    last = cumulated.searchsorted(cumulated[-1] - cut + rounding, side="right")
    return float(x[first]), float(x[min(int(last), len(x) - 1)])


def _agreement(means: Sequence[float], scale: float) -> float:
    """Return 1 less the deviation between sources' means over the largest that the scale allows: its half."""
    centre = math.fsum(means) / len(means)
    deviation = math.sqrt(math.fsum((mean - centre) ** 2 for mean in means) / len(means))
    return max(0.0, 1 - 2 * deviation / scale)


def _checked_finding(finding: Json, flags: list[Flag]) -> str:
    text = finding.strip() if isinstance(finding, str) else ""
    if not text:
        flags.append(Flag.EMPTY_FINDING)
    if len(text) > MAX_FINDING:
        flags.append(Flag.LONG_FINDING)
        text = text[: MAX_FINDING - 1] + "…"
    return text


def _checked_evidence(cited: Json, known_ids: Collection[str], flags: list[Flag]) -> tuple[str, ...]:
    kept: dict[str, None] = {}  # in the order of citing, each once
    unknown = False
    for citation in cited if isinstance(cited, list | tuple) else ():
        # Models cite an id with the brackets that the prompt shows it in.
        names = (
            (citation, citation.strip().removeprefix("[").removesuffix("]"))
            if isinstance(citation, str)
            else ()
        )
        known = next((name for name in names if name in known_ids), None)
        if known is None:
            unknown = True
        else:
            kept[known] = None
    if unknown:
        flags.append(Flag.UNKNOWN_EVIDENCE)
    if not kept:
        flags.append(Flag.NO_EVIDENCE)
    return tuple(kept)


def _inside(score: Json, aggregated: Aggregate, scale: float) -> bool:
    """Whether the model's score is within the interval; a hundredth of the scale is its rounding."""
    if not _is_number(score) or aggregated.low is None or aggregated.high is None:
        return False
    return aggregated.low - scale / 100 <= score <= aggregated.high + scale / 100


def _is_number(value: Json) -> TypeGuard[float]:
    """Whether this is a number that can be added up: no boolean, no NaN, no infinity."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -LARGEST_VALUE <= value <= LARGEST_VALUE
