"""The command lines of the documentation have commands and options that exist."""

from __future__ import annotations

import re

import pytest
import typer

from cluster.commands.main import app
from tests.unit.project.test_documentation import PAGES, ROOT

PROGRAM = typer.main.get_command(app)
_LINE = re.compile(
    r"(?:^|`|\$ )(?:headrace|python driver\.py|python -m headrace) ([a-z][^\n`]*)", re.MULTILINE
)
_QUOTED = re.compile(r"\"[^\"]*(\"|$)|'[^']*('|$)")  # a text may go on in the next line
_DRAWING = re.compile(r"^```\n.*?^```", re.MULTILINE | re.DOTALL)


def problem_of(line: str) -> str:
    """Return what is wrong with a command line, which begins with the command; empty if nothing is."""
    words = re.split(r"\s(?:#|&&|\|)\s", _QUOTED.sub("text", line))[0].split()
    command = PROGRAM.get_command(typer.Context(PROGRAM), words[0])
    if command is None:
        return f"there is no command {words[0]}"
    known = {"--help"}.union(*({*each.opts, *each.secondary_opts} for each in command.params))
    given = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
    return "" if given <= known else f"{words[0]} has no {', '.join(sorted(given - known))}"


def test_every_command_line_of_a_page_has_a_command_and_options_that_exist():
    problems = {}
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        text = _DRAWING.sub("", page.read_text(encoding="utf-8").replace("\\\n", " "))
        problems |= {(page.name, line): problem_of(line) for line in _LINE.findall(text)}
    assert len(problems) > 60
    assert {place: problem for place, problem in problems.items() if problem} == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("doctor --config FILE", "doctor has no --config"),
        ("doctr FILE", "there is no command doctr"),
        ("doctor FILE  # --config names it", ""),
        ("doctor --help", ""),
    ],
)
def test_a_command_line_with_a_mistake_is_found(line, problem):
    assert problem_of(line) == problem
