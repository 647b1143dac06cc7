"""The results of a comparison. All differences are B minus A."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from actors.core.messages.values import Json
from cluster.compare.sides import SideTotals, TableLevel
from cluster.statistics.intervals import Interval

LEVEL = 0.05  # a difference with a smaller p-value is detected


class ColumnKind(enum.StrEnum):
    """How the values of a column are compared."""

    NUMBER = "number"
    LABEL = "label"  # choices and booleans
    TEXT = "text"  # and lists, objects, and anything else: equal or not


class Verdict(enum.StrEnum):
    """Whether a column differs, by its p-value after Holm's correction and its interval."""

    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"  # nothing says which direction is better
    NONE = "no difference detected"
    UNTESTED = "untested"  # it is equal in all pairs, or only the share of changes is known


class Example(Struct, frozen=True):
    """A pair of answers that differ, with the right one if it is known. Texts are cut.

    `input` is the row of A's input, or the columns of a table that are equal in all pairs.
    """

    task: str
    item: str
    a: Json
    b: Json
    truth: Json = None
    input: Mapping[str, Json] = msgspec.field(default_factory=dict)

    @property
    def text(self) -> str:
        """The longest text of the input, empty without any."""
        return max((value for value in self.input.values() if isinstance(value, str)), key=len, default="")


class Change(Struct, frozen=True):
    """How many pairs have the label `a` in A and `b` in B."""

    a: Json
    b: Json
    count: int


class LabelShare(Struct, frozen=True):
    """The shares of a label, and their difference."""

    label: Json
    a: float
    b: float
    difference: Interval
    p: float


class NumberDifference(Struct, frozen=True):
    """The means of a column of numbers, their difference, and how many pairs are higher and lower in B."""

    a: float
    b: float
    difference: Interval
    p: float
    higher: int
    lower: int
    distance: float  # the mean absolute difference
    largest: float  # the largest one


class Accuracy(Struct, frozen=True):
    """How often both sides are right, of `n` pairs whose right value is known. A failed answer is not right.

    `kappa_a` and `kappa_b` are Cohen's kappa of a side and the right values. `calibration_a` and
    `calibration_b` are the expected calibration errors of a side, if it has a column with confidences.
    """

    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    a: Interval
    b: Interval
    difference: Interval
    p: float
    kappa_a: float | None = None
    kappa_b: float | None = None
    calibration_a: float | None = None
    calibration_b: float | None = None


class Errors(Struct, frozen=True):
    """The mean distance of the numbers of both sides from `n` right numbers. Less is better."""

    n: int
    a: float
    b: float
    difference: Interval
    p: float


class ColumnComparison(Struct, frozen=True):
    """The comparison of one column.

    pairs: pairs with an answer on both sides. tasks: the independent units among them. equal: pairs with
    equal values. missing: pairs in which a number is null on one side. p: the p-value that `verdict` rests
    on, corrected over all tested columns; None if none was computed. matrix: the changes of labels, the most
    frequent first. churn, again: the share of pairs that changed when A was asked again, and the difference
    of their numbers.
    """

    name: str
    level: TableLevel
    kind: ColumnKind
    pairs: int
    tasks: int
    equal: int
    agreement: Interval
    missing: int = 0
    kappa: float | None = None
    numbers: NumberDifference | None = None
    matrix: tuple[Change, ...] = ()
    shares: tuple[LabelShare, ...] = ()
    accuracy: Accuracy | None = None
    errors: Errors | None = None
    p: float | None = None
    verdict: Verdict = Verdict.UNTESTED
    churn: Interval | None = None
    again: NumberDifference | None = None
    examples: tuple[Example, ...] = ()

    @property
    def changed(self) -> Interval:
        """The share of pairs with different values."""
        agreement = self.agreement
        return Interval(1 - agreement.high, 1 - agreement.estimate, 1 - agreement.low, agreement.confidence)

    @property
    def tested(self) -> tuple[Interval, float] | None:
        """The difference that is tested, and its own p-value: of accuracy, of errors, or of the values."""
        for found in (self.accuracy, self.errors, self.numbers):
            if found is not None:
                return found.difference, found.p
        if not self.shares:
            return None
        least = min(self.shares, key=lambda share: share.p)
        return least.difference, min(1.0, least.p * max(1, _tests(self.shares)))


def _tests(shares: tuple[LabelShare, ...]) -> int:
    return 1 if len(shares) == 2 else len(shares)  # the shares of two labels change together


class LevelPairs(Struct, frozen=True):
    """The keys of one level: in both sides, in one, failed in one, and equal in all columns.

    repeats: the largest number of rows with one key in A and in B. tasks: the independent units.
    """

    level: TableLevel
    matched: int
    only_a: int
    only_b: int
    failed_a: int
    failed_b: int
    failed_both: int
    equal: int
    tasks: int
    repeats: tuple[int, int] = (1, 1)
    columns_a: tuple[str, ...] = ()  # columns that only A has
    columns_b: tuple[str, ...] = ()


class Preference(Struct, frozen=True):
    """How often people who did not see which is which preferred B, A and neither.

    `share` is how often it was B where it was one of both.
    """

    a: int
    b: int
    neither: int
    share: Interval
    p: float

    @property
    def verdict(self) -> Verdict:
        """Whether B is better."""
        if self.p >= LEVEL:
            return Verdict.NONE
        return Verdict.BETTER if self.b > self.a else Verdict.WORSE


class Noise(Struct, frozen=True):
    """A's question asked again about some of its tasks."""

    totals: SideTotals
    tasks: int


def document(value: object) -> Json:
    """Return a result as a JSON document: numbers that are not finite are null."""
    return _finite(msgspec.to_builtins(value))


def _finite(value: Json) -> Json:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value
