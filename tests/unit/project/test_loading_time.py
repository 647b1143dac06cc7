"""What a command loads before its first line: not the libraries that take a tenth of a second or more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SLOW = ("ray", "sqlalchemy", "pyarrow", "fastapi", "cryptography")


CHECK = ["check", "configs/demo.yaml", "--set", "tasks={kind: range, count: 1}"]


@pytest.mark.parametrize("arguments", [CHECK, ["schema"], ["--help"]], ids=lambda words: words[0])
def test_a_command_that_runs_nothing_loads_no_slow_library(arguments):
    program = (
        "import sys\n"
        "from contextlib import suppress\n"
        "from driver import app\n"
        "with suppress(SystemExit):\n"
        f"    app({arguments}, standalone_mode=False)\n"
        f"print('loaded:', *[name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("loaded:", "")
