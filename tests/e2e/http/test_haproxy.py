"""HAProxy before the door: nothing else is open, its answers have one form, and it ends with all the rest."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import stat
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.e2e.http.conftest import HAPROXY, started

REPLICAS = range(30_000, 31_000)  # where Serve has replicas listen for HAProxy
GONE_WITHIN_S = 30.0
NO_ANSWER = 0


def listening(processes):
    return {
        (each.laddr.ip, each.laddr.port)
        for process in processes
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    }


def files(service):
    """Return the directory of what HAProxy keeps."""
    command = service.processes(HAPROXY)[0].cmdline()
    return Path(command[command.index("-f") + 1]).parent


async def test_nothing_listens_beyond_this_machine_and_nobody_else_commands_haproxy(service, ann):
    haproxy = listening(service.processes(HAPROXY))
    assert [f"http://{host}:{port}" for host, port in haproxy] == [service.url]
    # What else a replica listens at is Ray's and Serve's own.
    replicas = {each for each in listening(service.processes("ServeReplica")) if each[1] in REPLICAS}
    assert len(replicas) == 1
    assert all(ipaddress.ip_address(host).is_loopback for host, _ in replicas)
    assert stat.S_IMODE((files(service) / "admin.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(files(service).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("title", "seen"), [(HAPROXY, NO_ANSWER), ("ray::HAProxyManager", NO_ANSWER), ("ServeReplica", 503)]
)
async def test_whatever_is_killed_is_back_and_until_then_the_door_refuses_in_its_form(
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
    for each in service.processes(title):
        each.send_signal(signal.SIGKILL)
    async with asyncio.timeout(60):
        await until(seen)
        await until(200)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_haproxy_ends_with_the_service_however_that_ends(tmp_path, number):
    with started(tmp_path) as service:
        place = files(service).parent
        haproxy = service.processes(HAPROXY)
        os.kill(service.process.pid, number)
        _, left = await asyncio.to_thread(psutil.wait_procs, haproxy, GONE_WITHIN_S)
        assert not left
        if number == signal.SIGTERM:
            await asyncio.to_thread(service.process.wait, GONE_WITHIN_S)
            assert not place.exists()
