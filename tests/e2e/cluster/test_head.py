"""A cluster that is started once, found again, and ended: what it refuses, and what it leaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cluster.ray import head as module
from cluster.ray.head import HeadError, running, start, stop


def started(tmp_path, monkeypatch, program):
    """Start `program` in place of Ray."""

    def spawned(command, env, log):
        return spawn([sys.executable, "-c", program, *command], env, log)

    monkeypatch.setattr(module, "_spawn", spawned)
    return start(tmp_path, dashboard_port=0, root=tmp_path, env={})


spawn = module._spawn


def test_a_program_that_ends_while_it_starts_is_an_error_that_names_the_log(tmp_path, monkeypatch):
    with pytest.raises(HeadError, match=r"Ray ended while it started; see .*head\.log"):
        started(tmp_path, monkeypatch, "print('no')")
    assert running(tmp_path) is None


def test_a_cluster_that_does_not_start_in_time_is_an_error_and_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_UP_WITHIN_S", 0.5)
    with pytest.raises(HeadError, match=r"Ray did not start within .* see .*head\.log"):
        started(tmp_path, monkeypatch, "import time; time.sleep(100)")


def test_a_running_cluster_is_found_and_not_started_again(head, tmp_path):
    directory = tmp_path / "other"
    assert running(directory) is None
    assert not stop(directory)
    known = running(Path(head.token_path).parent)
    assert known == head
    with pytest.raises(HeadError, match=f"a cluster runs already: {head.dashboard}; stop it with"):
        start(Path(head.token_path).parent, dashboard_port=0, root=tmp_path, env=os.environ)


def test_a_dashboard_port_that_is_in_use_is_refused(head, tmp_path):
    port = int(head.dashboard.rpartition(":")[2])
    with pytest.raises(HeadError, match=f"port {port} is in use"):
        start(tmp_path, dashboard_port=port, root=tmp_path, env=os.environ)


def test_a_cluster_does_not_keep_what_the_command_that_starts_it_has_open(tmp_path, monkeypatch):
    """Such as a lock, which would be held for as long as the cluster runs."""
    mine, other = os.pipe()
    os.set_inheritable(other, True)
    program = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    with pytest.raises(HeadError):
        started(tmp_path, monkeypatch, program)
    kept = (tmp_path / "head.log").read_text()
    os.close(mine)
    os.close(other)
    assert f"'{other}'" not in kept
    assert "'2'" in kept
