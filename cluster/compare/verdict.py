"""Judges which differences are real, and answers in one sentence whether B is better than A.

Rule 1: a difference is detected if its p-value is below 5 % after Holm's correction over all tested columns,
    and its interval excludes zero.
Rule 2: a column that is equal in all pairs is not tested, and does not count in the correction: no result
    of it could be significant (Tarone, *Biometrics* 46, 1990).
Rule 3: only the truth says which direction is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from actors.core.messages.values import Json
from cluster.compare.results import LEVEL, ColumnComparison, ColumnKind, LabelShare, Preference, Verdict
from cluster.report.console import number, plain
from cluster.report.tables.value_types import json_text
from cluster.statistics.intervals import Interval
from cluster.statistics.significance import holm


def judged(columns: Iterable[ColumnComparison]) -> list[ColumnComparison]:
    """Return the columns with their corrected p-values and verdicts."""
    given = list(columns)
    tests = {
        place: found
        for place, column in enumerate(given)
        if (found := column.tested) is not None and column.equal < column.pairs
    }
    corrected = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
    return [
        replace(column, p=corrected[place], verdict=_verdict(column, tests[place][0], corrected[place]))
        if place in corrected
        else column
        for place, column in enumerate(given)
    ]


def _verdict(column: ColumnComparison, difference: Interval, p: float) -> Verdict:
    if p >= LEVEL or not difference.excludes_zero:
        return Verdict.NONE
    if column.accuracy is not None:
        return Verdict.BETTER if difference.estimate > 0 else Verdict.WORSE
    if column.errors is not None:
        return Verdict.BETTER if difference.estimate < 0 else Verdict.WORSE
    return Verdict.DIFFERENT


# ---- the sentence ----------------------------------------------------------------------------------------


def sentence_of(columns: Sequence[ColumnComparison], preference: Preference | None = None) -> str:
    """Return whether B is better than A, and how sure that is."""
    known = [column for column in columns if column.accuracy is not None or column.errors is not None]
    if known:
        also = "" if preference is None else f" People{preference_text(preference).removeprefix('people')}."
        return f"{_with_truth(known)}{also}"
    if preference is None:
        return _without_truth(columns)
    words = {Verdict.BETTER: "B is better than A", Verdict.WORSE: "B is worse than A"}
    begin = words.get(preference.verdict, "No difference detected between A and B")
    return f"{begin}: {preference_text(preference)}."


def preference_text(preference: Preference) -> str:
    """Return what people preferred."""
    return (
        f"people who did not see which is which preferred B in {preference.b:,} and A in {preference.a:,} of "
        f"{number(preference.a + preference.b + preference.neither, 'pair')} "
        f"({preference.share.text()} of the preferences are for B; {p_text(preference.p)})"
    )


def _without_truth(columns: Sequence[ColumnComparison]) -> str:
    if not any(column.pairs for column in columns):
        return "A and B cannot be compared: no key has an answer on both sides."
    if all(column.equal == column.pairs for column in columns):
        return f"A and B are equal in all {number(max(column.pairs for column in columns), 'pair')}."
    tested = [column for column in columns if column.p is not None]
    changed = max(columns, key=_by_change)
    real = [column for column in tested if column.verdict is Verdict.DIFFERENT]
    if real:
        text = "; ".join(_difference(column) for column in real[:3])
        more = f"; and {number(len(real) - 3, 'further column')}" if len(real) > 3 else ""
        return f"B and A are different by {text}{more}. Only right answers (truth) say which is better."
    if tested:
        least = min(tested, key=lambda column: column.p or 0.0)
        return (
            f"B and A differ in single pairs: {shown_name(changed)} changed in {changed.changed.text()} "
            f"{_pairs(changed)}. No difference of means or shares detected: {_difference(least)}."
        )
    return (
        f"B and A are different by texts: {shown_name(changed)} changed in {changed.changed.text()} "
        f"{_pairs(changed)}. A asked again (noise) may change as much."
    )


def _by_change(column: ColumnComparison) -> tuple[int, float]:
    """Return the rank of a column by its changes: labels are before texts, and those before numbers."""
    rank = {ColumnKind.LABEL: 2, ColumnKind.TEXT: 1}.get(column.kind, 0)
    return rank if column.equal < column.pairs else -1, 1 - column.agreement.estimate


def noise_sentence(columns: Sequence[ColumnComparison]) -> str:
    """Return how much the first column that changed changes by itself, empty if that is not known."""
    for column in columns:
        if column.churn is not None and column.equal < column.pairs:
            if column.again is not None and column.numbers is not None:
                return (
                    f" Asked again, A's own {shown_name(column)} moves by {figure(column.again.distance)} on "
                    f"average; from A to B it moves by {figure(column.numbers.distance)}."
                )
            return (
                f" Asked again, A itself changes {column.churn.text()} of {shown_name(column)}; "
                f"from A to B {column.changed.text()} change."
            )
    return ""


def _with_truth(columns: Sequence[ColumnComparison]) -> str:
    """Return the sentence for columns whose right values are known."""
    real = [column for column in columns if column.verdict in (Verdict.BETTER, Verdict.WORSE)]
    said = "; ".join(_known(column) for column in (real or columns)[:3])
    verdicts = {column.verdict for column in real}
    rest = [shown_name(column) for column in columns if column not in real]
    also = f" No difference detected in {', '.join(rest[:3])}." if real and rest else ""
    if {Verdict.BETTER, Verdict.WORSE} <= verdicts:
        return f"B is better than A in one column and worse in another: {said}.{also}"
    for verdict in (Verdict.BETTER, Verdict.WORSE):
        if verdict in verdicts:
            return f"B is {verdict} than A: {said}.{also}"
    return f"No difference detected between A and B: {said}."


def _known(column: ColumnComparison) -> str:
    name, tail = shown_name(column), "" if column.p is None else f"; {p_text(column.p)}"
    if (found := column.accuracy) is not None:
        return (
            f"{name} is right in {found.b.estimate:.1%} of {found.n:,} instead of {found.a.estimate:.1%}, "
            f"{_sure(points(found.difference))} "
            f"({found.only_b:,} only B right, {found.only_a:,} only A{tail})"
        )
    errors = column.errors
    assert errors is not None  # noqa: S101 - the caller's condition
    return (
        f"{name} is {figure(errors.b)} from the truth instead of {figure(errors.a)}, "
        f"{_sure(signed(errors.difference))} ({number(errors.n, 'row')}{tail})"
    )


def _difference(column: ColumnComparison) -> str:
    name, tail = shown_name(column), f"{_pairs(column)}, {p_text(column.p)}"
    if (numbers := column.numbers) is not None:
        return f"{name} {_sure(signed(numbers.difference))} {tail}"
    share = min(column.shares, key=lambda share: share.p)
    return f"{name} = {label_text(share)} {_sure(points(share.difference))} {tail}"


def _sure(difference: str) -> str:
    """Return a difference whose interval is named."""
    return difference.replace(" (+", " (95 % interval +", 1).replace(" (-", " (95 % interval -", 1)


def _pairs(column: ColumnComparison) -> str:
    return f"of {number(column.pairs, 'pair')}"


def is_uniform(column: ColumnComparison) -> bool:
    """Return whether a column has nothing to show but that it is equal in all pairs."""
    is_equal = 0 < column.pairs == column.equal
    changes_itself = column.churn is not None and column.churn.estimate > 0
    return is_equal and column.accuracy is None and column.errors is None and not changes_itself


def shown_name(column: ColumnComparison) -> str:
    """Return the name of a column for a line."""
    return plain(column.name, 60)


def label_text(share: LabelShare) -> str:
    """Return a label for a line."""
    return plain(value_text(share.label), 40)


def value_text(value: Json) -> str:
    """Return a value for people: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def points(interval: Interval) -> str:
    """Return a difference of shares in percentage points."""
    low, estimate, high = (f"{100 * each:+.1f}" for each in (interval.low, interval.estimate, interval.high))
    return f"{estimate} points ({low} to {high})"


def signed(interval: Interval) -> str:
    """Return a difference of numbers."""
    low, estimate, high = (f"{each:+.3g}" for each in (interval.low, interval.estimate, interval.high))
    if math.isinf(interval.low):
        return f"{estimate} (too few pairs for an interval)"
    return f"{estimate} ({low} to {high})"


def figure(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:.4g}"


def p_text(p: float | None) -> str:
    """Return a p-value."""
    if p is None:
        return ""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
