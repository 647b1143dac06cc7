"""Runs on a cluster of three hosts: one is cut off, one loses power, the head is lost and comes back."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from tests.cluster.conftest import CALLS_A_TASK, ROOT, TASKS, check_books, configured, until

CLIENT = "ray::LLMClientActor"
UNDER_WAY = TASKS * CALLS_A_TASK // 4
# Longer than the 10 s after which a silent connection is closed, shorter than the 64 s after which Ray's own
# health checks declare a host dead: its actors are where they were when it is back. Hours of absence are in
# tests/property/test_long_outages.py.
CUT_S = float(os.environ.get("HEADRACE_TEST_CUT_S", "13"))
HEAD_OFF_S = float(
    os.environ.get("HEADRACE_TEST_HEAD_OFF_S", "0")
)  # and the 5 to 10 s that it takes to start
# What docs/operations.md tells the operator of several hosts to set on each of them.
HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_raylet_liveness_self_check_interval_ms": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}
# Ray starts the dispatcher again about 10 s after the loss, and later on a busy machine. With its own health
# checks it does so after 65 s.
ELSEWHERE_WITHIN_S = 50.0

# Reads the metrics of jobs until one shows a ghost, which takes a lease.
UNTIL_A_GHOST = """
import time
from pathlib import Path
from cluster.ray.ghost_jobs import reader
read = reader(Path("config.yaml"))
while "ghost_jobs 1" not in (text := read()):
    time.sleep(0.3)
print(text)
"""


def dispatcher_on_a_worker(cluster):
    """Return the host of the dispatcher, once that is not the head: Ray may start it on any host."""
    while True:
        host, process = until(lambda: cluster.host_of("Dispatcher"), bool, 60)
        if host is not cluster.head:
            return host
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)


def held(endpoint):
    """Return whether a run is under way at an endpoint, which then lets no further request begin."""
    is_under_way = endpoint.billed() >= UNDER_WAY
    if is_under_way:
        endpoint.control(hold=1)
    return is_under_way


def test_a_dispatcher_that_is_cut_off_and_back_costs_no_task(start_hosts, begin, start_endpoint):
    cluster, endpoint = start_hosts({}), start_endpoint("model")
    run = begin(cluster, cluster.head, endpoint)
    until(endpoint.billed, lambda billed: billed > 0, 60)
    host = dispatcher_on_a_worker(cluster)
    until(endpoint.billed, lambda billed: billed >= UNDER_WAY, 60)
    host.cut_off()
    time.sleep(CUT_S)
    host.reconnect()
    run.succeeded()


def test_clients_follow_hosts_that_join_and_leave_and_a_dispatcher_whose_host_is_lost_is_started_elsewhere(
    start_hosts, begin, start_endpoint
):
    cluster, endpoint = start_hosts(HEALTH_CHECKS, hosts=2), start_endpoint("followed")
    (host,) = cluster.workers
    run = begin(cluster, cluster.head, endpoint, tasks=64, in_flight=3)
    until(endpoint.billed, lambda billed: billed > 0, 60)
    assert len(host.processes(CLIENT)) == 3  # none is on the head
    joined = cluster.join()
    until(lambda: joined.processes(CLIENT), bool, 30)
    _, said = host.run([sys.executable, "-m", "cluster.ray.leave"], cluster.env, cwd=ROOT)
    assert "2 LLM clients have left this host" in said
    endpoint.control(latency_s=0.05)
    for process in host.processes(CLIENT):
        process.kill()
    summary = run.succeeded()
    assert summary["calls"]["in_doubt"] == 0

    endpoint = start_endpoint("lost")
    run = begin(cluster, cluster.head, endpoint)
    until(endpoint.billed, lambda billed: billed > 0, 60)
    host = dispatcher_on_a_worker(cluster)
    until(endpoint.billed, lambda billed: billed >= UNDER_WAY, 60)
    assert host.processes(CLIENT)  # each worker has one: calls are lost with it
    host.lose_power()
    until(lambda: cluster.host_of("Dispatcher"), bool, ELSEWHERE_WITHIN_S)
    endpoint.control(latency_s=0.05)
    run.succeeded()


def test_a_run_outlives_a_head_that_is_lost_and_its_job_continues_when_it_is_submitted_again(
    start_hosts, begin, start_endpoint
):
    cluster = start_hosts(HEALTH_CHECKS, redis=True, hosts=2, dashboard=True)
    of_run, of_job = endpoints = start_endpoint("run"), start_endpoint("job")
    configured(of_job)
    submit = ("submit", "config.yaml", "--run-id=ghost", "--json")
    cluster.driver(of_job.directory, *submit)
    run = begin(cluster, cluster.workers[0], of_run)
    until(lambda: [held(each) for each in endpoints], all, 100)
    cluster.head.lose_power()
    time.sleep(HEAD_OFF_S)
    cluster.head.switch_on()
    cluster.start_head()
    for each in endpoints:
        assert each.billed() < TASKS * CALLS_A_TASK  # neither has ended meanwhile
        each.control(hold=0, latency_s=0.05)
    run.succeeded()
    assert "headrace_ghost_jobs 1" in cluster.python(of_job.directory, UNTIL_A_GHOST)
    stdout, stderr = cluster.driver(of_job.directory, *submit, "--wait")
    assert "job ghost is dead, although the cluster reports it as running" in stderr
    assert "as job ghost~2" in stderr
    check_books("ghost", json.loads(stdout), of_job)
