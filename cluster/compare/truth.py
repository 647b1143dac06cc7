"""The right values of a column: of a column of a file, or of the golden set of a run."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.compare.answers import NULL, Codes, Flags, Numbers, code_of, key_of, matched
from cluster.compare.pairing import TruthPairing
from cluster.compare.sides import number_of
from cluster.config.problem import nearest
from cluster.golden.records import Decision, Order
from cluster.golden.standing import GoldenSet
from cluster.report.tables.value_types import json_text

_MOST_VALUES = 10_000  # different values that are kept
_LONGEST_VALUE = 500  # characters

Right = tuple[str, str, Json, bool]  # task, item, value, and whether the value is known to be wrong


@dataclass(frozen=True)
class Truth:
    """The right values of the column `name` by key.

    `rejected`: the value is known to be wrong, and the right one is not known. `texts` are the codes of the
    values as texts. `values` has the first values, by code.
    """

    name: str
    place: str
    keys: Codes
    codes: Codes
    numbers: Numbers
    rejected: Flags
    texts: Codes
    values: Mapping[int, Json]
    is_sample: bool = True  # otherwise its items were chosen, and a share of them is none of all
    is_asked: bool = True  # otherwise it was found, and may be about other rows

    def of_keys(self, keys: Codes) -> Codes:
        """Return the code of the right value of each key, `NULL` if it is not known."""
        places, known = matched(keys, self.keys)
        found = np.full(len(keys), NULL, np.int64)
        found[places] = np.where(self.rejected[known], NULL, self.codes[known])
        return found

    def value_of(self, task: str, item: str) -> Json:
        """Return the right value of a row or item, None if it is not known."""
        code = self.of_keys(np.array([key_of(task, item)], np.int64))[0]
        return self.values.get(int(code))

    def numbers_of_keys(self, keys: Codes) -> Numbers:
        """Return the right number of each key, NaN if there is none."""
        places, known = matched(keys, self.keys)
        found = np.full(len(keys), math.nan)
        found[places] = self.numbers[known]
        return found


class _Rights:
    """Collects the right values of one column."""

    def __init__(self) -> None:
        self._keys, self._codes, self._numbers = array("q"), array("q"), array("d")
        self._texts = array("q")
        self._rejected = bytearray()
        self._values: dict[int, Json] = {}

    def add(self, right: Right) -> None:
        """Add a value."""
        task, item, value, is_rejected = right
        number = None if is_rejected else number_of(value)
        code = code_of(value)
        self._keys.append(key_of(task, item))
        self._codes.append(code)
        self._texts.append(code if isinstance(value, str) else code_of(json_text(value)))
        self._numbers.append(math.nan if number is None else number)
        self._rejected.append(is_rejected)
        if len(self._values) < _MOST_VALUES:
            self._values.setdefault(code, value[:_LONGEST_VALUE] if isinstance(value, str) else value)

    def truth(self, name: str, place: str, *, is_sample: bool = True, is_asked: bool = True) -> Truth:
        """Return the values as a truth. Raises `ConfigError` for two values of one key."""
        keys = np.array(self._keys, np.int64)
        if len(np.unique(keys)) < len(keys):
            raise ConfigError(f"{place}: a key occurs twice; the truth has one value for each key")
        codes, numbers = np.array(self._codes, np.int64), np.array(self._numbers, np.float64)
        rejected, texts = np.array(self._rejected, np.bool_), np.array(self._texts, np.int64)
        return Truth(name, place, keys, codes, numbers, rejected, texts, self._values, is_sample, is_asked)


def table_truth(pairing: TruthPairing, column: str, name: str, *, has_items: bool) -> Truth:
    """Return the truth in a column of a table, for the column `name`. Raises `ConfigError`.

    A row without a value is left out. `has_items`: a column ``item`` names the item of the task.
    """
    known: set[str] = set()
    rights = _table_rights(pairing, known, (column,), has_items=has_items)
    if column not in rights:
        near = nearest(column, known)
        hint = f"did you mean {near}?" if near else f"its columns are: {', '.join(sorted(known)[:8])}"
        raise ConfigError(f"--truth {pairing.table.name}: no row has a value in a column {column!r}; {hint}")
    return rights[column].truth(name, pairing.table.name)


def table_truths(pairing: TruthPairing, *, has_items: bool) -> dict[str, Truth]:
    """Return the truth in each column of a table that has a value. Raises `ConfigError`."""
    rights = _table_rights(pairing, set(), None, has_items=has_items)
    place = pairing.table.name
    return {name: each.truth(name, place, is_asked=False) for name, each in rights.items()}


def _table_rights(
    pairing: TruthPairing, known: set[str], wanted: Collection[str] | None, *, has_items: bool
) -> dict[str, _Rights]:
    """Return the right values of each of the `wanted` columns that has any. `known` gets all columns."""
    found: dict[str, _Rights] = {}
    table = pairing.table
    for answer in table.answers(table.levels[0]):
        known.update(answer.values)
        task = pairing.task_of(answer.task)
        item = str(answer.values.get("item") or answer.item) if has_items else ""
        for name in answer.values if wanted is None else wanted:
            value = answer.values.get(name)
            if value is not None and task is not None:
                found.setdefault(name, _Rights()).add((task, item, value, False))
    return found


def golden_truths(
    golden: GoldenSet, place: str, *, has_items: bool, is_asked: bool = True
) -> dict[str, Truth]:
    """Return the truth of each field that people have decided about."""
    found = {}
    for name in golden.fields():
        records = [
            record for record in golden if record.field == name and record.decision is not Decision.SKIP
        ]
        rights = _Rights()
        for record in records:
            value = record.value if record.states_value else record.answer
            rights.add((record.task, record.item if has_items else "", value, not record.states_value))
        if records:
            is_sample = all(record.order is Order.RANDOM for record in records)
            found[name] = rights.truth(name, place, is_sample=is_sample, is_asked=is_asked)
    return found
