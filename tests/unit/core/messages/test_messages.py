"""What actors say to each other, and what can go wrong: every class travels, and none can be changed."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import pickle
import types
import typing

import msgspec
import pytest

from actors.core import errors
from actors.core.dispatch import events as dispatch_events
from actors.core.messages import attempts, calls, delivery, journal, tasks, values


def classes_of(module, *, base=object):
    found = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__ and issubclass(each, base)
    ]
    assert found, f"nothing to test in {module.__name__}"
    return found


MESSAGES = [
    each
    for module in (attempts, calls, delivery, journal, tasks, values, errors, dispatch_events)
    for each in classes_of(module)
    if issubclass(each, msgspec.Struct)
]
ERRORS = classes_of(errors, base=errors.HeadraceError)


def sample(kind):  # noqa: PLR0911 - one for each kind of type
    """Return some value of the type `kind`: the first where there is a choice, and nothing empty."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return sample(next(part for part in parts if part is not type(None)))
    if origin is tuple:
        return tuple(sample(part) for part in parts if part is not Ellipsis)
    if origin is collections.abc.Mapping:
        return {sample(parts[0]): sample(parts[1])}
    if kind is typing.Any:
        return {"any": ["thing", 1, None]}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{name: sample(hints[name]) for name in kind.__struct_fields__})
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    return {str: "text", bytes: b"bytes", int: 3, float: 0.5, bool: True}[kind]


def pickled(value):
    return pickle.loads(pickle.dumps(value, protocol=5))  # noqa: S301 - made here


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_a_message_survives_pickling(kind):
    message = sample(kind)
    copy = pickled(message)
    assert copy == message
    assert type(copy) is kind


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_a_message_is_frozen_and_takes_no_further_attributes(kind):
    message = sample(kind)
    assert not hasattr(message, "__dict__")
    for name in kind.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(message, name, None)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind):
    hints = typing.get_type_hints(kind.__init__)
    hints.pop("return", None)
    error = kind(*(sample(hint) for hint in hints.values())) if hints else kind("went wrong")
    copy = pickled(error)
    assert type(copy) is kind
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert copy.failure() == error.failure()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_says_whose_fault_it_is_and_whether_to_try_again(kind):
    assert isinstance(kind.blame, errors.Blame)
    assert isinstance(kind.retry, bool)


def test_an_error_that_nobody_classified_is_permanent_and_of_unknown_blame():
    failure = errors.HeadraceError().failure()
    assert (failure.kind, failure.blame) == (errors.FailureKind.PERMANENT, errors.Blame.UNKNOWN)
    assert failure.message == "HeadraceError"


def test_counts_and_usage_add_up_field_by_field():
    """A field that is forgotten in an addition would vanish from every report."""
    for kind in (values.CallCounts, values.Usage):
        names = kind.__struct_fields__
        left = kind(*range(1, len(names) + 1))
        right = kind(*range(10, 10 * (len(names) + 1), 10))
        assert left + right == kind(*(n * 11 for n in range(1, len(names) + 1)))
