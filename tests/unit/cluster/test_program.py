"""Advice names the program as it was started, so that it can be copied into a shell."""

from __future__ import annotations

import sys

import pytest
import typer
from typer.testing import CliRunner

from cluster.commands.main import app
from cluster.program import VERSION, program, start_command


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["driver.py", "runs"], "python driver.py"),
        (["/srv/headrace/driver.py"], "python driver.py"),
        (["/srv/headrace/headrace/__main__.py"], "python -m headrace"),
        (["/usr/bin/headrace"], "headrace"),
        (["/usr/lib/ipykernel_launcher.py"], "headrace"),
        ([], "headrace"),
    ],
    ids=str,
)
def test_the_program_is_called_as_it_was_started(monkeypatch, argv, name):
    monkeypatch.setattr(sys, "argv", argv)
    assert program() == name


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)
def test_the_help_of_every_command_has_an_example_that_can_be_copied(monkeypatch, name):
    monkeypatch.setattr(sys, "argv", ["driver.py"])
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    assert f"Example: python driver.py {name}" in shown


def test_the_version_is_printed():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"headrace {VERSION}\n"


@pytest.mark.parametrize(("folder", "path"), [("site-packages", "/mine"), ("checkout", "{root}:/mine")])
def test_no_installed_module_comes_before_the_standard_library_in_a_child(
    monkeypatch, tmp_path, folder, path
):
    monkeypatch.setattr("cluster.program.ROOT", tmp_path / folder)
    monkeypatch.setattr("cluster.program.getsitepackages", lambda: [str(tmp_path / "site-packages")])
    _, env = start_command({"PYTHONPATH": "/mine"})
    assert env["PYTHONPATH"] == path.format(root=tmp_path / folder)
