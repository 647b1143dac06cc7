"""Commands do not load modules that delay their first line by a tenth of a second or more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SLOW = ("ray", "sqlalchemy", "pyarrow", "fastapi", "cryptography")
CONFIGURATION = ("cluster.config.model", "ruamel.yaml", "uvloop")
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


@pytest.mark.parametrize("command", [["--help"], ["runs"], ["status", "a"]], ids=lambda words: words[0])
def test_a_command_that_is_given_no_configuration_does_not_load_the_keys_of_one(tmp_path, command):
    program = (
        "import sys\n"
        "from contextlib import suppress\n"
        "from driver import app\n"
        "with suppress(SystemExit):\n"
        f"    app({command}, standalone_mode=False)\n"
        f"print('loaded:', *[name for name in {CONFIGURATION} if name in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded:"
