"""The layout of keys: each row of a run is known by its key as a row of that run."""

from __future__ import annotations

import inspect

import pytest

from actors.core.journal import keys

PER_RUN = [
    function
    for name, function in vars(keys).items()
    if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters)) == "run_id"
]


@pytest.mark.parametrize("run_id", ["r1", "a\0b", "\udc80", ""])
def test_the_kind_and_the_run_of_every_key_are_known(run_id):
    kinds = set()
    for function in PER_RUN:
        count = len(inspect.signature(function).parameters) - 1
        values = [7 if name == "value" else "x\0\1y" for name in inspect.signature(function).parameters][1:]
        key = function(run_id, *values[:count])
        assert keys.run_of(key) == run_id, function
        kinds.add(key[0])
    assert kinds == {*keys.MANY_PER_RUN, *keys.ONE_PER_RUN}
    owners = {keys.writer("")[0], keys.heartbeat("")[0], keys.cancel_request("")[0]}
    assert {*keys.OF_DATA} == kinds - owners
    assert keys.run_of(keys.content("x")) is None
    assert keys.run_of(keys.FORMAT) is None
