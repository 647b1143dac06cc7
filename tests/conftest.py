"""What every test gets: an environment that is set, not found; and purity where a folder promises it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

from actors import process

# Elsewhere every run tries new examples; what is checked before landing has to be the same twice.
# Without a deadline: no test asserts a time, and other work on a machine must not fail one.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

# Set before anything imports ray: a test must not depend on, or write, a token in somebody's home.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# What shares something slow to start goes to one worker, where several work side by side: tests in these
# folders, and tests that ask for the cluster of `tests/e2e`.
_TOGETHER = ("chaos", "e2e/http", "ray")
_CLUSTER = "head"

_PURE = {Path(__file__).parent / "unit", Path(__file__).parent / "property"}
_real_sleep = asyncio.sleep


def _forbidden(what: str):
    def refuse(*args, **kwargs):
        raise AssertionError(f"{what} is forbidden here: pass time in, or test it in tests/ray or tests/e2e")

    return refuse


async def _yield_only(delay: float, result=None):
    if delay > 0:
        _forbidden("asyncio.sleep")()
    return await _real_sleep(0, result)


def pytest_collection_modifyitems(items):
    """Group tests for `make test`, which runs them in several processes."""
    here = Path(__file__).parent
    for item in items:
        where = item.path.relative_to(here).as_posix()
        shared = next((folder for folder in _TOGETHER if where.startswith(f"{folder}/")), None)
        if _CLUSTER in getattr(item, "fixturenames", ()):
            shared = _CLUSTER
        if shared or where.startswith("e2e/"):
            item.add_marker(pytest.mark.xdist_group(shared or where))


@pytest.fixture(autouse=True)
def actors_made_here_keep_the_priority_of_the_tests(monkeypatch):
    monkeypatch.setattr(process, "_NICENESS", 0)


@pytest.fixture(autouse=True)
def pure_tests_do_no_io(request, monkeypatch):
    """In tests/unit and tests/property there is no Ray, no sleep and no socket."""
    if not _PURE.intersection(request.path.parents):
        return
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", _forbidden("ray.init"))
    monkeypatch.setattr(time, "sleep", _forbidden("time.sleep"))
    monkeypatch.setattr(asyncio, "sleep", _yield_only)
    monkeypatch.setattr(socket.socket, "connect", _forbidden("socket.connect"))
    monkeypatch.setattr(socket.socket, "bind", _forbidden("socket.bind"))
