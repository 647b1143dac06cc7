"""Extracts a dimension's observations from the evaluations, and verifies the model's synthesis.

`aggregation.py` aggregates the observations before the model writes its synthesis.

Rule: the score comes from the evaluations and never from the model's synthesis. The model adds the finding
and the choice of evidence, and both are checked.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TypeGuard

from msgspec import Struct

from actors.core.messages.tasks import DimensionResult, ItemResult
from actors.core.messages.values import Json
from actors.core.task.field_names import UNNAMED_STEP
from actors.core.texts import cut

LOW_AGREEMENT = 0.5  # sources with a lower agreement disagree
MAX_FINDING = 2_000  # characters
LARGEST_VALUE = 1e100  # larger values could overflow in sums and squares

# The answer that `synthesize` requires, in the format of ``evaluate.output``. It does not bound lengths: a
# long answer can be cut and flagged at no cost, whereas an unusable answer has to be paid for again.
SYNTHESIS_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "finding": {"type": "string"},
    "evidence": {"type": "array", "items": {"type": "string"}},
    "score": {"type": "number"},
}


class Flag(enum.StrEnum):
    """A reservation about a dimension's result."""

    THIN = "thin"  # fewer than two observations
    SOURCES_DISAGREE = "sources_disagree"
    NO_FINDING = "no_finding"  # a finding is configured, and the model did not answer
    EMPTY_FINDING = "empty_finding"
    LONG_FINDING = "long_finding"  # cut to `MAX_FINDING` characters
    NO_EVIDENCE = "no_evidence"  # the answer cites no existing item; the aggregate's evidence replaces it
    UNKNOWN_EVIDENCE = "unknown_evidence"  # the answer cites items that do not exist; they are dropped
    SCORE_OUTSIDE_INTERVAL = "score_outside_interval"  # the model's own score; the reported one is inside


class DimensionSettings(Struct, frozen=True):
    """One dimension: the step and the field of the evaluations that it uses, and its weight in the score.

    `minimum` and `maximum` are the field's scale. A negative `weight` means that lower is better.
    `synthesize` is the template of the prompt, None for no finding. `step` is the step whose answers have the
    field. `values` are the numbers of a field of choices, or of a boolean's "true" and "false".
    Raises ValueError for an empty scale or a weight that is not finite.
    """

    name: str
    field: str
    weight: float = 1.0
    synthesize: str | None = None
    minimum: float = 0.0
    maximum: float = 1.0
    step: str = UNNAMED_STEP
    values: Mapping[str, float] = {}

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"dimension {self.name}: weight must be a finite number, got {self.weight}")
        if not 0 < self.maximum - self.minimum <= LARGEST_VALUE:
            raise ValueError(
                f"dimension {self.name}: the scale of field {self.field} must have min < max, "
                f"got {self.minimum} and {self.maximum}"
            )


class Observation(Struct, frozen=True):
    """The value of one evaluation for one dimension. `quote` is the model's text about the item."""

    item_id: str
    source: str
    value: float
    quote: str = ""


class Aggregate(Struct, frozen=True):
    """The aggregate of a dimension's observations. Without observations the numbers are None.

    [`low`, `high`] covers `aggregation.COVERAGE` of the resamples and contains `score`. With one observation
    it is that value, so `n` has to be read with it. `agreement` is 1 if the sources' means are equal, and 0
    if they are as far apart as the scale allows. `evidence_for` and `evidence_against` hold item ids, the
    most extreme first; no id is in both.
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
    """Return the seed for a task's key, which is the same in every process and run."""
    return int.from_bytes(hashlib.sha256(task.encode("utf-8", "surrogatepass")).digest()[:8])


def observe(settings: DimensionSettings, items: Sequence[ItemResult]) -> tuple[Observation, ...]:
    """Return the observations of `items` for this dimension. The quote is the first text of the same step.

    An item whose step was not answered, or whose field is null, has no observation. Raises ValueError if the
    value of another is missing or is not a usable number. Answers are validated when they arrive, so this is
    a defect, or the result of a changed configuration.
    """
    observations = []
    for item in items:
        values = item.values.get(settings.step)
        if values is None or values.get(settings.field, ...) is None:
            continue
        value = _numbered(values.get(settings.field), settings.values)
        if not _is_number(value):
            raise ValueError(
                f"dimension {settings.name}: the evaluation of {item.item_id} has no usable number "
                f"in the field {settings.field}"
            )
        quote = next((text for text in values.values() if isinstance(text, str)), "")
        observations.append(Observation(item.item_id, item.source, float(value), quote))
    return tuple(observations)


def _numbered(value: Json, numbers: Mapping[str, float]) -> Json:
    """Return the number of a choice or a boolean, and `value` itself if the field is numeric."""
    if not numbers:
        return value
    return numbers.get(value if isinstance(value, str) else json.dumps(value))


def verify(
    settings: DimensionSettings,
    aggregated: Aggregate,
    answer: Mapping[str, Json] | None,
    known_ids: Collection[str],
) -> DimensionResult:
    """Return the dimension's result: the aggregate's numbers and the valid parts of the model's `answer`.

    `answer` has the form `SYNTHESIS_FIELDS`. It is None if the model was not asked or did not answer. Invalid
    parts are dropped or cut, and flagged; no answer raises an error.
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
    return cut(text, MAX_FINDING)


def _checked_evidence(cited: Json, known_ids: Collection[str], flags: list[Flag]) -> tuple[str, ...]:
    kept: dict[str, None] = {}  # in order of citation, without duplicates
    unknown = False
    for citation in cited if isinstance(cited, list | tuple) else ():
        # Models often cite an id with the brackets around it in the prompt.
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
    """Return whether the model's score is in the interval, with a tolerance of 1 % of the scale."""
    if not _is_number(score) or aggregated.low is None or aggregated.high is None:
        return False
    return aggregated.low - scale / 100 <= score <= aggregated.high + scale / 100


def _is_number(value: Json) -> TypeGuard[float]:
    """Return whether `value` is a number usable in sums: not a boolean, NaN, infinite or too large."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -LARGEST_VALUE <= value <= LARGEST_VALUE
