"""Compares two sides: pairs their answers, compares every column, and judges which differences are real."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.compare.answers import AnswerTable
from cluster.compare.level import ComparedLevel
from cluster.compare.results import ColumnComparison, LevelPairs, Noise, Preference, Verdict, document
from cluster.compare.sides import Side, SideTotals, totals_of
from cluster.compare.truth import Truth
from cluster.compare.verdict import judged, noise_sentence, sentence_of


class ComparisonResult(Struct, frozen=True):
    """How B differs from A. Differences are B minus A.

    `columns` are the columns that both have, those with a truth first. `levels` say which keys were paired.
    """

    a: SideTotals
    b: SideTotals
    levels: tuple[LevelPairs, ...]
    columns: Mapping[str, ColumnComparison]
    notes: tuple[str, ...] = ()
    noise: Noise | None = None
    preference: Preference | None = None

    @property
    def sentence(self) -> str:
        """Whether B is better than A, and how sure that is."""
        columns = tuple(self.columns.values())
        return f"{sentence_of(columns, self.preference)}{noise_sentence(columns)}"

    def as_dict(self) -> dict[str, Json]:
        """Return the comparison as a JSON document."""
        columns = [
            {
                **_document(column),
                "changed": _document(column.changed),
            }
            for column in self.columns.values()
        ]
        found = {
            name: document(getattr(self, name))
            for name in ("a", "b", "levels", "notes", "noise", "preference")
        }
        return {"sentence": self.sentence, **found, "columns": columns}


def _document(value: object) -> Mapping[str, Json]:
    found = document(value)
    assert isinstance(found, Mapping)  # noqa: S101 - of a Struct
    return found


def compare_sides(
    a: Side,
    b: Side,
    truths: Mapping[str, Truth] | None = None,
    *,
    notes: Iterable[str] = (),
    preference: Preference | None = None,
) -> ComparisonResult:
    """Compare two sides. `truths` are by column, `preference` is that of people.

    Raises `ConfigError` if the sides have nothing in common.
    """
    levels = [level for level in a.levels if level in b.levels]
    if not levels:
        raise ConfigError(
            f"{a.name} has {_spoken(a)} and {b.name} has {_spoken(b)}: compare two runs, or tables of "
            "one kind"
        )
    compared = [ComparedLevel(level, a, b, truths or {}) for level in levels]
    taken: dict[str, ColumnComparison] = {}
    for each in compared:
        for column in each.columns():
            name = column.name if column.name not in taken else f"{each.level}.{column.name}"
            taken[name] = replace(column, name=name)
    if not taken:
        names = "; ".join(f"{each.name} has {_listed(table)}" for each, table in compared[0].sides())
        raise ConfigError(f"the two have no column of answers in common: {names}")
    for name, truth in (truths or {}).items():
        if name not in taken and truth.is_asked:
            raise ConfigError(
                f"--truth: neither side has a column {name!r}; compared are: {', '.join(taken)}. Name "
                "the column that the truth is for: FILE:TRUTH=COLUMN"
            )
    columns = judged(taken.values())
    first = compared[0]
    return ComparisonResult(
        totals_of(a, rows=first.a.count, failed=int(first.a.key_failed.sum())),
        totals_of(b, rows=first.b.count, failed=int(first.b.key_failed.sum())),
        tuple(each.pairs_found() for each in compared),
        {column.name: column for column in sorted(columns, key=_rank)},
        (*notes, *itertools.chain.from_iterable(each.notes() for each in compared), *_corrections(columns)),
        preference=preference,
    )


def with_noise(result: ComparisonResult, a: Side, again: Side) -> ComparisonResult:
    """Return a comparison with how much A's answers change by themselves: `again` has some of them anew."""
    found = compare_sides(a, again)
    columns = {
        name: replace(column, churn=other.changed, again=other.numbers)
        if (other := found.columns.get(name)) is not None
        else column
        for name, column in result.columns.items()
    }
    return replace(result, columns=columns, noise=Noise(found.b, found.levels[0].tasks))


def _corrections(columns: Iterable[ColumnComparison]) -> Iterator[str]:
    tested = sum(column.p is not None for column in columns)
    if tested > 1:
        yield f"p-values are corrected for {tested} columns (Holm), intervals are not"


def _rank(column: ColumnComparison) -> tuple[bool, int]:
    """Return the place of a column: those with a truth are first, then those that differ."""
    place = {Verdict.NONE: 1, Verdict.UNTESTED: 2}.get(column.verdict, 0)
    return column.accuracy is None and column.errors is None, place


def _spoken(side: Side) -> str:
    return " and ".join(side.levels)


def _listed(table: AnswerTable) -> str:
    return ", ".join(itertools.islice(table.columns, 8)) or "none"
