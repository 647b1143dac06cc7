"""What a task's evaluations say about one dimension, and what of the model's synthesis holds.

The evaluations are summed up before the model writes (`aggregation.py`); what it wrote is verified after.

Rule: the number comes from the evaluations and never from the model's synthesis; what the model adds is the
finding and the choice of evidence, and both are checked.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TypeGuard

from msgspec import Struct

from actors.core.messages.tasks import DimensionResult, Evaluation
from actors.core.messages.values import Json

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

    [`low`, `high`] covers `aggregation.COVERAGE` of the resamples and contains `score`; of a single
    observation it is that value, so look at `n` too. `agreement` is 1 where the sources' means are equal, 0
    where they are as far apart as the scale allows. Evidence lists item ids, the most extreme first; none is
    on both sides.
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
