"""How a command ends when its output cannot be written."""

from __future__ import annotations

import contextlib
import io
import os
import sys

import pytest
import typer
from rich.console import Console

from cluster.commands.command_line import errors_shown


@contextlib.contextmanager
def piped(monkeypatch):
    """Make stdout a pipe; the value is the end of its reader. Pytest would undo this after a fixture."""
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb", buffering=0) as reader,
        os.fdopen(writing, "w") as stdout,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", stdout)
        yield reader


def outcome(command):
    """Return the exit code of `command`, and what it says on stderr."""
    stderr = Console(file=io.StringIO())
    with pytest.raises(typer.Exit) as ended, errors_shown(stderr):
        command()
    return ended.value.exit_code, stderr.file.getvalue()


@pytest.mark.parametrize("size", [1, 1_000_000])  # written when the command ends, and before
def test_a_command_whose_reader_leaves_exits_with_141_and_says_nothing(monkeypatch, size):
    with piped(monkeypatch) as reader:
        reader.close()
        assert outcome(lambda: sys.stdout.write("x" * size)) == (141, "")
        sys.stdout.flush()  # as Python does when it exits


def test_the_exit_code_of_a_command_stays_while_its_output_has_a_reader(monkeypatch):
    def command():
        sys.stdout.write("summary")
        raise typer.Exit(3)

    with piped(monkeypatch) as reader:
        assert outcome(command) == (3, "")
        assert reader.read(100) == b"summary"


def test_another_broken_connection_is_reported(monkeypatch):
    def command():
        raise BrokenPipeError("the connection to the store")

    with piped(monkeypatch):
        code, said = outcome(command)
    assert code == 1
    assert "the connection to the store" in said
