"""What a store names is read for single keys only."""

from __future__ import annotations

import os

import pytest

from cluster.config.loading import lease_of

EVIL = 'evaluate: {prompt: "{text}", output: "lease_evil:M"}\n'


@pytest.mark.parametrize(
    ("store", "lease_s"),
    [
        ("store: {kind: sqlite, lease_s: 60}", 60.0),
        ("store: {kind: sqlite, lease_s: '${LEASE}'}", 7.0),
        ("store: {kind: sqlite, lease_s: 1.0e+9}", None),
        ("store: {kind: sqlite, lease_s: .nan}", None),
        ("store: {kind: sqlite, lease_s: [1]}", None),
        ("store: sqlite", None),
        ("name: reviews", None),
    ],
)
def test_the_lease_is_read_and_no_module_is_imported(tmp_path, monkeypatch, store, lease_s):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lease_evil.py").write_text("raise SystemExit")
    (tmp_path / "job.yaml").write_text(EVIL + store)
    assert lease_of(tmp_path / "job.yaml", {"LEASE": "7"}) == lease_s


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "job.yaml")
    assert lease_of(tmp_path / "job.yaml", {}) is None
