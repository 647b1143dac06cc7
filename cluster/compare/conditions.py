"""The condition of ``--fail-if``, such as ``accuracy < -0.02``: it is parsed, and never evaluated as code.

All differences are B minus A. The names are:

accuracy               the difference of the first column with a truth, with accuracy.low and accuracy.high
COLUMN                 the difference of the means of a column of numbers
COLUMN.accuracy        the difference of the shares that are right
COLUMN.error           the difference of the distances from the truth
COLUMN.low, .high      the bounds of the difference that is tested
COLUMN.p               its p-value, corrected
COLUMN.changed         the share of pairs that changed
failed, cost, tokens, seconds   the differences of failed rows, dollars, tokens and seconds
changed, unmatched     the share of pairs that are not equal; keys that only one side has
better, worse          whether B is better, or worse, in one column or for people
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.conditions import compile_condition
from cluster.compare.comparison import ComparisonResult
from cluster.compare.results import ColumnComparison, Verdict
from cluster.config.problem import nearest

_NOT_IN_NAME = re.compile(r"\W")


def check_condition(text: str) -> None:
    """Raise `ConfigError` for a condition that cannot be read, before anything is compared."""
    try:
        compile_condition(text)
    except ValueError as error:
        raise ConfigError(f"--fail-if {text!r}: {error}") from None


def holds(text: str, comparison: ComparisonResult) -> bool:
    """Return whether a condition holds. Raises `ConfigError` for a name that has no value here."""
    check_condition(text)
    condition = compile_condition(text)
    known = dict(measures(comparison))
    for name in condition.names():
        if known.get(name) is None:
            hint = near if (near := nearest(name, known)) else ", ".join(list(known)[:12])
            why = "it is not known here" if name in known else "there is no such figure"
            needs = "; accuracy needs --truth" if "accuracy" in name or name in ("better", "worse") else ""
            raise ConfigError(f"--fail-if: {name}: {why}{needs}; known are: {hint}")
    return condition.holds(known)


def measures(comparison: ComparisonResult) -> Iterator[tuple[str, Json]]:
    """Yield the name and the value of each figure."""
    a, b = comparison.a, comparison.b
    yield "failed", _difference(a.failed, b.failed)
    yield "cost", _difference(a.cost_usd, b.cost_usd)
    yield "tokens", _difference(a.tokens, b.tokens)
    yield "seconds", _difference(a.seconds, b.seconds)
    levels = comparison.levels
    answered = sum(each.matched - each.failed_a - each.failed_b - each.failed_both for each in levels)
    yield "changed", 1 - sum(each.equal for each in levels) / answered if answered else None
    yield "unmatched", sum(each.only_a + each.only_b for each in levels)
    known = [column for column in comparison.columns.values() if column.accuracy is not None]
    if known:
        yield from _named("accuracy", known[0], suffix="")
    verdicts = [column.verdict for column in comparison.columns.values()]
    preference = comparison.preference
    verdicts += [] if preference is None else [preference.verdict]
    if preference is not None or any(each.accuracy or each.errors for each in comparison.columns.values()):
        yield "better", Verdict.BETTER in verdicts
        yield "worse", Verdict.WORSE in verdicts
    for column in comparison.columns.values():
        yield from _named(_NOT_IN_NAME.sub("_", column.name), column, suffix=".accuracy")


def _named(name: str, column: ColumnComparison, *, suffix: str) -> Iterator[tuple[str, Json]]:
    if column.numbers is not None:
        yield name, column.numbers.difference.estimate
    if column.accuracy is not None:
        yield f"{name}{suffix}", column.accuracy.difference.estimate
    if column.errors is not None:
        yield f"{name}.error", column.errors.difference.estimate
    if column.tested is not None:
        yield f"{name}.low", column.tested[0].low
        yield f"{name}.high", column.tested[0].high
        yield f"{name}.p", column.p
    yield f"{name}.changed", column.changed.estimate


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a
