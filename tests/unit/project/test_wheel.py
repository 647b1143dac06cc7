"""The wheel holds the whole program, with the files beside its modules, and needs no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]
PACKAGES = ("actors", "cluster", "simulators")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel and unpack it, as an installation does."""
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_holds_every_file_of_the_program_and_no_test(wheel):
    for package in PACKAGES:
        wanted = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted == {path.relative_to(wheel) for path in (wheel / package).rglob("*") if path.is_file()}
    assert not (wheel / "tests").exists()


def test_the_command_line_is_imported_from_the_wheel_alone(wheel, tmp_path):
    program = "import driver, cluster, actors; print(driver.__file__, *cluster.__path__, *actors.__path__)"
    printed = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.split() == [str(wheel / name) for name in ("driver.py", "cluster", "actors")]
