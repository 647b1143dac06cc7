"""Reaches an origin through an HTTP proxy: https by a tunnel (RFC 9110, section 9.3.6), http by its URL.

Only a proxy that the configuration names is used. `NO_PROXY` of the environment exempts hosts from it.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Mapping
from urllib.parse import unquote
from urllib.request import proxy_bypass

from msgspec import Struct
from yarl import URL

_MOST_HEAD_BYTES = 16 << 10
_PIECE = 4096
_SAID_CHARACTERS = 200
_END = b"\r\n\r\n"
_AUTHORIZATION = "Proxy-Authorization"


class ProxyError(ConnectionError):
    """No connection to the proxy, or no tunnel. The message names the proxy without its password."""


class HttpProxy(Struct, frozen=True):
    """An HTTP proxy. `authorization` is the value of its header, None if it needs none."""

    host: str
    port: int
    authorization: str | None = None

    @classmethod
    def of(cls, url: URL) -> HttpProxy:
        """Return the proxy at `url`, such as ``http://user:password@proxy:3128``."""
        authorization = None
        if url.raw_user is not None:
            pair = f"{unquote(url.raw_user)}:{unquote(url.raw_password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(url.raw_host or "", url.port or 80, authorization)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def headers(self) -> Mapping[str, str]:
        """Return the headers for the proxy in a request that is not tunnelled."""
        return {} if self.authorization is None else {_AUTHORIZATION: self.authorization}


def proxy_for(target: URL, proxy: str | None) -> HttpProxy | None:
    """Return the proxy, at the URL `proxy`, to reach `target`; None if it is reached directly."""
    if proxy is None or not target.host:
        return None
    is_exempt = proxy_bypass(f"{target.host}:{target.port}") or proxy_bypass(target.host)
    return None if is_exempt else HttpProxy.of(URL(proxy))


async def open_tunnel(connected: socket.socket, proxy: HttpProxy, host: str, port: int) -> None:
    """Ask `proxy`, to which the socket is connected, for a tunnel. Raises `ProxyError`, OSError."""
    loop = asyncio.get_running_loop()
    origin = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {origin} HTTP/1.1", f"Host: {origin}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers().items()]
    await loop.sock_sendall(connected, "\r\n".join([*lines, "", ""]).encode("ascii"))
    head = await _read_head(connected, proxy)
    status_line = head.partition(b"\r\n")[0].decode("ascii", "replace")
    version, _, rest = status_line.partition(" ")
    if not (version.startswith("HTTP/1.") and rest[:1] == "2"):
        said = status_line[:_SAID_CHARACTERS]
        raise ProxyError(f"the proxy {proxy} opens no tunnel to {origin}: {said}")


async def _read_head(connected: socket.socket, proxy: HttpProxy) -> bytes:
    """Return the head of the proxy's answer. No byte of the origin follows it before TLS has begun."""
    loop = asyncio.get_running_loop()
    head = bytearray()
    while _END not in head:
        piece = await loop.sock_recv(connected, _PIECE)
        head += piece
        if not piece or len(head) > _MOST_HEAD_BYTES:
            raise ProxyError(f"the proxy {proxy} closed the connection or sent no HTTP")
    return bytes(head)
