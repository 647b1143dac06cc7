"""Opens connections to one host: its addresses are looked up at times, and raced where it has several."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

_ADDRESSES_GOOD_FOR_S = 30.0
_NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305, section 5
_PROBE_AFTER_S = 60  # of silence: what lies between forgets idle connections without a word

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
LookUp = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]


async def system_addresses(host: str, port: int) -> Sequence[AddrInfoType]:
    """Return where the system says that `host` is, by name or by number. Raises OSError."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dialer:
    """Connects to a host by name or address, with TLS where `tls`, within `within_s` seconds.

    It connects to nothing that `look_up` did not return; what that raises is raised to all who wait for it.
    """

    def __init__(self, host: str, port: int, *, tls: bool, within_s: float, look_up: LookUp) -> None:
        self._host, self._port = host, port
        self._look_up = look_up
        self._within_s = within_s
        self._tls = _tls() if tls else None
        self._looking: asyncio.Task[list[AddrInfoType]] | None = None
        self._looked_at = 0.0
        self._turn = 0

    async def connect(self, make: Callable[[], ProtocolT]) -> ProtocolT:
        """Return a connected protocol. Raises OSError, and what `look_up` raises."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._within_s):
                found = await self._addresses()
                self._turn += 1
                first = self._turn % len(found)
                connected = await start_connection(
                    found[first:] + found[:first],
                    happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S,
                    interleave=1,
                )
                _set_up(connected)
                _, protocol = await loop.create_connection(
                    make,
                    sock=connected,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except TimeoutError as error:  # ours, or the system's, which may be shorter
            within = "" if error.errno else f" within {self._within_s:g} s"
            raise ConnectionError(f"no connection to {self._host}:{self._port}{within}") from error
        return protocol

    async def close(self) -> None:
        """Stop looking up."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _addresses(self) -> list[AddrInfoType]:
        """Return where the host is; hundreds that ask at once look it up once."""
        loop = asyncio.get_running_loop()
        looking = self._looking
        if looking is None or (looking.done() and not self._is_fresh(looking, loop.time())):
            self._looked_at = loop.time()
            looking = self._looking = asyncio.create_task(self._found())
        return await asyncio.shield(looking)  # the others wait for it, too

    def _is_fresh(self, looking: asyncio.Task[list[AddrInfoType]], now: float) -> bool:
        failed = looking.cancelled() or looking.exception() is not None
        return not failed and now - self._looked_at < _ADDRESSES_GOOD_FOR_S

    async def _found(self) -> list[AddrInfoType]:
        found = [*await self._look_up(self._host, self._port)]
        if not found:
            raise OSError(f"{self._host} has no address")
        return found


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _set_up(connected: socket.socket) -> None:
    # Else the last part of a long request waits for the other side to confirm the parts before.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
