"""Runs on a cluster of three hosts that loses one of them."""

from __future__ import annotations

import os
import signal

import pytest

from cluster.ray_environment import for_cluster
from tests.cluster.conftest import CALLS_A_TASK, TASKS, until

UNDER_WAY = TASKS * CALLS_A_TASK // 4
ELSEWHERE_WITHIN_S = 15.0  # declared dead within 10 s, then started; with Ray's own health checks 65 s


def dispatcher_on_a_worker(cluster):
    """Return the host of the dispatcher, once that is not the head: Ray may start it on any host."""
    while True:
        host, process = until(lambda: cluster.host_of("Dispatcher"), bool, 60)
        if host is not cluster.head:
            return host
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.mark.timeout(400)
def test_a_dispatcher_whose_host_loses_power_is_started_elsewhere_within_seconds_and_no_task_is_lost(
    three_hosts, begin, endpoint
):
    cluster = three_hosts(for_cluster({}))
    run = begin(cluster, cluster.head)
    until(endpoint.billed, lambda billed: billed > 0, 60)
    host = dispatcher_on_a_worker(cluster)
    until(endpoint.billed, lambda billed: billed >= UNDER_WAY, 60)
    host.lose_power()
    until(lambda: cluster.host_of("Dispatcher"), bool, ELSEWHERE_WITHIN_S)
    run.succeeded()
