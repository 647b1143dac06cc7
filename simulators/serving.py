"""The server side of a simulator process: options, HTTP server, announcement, orderly end.

aiohttp's low-level server speaks HTTP. A handler keeps running after its client has left.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop
from aiohttp import web

_PR_SET_PDEATHSIG: Final = 1
_LARGEST_BODY: Final = 64 << 20
_LONGEST_IDLE_S: Final = 86_400.0
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST instead of FIN


class SimulatorRequest(web.BaseRequest):
    """A request of aiohttp's, with ways to break its connection and to wait until its client has left."""

    server: SimulatorServer

    def reset(self) -> web.StreamResponse:
        """Reset the connection. Return a response that satisfies aiohttp and is never sent."""
        if self.transport is not None:
            wire = self.transport.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        return web.Response()

    async def departed(self, timeout_s: float) -> None:
        """Return when the client has left, or after `timeout_s`."""
        if self.transport is not None:
            await self.server.departed(self.protocol, timeout_s)

    def foreign(self) -> str | None:
        """Return why a web page of another site may have made this request, or None.

        A page can have its browser send requests to loopback addresses. The page then names its own site in
        Origin, or in Host if its name resolves to this address.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        own = self.transport.get_extra_info("sockname")[0] if self.transport is not None else None
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name not in ("localhost", "127.0.0.1", "::1", own):
            return f"Host {host!r} is not an address of this simulator"
        if origin not in (None, f"http://{host}"):
            return f"Origin {origin!r} is another site"
        return None


Handler = Callable[[SimulatorRequest], Awaitable[web.StreamResponse]]


class SimulatorServer(web.Server):
    """Serves `handler` on the running event loop: the protocol factory for `loop.create_server`."""

    def __init__(self, handler: Handler) -> None:
        # A connection that this side closes while it is used is a fault that no fault plan contains.
        super().__init__(
            handler,  # type: ignore[arg-type] # `_request` makes every request a `SimulatorRequest`
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=_LONGEST_IDLE_S,
        )
        self._departures: dict[object, asyncio.Future[None]] = {}

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """Wake the request that waits for its client to leave."""
        super().connection_lost(handler, exc)
        departure = self._departures.get(handler)
        if departure is not None and not departure.done():
            departure.set_result(None)

    async def departed(self, connection: object, timeout_s: float) -> None:
        """Return when `connection` has ended, or after `timeout_s`."""
        departure = self._departures[connection] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([departure], timeout=timeout_s)
        finally:
            del self._departures[connection]

    def _request(self, *parts: Any) -> SimulatorRequest:
        message, payload, connection, writer, task = parts
        loop = asyncio.get_running_loop()
        request = SimulatorRequest(
            message, payload, connection, writer, task, loop, client_max_size=_LARGEST_BODY
        )
        request.server = self
        return request


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every simulator has."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this parent process ends (Linux)")


def serve(handler: Handler, options: argparse.Namespace, *, path: str = "") -> None:
    """Announce and serve `handler` until SIGTERM or SIGINT, then cancel unfinished requests.

    `path` ends the announced URL. Raises `OSError` if the address is not available, `SystemExit` if the
    parent process has ended.
    """
    if options.parent_pid:
        _end_with(options.parent_pid)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A thousand requests in flight are young objects. At its default threshold the collector walks them every
    # few requests and takes a fifth of the processor time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(_serve(handler, options.host, options.port, path))


async def _serve(handler: Handler, host: str, port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # If a thousand clients connect at once, those beyond the backlog wait a second before they try again.
    server = await loop.create_server(SimulatorServer(handler), host, port, backlog=4096)
    bound = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"url": f"http://{shown}:{bound}{path}", "port": bound, "pid": os.getpid()}), flush=True)
    await stop.wait()
    server.close()


def _end_with(parent_pid: int) -> None:
    if not sys.platform.startswith("linux"):
        print("--parent-pid works on Linux only: stop this simulator yourself", file=sys.stderr)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # A parent that ended before the line above sends no signal.
    if os.getppid() != parent_pid:
        raise SystemExit(f"the parent process {parent_pid} is gone")
