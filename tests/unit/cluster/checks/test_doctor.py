"""The doctor: what it says of what is well, and of what is not."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import aiohttp
import orjson
import pytest

from actors.core.journal.batch import WriteBatch
from actors.journal.stores.sqlite import SqliteStore as File
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from cluster.checks import doctor
from cluster.checks import endpoints as doctor_endpoints
from cluster.checks.doctor import Level, check_store
from cluster.checks.model_list import ListAnswer
from cluster.config.kinds.store import MemorySection, SqliteSection
from cluster.config.model import HeadraceConfig

CONFIG = HeadraceConfig.model_validate(
    {
        "sources": [{"name": "wire", "kind": "simulated"}],
        "evaluate": {"prompt": "{text}", "output": {"q": {"type": "number", "min": 0, "max": 1}}},
        "dimensions": [{"name": "q", "field": "q"}],
        "llm": {
            "endpoints": [{"name": "e", "base_url": "http://h/v1", "model": "m", "max_in_flight": 3000}],
            "clients": 2,
        },
    }
)
ENDPOINT = EndpointSettings(name="main", base_url="http://h/v1", model="m")


def levels(checks):
    return [check.level for check in checks]


def store_at(path):
    return SqliteSection(kind="sqlite", path=str(path))


def test_a_store_that_is_not_there_yet_is_fine_and_is_not_made(tmp_path):
    path = tmp_path / "new" / "state.db"
    (check,) = check_store(store_at(path))
    assert check.level is Level.OK
    assert not path.parent.exists()


def test_a_store_that_works_is_read_whole_and_left_as_it_was(tmp_path):
    path = tmp_path / "state.db"
    File(str(path)).commit(WriteBatch({b"k": b"v"}))
    assert levels(check_store(store_at(path))) == [Level.OK, Level.OK]
    assert File(str(path)).scan(b"\0", b"\xff", 10) == [(b"k", b"v")]


def test_a_value_that_is_not_as_it_was_written_is_found(tmp_path):
    path = tmp_path / "state.db"
    store = File(str(path))
    store.commit(WriteBatch({b"k": b"v"}))
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE kv SET v = ?", (b"other bytes",))
    raw.close()
    checks = list(check_store(store_at(path)))
    assert levels(checks) == [Level.OK, Level.FAIL]
    assert "damaged" in checks[1].found


def test_a_file_that_is_no_store_is_said_to_be_none(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("not a database, and long enough to be taken for one" * 20)
    (check,) = check_store(store_at(path))
    assert check.level is Level.FAIL
    assert "not a store of Headrace" in check.found


def test_memory_is_a_store_that_keeps_nothing():
    (check,) = check_store(MemorySection(kind="memory"))
    assert check.level is Level.WARN


@pytest.mark.parametrize(
    ("free", "level"), [(5 << 30, Level.OK), (500 << 20, Level.WARN), (5 << 20, Level.FAIL)]
)
def test_a_disk_that_fills_up_is_told_before_it_is_full(monkeypatch, free, level):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    checks = list(doctor._disks(CONFIG, is_local=False))
    assert set(levels(checks)) == {level}
    assert len(checks) == 3
    assert all(bool(check.advice) == (level is not Level.OK) for check in checks)


@pytest.mark.parametrize(
    ("soft", "level"), [(1024, Level.FAIL), (1756, Level.OK), (resource.RLIM_INFINITY, Level.OK)]
)
def test_open_files_must_be_enough_for_what_a_client_has_in_flight(monkeypatch, soft, level):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, soft))
    check = doctor._files(CONFIG, is_local=False)
    assert check.level is level
    assert ("ulimit -n 1756" in check.advice) == (level is Level.FAIL)


def test_memory_that_is_too_small_for_the_actors_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "_available_bytes", lambda: 64 << 20)
    (check,) = doctor._memory(CONFIG, is_local=False)
    assert check.level is Level.WARN
    assert "64 MiB available for 6 actors" in check.found
    monkeypatch.setattr(doctor, "_available_bytes", lambda: None)
    assert list(doctor._memory(CONFIG, is_local=False)) == []  # not to be known here


def test_a_run_in_one_process_needs_the_files_of_all_requests_and_nothing_of_ray(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (3255, 3255))
    monkeypatch.setattr(doctor, "_available_bytes", lambda: 200 << 20)
    monkeypatch.setattr(doctor, "_ports", doctor._python)  # tests bind no port
    checks = {each.name: each for each in doctor.check_machine(CONFIG, {"RAY_ADDRESS": "h:1"}, is_local=True)}
    assert checks["files"].level is Level.FAIL
    assert checks["files"].advice == "set ulimit -n 3256, or use a lower max_in_flight"
    assert (checks["memory"].level, "one process" in checks["memory"].found) == (Level.OK, True)
    assert "cluster" not in checks
    assert len(list(doctor._disks(CONFIG, is_local=True))) == 2


def test_another_version_of_ray_is_told(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.61.0")
    assert doctor._ray().level is Level.WARN


GEMINI = ENDPOINT.model_copy(update={"dialect": "gemini"})
WRONG_KEY = b'{"error": {"code": 400, "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}'


def models(*names):
    return orjson.dumps({"data": [{"id": name} for name in names]})


@pytest.mark.parametrize(
    ("status", "body", "level", "found"),
    [
        (200, models("a", "m"), Level.OK, "has model m"),
        (200, models("a", "b"), Level.WARN, "does not list model m; it lists a, b"),
        (200, b'{"models": [{"name": "models/m"}]}', Level.OK, "has model m"),
        (200, b'{"models": [{"name": "models/n"}]}', Level.WARN, "does not list model m; it lists n"),
        (200, b"<html>", Level.WARN, "not a list of models"),
        (200, b"7", Level.WARN, "not a list of models"),
        (401, b"", Level.FAIL, "refuses the key"),
        (403, WRONG_KEY, Level.FAIL, "refuses the key"),
        (403, b"", Level.WARN, "does not permit the list of models"),
        (400, WRONG_KEY, Level.FAIL, "refuses the key"),
        (400, b"", Level.WARN, "status 400"),
        (404, b"", Level.WARN, "status 404"),
        (429, b"", Level.WARN, "an error for now"),
        (503, b"", Level.WARN, "an error for now"),
    ],
)
def test_what_an_endpoint_answers_is_judged(status, body, level, found):
    check = doctor_endpoints._judged(dialect_of(GEMINI), "http://h/v1/models", ListAnswer(status, {}, body))
    assert check.level is level
    assert found in check.found
    assert bool(check.advice) == (level is not Level.OK)


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_token_names_the_setting_that_gave_it(status):
    keys = {"name": "v", "base_url": "http://h/v1", "model": "m"}
    endpoint = EndpointSettings.model_validate({**keys, "credentials": {"kind": "command", "command": ["x"]}})
    answer = ListAnswer(status, {}, b"")
    assert (
        "credentials" in doctor_endpoints._judged(dialect_of(endpoint), "http://h/v1/models", answer).advice
    )


@pytest.mark.parametrize(("now", "level"), [(784111777.0, Level.OK), (784111777.0 + 3600, Level.WARN)])
def test_a_clock_that_is_wrong_is_told(now, level):
    answer = ListAnswer(200, {"date": "Sun, 06 Nov 1994 08:49:37 GMT"}, b"")
    assert levels(doctor_endpoints._clock(ENDPOINT, answer, now)) == [level]
    assert levels(doctor_endpoints._clock(ENDPOINT, ListAnswer(200, {}, b""), now)) == []


@pytest.mark.parametrize(
    ("outcome", "level", "found"),
    [
        (aiohttp.ClientConnectionError("refused"), Level.FAIL, "refused"),
        (TimeoutError(), Level.FAIL, "no answer from https://bedrock.test"),
        (ListAnswer(404, {}, b""), Level.OK, "it has no list of models"),
        (ListAnswer(401, {}, b""), Level.FAIL, "refuses the key"),
    ],
)
async def test_an_endpoint_without_a_list_of_models_is_connected_to(monkeypatch, outcome, level, found):
    keys = {"name": "main", "base_url": "https://bedrock.test", "model": "m", "dialect": "bedrock"}
    endpoint = EndpointSettings.model_validate({**keys, "api_key": "k"})
    monkeypatch.setattr(doctor_endpoints, "request_list", AsyncMock(side_effect=[outcome]))
    [check] = await doctor_endpoints._check(Mock(), endpoint, lambda: 0.0)
    assert (check.level, found in check.found) == (level, True)
