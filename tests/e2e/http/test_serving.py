"""What the application refuses when it is deployed, before Serve has anything of it."""

from __future__ import annotations

import warnings

import pytest

from actors.core.errors import ConfigError
from cluster.http.haproxy.settings import ENABLED
from tests.e2e.http.conftest import ROOT


@pytest.fixture
def application():
    """Return the function, with the configuration of `config`. To import Serve warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cluster.http import serving  # noqa: PLC0415 - see above
    return lambda path, **named: serving.application(serving.Arguments(config=str(path)), **named)


@pytest.fixture
def config(tmp_path):
    text = (ROOT / "configs" / "serve_demo.yaml").read_text()
    path = tmp_path / "config.yaml"
    path.write_text(f"{text}\nhttp: {{haproxy: true}}\n")
    return path


def test_haproxy_on_a_cluster_that_was_started_without_it_is_an_error(application, config, monkeypatch):
    monkeypatch.delenv(ENABLED, raising=False)
    with pytest.raises(ConfigError, match=r"http.haproxy is true.*python -m cluster.http.haproxy.settings"):
        application(config)


def test_behind_haproxy_a_service_without_a_token_must_listen_on_loopback(application, config, monkeypatch):
    """HAProxy connects from this machine: a replica would take every caller for a process of this machine."""
    monkeypatch.setenv(ENABLED, "1")
    monkeypatch.delenv("HEADRACE_API_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="an address that is not known, beyond this machine"):
        application(config)
    with pytest.raises(ConfigError, match=r"listens at 0\.0\.0\.0, beyond this machine"):
        application(config, host="0.0.0.0")  # noqa: S104 - what is refused
    assert application(config, host="127.0.0.1") is not None
