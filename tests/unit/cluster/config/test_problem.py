from __future__ import annotations

import pickle

import pytest

from actors.core.errors import Blame, ConfigError
from cluster.config.problem import ConfigFileError, ConfigProblem, Position, nearest


def test_the_error_is_the_configs_fault_and_survives_pickling():
    problem = ConfigProblem("f.yaml", 3, 4, "a.b", "wrong value", "1", "2", "c")
    error = pickle.loads(pickle.dumps(ConfigFileError((problem, problem))))  # noqa: S301 - our own bytes
    assert isinstance(error, ConfigError)
    assert error.problems == (problem, problem)
    assert error.failure().blame is Blame.CONFIG
    assert str(error).split("\n") == ["f.yaml:3:4: a.b: wrong value (got 1, wanted 2); did you mean c?"] * 2


def test_a_problem_without_a_place_in_the_file_shows_the_file_alone():
    with pytest.raises(ConfigFileError) as caught:
        Position("f.yaml").fail("too large", wanted="less")
    assert str(caught.value) == "f.yaml: too large (wanted less)"


@pytest.mark.parametrize(("word", "near"), [("ratoi", "ratio"), ("title", None), ("", None)])
def test_only_a_close_word_is_suggested(word, near):
    assert nearest(word, ["open", "ratio"]) == near


def test_the_message_of_very_many_problems_is_bounded():
    text = str(ConfigFileError((ConfigProblem("a.yaml", 1, 1, "x", "wrong"),) * 8000))
    assert text.count("wrong") == 100
    assert text.endswith("\nand 7,900 more problems")
