"""What every test gets: an environment that is set, not found; and purity where a folder promises it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings

# Elsewhere every run tries new examples; what is checked before landing has to be the same twice.
# Without a deadline: no test asserts a time, and other work on a machine must not fail one.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

# Set before anything imports ray, which reads it then: no test may depend on, or write, a token in somebody's
# home. Ray listens on all addresses, and who reaches it may run code: it asks for a token of this process.
_TOKEN, _token_path = tempfile.mkstemp(prefix="headrace-token-")  # readable by its owner only
os.write(_TOKEN, secrets.token_hex(32).encode())
os.close(_TOKEN)
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN_PATH"] = _token_path
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Each of the dozen processes of a run would compile all of Headrace anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What shares something slow to start goes to one worker, where several work side by side: tests in a folder,
# tests that ask for the cluster of `tests/e2e`, tests that use the same database servers, tests in a file.
_FOLDERS = ("chaos", "cluster", "e2e/http", "ray")
_CLUSTER = "head"
_DATABASES = (
    "e2e/stores/test_stores.py",
    "e2e/stores/test_store_servers.py",
    "e2e/stores/test_source_sql.py",
)
# What takes longest begins first, and what takes no time comes last, where it fills both workers' time.
_LONGEST = (
    _CLUSTER,
    "cluster",
    "chaos",
    "e2e/http",
    "e2e/cluster/test_deployed.py",
    "e2e/runs/test_disk.py",
    "ray",
)

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


def pytest_unconfigure():
    Path(_token_path).unlink(missing_ok=True)


def pytest_collection_modifyitems(config, items):
    """Group tests for `make test`, which runs them in several processes."""
    is_shared_out = getattr(config.option, "loadgroup", False)
    order = {group: place for place, group in enumerate(_LONGEST)}
    places = {}
    for item in items:
        group = _group(item)
        if group and is_shared_out:
            # What xdist's scheduler reads. Since pytest 9.2 its own mark comes to nothing, silently: every
            # test is a group of its own then (pytest-xdist, issue 1386).
            item._id = item.id.parse(f"{item.nodeid}@{group}")
        places[item] = order.get(group, len(order) if group else len(order) + 1)
    items.sort(key=places.__getitem__)


def _group(item):
    """Return the name of what a test belongs to, None where it stands alone."""
    where = item.path.relative_to(Path(__file__).parent).as_posix()
    if _CLUSTER in getattr(item, "fixturenames", ()):
        return _CLUSTER
    if where in _DATABASES:
        return "databases"
    folder = next((folder for folder in _FOLDERS if where.startswith(f"{folder}/")), None)
    return folder or (where if where.startswith("e2e/") else None)


@pytest.fixture(autouse=True)
def actors_made_here_keep_the_priority_of_the_tests(monkeypatch):
    monkeypatch.setattr("actors.runtime.startup._NICENESS", 0)


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
