"""The link over TCP keeps what every link promises."""

from __future__ import annotations

from typing import Any

import pytest

from actors.transport.address import Address
from actors.transport.tcp.authentication import Location
from actors.transport.tcp.link import SocketLink
from actors.transport.tcp.server import SocketServer
from tests.unit.support.link_contract import Echo, LinkContract, Place


class OverTcp(Place):
    """An actor behind a server on loopback."""

    def __init__(self):
        super().__init__()
        self.server = SocketServer(self.actor.inbox)

    def address(self):
        return Served("echo", self)

    async def location(self) -> Location:
        return await self.server.location("127.0.0.1")

    async def restart(self):
        self.server.close()
        self.actor = Echo()
        self.server = SocketServer(self.actor.inbox)

    async def close(self):
        self.server.close()


class Served(Address[Any, Any], frozen=True):
    """The address of the actor behind the server that is there now."""

    place: OverTcp

    def link(self):
        return SocketLink(self.place)


@pytest.fixture
async def place():
    made = OverTcp()
    yield made
    await made.close()


class TestTcpLink(LinkContract):
    """The contract, over TCP."""
