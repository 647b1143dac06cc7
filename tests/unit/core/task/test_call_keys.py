"""The keys of calls: different calls have different keys, and equal ones the same in every process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.task.call_keys import CallKeys

PARTS = {
    "run_id": "run-1",
    "task": "task-1",
    "item": "wire:3",
    "stage": "evaluate",
    "dimension": "",
    "model": "sim",
    "parameters": {"max_tokens": 200, "temperature": 0},
    "prompt": "Rate it",
}


def call_key(*, run_id, model, parameters, task, item, stage, dimension, prompt):
    return CallKeys(run_id, model, parameters).key(task, item, stage, dimension, prompt)


def test_a_key_is_the_one_under_which_earlier_versions_stored_the_call():
    form = (
        b'15:headrace-call-15:run-13:sim37:{"max_tokens": 200, "temperature": 0}'
        b"6:task-16:wire:38:evaluate0:7:Rate it"
    )
    assert call_key(**PARTS) == hashlib.sha256(form).hexdigest()


@pytest.mark.parametrize("name", PARTS)
def test_every_part_makes_another_key(name):
    changed = {"max_tokens": 201, "temperature": 0} if name == "parameters" else PARTS[name] + "x"
    assert call_key(**{**PARTS, name: changed}) != call_key(**PARTS)


def test_the_order_of_parameters_makes_no_difference():
    turned = dict(reversed(list(PARTS["parameters"].items())))
    assert call_key(**{**PARTS, "parameters": turned}) == call_key(**PARTS)


def test_the_keys_of_a_run_are_the_keys_of_its_calls_in_any_number():
    keys = CallKeys("run-1", "sim", PARTS["parameters"])
    for prompt in ("Rate it", "Rate that", "Rate it"):
        assert keys.key("task-1", "wire:3", "evaluate", "", prompt) == call_key(**{**PARTS, "prompt": prompt})


def test_a_key_is_the_same_in_another_process():
    common, one = ("run-1", "sim", PARTS["parameters"]), ("task-1", "wire:3", "evaluate", "", "Rate it")
    program = f"from actors.core.task.call_keys import CallKeys; print(CallKeys(*{common}).key(*{one}))"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - our own program
    assert printed.stdout.strip() == call_key(**PARTS)


def test_a_lone_surrogate_has_a_key_of_its_own():
    assert call_key(**{**PARTS, "prompt": "\ud800"}) != call_key(**{**PARTS, "prompt": "\ud801"})


def test_parameters_that_are_not_json_are_refused():
    with pytest.raises(ValueError, match="parameters cannot be written as JSON"):
        call_key(**{**PARTS, "parameters": {"a": {1, 2}}})


# Digits, colons and nothing at all are what a careless form would confuse.
parts = st.text(alphabet="0123456789:,a\"'", max_size=6)
calls = st.fixed_dictionaries(
    {
        **dict.fromkeys([name for name in PARTS if name != "parameters"], parts),
        "parameters": st.dictionaries(parts, parts | st.integers(0, 3), max_size=2),
    }
)


@given(calls, calls)
def test_different_calls_never_share_a_key(one, two):
    assert (call_key(**one) == call_key(**two)) == (one == two)


borders = st.sampled_from(list(pairwise(("task", "item", "stage", "dimension", "prompt"))))
confusing = st.text(alphabet="1:", max_size=4)


@given(confusing, confusing, st.integers(1, 4), borders)
@settings(max_examples=300)
def test_moving_text_over_a_border_makes_another_key(before, after, moved, border):
    left, right = border
    one = {**PARTS, left: before, right: after}
    two = {**PARTS, left: before + after[:moved], right: after[moved:]}
    assert (call_key(**one) == call_key(**two)) == (one == two)
