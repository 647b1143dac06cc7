"""Opens connections to one host. Caches its addresses, and races several of them (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from actors.http1.proxy import HttpProxy, ProxyError, open_tunnel

_ADDRESSES_VALID_S = 30.0
_NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305, section 5
_PROBE_AFTER_S = 60  # TCP keepalive: firewalls silently drop idle connections

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
LookUp = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]


async def system_addresses(host: str, port: int) -> Sequence[AddrInfoType]:
    """Resolve `host`, a name or an address, with the system's resolver. Raises OSError."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dialer:
    """Connects to a host by name or address within `within_s` seconds, with TLS if `tls`.

    With a proxy it connects to that, and with TLS through a tunnel of the proxy.

    Connects only to addresses that `look_up` returned. An error of `look_up` is raised in every waiting
    `connect`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool,
        within_s: float,
        look_up: LookUp,
        proxy: HttpProxy | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._proxy = proxy
        self._next_host, self._next_port = (host, port) if proxy is None else (proxy.host, proxy.port)
        self._look_up = look_up
        self._within_s = within_s
        self._tls = _tls() if tls else None
        self._lookup: asyncio.Task[list[AddrInfoType]] | None = None
        self._looked_up_at = 0.0
        self._turn = 0

    async def connect(self, make: Callable[[], ProtocolT]) -> ProtocolT:
        """Return a connected protocol. Raises OSError, and what `look_up` raises."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._within_s):
                connected = await self._connect()
                _set_up(connected)
                await self._open_tunnel(connected)
                _, protocol = await loop.create_connection(
                    make,
                    sock=connected,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except TimeoutError as error:  # of `asyncio.timeout`, or of the system, which has an errno
            within = "" if error.errno else f" within {self._within_s:g} s"
            text = f"no connection to {self._host}:{self._port}"
            if self._proxy is not None:
                raise ProxyError(f"{text} through the proxy {self._proxy}{within}") from error
            raise ConnectionError(f"{text}{within}") from error
        return protocol

    async def _connect(self) -> socket.socket:
        try:
            found = await self._addresses()
            self._turn += 1
            first = self._turn % len(found)
            return await start_connection(
                found[first:] + found[:first], happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S, interleave=1
            )
        except OSError as error:
            if self._proxy is None:
                raise
            raise ProxyError(f"no connection to the proxy {self._proxy}: {error}") from error

    async def _open_tunnel(self, connected: socket.socket) -> None:
        if self._proxy is None or self._tls is None:
            return
        try:
            await open_tunnel(connected, self._proxy, self._host, self._port)
        except BaseException:
            connected.close()
            raise

    async def close(self) -> None:
        """Cancel a lookup in progress."""
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.gather(self._lookup, return_exceptions=True)

    async def _addresses(self) -> list[AddrInfoType]:
        """Return the addresses of the host. Concurrent callers share one lookup."""
        loop = asyncio.get_running_loop()
        lookup = self._lookup
        if lookup is None or (lookup.done() and not self._is_fresh(lookup, loop.time())):
            self._looked_up_at = loop.time()
            lookup = self._lookup = asyncio.create_task(self._look_up_all())
        return await asyncio.shield(lookup)  # other callers wait for it too

    def _is_fresh(self, lookup: asyncio.Task[list[AddrInfoType]], now: float) -> bool:
        failed = lookup.cancelled() or lookup.exception() is not None
        return not failed and now - self._looked_up_at < _ADDRESSES_VALID_S

    async def _look_up_all(self) -> list[AddrInfoType]:
        found = [*await self._look_up(self._next_host, self._next_port)]
        if not found:
            raise OSError(f"{self._next_host} has no address")
        return found


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _set_up(connected: socket.socket) -> None:
    # With Nagle's algorithm the last part of a long request waits for the acknowledgement of earlier parts.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_S)
