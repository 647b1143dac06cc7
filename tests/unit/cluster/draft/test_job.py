"""The draft of a job is a valid configuration whatever the table, and each guess has its evidence."""

from __future__ import annotations

import csv

import pytest
from typer.testing import CliRunner

from cluster.checks.placeholders import check_placeholders
from cluster.commands.main import app
from cluster.config.model import load
from cluster.draft.job import JobDraft, JobTemplate
from cluster.draft.profile import profile_of
from cluster.input.rows import RowInput


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a table, and return the function that drafts a job for it."""
    monkeypatch.chdir(tmp_path)

    def draft(columns: dict[str, list[str]], template=JobTemplate.CLASSIFY, name="table.csv", *, bare=False):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))
        table = RowInput.of_file(name)
        text = JobDraft(template, name, profile_of(table), bare).text("job.yaml", "headrace")
        (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
        config = load(tmp_path / "job.yaml", env={})
        check_placeholders(config, table.columns, table.count)
        return text, config

    return draft


NUMBERS = [str(n) for n in range(30)]
TEXTS = [f"A text of some length, the {n}th" for n in NUMBERS]


def test_the_unique_column_is_the_key_the_longest_is_the_text_and_few_values_are_a_choice(write):
    text, config = write({"color": ["red", "green"] * 15, "ticket_id": NUMBERS, "body": TEXTS})
    assert config.tasks.key == "ticket_id"
    assert config.steps[0].prompt == "Classify this text: {body}"
    assert "key: ticket_id  # 30 different of 30" in text
    assert "# {body} has the longest text: 31 characters on average." in text
    assert "# color has 2 different values in 30 rows:\n    # color_by_model: green | red" in text


def test_a_suggested_column_is_named_in_letters_a_to_z(write):
    text, _ = write({"id": NUMBERS, "Größe": ["eng", "weit"] * 15, "body": TEXTS})
    assert "# Groesse_by_model: eng | weit" in text


def test_a_value_that_occurs_twice_at_the_end_of_the_file_is_found(write):
    text, config = write({"id": [*NUMBERS[:-1], "0"], "body": TEXTS})
    assert config.tasks.key == "body"
    text, config = write({"id": [*NUMBERS[:-1], "0"], "body": [*TEXTS[:-1], TEXTS[0]]})
    assert config.tasks.key is None
    assert "no column is unique" in text


def test_rows_without_text_are_asked_about_as_a_whole(write):
    _, config = write({"id": NUMBERS})
    assert config.steps[0].prompt == "Classify this text: {fields}"


@pytest.mark.parametrize("template", JobTemplate)
@pytest.mark.parametrize("bare", [False, True])
def test_every_template_is_valid_also_without_comments(write, template, bare):
    text, config = write({"id": NUMBERS, "body": TEXTS}, template, bare=bare)
    assert config.is_map
    assert config.llm.simulator is not None
    assert ("#" in text) != bare


@pytest.mark.parametrize(
    "name",
    [
        "First name",
        "a: b",
        "# x",
        "'q' \"d\"",
        "${HOME}",
        "{a}",
        "no",
        "1",
        "sentiment",
        "\N{SNOWMAN} x",
        "a\\b",
        "x,y",
    ],
)
def test_columns_of_any_name_and_value_make_a_valid_draft(write, name):
    _, config = write({"id": NUMBERS, name: TEXTS, f"{name} too": ["a: b | c", '# "q" \'${HOME}'] * 15})
    assert len(config.steps[0].output) == 2
    _, config = write({name: NUMBERS, "body": TEXTS})
    assert config.tasks.key == name


def test_the_name_of_the_file_may_be_anything(write):
    _, config = write({"id": NUMBERS, "body": TEXTS}, name="my: file # (${1}) \N{SNOWMAN}.csv")
    assert config.tasks.path == "my: file # (${1}) \N{SNOWMAN}.csv"
    assert config.name == "my-file-1"


def test_nothing_is_overwritten_and_the_next_commands_are_printed(write, tmp_path):
    write({"id": NUMBERS, "body": TEXTS})
    before = (tmp_path / "job.yaml").read_text()
    refused = CliRunner().invoke(app, ["init", "table.csv"])
    assert (refused.exit_code, (tmp_path / "job.yaml").read_text()) == (2, before)
    assert "job.yaml exists, and nothing is overwritten" in refused.stderr
    made = CliRunner().invoke(app, ["init", "-o", "other.yaml"])
    assert made.exit_code == 0
    assert "headrace run other.yaml --limit 10" in made.stdout
    assert load(tmp_path / "other.yaml", env={}).is_map
