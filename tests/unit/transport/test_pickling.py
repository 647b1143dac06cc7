"""What is pickled for a connection comes out as plain pickle would have it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest
from msgspec import Struct

from actors.core.errors import Blame, Failure, FailureKind, OverloadedError
from actors.core.messages.attempts import AttemptEnded
from actors.core.messages.calls import Completion
from actors.core.messages.delivery import Replies
from actors.core.messages.tasks import Item
from actors.core.messages.values import CallCounts, Done, Usage
from actors.transport import pickling


class Single(Struct, frozen=True):
    value: tuple[int, ...]


class Keyword(Struct, kw_only=True):
    value: int
    more: int = 0


@dataclass(frozen=True)
class Loose:
    value: int


def loose():
    made = Loose(1)
    made.__dict__["more"] = 2
    return made


FAILURE = Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, "no")
VALUES = [
    Single((1, 2)),
    Done(),
    Item("wire:1", "wire", "text", {"rank": 1}),
    Replies(((1, Completion("k", {"q": 0.5}, None, Usage(1, 2, 0.5), CallCounts(planned=1))),)),
    AttemptEnded(3, error=FAILURE, took_s=0.1),
    Keyword(value=1, more=2),
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


def test_a_struct_is_not_asked_how_it_is_to_be_pickled():
    asked = []
    kind = type("Asked", (Single,), {"__reduce_ex__": lambda _self, protocol: asked.append(protocol)})
    with pytest.raises(pickle.PicklingError):
        pickling.dumps(kind((1,)))  # its class is found nowhere
    assert asked == []
