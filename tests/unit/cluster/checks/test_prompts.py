"""Placeholders that name nothing are found before a run begins."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from cluster.checks.prompts import prompt_problems, refuse_wrong_prompts
from cluster.config.model import HeadraceConfig

SOURCE = {"name": "wire", "kind": "simulated"}
OUTPUT = {"label": {"type": "string"}, "quality": {"type": "number", "min": 0, "max": 1}}


def config(evaluate, *, sources=(SOURCE,), **sections):
    document = {"name": "n", "tasks": {"kind": "range", "count": 1}, "sources": list(sources), **sections}
    return HeadraceConfig.model_validate({**document, "evaluate": evaluate})


def problems(prompt, columns=(), **sections):
    return list(prompt_problems(config({"prompt": prompt, "output": OUTPUT}, **sections), columns))


def test_names_of_items_and_columns_of_tasks_have_values():
    assert problems("{key} {text} {source} {id} {fields} {note} {First name}", ["note", "First name"]) == []
    assert problems('{text} as {"a": 1}', sources=()) == []


def test_a_name_without_a_value_is_told_with_place_and_suggestion():
    (problem,) = problems("Rate\n{txt}")

    assert problem.startswith("evaluate.prompt: line 2, column 1 of the prompt: {txt} names nothing")
    assert problem.endswith("did you mean text?")


def test_a_task_without_sources_has_no_source_and_no_item_id():
    assert len(problems("{source} {id}", sources=())) == 2


def test_a_step_may_use_the_fields_of_earlier_steps_only():
    steps = [
        {"name": "one", "prompt": "{text} {two.label}", "output": OUTPUT},
        {"name": "two", "prompt": "{text} {one.label} {one.lable}", "output": OUTPUT},
    ]
    first, second = prompt_problems(config(steps), [])

    assert first.startswith("evaluate: step one: line 1, column 8 of the prompt: {two.label} names nothing")
    assert second.startswith("evaluate: step two: line 1, column 20 of the prompt: {one.lable} names nothing")
    assert second.endswith("did you mean one.label?")


def test_the_prompt_of_a_finding_is_checked_too():
    dimension = {"name": "d", "field": "quality", "synthesize": "{evidence} {score} {evidense}"}
    (problem,) = problems("{text}", dimensions=[dimension])

    assert problem.startswith("dimensions: synthesize of d: line 1, column 20")
    assert problem.endswith("did you mean evidence?")


def test_all_problems_are_in_one_error():
    one = config({"prompt": "{txt} {kye}", "output": OUTPUT})

    with pytest.raises(ConfigError, match=r"\{txt\}[^\n]*\n[^\n]*\{kye\}"):
        refuse_wrong_prompts(one, [])
    refuse_wrong_prompts(one, ["txt", "kye"])
