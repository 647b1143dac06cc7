"""Decides which row of a comparison a row of a truth is about.

Rule 1: `--key`, or a column ``key`` in both, decides.
Rule 2: otherwise a column decides that both have, whose values identify the rows of both.
Rule 3: the number of a row decides only if both have the same numbers. A note says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from actors.core.errors import ConfigError
from cluster.compare.sides import Side, TableLevel, TableSide, key_text
from cluster.input.records import row_key


@dataclass(frozen=True)
class TruthPairing:
    """How the rows of a truth are paired: `table` yields them with their keys.

    tasks: the task that a row is about, by the hash of its key; None if its key is that of the task. column:
    the column that was found to be the key. note: what a reader has to know.
    """

    table: Side
    tasks: Mapping[int, str] | None = None
    column: str | None = None
    note: str | None = None

    def task_of(self, key: str) -> str | None:
        """Return the task that a row of the truth is about, None if there is none."""
        return key if self.tasks is None else self.tasks.get(hash(key))


def truth_pairing(truth: TableSide, side: Side, wanted: Collection[str]) -> TruthPairing:
    """Return how the rows of a truth are paired with those of `side`; `wanted` are no keys.

    Raises `ConfigError` if nothing says which row of the truth is about which row.
    """
    if truth.key is not None or not (truth.is_numbered or side.is_numbered):
        return TruthPairing(truth)
    found = _shared_key(truth, side, wanted)
    if found is not None:
        column, tasks = found
        note = f"{truth.name}: its rows are paired by the column {column}"
        return TruthPairing(truth.keyed_by(column), tasks, column, note)
    if not truth.is_numbered:
        return TruthPairing(truth)
    if not side.is_numbered or not _have_same_numbers(truth, side):
        raise ConfigError(
            f"{truth.name}: no column says which row of {side.name} a row is about, and the two do not have "
            "the same rows: name a column that identifies a row in both with --key"
        )
    return TruthPairing(truth, note=f"{truth.name}: its rows are paired by number: --key names a column")


def check_numbers(a: Side, b: Side) -> None:
    """Raise `ConfigError` if two sides are paired by number, and a column shows that this is wrong."""
    found = _shared_key(b, a, ())
    if found is None:
        return
    column, tasks = found
    rows = [(task, hash(key_text(row.get(column)))) for task, row in b.inputs()]
    # Answers, such as scores, may be distinct in both by chance: a key has the same values in both.
    if len(tasks) == len(rows) and any(tasks[value] != task for task, value in rows):
        raise ConfigError(
            f"{a.name} and {b.name} have the same values of {column!r} in another order: pair their "
            f"rows with --key {column}"
        )


def _shared_key(truth: Side, side: Side, wanted: Collection[str]) -> tuple[str, dict[int, str]] | None:
    """Return the column that identifies most rows in both, and the task of each value in the truth."""
    (_, first), (_, own) = (next(each.inputs(), ("", {})) for each in (side, truth))
    names = [name for name in own if name in first and name not in wanted and name[:1] != "_"]
    values = {name: found for name in names if (found := _distinct(truth, name))}
    tasks: dict[str, dict[int, str]] = {name: {} for name in values}
    for task, row in side.inputs():
        for name in list(tasks):
            value = hash(key_text(row.get(name)))  # the texts of a million rows are not kept
            if value in values[name] and tasks[name].setdefault(value, task) != task:
                del tasks[name]
    best = max(tasks, key=lambda name: len(tasks[name]), default=None)
    return (best, tasks[best]) if best is not None and tasks[best] else None


def _distinct(truth: Side, name: str) -> set[int]:
    """Return the hashes of the values of a column, nothing if one of them is null, empty or repeated."""
    found: set[int] = set()
    for _, row in truth.inputs():
        text = key_text(row.get(name))
        if not text or (value := hash(text)) in found:
            return set()
        found.add(value)
    return found


def _have_same_numbers(truth: TableSide, side: Side) -> bool:
    if side.levels[0] is not TableLevel.ROWS:
        return False
    keys = (task for task, _ in side.inputs())
    numbers = (row_key(number) for number, _ in enumerate(truth.inputs(), 1))
    return all(key == other for key, other in itertools.zip_longest(keys, numbers))
