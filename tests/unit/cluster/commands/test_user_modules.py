"""A configuration names classes of the user, which stand in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_an_installed_command_finds_classes_in_the_working_directory(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "mine.py").write_text(MINE)
    started = [sys.executable, "-P", "-c", "from headrace.__main__ import main; main()"]
    ended = subprocess.run(  # noqa: S603 - our own program
        [*started, "check", "job.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert "step evaluate: why" in ended.stdout
    assert "source notes: mine:Notes was imported and made" in ended.stdout
