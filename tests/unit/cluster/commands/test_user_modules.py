"""A configuration names classes of the user, which stand in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from actors.runtime.user_modules import from_working_directory

ROOT = Path(__file__).parents[4]
JOB = """\
tasks: {kind: inline, tasks: [kettle]}
sources: [{name: notes, kind: python, target: "mine:Notes"}]
evaluate: {prompt: "Rate {text}", output: "mine:Verdict"}
"""
MINE = """\
from dataclasses import dataclass

@dataclass
class Verdict:
    why: str

class Notes:
    def fetch(self, task):
        return []
"""


PLUGIN = "[pydantic]\nevil = evil_plugin:plugin\n"
RUNS = "open('ran', 'w').close()\n"


def check(directory):
    """Run `check` as an installed command in `directory`."""
    started = [sys.executable, "-P", "-c", "from headrace.__main__ import main; main()"]
    return subprocess.run(  # noqa: S603 - our own program
        [*started, "check", "job.yaml"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_command_finds_classes_in_the_working_directory(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "mine.py").write_text(MINE)
    ended = check(tmp_path)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert "step evaluate: why" in ended.stdout
    assert "source notes: mine:Notes was imported and made" in ended.stdout


def test_nothing_else_in_the_working_directory_is_executed(tmp_path):
    """Also not what pydantic takes for its plug-in while a class of the user is imported."""
    info = tmp_path / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text(PLUGIN)
    for module in ("evil_plugin", "brotli", "aiodns"):
        (tmp_path / f"{module}.py").write_text(RUNS)
    (tmp_path / "mine.py").write_text(MINE)
    for job in (JOB, 'tasks: {kind: inline, tasks: [a]}\nevaluate: {prompt: "{key}", output: {a: bool}}\n'):
        (tmp_path / "job.yaml").write_text(job)
        ended = check(tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert not (tmp_path / "ran").exists()


def test_the_working_directory_is_on_the_path_only_while_a_module_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    with from_working_directory():
        with from_working_directory():
            assert sys.path == ["/elsewhere", str(tmp_path)]
        assert sys.path == ["/elsewhere", str(tmp_path)]
    assert sys.path == ["/elsewhere"]
