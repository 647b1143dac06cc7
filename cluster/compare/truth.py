"""The right values of a column: of a column of a file, or of the golden set of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.compare.answers import NULL, Codes, Flags, Numbers, code_of, key_of, matched
from cluster.compare.sides import Side
from cluster.config.problem import nearest
from cluster.golden.records import Decision, Order
from cluster.golden.standing import GoldenSet

Right = tuple[str, str, Json, bool]  # task, item, value, and whether the value is known to be wrong


@dataclass(frozen=True)
class Truth:
    """The right values of the column `name` by key.

    `rejected`: the value is known to be wrong, and the right one is not known.
    """

    name: str
    place: str
    keys: Codes
    codes: Codes
    numbers: Numbers
    rejected: Flags
    is_sample: bool = True  # otherwise its items were chosen, and a share of them is none of all
    is_asked: bool = True  # otherwise it was found, and may be about other rows

    @classmethod
    def of(
        cls,
        name: str,
        place: str,
        values: Iterable[Right],
        *,
        is_sample: bool = True,
        is_asked: bool = True,
    ) -> Truth:
        """Return the truth of these values. Raises `ConfigError` for two values of one key."""
        keys, codes, numbers, rejected = array("q"), array("q"), array("d"), bytearray()
        for task, item, value, is_rejected in values:
            keys.append(key_of(task, item))
            codes.append(code_of(value))
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and not is_rejected
            numbers.append(float(value) if is_number else math.nan)
            rejected.append(is_rejected)
        if len(np.unique(keys)) < len(keys):
            raise ConfigError(f"{place}: a key occurs twice; the truth has one value for each key")
        return cls(
            name,
            place,
            np.array(keys, np.int64),
            np.array(codes, np.int64),
            np.array(numbers, np.float64),
            np.array(rejected, np.bool_),
            is_sample,
            is_asked,
        )

    def of_keys(self, keys: Codes) -> Codes:
        """Return the code of the right value of each key, `NULL` if it is not known."""
        places, known = matched(keys, self.keys)
        found = np.full(len(keys), NULL, np.int64)
        found[places] = np.where(self.rejected[known], NULL, self.codes[known])
        return found

    def numbers_of_keys(self, keys: Codes) -> Numbers:
        """Return the right number of each key, NaN if there is none."""
        places, known = matched(keys, self.keys)
        found = np.full(len(keys), math.nan)
        found[places] = self.numbers[known]
        return found


def table_truth(side: Side, column: str, name: str, *, has_items: bool) -> Truth:
    """Return the truth in a column of a table, for the column `name`. Raises `ConfigError`.

    A row without a value is left out. `has_items`: a column ``item`` names the item of the task.
    """
    known: set[str] = set()

    def values() -> Iterator[Right]:
        for answer in side.answers(side.levels[0]):
            known.update(answer.values)
            value = answer.values.get(column)
            if value is not None:
                item = str(answer.values.get("item") or answer.item) if has_items else ""
                yield answer.task, item, value, False

    truth = Truth.of(name, side.name, values())
    if not len(truth.keys):
        near = nearest(column, known)
        hint = f"did you mean {near}?" if near else f"its columns are: {', '.join(sorted(known)[:8])}"
        raise ConfigError(f"--truth {side.name}: no row has a value in a column {column!r}; {hint}")
    return truth


def table_truths(side: Side, *, has_items: bool) -> dict[str, Truth]:
    """Return the truth in each column of a table that has a value."""
    first = next(iter(side.answers(side.levels[0])))
    found = {}
    for column in first.values:
        with contextlib.suppress(ConfigError):  # the column is empty
            truth = table_truth(side, column, column, has_items=has_items)
            found[column] = dataclasses.replace(truth, is_asked=False)
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
        values = (
            (
                record.task,
                record.item if has_items else "",
                record.value if record.states_value else record.answer,
                not record.states_value,
            )
            for record in records
        )
        if records:
            is_sample = all(record.order is Order.RANDOM for record in records)
            found[name] = Truth.of(name, place, values, is_sample=is_sample, is_asked=is_asked)
    return found
