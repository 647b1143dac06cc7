"""The tool that `make mutate` runs: it finds a planted gap, and counts what the tests detect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.operators import mutants_of

PRODUCT = """
LIMIT = 3


def is_full(count):
    return count >= LIMIT


def fill(shelf, count):
    shelf.append(count)
    while len(shelf) > LIMIT:
        del shelf[0]
    return shelf


def never_called():
    return LIMIT + 1
"""
THOROUGH = """
from shop.stock import fill, is_full


def test_full():
    assert (is_full(2), is_full(3), is_full(4)) == (False, True, True)


def test_fill():
    assert fill([], 1) == [1]
    assert fill([1, 2, 3], 4) == [2, 3, 4]
"""
CARELESS = """
from shop.stock import is_full


def test_full():
    assert is_full(4)
    assert not is_full(2)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Return a function that runs the tool on a small project with the given tests."""

    def run(tests, *options):
        project = tmp_path_factory.mktemp("project")
        (project / "shop").mkdir()
        (project / "shop/stock.py").write_text(PRODUCT)
        (project / "checks").mkdir()
        (project / "checks/test_stock.py").write_text(tests)
        command = [sys.executable, "-m", "tests.mutation", "shop", "--tests", "checks", *options]
        return subprocess.run(  # noqa: S603  # this module made the command
            [*command, "--verbose", "--allowance", "2"],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def careless(shop):
    return shop(CARELESS, "--least", "1")


@pytest.fixture(scope="module")
def thorough(shop):
    return shop(THOROUGH, "--least", "1")


def test_a_gap_in_the_tests_is_printed_as_a_changed_line(careless):
    gap = "survived: shop/stock.py:6\n    - return count >= LIMIT\n    + return count > LIMIT"
    assert careless.stdout.count("survived:") == 1
    assert gap in careless.stdout


def test_too_few_detected_mutants_fail_the_command(careless):
    assert careless.returncode == 1


def test_lines_that_no_test_executes_are_not_mutated_but_counted(careless):
    assert "LIMIT + 1" not in careless.stdout
    assert "80% of all mutants are on lines that none of these tests execute" in careless.stdout


def test_mutants_that_the_tests_detect_are_counted_and_endless_loops_are_among_them(thorough):
    assert thorough.returncode == 0, thorough.stdout + thorough.stderr
    assert "survived:" not in thorough.stdout
    assert "del shelf[0]\n    + pass" in thorough.stdout
    assert ["all", "7", "100.0%", "0"] in [line.split() for line in thorough.stdout.splitlines()]


def test_a_place_that_is_not_changed_is_not_detected(shop):
    done = shop(THOROUGH, "--control")
    assert "detected:" not in done.stdout
    assert "survived: shop/stock.py:6" in done.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return a < b", "return a <= b"),
        ("return a and b", "return (a or b)"),
        ("return a + 1", "return (a - 1)"),
        ("return a + 1", "return a + 2"),
        ("return min(a, b)", "return max(a, b)"),
        ("return a if b else 0", "return (0 if b else a)"),
        ("return not a", "return (a)"),
        ("return a", "return None"),
        ("a.clear()", "pass"),
        ("a.b = 1", "pass"),
        ("raise a", "pass"),
    ],
)
def test_operators(tmp_path, before, after):
    module = tmp_path / "module.py"
    module.write_text(f"def function(a, b):\n    {before}\n")
    changed = [mutant.source().decode() for mutant in mutants_of(str(module))]
    assert f"def function(a, b):\n    {after}\n" in changed


@pytest.mark.parametrize(
    "text", ["'a string'", "_log.info('so', 1)", "f'{a + 1}'", "assert a == 1", "b: list[int | None]"]
)
def test_what_is_not_mutated(tmp_path, text):
    module = tmp_path / "module.py"
    module.write_text(
        f"import os\n\nLIMIT = 3\nBOTH = int | str\n\n\ndef function(a: int | str):\n    {text}\n"
    )
    assert mutants_of(str(module)) == []
