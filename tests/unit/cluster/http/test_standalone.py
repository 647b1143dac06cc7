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
    return hosts


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {"PATH": os.defpath, "HEADRACE_API_TOKEN": TOKEN})
    app = typer.Typer()
    app.command()(standalone.main)
    config = tmp_path / "config.yaml"

    def called(*words, haproxy=False):
        config.write_text(
            "tasks: {kind: inline, tasks: [a]}\n"
            "sources: [{name: s, kind: simulated}]\n"
            "evaluate: {prompt: '{text}', output: {quality: {type: number, min: 0, max: 1}}}\n"
            "dimensions: [{name: quality, field: quality}]\n"
            f"http: {{haproxy: {str(haproxy).lower()}}}\n"
        )
        return CliRunner().invoke(app, [str(config), *words])

    return called


def test_serve_s_own_proxy_is_not_opened_to_other_machines(call, served):
    told = call("--host", "0.0.0.0", "--port", "8000")  # noqa: S104 - what is refused
    assert told.exit_code == 2
    assert "http.haproxy: true" in told.stderr
    assert not served


def test_the_files_of_haproxy_are_removed_at_the_end(call, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(standalone, "private_root", lambda: tmp_path)
    monkeypatch.setattr(
        standalone, "haproxy_environment", lambda _env, directory, _port: given.append(directory) or {}
    )
    monkeypatch.setattr(standalone, "_free_port", lambda _host: 20_000)
    monkeypatch.setattr(standalone, "_serve", lambda *_, **__: given.append(given[0].exists()))
    told = call("--port", "8000", haproxy=True)
    assert told.exit_code == 0, told.stderr
    directory, existed = given
    assert existed
    assert not directory.exists()


def test_serve_s_own_proxy_listens_on_loopback(call, served):
    told = call("--host", "127.0.0.1", "--port", "8000")
    assert told.exit_code == 0, told.stderr
    assert served == ["127.0.0.1"]
