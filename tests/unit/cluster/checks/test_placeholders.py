from __future__ import annotations

import pytest

from cluster.checks.placeholders import PlaceholderError, check_placeholders
from cluster.config.model import HeadraceConfig

OUTPUT = {"quality": "0..1"}
STEP = {"prompt": "Rate {text}", "output": OUTPUT}
FILES = {"name": "notes", "kind": "files", "path": "docs/{key}.md"}
COLUMNS = ("review", "First name", "city")


def made(**sections) -> HeadraceConfig:
    return HeadraceConfig.model_validate({"evaluate": STEP} | sections)


def problems(config: HeadraceConfig, columns=COLUMNS, tasks=2) -> list[tuple[str, str]]:
    with pytest.raises(PlaceholderError) as caught:
        check_placeholders(config, columns, tasks)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "prompt", ["{review}", "{First name}", "{review}: {fields}", "{city?} {fields}", '{"a": {review}}']
)
def test_a_prompt_about_rows_may_name_columns(prompt):
    check_placeholders(made(evaluate=STEP | {"prompt": prompt}), COLUMNS, 2)


def test_a_prompt_about_rows_may_name_a_column_text_and_the_key_where_tasks_have_one():
    check_placeholders(made(evaluate=STEP | {"prompt": "{key}: {text}"}), ("key", "text"), 2)
    tasks = {"kind": "file", "path": "t.csv", "key": "city"}
    check_placeholders(made(tasks=tasks, evaluate=STEP | {"prompt": "{key}: {review}"}), COLUMNS, 2)


@pytest.mark.parametrize("prompt", ["{text} {source} {id} {fields} {key}", "{city}: {text}"])
def test_a_prompt_about_items_may_name_their_parts_and_params(prompt):
    check_placeholders(made(sources=[FILES], evaluate=STEP | {"prompt": prompt}), COLUMNS, 2)


NOTHING = "names nothing; write {{ and }} for literal braces"


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("Rate {reviw}", f"line 1, column 6 of the prompt: {{reviw}} {NOTHING}; did you mean review?"),
        (
            "{source}",
            (
                f"line 1, column 1 of the prompt: {{source}} {NOTHING}; "
                f"known: First name, city, fields, review"
            ),
        ),
        (
            "Rate it",
            (
                "it names no column, so that all rows are asked the same; "
                "write the name of one in braces: {First name}, {city}, {review}"
            ),
        ),
        (
            "About {text}",
            "the table has no column text; columns: review, First name, city; {fields} is the whole row",
        ),
        (
            "{text?}",
            "the table has no column text; columns: review, First name, city; {fields} is the whole row",
        ),
        (
            "{key} {review}",
            "the table has no column key; columns: review, First name, city; {fields} is the whole row",
        ),
        ("{{review}}", "line 1, column 1 of the prompt: {{review}} is literal text; write {review}"),
    ],
)
def test_a_prompt_about_rows_that_names_no_column_is_refused(prompt, problem):
    assert problems(made(evaluate=STEP | {"prompt": prompt})) == [("evaluate.prompt", problem)]


def test_all_problems_are_shown_together_with_their_places():
    config = made(
        sources=[
            FILES | {"path": "docs/{cty}/*.md"},
            {"name": "api", "kind": "http", "url": "https://h.test/{x}"},
        ],
        evaluate=[STEP | {"name": "a"}, STEP | {"name": "b", "prompt": "{a.quality} {nope}"}],
        dimensions=[{"name": "q", "field": "b.quality", "synthesize": "{evidence} {text}"}],
    )
    found = problems(config)
    assert [place for place, _ in found] == [
        "evaluate.1.prompt",
        "dimensions.0.synthesize",
        "sources.0.path",
        "sources.1.url",
    ]
    assert found[2][1] == "{cty} is no param of any task; did you mean city?"
    assert found[3][1] == "{x} is no param of any task; known: First name, city, key, review"


def test_a_path_that_is_the_same_for_all_tasks_is_refused_if_there_are_several():
    config = made(sources=[FILES | {"path": "docs/*.md"}])
    check_placeholders(config, ["city"], 1)
    ((place, problem),) = problems(config, ["city"])
    assert place == "sources.0.path"
    assert problem.startswith("it names no value of the task, so that all tasks read the same files; ")
    assert problem.endswith("write the name of one in braces: {city}, {key}")


def test_an_input_without_tasks_has_no_names_to_check():
    check_placeholders(made(evaluate=STEP | {"prompt": "{nope}"}), (), 0)


def test_a_key_may_be_shown_in_other_words():
    config = made(evaluate=STEP | {"prompt": "{nope}"})
    with pytest.raises(PlaceholderError, match="the prompt: line 1, column 1"):
        check_placeholders(config, COLUMNS, 2, {"evaluate.prompt": "the prompt"})


def test_a_column_of_files_that_no_row_has_is_named_and_a_prompt_about_files_needs_no_column():
    config = made(
        evaluate={"prompt": "What is this?", "attach": "photo", "output": {"x": {"type": "string"}}}
    )

    check_placeholders(config, ["photo"], 2)
    with pytest.raises(PlaceholderError, match=r"evaluate.attach: .*photo"):
        check_placeholders(config, ["picture"], 2)
