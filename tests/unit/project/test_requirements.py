"""The locks in requirements/ follow pyproject.toml, agree with each other, and name wheels by hash alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXTRAS = {
    "run": ("postgres", "redis", "sql"),
    "dev": ("dev", "postgres", "redis", "sql"),
    "local-llm": ("local-llm",),
    "bench": ("bench",),
}
_PINNED = re.compile(r"([a-z0-9.-]+)==([^ ]+)")
_WANTED = re.compile(r"[A-Za-z0-9._-]+")


def lock(name):
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def pinned(name):
    return dict(found.groups() for line in lock(name).splitlines() if (found := _PINNED.match(line)))


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_pins_each_dependency_of_the_project(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        one for extra in EXTRAS[name] for one in project["optional-dependencies"][extra]
    ]
    names = {re.sub(r"[-_.]+", "-", _WANTED.match(one)[0]).lower() for one in wanted}
    assert names <= pinned(name).keys()


@pytest.mark.parametrize("name", [*EXTRAS, "build", "pip"])
def test_a_lock_names_wheels_by_hash_and_no_index(name):
    text = lock(name)
    assert text.startswith("--only-binary :all:\n")
    assert "://" not in text
    entries = re.split(r"^(?=[a-z0-9.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_locks_agree_on_every_version():
    versions = {}
    for name in (*EXTRAS, "build"):
        for package, version in pinned(name).items():
            assert versions.setdefault(package, version) == version, package
