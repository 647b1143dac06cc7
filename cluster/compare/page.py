"""Writes a comparison as a page: one HTML file that needs no network and no script.

Rule: the policy of the page allows its own styles, by their hash, and nothing else. A browser that follows it
loads nothing and sends nothing, whatever the texts of an answer hold.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from actors.core.messages.values import Json
from actors.runtime.log_guard import censored
from cluster.compare.comparison import ComparisonResult
from cluster.compare.lines import level_text, totals_text, verdict_text
from cluster.compare.results import ColumnComparison, ColumnKind
from cluster.compare.verdict import figure, is_uniform, p_text, points, signed, value_text
from cluster.program import VERSION, program
from cluster.statistics.intervals import Interval
from cluster.web.document import hashed, joined, policy
from cluster.web.templates import environment, visible
from cluster.web.writing import write_file

_HERE = Path(__file__).parent / "assets"
_MOST_LABELS = 20  # of a matrix
_SHADES = 5
_LEAST_WORDS = 8  # with the spaces between them
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """How many pairs moved from the label of the row to that of the column, and the shade of the cell."""

    count: int
    shade: int
    is_same: bool


@dataclass(frozen=True, slots=True)
class IntervalDrawing:
    """The places of an interval on a line from -50 to 50, with zero in the middle."""

    low: float
    estimate: float
    high: float


def write_page(result: ComparisonResult, path: Path) -> Path:
    """Write the page, and return its path. Raises `ResultsError`."""
    write_file(path, [comparison_page(result).encode("utf-8", "replace")])
    return path


def comparison_page(result: ComparisonResult) -> str:
    """Return the page."""
    styles = joined(("base.css", "compare.css"), _HERE)
    return (
        _environment()
        .get_template("compare.html")
        .render(
            policy=policy(styles=[hashed(styles)]),
            styles=Markup(styles),  # noqa: S704 - our own files
            result=result,
            columns=list(enumerate(result.columns.values(), 1)),
            differing=differing,
            uniform=[name for name, column in result.columns.items() if is_uniform(column)],
            version=VERSION,
            program=program(),
        )
    )


def is_detailed(column: ColumnComparison) -> bool:
    """Return whether a column has more to show than that it is equal everywhere."""
    return column.equal < column.pairs or column.accuracy is not None or column.errors is not None


def main_difference(column: ColumnComparison) -> str:
    """Return the difference that is tested, in words; empty without any."""
    if column.tested is None:
        return ""
    difference = column.tested[0]
    return points(difference) if column.kind is not ColumnKind.NUMBER else signed(difference)


def drawing(interval: Interval | None) -> IntervalDrawing | None:
    """Return the drawing of an interval of a difference, None if a bound is unknown."""
    if interval is None:
        return None
    places = (interval.low, interval.estimate, interval.high)
    widest = max(map(abs, places))
    if not all(map(math.isfinite, places)) or not widest:
        return None
    low, estimate, high = (round(each / widest * 48, 2) for each in places)
    return IntervalDrawing(low, estimate, high)


def matrix(column: ColumnComparison) -> tuple[list[Json], list[tuple[Json, list[MatrixCell]]]]:
    """Return the most frequent labels, and a row of cells for each label of A."""
    labels = [share.label for share in column.shares[:_MOST_LABELS]]
    counts = {(value_text(each.a), value_text(each.b)): each.count for each in column.matrix}
    rows = []
    for label in labels:
        found = [counts.get((value_text(label), value_text(other)), 0) for other in labels]
        total = sum(found) or 1
        cells = [
            MatrixCell(count, math.ceil(count / total * _SHADES), other == label)
            for count, other in zip(found, labels, strict=True)
        ]
        rows.append((label, cells))
    return labels, rows


def differing(a: Json, b: Json) -> list[tuple[str, str]]:
    """Return the parts of two values: each is in both ("same"), in A ("a") or in B ("b").

    Values of few words differ as a whole.
    """
    words = [_WORDS.findall(value_text(value)) for value in (a, b)]
    if min(map(len, words)) < _LEAST_WORDS:
        return [("a", value_text(a)), ("b", value_text(b))]
    return list(_parts(*words))


def _parts(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str, str]]:
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for kind, a_first, a_last, b_first, b_last in matcher.get_opcodes():
        if kind == "equal":
            yield "same", "".join(a[a_first:a_last])
            continue
        if a_last > a_first:
            yield "a", "".join(a[a_first:a_last])
        if b_last > b_first:
            yield "b", "".join(b[b_first:b_last])


@cache
def _environment() -> Environment:
    made = environment(_HERE)
    made.tests["detailed"] = is_detailed
    made.filters.update(
        censored=censored,
        drawing=drawing,
        figure=figure,
        level=level_text,
        main_difference=main_difference,
        matrix=matrix,
        p=p_text,
        percent=Interval.text,
        points=points,
        signed=signed,
        totals=totals_text,
        value=lambda value: visible(censored(value_text(value))),
        verdict=verdict_text,
    )
    return made
