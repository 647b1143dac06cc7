from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cluster.commands.main import app

ROWS = "text\nFine\n\x1b[31mRed\nThird\n"
JOB = """\
tasks: {kind: file, path: rows.csv}
evaluate: {system: Be brief., prompt: "Rate: {text}", output: {label: good | bad}}
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)

    def check(text: str, *arguments: str) -> list[str]:
        (tmp_path / "job.yaml").write_text(text)
        ended = CliRunner().invoke(app, ["check", "job.yaml", *arguments])
        assert (ended.exit_code, ended.stderr) == (0, "")
        return ended.stdout.splitlines()

    return check


def test_the_prompts_of_the_first_tasks_are_shown_as_they_are_sent(check):
    told = check(JOB, "--show-prompt", "2")
    begins = told.index("--- task row-000001, step evaluate")
    assert told[begins : begins + 4] == [
        "--- task row-000001, step evaluate",
        "system: Be brief.",
        "",
        "Rate: Fine",
    ]
    assert "Rate: \\x1b[31mRed" in told  # a row cannot control the terminal
    assert "Rate: Third" not in told


def test_without_the_option_no_prompt_is_shown(check):
    told = check(JOB)
    assert "tasks: 3, read from rows.csv" in told
    assert not any(line.startswith("---") for line in told)


def test_a_configuration_of_a_service_has_no_tasks_to_check(check):
    told = check(JOB.partition("\n")[2])
    assert "tasks: none, they come over HTTP or from --tasks" in told
