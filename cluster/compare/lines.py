"""The lines that show a comparison on a terminal. `plain` cleans untrusted text in them."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.compare.comparison import ComparisonResult
from cluster.compare.results import ColumnComparison, ColumnKind, Example, LevelPairs, Verdict
from cluster.compare.sides import SideTotals
from cluster.compare.verdict import (
    figure,
    is_uniform,
    label_text,
    p_text,
    points,
    shown_name,
    signed,
    value_text,
)
from cluster.report.console import dollars, duration, number, plain

_MATRIX = 6  # changes of labels that are shown
_SHOWN = 3  # examples of a column


def comparison_lines(comparison: ComparisonResult) -> Iterator[str]:
    """Yield the lines that show a comparison: the answer first."""
    yield comparison.sentence
    for name, totals in (("A", comparison.a), ("B", comparison.b)):
        yield f"{name}  {totals_text(totals)}"
    if comparison.noise is not None:
        yield f"A again  {totals_text(comparison.noise.totals)}"
    for level in comparison.levels:
        yield level_text(level)
    for note in comparison.notes:
        yield f"note: {plain(note, 500)}"
    columns = comparison.columns.values()
    for column in columns:
        if not is_uniform(column):
            yield ""
            yield from column_lines(column)
    if uniform := [shown_name(column) for column in columns if is_uniform(column)]:
        yield ""
        yield f"equal in all pairs: {', '.join(uniform)}"


def totals_text(totals: SideTotals) -> str:
    """Return what a side took, as text."""
    parts = [plain(totals.name, 100)]
    if totals.rows is not None:
        parts.append(number(totals.rows, "row"))
    if totals.failed:
        parts.append(f"{totals.failed:,} failed")
    if totals.cost_usd is not None:
        parts.append(dollars(totals.cost_usd))
    if totals.tokens is not None:
        parts.append(number(totals.tokens, "token"))
    if totals.seconds is not None:
        parts.append(duration(totals.seconds))
    return " · ".join(parts)


def level_text(level: LevelPairs) -> str:
    """Return which keys were paired, as text."""
    parts = [f"{level.matched:,} {level.level} in both", f"{level.equal:,} equal"]
    counts = {
        "only in A": level.only_a,
        "only in B": level.only_b,
        "failed in A only": level.failed_a,
        "failed in B only": level.failed_b,
        "failed in both": level.failed_both,
    }
    parts += [f"{count:,} {words}" for words, count in counts.items() if count]
    if level.tasks != level.matched:
        parts.append(f"of {number(level.tasks, 'task')}, which are the units of all intervals")
    for side, columns in (("A", level.columns_a), ("B", level.columns_b)):
        if columns:
            parts.append(f"only {side} has the columns {plain(', '.join(columns), 100)}")
    return " · ".join(parts)


def column_lines(column: ColumnComparison) -> Iterator[str]:
    """Yield the lines about one column."""
    yield f"{shown_name(column)}: {verdict_text(column)}"
    if (known := column.accuracy) is not None:
        yield f"  right     A {known.a.text()} · B {known.b.text()} · {points(known.difference)}"
        yield (
            f"            both {known.both:,} · only A {known.only_a:,} · only B {known.only_b:,} · "
            f"neither {known.neither:,}"
        )
        if known.kappa_a is not None and known.kappa_b is not None:
            yield f"            Cohen's kappa: A {known.kappa_a:.2f} · B {known.kappa_b:.2f}"
        if known.calibration_a is not None and known.calibration_b is not None:
            yield (
                f"            calibration error: A {known.calibration_a:.3f} · B {known.calibration_b:.3f}"
            )
    if (errors := column.errors) is not None:
        yield f"  error     A {figure(errors.a)} · B {figure(errors.b)} · {signed(errors.difference)}"
    if (found := column.numbers) is not None:
        yield (
            f"  mean      A {figure(found.a)} · B {figure(found.b)} · {signed(found.difference)} · "
            f"higher {found.higher:,} · lower {found.lower:,}"
        )
    if column.missing:
        yield f"  null      {column.missing:,} on one side"
    kappa = "" if column.kappa is None else f" · kappa {column.kappa:.2f}"
    yield f"  changed   {column.changed.text()} of {column.pairs:,}{kappa}{_again(column)}"
    if column.kind is ColumnKind.LABEL and column.equal < column.pairs:
        yield from _label_lines(column)
    for example in column.examples[:_SHOWN]:
        yield f"  example   {example_text(example)}"


def _label_lines(column: ColumnComparison) -> Iterator[str]:
    for share in column.shares[:_MATRIX]:
        label = label_text(share)
        yield f"  share     {label}: A {share.a:.1%} · B {share.b:.1%} · {points(share.difference)}"
    moved = [change for change in column.matrix if change.a != change.b]
    if moved:
        shown = [
            f"{plain(value_text(each.a), 40)} → {plain(value_text(each.b), 40)} {each.count:,}"
            for each in moved[:_MATRIX]
        ]
        rest = len(moved) - _MATRIX
        yield f"  moved     {' · '.join(shown)}{f' · and {rest} others' if rest > 0 else ''}"


def _again(column: ColumnComparison) -> str:
    if column.churn is None:
        return ""
    moved = "" if column.again is None else f", {signed(column.again.difference)}"
    return f" · A again: {column.churn.text()}{moved}"


def verdict_text(column: ColumnComparison) -> str:
    """Return the verdict of a column in words."""
    if not column.pairs:
        return "no pair of answers"
    if column.equal == column.pairs:
        return f"equal in all {number(column.pairs, 'pair')}"
    if column.verdict is Verdict.UNTESTED:
        return "differs"
    words = {Verdict.BETTER: "B is better", Verdict.WORSE: "B is worse"}
    return f"{words.get(column.verdict, column.verdict.value)}, {p_text(column.p)}"


def example_text(example: Example) -> str:
    """Return an example on one line."""
    key = plain(" ".join(filter(None, (example.task, example.item))), 60)
    right = "" if example.truth is None else f" · right: {plain(value_text(example.truth), 80)}"
    text = f" · {plain(example.text, 120)}" if example.text else ""
    return f"{key}: {plain(value_text(example.a), 80)} → {plain(value_text(example.b), 80)}{right}{text}"
