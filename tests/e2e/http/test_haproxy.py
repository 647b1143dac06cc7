"""HAProxy before the HTTP API: nothing else is open, its answers have one form, it ends with the service."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import stat
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.e2e.http.conftest import WITHIN_S, started

HAPROXY = "bin/haproxy -db"  # part of the title of its process

REPLICAS = range(30_000, 31_000)  # where Serve has replicas listen for HAProxy
NO_ANSWER = 0


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Start a service, and kill it at the end: HAProxy ends with it, and so do all of its processes."""
    with started(tmp_path_factory.mktemp("haproxy"), haproxy=True) as service:
        yield service
        haproxy = service.processes(HAPROXY)
        service.process.kill()
        _, left = psutil.wait_procs(haproxy, WITHIN_S)
        assert haproxy
        assert not left


def files_of_haproxy(service):
    """Return the directory of HAProxy's files."""
    command = service.processes(HAPROXY)[0].cmdline()
    return Path(command[command.index("-f") + 1]).parent


def listening(processes):
    return {
        (each.laddr.ip, each.laddr.port)
        for process in processes
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }


async def test_nothing_listens_beyond_this_machine_and_nobody_else_commands_haproxy(service, ann):
    haproxy = listening(service.processes(HAPROXY))
    assert [f"http://{host}:{port}" for host, port in haproxy] == [service.url]
    # What else a replica listens at is Ray's and Serve's own.
    replicas = {each for each in listening(service.processes("ServeReplica")) if each[1] in REPLICAS}
    assert len(replicas) == 1
    assert all(ipaddress.ip_address(host).is_loopback for host, _ in replicas)
    assert stat.S_IMODE((files_of_haproxy(service) / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE(files_of_haproxy(service).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("title", "seen"), [(HAPROXY, NO_ANSWER), ("ray::HAProxyManager", NO_ANSWER), ("ServeReplica", 503)]
)
async def test_a_process_that_is_killed_is_replaced_and_until_then_requests_are_refused_in_one_form(
    service, ann, title, seen
):
    async def until(wanted):
        status = None
        while status != wanted:
            try:
                answer = await ann("GET", "/healthz")
            except aiohttp.ClientError:
                status = NO_ANSWER
            else:
                status = answer.status
                assert status == 200 or answer.problem(503)["retry_after_s"] >= 1
            await asyncio.sleep(0.02)

    await until(200)
    (controller,) = service.processes("ServeController")
    controller.suspend()  # who begins all of these anew: what was killed is not back before it was missed
    try:
        for each in service.processes(title):
            each.send_signal(signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            await until(seen)
    finally:
        controller.resume()
    async with asyncio.timeout(WITHIN_S):
        await until(200)
