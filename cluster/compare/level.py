"""Compares two sides at one level: which keys both have, and every column of their answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.compare.answers import NULL, AnswerTable, Codes, Flags, RowAnswer
from cluster.compare.columns import (
    Pairs,
    changes,
    compare_accuracy,
    compare_errors,
    compare_numbers,
    kind_of,
    label_kappa,
    label_shares,
    share_over_tasks,
)
from cluster.compare.pairing import check_numbers
from cluster.compare.results import ColumnComparison, ColumnKind, Example, LevelPairs
from cluster.compare.sides import Side, TableLevel
from cluster.compare.spelling import spelled, strange
from cluster.compare.truth import Truth
from cluster.report.console import number
from cluster.report.views import is_open

EXAMPLES = 10  # of each column
_TEXT_CHARACTERS = 500  # of a text in an example
_MOST_CHANGES = 1_000  # of labels in a matrix


class ComparedLevel:
    """Two sides at one level."""

    def __init__(self, level: TableLevel, a: Side, b: Side, truths: Mapping[str, Truth]) -> None:
        self.level = level
        self._a, self._b, self._truths = a, b, dict(truths)
        self.a, self.b = (AnswerTable(side.answers(level), side.steps) for side in (a, b))
        self._pairs = Pairs.of(self.a, self.b)
        self._check_keys()
        self._notes: list[str] = []
        self._equal = np.ones(len(self._pairs.in_a), np.bool_)

    def sides(self) -> tuple[tuple[Side, AnswerTable], tuple[Side, AnswerTable]]:
        """Return both sides with their answers."""
        return (self._a, self.a), (self._b, self.b)

    def _check_keys(self) -> None:
        for side, table in self.sides():
            if not table.groups.are_single and side.key is None and side.run is None:
                raise ConfigError(
                    f"{side.name}: a key occurs {table.groups.most} times. Name the column with unique keys "
                    "with --key; if the rows are repeats of one question, name their key with --key too"
                )
        numbered = [side.is_numbered for side, _ in self.sides()]
        has_table = self._a.run is None or self._b.run is None
        if all(numbered) and has_table and self.a.count != self.b.count:
            raise ConfigError(
                f"{self._a.name} has {self.a.count:,} rows and {self._b.name} has {self.b.count:,}, and no "
                "column `key` pairs them: name the column that identifies a row with --key"
            )
        if all(numbered) and has_table:
            check_numbers(self._a, self._b)
        if not len(self._pairs.in_a):
            raise ConfigError(
                f"{self._a.name} and {self._b.name} have no key in common: {self._key_words(*numbered)}"
            )

    def _key_words(self, *numbered: bool) -> str:
        if numbered[0] is not numbered[1]:
            return "the rows of one are numbered, those of the other have keys; name the key with --key"
        return "name a column that identifies the same row in both with --key"

    def columns(self) -> Iterator[ColumnComparison]:
        """Yield the comparison of each column that both sides have."""
        wanted: dict[str, Codes] = {}
        found = [self._column(name, wanted) for name in self._pairs.columns()]
        equal = [column.name for column in found if column.equal == column.pairs]
        examples = self._examples(wanted, equal)
        for column in found:
            yield replace(column, examples=examples.get(column.name, ()))

    def _column(self, name: str, wanted: dict[str, Codes]) -> ColumnComparison:
        pairs, truth = self._pairs, self._truths.get(name)
        sides = self.a.columns[name], self.b.columns[name]
        kind = kind_of(*sides, min(self.a.count, self.b.count))
        if kind is ColumnKind.NUMBER:
            column, changed = self._numbers(name)
            if truth is not None:
                column = replace(column, errors=compare_errors(pairs, name, truth))
        else:
            column, changed = self._values(name, kind, {**sides[1].labels, **sides[0].labels})
            if truth is not None:
                self._truths[name], note = spelled(truth, *sides)
                truth = self._truths[name]
                self._notes += [text for text in (note, strange(truth, *sides)) if text]
                column = replace(column, accuracy=compare_accuracy(pairs, name, truth))
        if truth is not None and truth.is_asked and column.accuracy is None and column.errors is None:
            raise ConfigError(
                f"--truth {truth.place}: it has no right value of {name} for a row that both sides have; "
                "its keys are those of the rows, see --key"
            )
        wanted[name] = changed
        return column

    def _numbers(self, name: str) -> tuple[ColumnComparison, Codes]:
        """Compare a column of numbers. Also return the pairs with the largest differences."""
        pairs = self._pairs
        a, b = pairs.numbers(name)
        has_a, has_b = ~np.isnan(a), ~np.isnan(b)
        usable, same = pairs.answered & has_a & has_b, a == b
        self._equal &= same | ~(has_a | has_b)
        column = replace(
            self._shares(name, ColumnKind.NUMBER, usable, same),
            missing=int((pairs.answered & (has_a != has_b)).sum()),
            numbers=compare_numbers(a[usable], b[usable], pairs.tasks[usable]) if usable.any() else None,
        )
        changed = np.nonzero(usable & ~same)[0]
        return column, changed[np.argsort(-np.abs(b - a)[changed], kind="stable")[:EXAMPLES]]

    def _values(self, name: str, kind: ColumnKind, labels: dict[int, Json]) -> tuple[ColumnComparison, Codes]:
        """Compare a column of labels or texts. Also return some pairs that changed."""
        pairs = self._pairs
        a, b = pairs.codes(name)
        usable, same = pairs.answered, a == b
        self._equal &= same
        column = self._shares(name, kind, usable, same)
        if kind is ColumnKind.LABEL:
            a, b, tasks = a[usable], b[usable], pairs.tasks[usable]
            column = replace(
                column,
                kappa=label_kappa(a, b),
                matrix=changes(a, b, labels)[:_MOST_CHANGES],
                shares=label_shares(a, b, labels, tasks),
            )
        return column, _some(self._with_truth(name, np.nonzero(usable & ~same)[0]))

    def _with_truth(self, name: str, changed: Codes) -> Codes:
        """Return the changed pairs whose right value is known, or all if there are none."""
        truth = self._truths.get(name)
        if truth is None:
            return changed
        known = changed[truth.of_keys(self.a.keys[self._pairs.in_a][changed]) != NULL]
        return known if len(known) else changed

    def _shares(self, name: str, kind: ColumnKind, usable: Flags, same: Flags) -> ColumnComparison:
        tasks = self._pairs.tasks[usable]
        return ColumnComparison(
            name,
            self.level,
            kind,
            pairs=int(usable.sum()),
            tasks=len(np.unique(tasks)),
            equal=int(same[usable].sum()),
            agreement=share_over_tasks(same[usable], tasks),
        )

    def _examples(self, wanted: Mapping[str, Codes], equal: Sequence[str]) -> dict[str, tuple[Example, ...]]:
        """Read again the pairs that are examples of changes: no other texts are in memory."""
        rows_a = self.a.groups.first[self._pairs.in_a]
        rows_b = self.b.groups.first[self._pairs.in_b]
        of_a = _values_at(
            self._a.answers(self.level), {name: rows_a[those] for name, those in wanted.items()}
        )
        of_b = _values_at(
            self._b.answers(self.level), {name: rows_b[those] for name, those in wanted.items()}
        )
        found = {}
        for name, those in wanted.items():
            both = [(of_a.get((name, int(rows_a[one]))), of_b.get((name, int(rows_b[one])))) for one in those]
            # A run in progress may have other rows at these places now.
            found[name] = tuple(
                self._example(name, a, b, equal)
                for a, b in both
                if a is not None and b is not None and (a.task, a.item) == (b.task, b.item)
            )
        return found

    def _example(self, name: str, a: RowAnswer, b: RowAnswer, equal: Sequence[str]) -> Example:
        truth = self._truths.get(name)
        shown = {column: a.values.get(column) for column in equal} if a.input is None else a.input
        return Example(
            a.task,
            a.item,
            _cut(a.values.get(name)),
            _cut(b.values.get(name)),
            None if truth is None else truth.value_of(a.task, a.item),
            {column: _cut(value) for column, value in shown.items()},
        )

    def pairs_found(self) -> LevelPairs:
        """Return which keys were paired."""
        pairs = self._pairs
        failed_a, failed_b = pairs.failed_a, pairs.failed_b
        return LevelPairs(
            self.level,
            matched=len(pairs.in_a),
            only_a=len(self.a.keys) - len(pairs.in_a),
            only_b=len(self.b.keys) - len(pairs.in_b),
            failed_a=int((failed_a & ~failed_b).sum()),
            failed_b=int((failed_b & ~failed_a).sum()),
            failed_both=int((failed_a & failed_b).sum()),
            equal=int((self._equal & pairs.answered).sum()),
            tasks=len(np.unique(pairs.tasks)),
            repeats=(self.a.groups.most, self.b.groups.most),
            columns_a=tuple(name for name in self.a.columns if name not in self.b.columns),
            columns_b=tuple(name for name in self.b.columns if name not in self.a.columns),
        )

    def notes(self) -> Iterator[str]:
        """Yield what a reader has to know about the pairs, and about the columns once they are compared."""
        yield from self._notes
        for side, table in self.sides():
            if not table.groups.are_single:
                rows = f"{number(table.count, 'row')} of {number(len(table.keys), 'key')}"
                yield f"{side.name}: repeats of one key are averaged: {rows}"
        runs = [side.run for side, _ in self.sides()]
        for run in runs:
            if run is not None and is_open(run):
                yield f"run {run.run_id} has not ended: only tasks that have ended are compared"
        if self._a.is_numbered and self._b.is_numbered:
            digests = [(run.origin.get("input") or {}).get("digest") for run in runs if run is not None]
            if len(digests) < 2:
                yield "no column `key` pairs the rows, and they are paired by number: --key names a column"
            elif digests[0] != digests[1]:
                yield "the runs have different inputs, and rows are paired by number: --key names a column"
        for name, truth in self._truths.items():
            if name in self.a.columns and not truth.is_sample:
                yield (
                    f"{truth.place}: the decisions about {name} are not all about items in random order: "
                    "the accuracies are not those of all items"
                )


def _some(changed: Codes) -> Codes:
    """Return a random sample of the changed pairs, the same in each process."""
    if len(changed) <= EXAMPLES:
        return changed
    return changed[sorted(random.Random(EXAMPLES).sample(range(len(changed)), EXAMPLES))]


def _values_at(answers: Iterable[RowAnswer], rows: Mapping[str, Codes]) -> dict[tuple[str, int], RowAnswer]:
    """Return the answers at some rows, by column and row."""
    names: dict[int, list[str]] = {}
    for name, places in rows.items():
        for place in places.tolist():
            names.setdefault(place, []).append(name)
    few = itertools.islice(answers, max(names, default=-1) + 1)
    return {(name, place): answer for place, answer in enumerate(few) for name in names.get(place, ())}


def _cut(value: Json) -> Json:
    if isinstance(value, str):
        return value if len(value) <= _TEXT_CHARACTERS else f"{value[:_TEXT_CHARACTERS]}…"
    return value
