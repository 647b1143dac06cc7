"""An error of the command line names the arguments of a call instead of flags."""

from __future__ import annotations

import errno

import pytest

from actors.core.errors import ConfigError
from cluster.checks.preflight import PreflightError
from cluster.config.problem import ConfigFileError, ConfigProblem
from cluster.report.tables.targets import ResultsError, explained
from cluster.run.map.question import MapQuestion, map_config
from headrace.wording import in_python_words, python_words


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("-m gpt-5: nothing says", 'model="gpt-5": nothing says'),
        ("write -m openai:gpt-5, or give --base-url URL", 'write model="openai:gpt-5", or give base_url=URL'),
        ("did you mean -m sim?", 'did you mean model="sim"?'),
        ("-m NAME --base-url URL, or --config FILE", "model=NAME base_url=URL, or config=FILE"),
        ("-c score: max is below min", "column score: max is below min"),
        (
            "give --replace to replace it, --prefix TEXT to name new columns apart, or choose another name",
            "give replace=True to replace it, or choose another name",
        ),
        ("such as --set 'llm.x={a: 1, b: 2}'", "such as llm.x: {a: 1, b: 2} in config=FILE"),
        ("--system: too long", "system: too long"),
        ("use --delimiter ';', or tasks.delimiter in a configuration", "use delimiter=';'"),
        ("use --delimiter tab, or tasks.delimiter in a configuration", r"use delimiter='\t'"),
        ("use --encoding cp1252, or tasks.encoding in a configuration", 'use encoding="cp1252"'),
        ("--budget and --retry-failed", "budget and retry_failed"),
        ("the cost-of-m sample -- dashes", "the cost-of-m sample -- dashes"),
    ],
)
def test_a_flag_becomes_an_argument(said, wanted):
    assert python_words(said) == wanted


@pytest.mark.parametrize(
    "changes",
    [{"model": None}, {"model": "gpt"}, {"model": None, "base_url": "http://h.test/v1"}, {"system": ""}],
    ids=str,
)
def test_no_error_about_a_question_names_a_flag(changes):
    question = {"prompt": "{text}", "output": {"a": {"type": "string"}}, "model": "sim", **changes}
    with pytest.raises(ConfigError) as caught, in_python_words():
        map_config(MapQuestion(**question), {})
    assert " -" not in f" {caught.value}"


def test_the_problems_of_a_configuration_stay_values():
    problem = ConfigProblem("-c score", 0, 0, "", "wrong", suggestion="1..5")
    with pytest.raises(ConfigFileError) as caught, in_python_words():
        raise ConfigFileError((problem,))
    assert [each.file for each in caught.value.problems] == ["column score"]
    assert str(caught.value) == "column score: wrong; did you mean 1..5?"


def test_a_result_that_cannot_be_written_names_the_argument_and_keeps_its_notes():
    with pytest.raises(ResultsError) as caught, in_python_words(), explained("out.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == (
        "out.csv: the disk is full; free space, or write to another place (output), then repeat the call"
    )


def test_an_endpoint_that_cannot_answer_is_named_by_the_arguments_that_set_it():
    with pytest.raises(PreflightError, match="refuses") as caught, in_python_words():
        raise PreflightError("endpoint main refuses the key")
    assert caught.value.__notes__ == ["llm.endpoints.main is the endpoint of model, base_url and api_key"]
