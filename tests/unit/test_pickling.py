"""What is pickled for a connection comes out as plain pickle would have it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import pytest

from actors import pickling
from actors.core.errors import Blame, Failure, FailureKind, OverloadedError
from actors.core.messages import AttemptEnded, CallCounts, Completion, Done, Item, Receipt, Usage


@dataclass(frozen=True, slots=True)
class Single:
    value: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    value: int

    def __post_init__(self):
        object.__setattr__(self, "value", self.value + 1)


@dataclass(slots=True)
class Derived:
    given: int
    made: int = field(init=False, default=0)


@dataclass(frozen=True)
class Loose:
    value: int


def derived():
    made = Derived(1)
    made.made = 7
    return made


def loose():
    made = Loose(1)
    made.__dict__["more"] = 2
    return made


FAILURE = Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, "no")
VALUES = [
    Single((1, 2)),
    Done(),
    Item("wire:1", "wire", "text", {"rank": 1}),
    Receipt("e", ((1, Completion("k", {"q": 0.5}, None, Usage(1, 2, 0.5), CallCounts(planned=1))),)),
    AttemptEnded(3, error=FAILURE, took_s=0.1),
    Checked(1),
    derived(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_message_comes_out_equal(value):
    assert pickle.loads(pickling.dumps(value)) == value  # noqa: S301 - made in this line


def test_attributes_beside_the_fields_are_kept():
    assert pickle.loads(pickling.dumps(loose())).__dict__ == {"value": 1, "more": 2}  # noqa: S301 - made in this line


def test_errors_pickle_as_ever():
    error = pickle.loads(pickling.dumps(OverloadedError("the queue", 1.5)))  # noqa: S301 - made in this line
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s == 1.5


def test_a_message_is_taken_apart_without_asking_for_its_fields_each_time(monkeypatch):
    pickling.dumps(Single((0,)))
    monkeypatch.setattr("dataclasses.fields", lambda _: pytest.fail("asked for its fields"))
    assert len(pickling.dumps(Single((1,)))) > 0
