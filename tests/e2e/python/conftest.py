"""A working directory with a small configuration, which runs on the local engine with simulators."""

from __future__ import annotations

import pytest

CONFIG = """\
name: tiny
tasks: {kind: range, count: 12}
sources: [{name: s, kind: simulated}]
llm: {simulator: {latency_s: 0.01}}
evaluate: {prompt: "Judge {text}", output: {q: {type: number, min: 0, max: 1}}}
dimensions: [{name: q, field: q}]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a directory that is the working directory of the test, with the file tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path
