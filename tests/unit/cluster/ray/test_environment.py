"""What is set for Ray, and what is refused, before it is imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from actors.core.errors import ConfigError
from cluster.ray.environment import FLAGS, HOST_FLAGS, for_cluster, for_serve, resolve

ENABLED, STARTED, BINARY = (
    "RAY_SERVE_ENABLE_HA_PROXY",
    "RAY_SERVE_HAPROXY_BINARY_PATH",
    "HEADRACE_HAPROXY_BINARY",
)


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_where_traffic_is_to_be_encrypted_a_run_is_refused_instead_of_sending_it_in_the_clear(value):
    with pytest.raises(ConfigError, match="RAY_USE_TLS"):
        resolve("local", {"RAY_USE_TLS": value})


def test_encryption_that_is_switched_off_is_no_reason_to_refuse():
    assert resolve("auto", {"RAY_USE_TLS": "0", "RAY_ADDRESS": "host:6379"}) == "host:6379"


def test_a_cluster_is_told_every_flag_in_words_that_ray_knows_unless_the_environment_says_else():
    told = for_cluster({"RAY_worker_niceness": "5", "MALLOC_ARENA_MAX": "8"})
    assert {name for name in told if name.startswith("RAY_")} == {
        f"RAY_{name}" for name in (*FLAGS, *HOST_FLAGS)
    }
    assert told["RAY_enable_worker_prestart"] == "0"  # "False" would be taken for it by chance alone
    assert (told["RAY_worker_niceness"], told["MALLOC_ARENA_MAX"]) == ("5", "8")


def test_a_cluster_that_we_start_declares_a_host_dead_within_ten_seconds_of_its_last_answer():
    told = for_cluster({})
    initial, period, timeout, failures = (
        int(told[f"RAY_health_check_{name}"])
        for name in ("initial_delay_ms", "period_ms", "timeout_ms", "failure_threshold")
    )
    assert initial + failures * (period + timeout) <= 10_000


def test_ray_asks_for_a_token_in_tests_and_benchmarks():
    assert os.environ["RAY_AUTH_MODE"] == "token"
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)
    root = Path(__file__).resolve().parents[4]
    files = [*(root / "benchmarks").rglob("*.py"), *(root / "tests").rglob("*.py")]
    open_to_all = [path.name for path in files if re.search(r"RAY_AUTH_MODE\W+disabled", path.read_text())]
    assert open_to_all == ["test_jobs.py"]  # which submits without a token, and is refused


@pytest.fixture
def tools(tmp_path):
    """Return an environment with all that is needed, and a program that may be taken for HAProxy."""
    for name in ("sh", "awk", "setpriv", "haproxy"):
        (tmp_path / name).touch(0o700)
    return {"PATH": str(tmp_path), STARTED: str(tmp_path / "haproxy")}


def test_haproxy_is_never_started_as_serve_would(tools, tmp_path):
    told = for_serve(tools, tmp_path, 1234)
    assert told[ENABLED] == "1"
    assert told[BINARY] == tools[STARTED]
    assert Path(told[STARTED]).parts[-3:] == ("http", "haproxy", "run")
    assert told["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"] == "1234"
    assert for_serve({**tools, **told}, tmp_path, 1)[BINARY] == tools[STARTED]  # within what it was set for


def test_what_haproxy_keeps_lies_in_one_directory(tools, tmp_path):
    told = for_serve(tools, tmp_path / "place", 1)
    files = {value for name, value in told.items() if name.endswith(("_LOC", "_PATH", "_BASE", "_FILE"))}
    files -= {
        value
        for name, value in told.items()
        if name in (STARTED, "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH")
    }
    assert len(files) == 5
    assert all(Path(each).is_relative_to(tmp_path / "place") for each in files)


@pytest.mark.parametrize("missing", ["sh", "awk", "setpriv", "haproxy"])
def test_without_what_haproxy_takes_serves_own_proxy_does(tools, tmp_path, missing):
    (tmp_path / missing).unlink()
    told = for_serve({**tools, ENABLED: "1"}, tmp_path, 1)
    assert told[ENABLED] == "0"
    assert STARTED not in told


def test_what_the_environment_says_stands(tools, tmp_path):
    assert for_serve({**tools, ENABLED: "0"}, tmp_path, 1)[ENABLED] == "0"
    own = {"RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "32768", "RAY_SERVE_LOG_TO_STDERR": "1"}
    assert own.items() <= for_serve({**tools, **own}, tmp_path, 1).items()
