"""What is set for Ray, and what is refused, before it is imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from actors.core.errors import ConfigError
from cluster.ray import environment
from cluster.ray.environment import CLUSTER, SERVE, resolve, with_defaults


@pytest.fixture(autouse=True)
def temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "private_root", lambda: tmp_path)


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_a_run_with_ray_s_tls_is_refused_because_its_own_connections_would_not_be_encrypted(value):
    with pytest.raises(ConfigError, match="RAY_USE_TLS"):
        resolve("local", {"RAY_USE_TLS": value})


def test_tls_that_is_off_is_no_reason_to_refuse():
    assert resolve("auto", {"RAY_USE_TLS": "0", "RAY_ADDRESS": "host:6379"}) == "host:6379"


def test_a_cluster_of_a_run_s_own_asks_for_a_token_that_only_its_user_can_read():
    env = {}
    assert resolve("auto", env) == "local"
    assert env["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in env  # every process that Ray starts would show it in its environment
    token = Path(env["RAY_AUTH_TOKEN_PATH"])
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)


def test_a_token_and_a_setting_of_the_user_s_own_stay():
    env = {"RAY_AUTH_TOKEN": "mine"}
    resolve("local", env)
    assert env == {"RAY_AUTH_TOKEN": "mine", "RAY_AUTH_MODE": "token"}
    told = with_defaults(CLUSTER | SERVE, {"RAY_SERVE_LOG_TO_STDERR": "1", "MORE": "1"})
    assert told.keys() == {*CLUSTER, *SERVE}
    assert told["RAY_SERVE_LOG_TO_STDERR"] == "1"


def test_a_running_cluster_s_settings_are_not_touched():
    env = {}
    assert resolve("host:6379", env) == "host:6379"
    assert env == {}


def test_ray_asks_for_a_token_in_tests_and_benchmarks():
    assert os.environ["RAY_AUTH_MODE"] == "token"
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 64)
    root = Path(__file__).resolve().parents[4]
    files = [*(root / "benchmarks").rglob("*.py"), *(root / "tests").rglob("*.py")]
    open_to_all = [path.name for path in files if re.search(r"RAY_AUTH_MODE\W+disabled", path.read_text())]
    assert open_to_all == ["test_jobs.py"]  # which submits without a token, and is refused
