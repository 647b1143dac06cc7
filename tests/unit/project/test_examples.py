"""The data of the examples is what their scripts write, and their configurations are valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.config.model import load

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_reviews_are_those_that_their_script_writes(tmp_path):
    written = tmp_path / "reviews.csv"
    command = [sys.executable, str(EXAMPLES / "make_reviews.py"), f"--out={written}"]
    subprocess.run(command, check=True)  # noqa: S603 - our own program
    assert written.read_bytes() == (EXAMPLES / "reviews.csv").read_bytes()


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_the_configuration_of_an_example_is_valid(path):
    assert load(path, env={}).tasks is not None
