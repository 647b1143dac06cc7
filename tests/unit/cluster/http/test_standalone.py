"""Where the HTTP API on a Ray cluster of its own may listen."""

from __future__ import annotations

import os

import pytest
import typer
from typer.testing import CliRunner

from cluster.http import standalone

TOKEN = "a-token-of-some-length"  # noqa: S105 - of no service


@pytest.fixture
def served(monkeypatch):
    """Return what would be served."""
    hosts = []
    monkeypatch.setattr(standalone, "_serve", lambda _config, host, *_, **__: hosts.append(host))
    monkeypatch.setattr(os, "environ", {"PATH": os.defpath, "HEADRACE_API_TOKEN": TOKEN})
    return hosts


@pytest.fixture
def call(tmp_path):
    app = typer.Typer()
    app.command()(standalone.main)
    config = tmp_path / "config.yaml"
    config.write_text(
        "tasks: {kind: inline, tasks: [a]}\n"
        "sources: [{name: s, kind: simulated}]\n"
        "evaluate: {prompt: '{text}', output: {quality: {type: number, min: 0, max: 1}}}\n"
        "dimensions: [{name: quality, field: quality}]\n"
    )
    return lambda *words: CliRunner().invoke(app, [str(config), *words])


def test_serve_s_own_proxy_is_not_opened_to_other_machines(call, served):
    told = call("--host", "0.0.0.0", "--port", "8000")  # noqa: S104 - what is refused
    assert told.exit_code == 2
    assert "http.haproxy: true" in told.stderr
    assert not served


def test_serve_s_own_proxy_listens_on_loopback(call, served):
    told = call("--host", "127.0.0.1", "--port", "8000")
    assert told.exit_code == 0, told.stderr
    assert served == ["127.0.0.1"]
