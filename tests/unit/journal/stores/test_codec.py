"""Whatever a JSON document can hold comes back as it was."""

from __future__ import annotations

import math

import pytest

from actors.core.journal.batch import CheckedCodec, NotStorableError
from actors.journal.stores.codec import JsonCodec

codec = JsonCodec()


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "é", {"b": []}]},
        "lone \ud800 surrogate",
        {"\udfff": ["\ud800"]},
        2**64,
        [-(2**70), "\ud800", 0.1],
        "\0\x01\xff",
        "",
    ],
)
def test_a_document_comes_back_as_it_was(value):
    assert codec.loads(codec.dumps(value)) == value


@pytest.mark.parametrize("odd", [None, "\ud800"])
def test_what_is_not_finite_comes_back_as_nothing_beside_whatever_it_stands(odd):
    assert codec.loads(codec.dumps([math.nan, math.inf, odd])) == [None, None, odd]


def test_a_tuple_comes_back_as_a_list_beside_whatever_it_stands():
    assert codec.loads(codec.dumps({"a": (1, 2), "b": "\ud800"})) == {"a": [1, 2], "b": "\ud800"}


@pytest.mark.parametrize("value", [{1, 2}, {1: "a"}, [object()], b"bytes"])
def test_what_is_no_document_is_refused(value):
    with pytest.raises(TypeError):
        codec.dumps(value)


def test_a_document_of_any_depth_is_kept_or_refused_as_what_it_is():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotStorableError, match="not a JSON document"):
        CheckedCodec(codec).dumps(deep)
    while deep:  # an end by one deep recursion would be the garbage collector's
        deep = deep[0]
