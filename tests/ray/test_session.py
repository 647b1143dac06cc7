"""The cluster that a run starts for itself: what is there, and what is not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import ray
from ray._private import services
from ray._private.node import Node


def programs() -> set[str]:
    """Return the names of the scripts that Ray runs for the cluster that this process started."""
    mine = ray.get_runtime_context().get_session_name()
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # what other tests started may end meanwhile
            line = child.cmdline()
            if mine in " ".join(line):
                found |= {Path(word).name for word in line if word.endswith(".py")}
    return found


def test_there_is_nothing_that_scales_clusters_nor_a_dashboard_that_nobody_asked_for(cluster):
    found = programs()
    assert "log_monitor.py" in found  # so these are Ray's
    assert not {"monitor.py", "dashboard.py"} & found


def test_ray_is_as_it_was_once_the_cluster_is_there(cluster):
    replaced = (services.get_node, services.start_api_server, Node.start_monitor)
    assert {each.__module__ for each in replaced} == {"ray._private.services", "ray._private.node"}
