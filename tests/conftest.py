"""Sets the environment of all tests, groups them for parallel runs, and forbids I/O in the pure ones."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings

# In CI the examples of hypothesis are the same in every run; elsewhere each run tries new ones. There is no
# deadline, because other work on the machine must not fail a test.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

# Ray reads these when it is imported. No test may read or write a token in the home directory. Ray listens on
# all addresses and runs the code of anyone who reaches it, so it requires a token of this process.
_TOKEN, _token_path = tempfile.mkstemp(prefix="headrace-token-")  # readable only by its owner
os.write(_TOKEN, secrets.token_hex(32).encode())
os.close(_TOKEN)
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN_PATH"] = _token_path
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# With this variable, each of the dozen processes of a run would compile all of Headrace again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests that share a slow fixture run in one worker: those in a folder, those with the cluster of `tests/e2e`,
# those with the same database servers, and those in a file. A worker is assigned up to three groups in
# advance: minutes of single tests could wait in one worker, so `cluster` and `chaos` are groups, too.
_FOLDERS = ("cluster", "chaos", "e2e/http", "ray")
_OWN_SERVICE = "e2e/http/test_haproxy.py"
_CLUSTER = "head"
_DATABASES = (
    "e2e/stores/test_stores.py",
    "e2e/stores/test_store_servers.py",
    "e2e/stores/test_source_sql.py",
    "e2e/stores/test_migrate.py",
)
# The slowest groups and folders start first, and the fast tests come last, where they fill the time of all
# workers: a slow group that starts last would add its whole length.
_LONGEST = (
    "cluster",
    _CLUSTER,
    "ray",
    "e2e/http",
    "e2e/cluster/test_deployed.py",
    "chaos",
    "e2e/runs/test_disk.py",
    "e2e/runs/test_secrets.py",
    _OWN_SERVICE,
    "e2e/runs/test_command_line.py",
    "e2e",
    "property",
    "unit/project/test_wheel.py",
    "unit",
)

# A test that hangs fails after the `timeout` of pyproject.toml. Those that start Ray or databases have more,
# and those that start several clusters or runs on Ray have most: the first prefix applies.
_WITHIN_S = {
    "chaos/": 300,
    "cluster/": 300,
    "e2e/cluster/": 300,
    "e2e/runs/test_secrets.py": 300,
    "e2e/http/": 120,
    "e2e/runs/": 120,
    "e2e/stores/": 120,
    "ray/": 120,
}

_PURE = {Path(__file__).parent / "unit", Path(__file__).parent / "property"}
_real_sleep = asyncio.sleep


def _forbidden(what: str):
    def refuse(*args, **kwargs):
        raise AssertionError(
            f"{what} is forbidden here: pass the time as an argument, or test it in tests/ray or tests/e2e"
        )

    return refuse


async def _yield_only(delay: float, result=None):
    if delay > 0:
        _forbidden("asyncio.sleep")()
    return await _real_sleep(0, result)


def pytest_unconfigure():
    Path(_token_path).unlink(missing_ok=True)


def pytest_collection_modifyitems(config, items):
    """Assign tests to groups, which `make test` distributes over several processes."""
    is_shared_out = getattr(config.option, "loadgroup", False)
    order = {group: place for place, group in enumerate(_LONGEST)}
    places = {}
    for item in items:
        group = _group(item)
        if group and is_shared_out:
            # The scheduler of xdist reads the group from the id. Since pytest 9.2 its own mark has no effect:
            # each test would be a separate group (pytest-xdist, issue 1386).
            item._id = item.id.parse(f"{item.nodeid}@{group}")
        where = item.path.relative_to(Path(__file__).parent).as_posix()
        within_s = next((seconds for prefix, seconds in _WITHIN_S.items() if where.startswith(prefix)), None)
        if within_s is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(within_s))
        folder = where.partition("/")[0]
        places[item] = order.get(group, order.get(folder, len(order)))
    items.sort(key=places.__getitem__)


def pytest_collection_finish():
    """Exempt from garbage collection what exists by now: the modules, and thousands of tests."""
    gc.collect()
    gc.freeze()


def _group(item):
    """Return the group of a test, None if it has none."""
    where = item.path.relative_to(Path(__file__).parent).as_posix()
    if _CLUSTER in getattr(item, "fixturenames", ()):
        return _CLUSTER
    if where in _DATABASES:
        return "databases"
    if where == _OWN_SERVICE:
        return where
    folder = next((folder for folder in _FOLDERS if where.startswith(f"{folder}/")), None)
    return folder or (where if where.startswith(("e2e/", "unit/")) else None)


@pytest.fixture(autouse=True)
def actors_made_here_keep_the_priority_of_the_tests(monkeypatch):
    monkeypatch.setattr("actors.runtime.startup._NICENESS", 0)


@pytest.fixture(autouse=True)
def pure_tests_do_no_io(request, monkeypatch):
    """Forbid Ray, sleep and sockets in tests/unit and tests/property."""
    if not _PURE.intersection(request.path.parents):
        return
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", _forbidden("ray.init"))
    monkeypatch.setattr(time, "sleep", _forbidden("time.sleep"))
    monkeypatch.setattr(asyncio, "sleep", _yield_only)
    monkeypatch.setattr(socket.socket, "connect", _forbidden("socket.connect"))
    monkeypatch.setattr(socket.socket, "bind", _forbidden("socket.bind"))
