"""Commands and the package load nothing that delays them and that they do not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SLOW = ("ray", "sqlalchemy", "pyarrow", "pandas", "polars", "fastapi", "fsspec", "cryptography")
CONFIGURATION = ("cluster.config.model", "actors.llm.forms", "numpy", "aiohttp", "ruamel.yaml", "uvloop")
READ_ROWS = ["map", "none.csv", "{text}", "-c", "a"]  # it ends where it would say how many rows there are
CHECK = ["check", "configs/w1.yaml", "--set", "tasks.count=1"]
RUN = [
    *("run", "configs/chaos.yaml", "--limit", "3", "--json", "--set", "store={kind: memory}"),
    *("--set", "sources=[{name: a, kind: simulated}]"),
]


def loaded(program, names, folder):
    """Run `program`; return which modules of `names` it has loaded, and the processor time that it took."""
    program += (
        "\nimport sys, time"
        "\nprint()"
        f"\nprint(time.process_time(), *[name for name in {names} if name in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    seconds, *found = done.stdout.splitlines()[-1].split()
    return found, float(seconds)


def command(words):
    return (
        "from contextlib import suppress\n"
        "from headrace.__main__ import app\n"
        f"with suppress(SystemExit):\n    app({words}, standalone_mode=False)"
    )


@pytest.mark.parametrize("words", [CHECK, ["schema"], ["--help"]], ids=lambda words: words[0])
def test_a_command_that_runs_nothing_loads_no_slow_library(words):
    assert loaded(command(words), SLOW, ROOT)[0] == []


def test_a_run_on_the_local_engine_loads_neither_ray_nor_what_its_configuration_does_not_use(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    assert loaded(command(RUN), SLOW, tmp_path)[0] == []
    assert [*tmp_path.glob("runs/*/reports.jsonl")]


@pytest.mark.parametrize(
    "words", [["--help"], ["runs"], ["status", "a"], READ_ROWS], ids=lambda words: words[0]
)
def test_a_command_that_is_given_no_configuration_does_not_load_the_keys_of_one(tmp_path, words):
    assert loaded(command(words), CONFIGURATION, tmp_path)[0] == []


def test_the_package_is_imported_in_less_than_a_third_of_a_second():
    """It loads the program at the first call."""
    found, seconds = loaded("import headrace", (*SLOW, "pydantic", "aiohttp", "typer", "numpy"), ROOT)
    assert found == []
    assert seconds < 0.3  # of processor time, so that other work on the machine does not count
