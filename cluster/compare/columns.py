"""Compares one column of paired answers.

Rule 1: the task is the independent unit. Repeats of a key are averaged first. If tasks have several items,
    the differences are averaged by task, and their interval is that of the mean over tasks.
Rule 2: a pair in which one side failed says nothing about the values. Against the truth a failure is wrong.
Rule 3: equal answers give equal results: the resampling has a fixed seed.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actors.core.messages.values import Json
from cluster.compare.answers import (
    MOST_LABELS,
    NULL,
    AnswerColumn,
    AnswerTable,
    Codes,
    Flags,
    Groups,
    Numbers,
    matched,
)
from cluster.compare.results import Accuracy, Change, ColumnKind, Errors, LabelShare, NumberDifference
from cluster.compare.truth import Truth
from cluster.golden.figures import confidence_name
from cluster.statistics.agreement import kappa_of
from cluster.statistics.calibration import calibration
from cluster.statistics.intervals import (
    Interval,
    PairedMean,
    mean_interval,
    paired_bootstrap,
    share_difference,
    wilson,
)
from cluster.statistics.significance import mcnemar_mid_p

_SEED = 20_211


@dataclass(frozen=True)
class Pairs:
    """The keys that both sides have: their places in A and in B, in the order of A."""

    a: AnswerTable
    b: AnswerTable
    in_a: Codes
    in_b: Codes

    @classmethod
    def of(cls, a: AnswerTable, b: AnswerTable) -> Pairs:
        """Return the pairs of two tables."""
        return cls(a, b, *matched(a.keys, b.keys))

    @cached_property
    def failed_a(self) -> Flags:
        """Whether A failed."""
        return self.a.key_failed[self.in_a]

    @cached_property
    def failed_b(self) -> Flags:
        """Whether B failed."""
        return self.b.key_failed[self.in_b]

    @cached_property
    def answered(self) -> Flags:
        """Whether both sides have an answer."""
        return ~(self.failed_a | self.failed_b)

    @cached_property
    def tasks(self) -> Codes:
        """The code of the task of each pair."""
        return self.a.tasks[self.in_a]

    def columns(self) -> tuple[str, ...]:
        """Return the columns that both sides have, in the order of A."""
        return tuple(name for name in self.a.columns if name in self.b.columns)

    def numbers(self, name: str) -> tuple[Numbers, Numbers]:
        """Return the numbers of both sides."""
        return self.a.numbers(name)[self.in_a], self.b.numbers(name)[self.in_b]

    def codes(self, name: str) -> tuple[Codes, Codes]:
        """Return the codes of both sides."""
        return self.a.codes(name)[self.in_a], self.b.codes(name)[self.in_b]


def kind_of(a: AnswerColumn, b: AnswerColumn, rows: int) -> ColumnKind:
    """Return how a column is compared: as its values in both sides allow.

    Texts are labels if there are few of them, and each occurs twice on average.
    """
    if any(side.has_others or side.has_long for side in (a, b)):
        return ColumnKind.TEXT
    has_texts, has_booleans = a.has_texts or b.has_texts, a.has_booleans or b.has_booleans
    has_numbers = a.has_numbers or b.has_numbers
    if has_numbers and not has_texts and not has_booleans:
        return ColumnKind.NUMBER
    labels = len(a.labels.keys() | b.labels.keys())
    few = labels <= MOST_LABELS and max(len(a.labels), len(b.labels)) <= MOST_LABELS
    return ColumnKind.LABEL if few and labels <= max(2, rows // 2) else ColumnKind.TEXT


# ---- means over tasks ------------------------------------------------------------------------------------


def mean_over_tasks(differences: Numbers, tasks: Codes) -> PairedMean:
    """Return the mean of the differences of tasks, each of which is the mean of those of its pairs."""
    return paired_bootstrap(Groups.of(tasks).means(differences), np.random.default_rng(_SEED))


def share_over_tasks(is_so: Flags | Numbers, tasks: Codes) -> Interval:
    """Return the share of pairs of which something is so.

    It has Wilson's interval if it is so of all pairs of a task or of none, as where each task has one pair.
    """
    shares = Groups.of(tasks).means(is_so.astype(np.float64))
    if _is_binary(shares):
        return wilson(int(shares.sum()), len(shares))
    return _within(mean_interval(shares), 0.0)


def _shares_differ(in_a: Flags | Numbers, in_b: Flags | Numbers, groups: Groups) -> PairedMean:
    """Return by how much a share is larger in B; `groups` are the pairs of each task."""
    a, b = (groups.means(side.astype(np.float64)) for side in (in_a, in_b))
    if _is_binary(a) and _is_binary(b):
        only_a, only_b = int((a > b).sum()), int((b > a).sum())
        return PairedMean(share_difference(only_a, only_b, len(a)), mcnemar_mid_p(only_a, only_b), len(a))
    found = paired_bootstrap(b - a, np.random.default_rng(_SEED))
    return PairedMean(_within(found.interval, -1.0), found.p, found.n)


def _is_binary(values: Numbers) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _within(interval: Interval, low: float) -> Interval:
    """Return the part of an interval that is possible for a share, or for a difference of shares."""
    return Interval(max(low, interval.low), interval.estimate, min(1.0, interval.high), interval.confidence)


# ---- kinds of columns ------------------------------------------------------------------------------------


def compare_numbers(a: Numbers, b: Numbers, tasks: Codes) -> NumberDifference:
    """Compare the numbers of pairs that have both."""
    differences = b - a
    found = mean_over_tasks(differences, tasks)
    means = Groups.of(tasks)
    return NumberDifference(
        a=_mean(means.means(a)),
        b=_mean(means.means(b)),
        difference=found.interval,
        p=found.p,
        higher=int((differences > 0).sum()),
        lower=int((differences < 0).sum()),
        distance=_mean(np.abs(differences)),
        largest=float(np.abs(differences).max()) if len(differences) else 0.0,
    )


def changes(a: Codes, b: Codes, labels: dict[int, Json]) -> tuple[Change, ...]:
    """Return the counted pairs of labels, the most frequent first."""
    counts = _counted(a, b)
    found = [Change(labels.get(one), labels.get(other), count) for (one, other), count in counts.items()]
    return tuple(sorted(found, key=lambda change: (-change.count, str(change.a), str(change.b))))


def label_kappa(a: Codes, b: Codes) -> float | None:
    """Return Cohen's kappa, None if it is not defined."""
    kappa = kappa_of(_counted(a, b))
    return None if math.isnan(kappa) else kappa


def label_shares(a: Codes, b: Codes, labels: dict[int, Json], tasks: Codes) -> tuple[LabelShare, ...]:
    """Return the share of each label, the most frequent first."""
    groups = Groups.of(tasks)
    known, counts = np.unique(np.concatenate((a, b)), return_counts=True)
    found = []
    for code in known[np.argsort(-counts, kind="stable")].tolist():
        difference = _shares_differ(a == code, b == code, groups)
        found.append(
            LabelShare(
                labels.get(code),
                _mean(groups.means((a == code).astype(np.float64))),
                _mean(groups.means((b == code).astype(np.float64))),
                difference.interval,
                difference.p,
            )
        )
    return tuple(sorted(found, key=lambda share: (-(share.a + share.b), str(share.label))))


# ---- the truth -------------------------------------------------------------------------------------------


def compare_accuracy(pairs: Pairs, name: str, truth: Truth) -> Accuracy | None:
    """Compare both sides with the right values. None if none is known."""
    known = _rightness(pairs, name, truth)
    if known is None:
        return None
    right_a, right_b, tasks, kappas = known
    is_a, is_b = right_a > 0.5, right_b > 0.5
    found = _shares_differ(right_a, right_b, Groups.of(tasks))
    return Accuracy(
        n=len(is_a),
        both=int((is_a & is_b).sum()),
        only_a=int((is_a & ~is_b).sum()),
        only_b=int((~is_a & is_b).sum()),
        neither=int((~is_a & ~is_b).sum()),
        a=share_over_tasks(right_a, tasks),
        b=share_over_tasks(right_b, tasks),
        difference=found.interval,
        p=found.p,
        kappa_a=kappas[0],
        kappa_b=kappas[1],
        calibration_a=_calibration_error(pairs.a, name, truth),
        calibration_b=_calibration_error(pairs.b, name, truth),
    )


def right_or_wrong(table: AnswerTable, name: str, truth: Truth) -> Numbers:
    """Return for each key whether its answer is right, averaged over repeats; NaN if that is not known."""
    groups = table.groups
    places, known = matched(table.keys, truth.keys)
    wanted = np.full(len(table.keys), NULL, np.int64)
    wanted[places] = truth.codes[known]
    is_known, is_rejected = (np.zeros(len(table.keys), np.bool_) for _ in range(2))
    is_known[places] = True
    is_rejected[places] = truth.rejected[known]
    codes, of_row = table.columns[name].codes, groups.of_row
    is_equal = codes == wanted[of_row]
    right = np.where(is_rejected[of_row], np.where(is_equal, 0.0, math.nan), is_equal.astype(np.float64))
    right[table.failed] = 0.0
    right[~is_known[of_row]] = math.nan
    return groups.means(right)


def _rightness(
    pairs: Pairs, name: str, truth: Truth
) -> tuple[Numbers, Numbers, Codes, tuple[float | None, float | None]] | None:
    right_a = right_or_wrong(pairs.a, name, truth)[pairs.in_a]
    right_b = right_or_wrong(pairs.b, name, truth)[pairs.in_b]
    known = ~(np.isnan(right_a) | np.isnan(right_b))
    if not known.any():
        return None
    wanted = truth.of_keys(pairs.a.keys[pairs.in_a])
    stated = known & (wanted != NULL) & pairs.answered
    codes = pairs.codes(name)
    kappas = tuple(label_kappa(side[stated], wanted[stated]) if stated.any() else None for side in codes)
    return right_a[known], right_b[known], pairs.tasks[known], (kappas[0], kappas[1])


def _calibration_error(table: AnswerTable, name: str, truth: Truth) -> float | None:
    """Return the expected calibration error of the answers, None without a column with their confidences."""
    numbers = [each for each, column in table.columns.items() if column.has_numbers]
    column = confidence_name(numbers, table.steps.get(name, name.rpartition(".")[0]))
    if column is None:
        return None
    right, confidences = right_or_wrong(table, name, truth), table.numbers(column)
    usable = ~np.isnan(right) & ~table.key_failed & (confidences >= 0) & (confidences <= 1)
    if not usable.any():
        return None
    return calibration(confidences[usable].tolist(), (right[usable] > 0.5).tolist()).error


def compare_errors(pairs: Pairs, name: str, truth: Truth) -> Errors | None:
    """Compare the distances of both sides from the right numbers. None if none is known."""
    wanted = truth.numbers_of_keys(pairs.a.keys[pairs.in_a])
    a, b = (np.abs(side - wanted) for side in pairs.numbers(name))
    known = ~(np.isnan(a) | np.isnan(b)) & pairs.answered
    if not known.any():
        return None
    found = mean_over_tasks((b - a)[known], pairs.tasks[known])
    return Errors(int(known.sum()), _mean(a[known]), _mean(b[known]), found.interval, found.p)


def _counted(a: Codes, b: Codes) -> Counter[tuple[int, int]]:
    if not len(a):
        return Counter()
    found, counts = np.unique(np.stack((a, b)), axis=1, return_counts=True)
    pairs = zip(found[0].tolist(), found[1].tolist(), strict=True)
    return Counter(dict(zip(pairs, counts.tolist(), strict=True)))


def _mean(values: Numbers | Flags) -> float:
    return float(values.mean()) if len(values) else math.nan
