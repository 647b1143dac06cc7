"""The records of a golden set, and their lines.

A record is one decision of a person about one field of one item. Records are only added: `Decision.UNDO`
withdraws the newest record about its place that stands.
"""

from __future__ import annotations

import enum
import json
from typing import NamedTuple

import msgspec
from msgspec import Struct

from actors.core.errors import HeadraceError
from actors.core.messages.values import Json

MOST_LINE_BYTES = 1 << 20  # two values of a field, which are at most 10,000 characters by default


BEGINNING = b'{"task": "'  # of each line


class GoldenError(HeadraceError):
    """A golden set cannot be read or written."""


class Decision(enum.StrEnum):
    """The decision of a person about an answer."""

    ACCEPT = "accept"  # the answer is right
    REJECT = "reject"  # the answer is wrong, and the right one is not known
    EDIT = "edit"  # `value` is right
    SKIP = "skip"  # the person cannot tell
    PREFER = "prefer"  # of the answers of two runs, the one of the run `chosen`
    UNDO = "undo"


class Order(enum.StrEnum):
    """Why an item was shown. Only items in random order are a sample of their run."""

    CONFIDENCE = "confidence"  # the lowest first
    AGREEMENT = "agreement"  # those whose answers differ first
    RANDOM = "random"


class Place(NamedTuple):
    """The subject of a decision. `field` is a column of the table `items`, `other` the run compared with."""

    task: str
    item: str
    field: str
    other: str = ""


class GoldenRecord(Struct, frozen=True, omit_defaults=True):
    """One decision about the answer to `field`. `at` is in seconds since 1970.

    `answer` is what the model had answered, `value` what is right: null unless the decision is accept or
    edit. A preference has the run that is compared with as `other`, and the preferred run as `chosen`; null
    if neither is better.
    """

    task: str
    item: str
    field: str
    decision: Decision
    reviewer: str
    at: float
    answer: Json = None
    value: Json = None
    order: Order | None = None
    other: str = ""
    chosen: str | None = None

    @property
    def place(self) -> Place:
        """The subject of the decision."""
        return Place(self.task, self.item, self.field, self.other)

    @property
    def states_value(self) -> bool:
        """Whether `value` is the right answer."""
        return self.decision in (Decision.ACCEPT, Decision.EDIT)

    def judge(self, answer: Json) -> bool | None:
        """Return whether an answer is right, None if the record does not tell."""
        if self.states_value:
            return same(answer, self.value)
        if self.decision is Decision.REJECT and same(answer, self.answer):
            return False
        return None


def same(one: Json, other: Json) -> bool:
    """Return whether two JSON values are equal: 1 equals 1.0, and true does not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def dump_line(record: GoldenRecord) -> bytes:
    """Return the line of a record, with its end. Raises `GoldenError` if it is too long."""
    document = msgspec.to_builtins(record)
    try:
        line = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which the key of a task may contain
        line = json.dumps(document, allow_nan=False).encode()
    if len(line) >= MOST_LINE_BYTES:
        raise GoldenError(
            f"the decision about {record.field} of item {record.item!r} has {len(line):,} bytes. "
            f"A golden set keeps at most {MOST_LINE_BYTES:,}: skip the item"
        )
    return line + b"\n"


def load_line(line: bytes) -> GoldenRecord:
    """Return the record of a line. Raises ValueError if it is none."""
    try:
        return msgspec.convert(json.loads(line), GoldenRecord)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
