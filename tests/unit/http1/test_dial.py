"""How a host is looked up and connected to, without sockets."""

from __future__ import annotations

import asyncio
import socket
from unittest.mock import AsyncMock

import pytest

from actors.http1 import dial
from actors.http1.dial import Dialer
from actors.http1.proxy import HttpProxy, ProxyError
from tests.unit.support.leaping_loop import run_leaping


class Socket:
    def __init__(self):
        self.options = {}

    def setsockopt(self, level, option, value):
        self.options[level, option] = value


class Desk:
    """A dialer of a host with addresses 1 and 2. `tried` lists them in the order of each connection."""

    def __init__(self, monkeypatch):
        self.looked_up, self.tried, self.errors, self.sockets = 0, [], [], []
        monkeypatch.setattr(dial, "start_connection", self.start)
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", self.finish)
        self.dialer = Dialer("h.test", 80, tls=False, within_s=5.0, look_up=self.look_up)

    async def look_up(self, host, port):
        self.looked_up += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop()
        return [1, 2]

    async def start(self, found, **_):
        self.tried.append(found)
        self.sockets.append(Socket())
        return self.sockets[-1]

    async def finish(self, make, *, sock, ssl, server_hostname):
        assert (ssl, server_hostname) == (None, None)
        return sock, make()

    async def connect(self):
        return await self.dialer.connect(asyncio.Protocol)


def leaping(test):
    """Have a test of a desk run on a leaping loop."""

    def run(monkeypatch):
        async def main():
            await test(Desk(monkeypatch))

        run_leaping(main())

    run.__name__ = test.__name__
    return run


@leaping
async def test_each_connection_begins_with_the_next_address(desk):
    for _ in range(3):
        await desk.connect()
    assert desk.tried == [[2, 1], [1, 2], [2, 1]]


@leaping
async def test_a_host_is_looked_up_once_in_half_a_minute(desk):
    await asyncio.gather(*(desk.connect() for _ in range(10)))
    await asyncio.sleep(29.9)
    await desk.connect()
    assert desk.looked_up == 1
    await asyncio.sleep(0.2)
    await desk.connect()
    assert desk.looked_up == 2


@leaping
async def test_a_look_up_that_failed_is_made_again_at_once(desk):
    desk.errors = [OSError("not now")]
    with pytest.raises(OSError, match="not now"):
        await desk.connect()
    await desk.connect()
    assert desk.looked_up == 2


@leaping
async def test_small_requests_are_sent_at_once_and_silent_connections_probed(desk):
    await desk.connect()
    options = desk.sockets[0].options
    assert options[socket.IPPROTO_TCP, socket.TCP_NODELAY] == 1
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1


@leaping
async def test_closing_ends_a_look_up_that_is_under_way(desk):
    waiting = asyncio.create_task(desk.connect())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await desk.dialer.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("cause", "said"),
    [(ConnectionRefusedError(111, "refused"), ": [Errno 111] refused"), (TimeoutError(110, "late"), "late")],
)
async def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch, cause, said):
    async def look_up(host, port):
        assert (host, port) == ("proxy.test", 3128)
        return [1]

    monkeypatch.setattr(dial, "start_connection", AsyncMock(side_effect=cause))
    proxy = HttpProxy("proxy.test", 3128, "Basic secret")
    dialer = Dialer("h.test", 443, tls=False, within_s=5.0, look_up=look_up, proxy=proxy)
    with pytest.raises(ProxyError, match=r"no connection to the proxy proxy\.test:3128") as caught:
        await dialer.connect(asyncio.Protocol)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
