"""A simulator as a process, from within: how it serves, and ends when it is told to or its parent is gone."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop
from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_PR_SET_PDEATHSIG: Final = 1


class Departures:
    """Tells when a client leaves, without asking again and again."""

    def __init__(self) -> None:
        self._waiting: dict[Any, asyncio.Future[None]] = {}

    async def wait(self, request: web.BaseRequest, timeout_s: float) -> None:
        """Return when the client of `request` has left, or after `timeout_s`."""
        if request.transport is None or request.transport.is_closing():
            return
        left = self._waiting[request.protocol] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await left
        except TimeoutError:
            pass  # the bound on waiting is reached, which the caller asked for
        finally:
            del self._waiting[request.protocol]

    def note(self, protocol: object) -> None:
        """Say that the connection of `protocol` is lost."""
        left = self._waiting.get(protocol)
        if left is not None and not left.done():
            left.set_result(None)


class _Server(web.Server):
    """aiohttp's server without routing, which also tells `Departures` of lost connections."""

    def __init__(self, handler: Handler, departures: Departures) -> None:
        # An idle connection is never closed from here: a client that reuses it at that moment would see a
        # reset that no fault plan asked for.
        super().__init__(handler, access_log=None, keepalive_timeout=86_400.0)
        self._departures = departures

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._departures.note(handler)


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every simulator has."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this parent process does (Linux)")
    parser.add_argument("--seed", type=int, default=0, help="what all chance is drawn from")


def serve(
    handler: Handler, departures: Departures, *, host: str, port: int, path: str, parent_pid: int
) -> None:
    """Announce and serve `handler` until SIGTERM or SIGINT. Unfinished requests are cancelled at the end.

    Raises `OSError` where the address cannot be had, `SystemExit` where the parent is gone already.
    """
    if parent_pid:
        _end_with(parent_pid)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A thousand requests in flight are all young objects: at the default threshold the collector walks them
    # every few requests, at a fifth of the whole processor time (measured).
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(_serve(handler, departures, host, port, path))


async def _serve(handler: Handler, departures: Departures, host: str, port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A thousand clients connect at once; beyond the backlog each would wait a second for its next try.
    server = await loop.create_server(_Server(handler, departures), host, port, backlog=4096)
    bound = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    print(json.dumps({"url": f"http://{shown}:{bound}{path}", "port": bound, "pid": os.getpid()}), flush=True)
    await stop.wait()
    server.close()


def _end_with(parent_pid: int) -> None:
    if not sys.platform.startswith("linux"):
        print("--parent-pid needs Linux: this simulator has to be stopped by hand", file=sys.stderr)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # A parent that died before the line above sends no signal any more.
    if os.getppid() != parent_pid:
        raise SystemExit(f"the parent process {parent_pid} is gone")
