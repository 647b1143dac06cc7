"""The cluster that a run starts for itself: what is there, and what is not."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import ray
from ray._private import services
from ray._private.node import Node

from cluster.ray import idle_agent, own_cluster, private_place
from tests.ray.conftest import WITHIN_S


def programs(parent: str = "") -> list[str]:
    """Return the scripts that Ray runs for the cluster that this process started, or for `parent` there.

    An agent of Ray's is no script: once it has loaded, it goes by a title, ``ray::DashboardAgent``.
    """
    mine = ray.get_runtime_context().get_session_name()
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # what other tests started may end meanwhile
            line, above = child.cmdline(), child.parent()
            if parent in above.name() and mine in " ".join([*line, *above.cmdline()]):
                found += [Path(word).name for word in line if word.endswith(".py")]
    return found


def test_there_is_nothing_that_scales_clusters_nor_a_dashboard_that_nobody_asked_for(cluster):
    found = programs()
    assert "log_monitor.py" in found  # so these are Ray's
    assert not {"monitor.py", "dashboard.py"} & set(found)


def test_nobody_else_can_enter_the_directory_of_all_that_is_temporary_while_a_cluster_runs(cluster):
    session = ray.get_runtime_context().get_session_name()
    assert (private_place.root_path() / "ray" / session / "sockets").is_dir()
    assert stat.S_IMODE(private_place.root_path().stat().st_mode) == 0o700


def test_what_runs_as_the_agents_of_a_node_does_nothing(cluster):
    # A raylet runs two, and these are both: so none of Ray's is among them.
    assert programs("raylet").count("idle_agent.py") == 2


def test_a_job_that_was_submitted_finds_the_agent_that_makes_its_environment(monkeypatch):
    start = services.start_ray_process
    with own_cluster._few_daemons(dashboard=False):
        assert services.start_ray_process is not start
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with own_cluster._few_daemons(dashboard=False):
        assert services.start_ray_process is start


_STARTS = """
import subprocess, sys
agent = subprocess.Popen(sys.argv[1:])
print(agent.pid, flush=True)
agent.wait()
"""


def test_an_idle_agent_ends_with_what_started_it():
    python = (sys.executable, "-IS")
    command = (*python, "-c", _STARTS, *python, idle_agent.__file__)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as raylet:  # noqa: S603 - our own words
        agent = psutil.Process(int(raylet.stdout.readline()))
        assert agent.is_running()
        raylet.kill()
    gone, _ = psutil.wait_procs([agent], WITHIN_S)
    assert gone


def test_ray_is_as_it_was_once_the_cluster_is_there(cluster):
    replaced = (
        services.get_node,
        services.start_api_server,
        services.start_ray_process,
        Node.start_monitor,
    )
    assert {each.__module__ for each in replaced} == {"ray._private.services", "ray._private.node"}
