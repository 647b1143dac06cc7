"""Mistakes that people make in a configuration or a command line: each is explained before a call.

``mistakes.txt`` holds the table. A message says what is wrong, where, and what to do. Nothing is launched.
"""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from cluster.commands import batch
from cluster.commands.main import app
from cluster.run.map import run as runner

TABLE = Path(__file__).with_name("mistakes.txt")
JOB = """\
tasks: {kind: file, path: rows.csv}
llm:
  endpoints:
    - {name: fast, base_url: "http://127.0.0.1:9/v1", model: m}
evaluate:
  - name: triage
    prompt: "Rate {text}"
    output:
      label: good | bad
      score: 0..1
  - name: verdict
    when: score < 0.5
    prompt: "It is {triage.label}: {text}"
    output: {why: str}
"""
ABOUT_ITEMS = """\
tasks: {kind: inline, tasks: [kettle, {key: lamp, params: {city: Oslo}}]}
sources:
  - {name: notes, kind: files, path: "{key}.md"}
  - {name: db, kind: sql, url: "sqlite:///notes.db", query: "select text from notes where product = :key"}
evaluate:
  prompt: "Rate {text}"
  output: {quality: {type: number, min: 0, max: 1}}
dimensions:
  - {name: quality, field: quality, synthesize: "Sum up {evidence}"}
"""


class Mistake(NamedTuple):
    """What stands in a configuration, what a user writes in its place or as a command, and the message."""

    old: str
    new: str
    message: str


def _table() -> dict[str, list[Mistake]]:
    """Read ``mistakes.txt``: titles, and mistakes as lines that begin with ``-``, ``+`` and ``>``."""
    table: dict[str, list[Mistake]] = {}
    for block in TABLE.read_text(encoding="utf-8").split("\n\n"):
        lines = dict.fromkeys("-+>", "")
        for line in block.splitlines():
            if line.startswith("# "):
                found = table.setdefault(line[2:].partition(":")[0], [])
            else:
                lines[line[0]] += line[2:] + ("\n" if line[0] == ">" else "")
        old, new = (lines[sign].replace("\\n", "\n") for sign in "-+")
        found.append(Mistake(old, new, lines[">"].rstrip("\n")))
    return table


MISTAKES = _table()


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Return a function that writes a configuration, runs a command, and returns its message."""
    monkeypatch.chdir(tmp_path)
    for name in ("LLM_KEY", "GROQ_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(batch, "launch", None)  # a run that went on would fail
    (tmp_path / "rows.csv").write_text("text,author\nFine,Ann\nBroken,Ben\n")
    with closing(sqlite3.connect("notes.db")) as database:
        database.execute("create table notes (product text, text text)")

    def told(command: str, text: str, mistake: Mistake) -> str:
        assert mistake.old in text
        (tmp_path / "job.yaml").write_text(text.replace(mistake.old, mistake.new, 1))
        ended = CliRunner().invoke(app, [command, "job.yaml"])
        assert ended.exit_code == 2
        return ended.stderr.rstrip("\n")

    return told


def _name(value: object) -> str | None:
    return value.new.split("\n")[0] if isinstance(value, Mistake) else None


def test_the_table_is_long_enough():
    assert sum(map(len, MISTAKES.values())) >= 26


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("mistake", MISTAKES["ABOUT_ROWS"], ids=_name)
def test_a_mistake_in_a_job_about_rows_is_explained_before_a_call(told, command, mistake):
    assert told(command, JOB, mistake) == mistake.message


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("mistake", MISTAKES["ABOUT_ITEMS"], ids=_name)
def test_a_mistake_in_a_job_about_items_is_explained_before_a_call(told, command, mistake):
    assert told(command, ABOUT_ITEMS, mistake) == mistake.message


@pytest.mark.parametrize("mistake", MISTAKES["TRIED"], ids=_name)
def test_a_source_that_cannot_work_is_explained_by_check(told, mistake):
    assert told("check", ABOUT_ITEMS, mistake) == mistake.message


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("mistake", MISTAKES["COMMAND_LINE"], ids=_name)
def test_a_mistake_in_a_command_line_is_explained_before_a_call(monkeypatch, mistake):
    monkeypatch.setattr(runner, "launch", None)
    ended = CliRunner().invoke(app, shlex.split(mistake.new))
    assert ended.exit_code == 2
    assert ended.stderr.rstrip("\n").split("\n")[-1] == mistake.message


@pytest.mark.parametrize("text", [JOB, ABOUT_ITEMS])
def test_a_job_without_a_mistake_passes(tmp_path, told, text):
    (tmp_path / "job.yaml").write_text(text)
    ended = CliRunner().invoke(app, ["check", "job.yaml", "--show-prompt", "1"])
    assert (ended.exit_code, ended.stderr) == (0, "")
