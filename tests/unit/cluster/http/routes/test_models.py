"""What callers may send."""

from __future__ import annotations

import pytest

from actors.core.messages.values import Priority
from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem
from cluster.http.routes.models import TaskRequest, parsed


def faults_of(document):
    with pytest.raises(ApiProblem) as caught:
        TaskRequest.checked(document)
    assert caught.value.status == 422
    return [fault.pointer for fault in caught.value.faults]


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_task_needs_nothing():
    request = TaskRequest.checked({})
    assert (request.key, request.params, request.deadline_s) == (None, {}, None)
    assert request.ranked(Priority.BATCH) is Priority.BATCH


def test_a_task_is_taken_as_it_is():
    request = TaskRequest.checked(
        {"key": "ключ 1", "params": {"n": [1, None]}, "priority": "batch", "deadline_s": 5}
    )
    assert (request.key, request.params["n"], request.deadline_s) == ("ключ 1", [1, None], 5.0)
    assert request.ranked(Priority.INTERACTIVE) is Priority.BATCH


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"key": ""}, "/key"),
        ({"key": "a\nb"}, "/key"),
        ({"key": "a\u0000"}, "/key"),
        ({"key": "a\n"}, "/key"),
        ({"key": "x" * 513}, "/key"),
        ({"key": 1}, "/key"),
        ({"params": []}, "/params"),
        ({"params": nested(limits.PARAMS_DEPTH + 1)}, "/params"),
        ({"params": {"a": "x" * limits.PARAMS_BYTES}}, "/params"),
        ({"priority": "urgent"}, "/priority"),
        ({"deadline_s": 0}, "/deadline_s"),
        ({"deadline_s": True}, "/deadline_s"),
        ({"deadline_s": 1e9}, "/deadline_s"),
        ({"url": "http://x"}, "/url"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ([], ""),
        (None, ""),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(document, pointer):
    assert faults_of(document) == [pointer]


def test_params_as_deep_as_may_be_are_taken():
    TaskRequest.checked({"params": nested(limits.PARAMS_DEPTH)})


def test_all_that_is_wrong_is_told_at_once():
    assert sorted(faults_of({"key": "", "priority": 1, "extra": 1})) == ["/extra", "/key", "/priority"]


def test_requests_that_say_the_same_have_the_same_digest():
    one = TaskRequest.checked({"params": {"a": 1, "b": 2}})
    same = TaskRequest.checked({"params": {"b": 2, "a": 1}, "key": None})
    other = TaskRequest.checked({"params": {"a": 1, "b": 2}, "deadline_s": 1})
    assert one.digest() == same.digest() != other.digest()


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":NaN}', b'"\\ud800"', b"\xff", b"[" * 100_000, b"1 2", b"{'a':1}"]
)
def test_what_is_no_json_is_told_with_its_place(data):
    with pytest.raises(ApiProblem) as caught:
        parsed(data)
    assert (caught.value.status, "line 1" in caught.value.detail) == (400, True)
