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
from functools import partial
from typing import Final

import uvloop

from simulators.http_server import Connection, Handler

_PR_SET_PDEATHSIG: Final = 1


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every simulator has."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this parent process does (Linux)")
    parser.add_argument("--seed", type=int, default=0, help="what all chance is drawn from")


def serve(handler: Handler, *, host: str, port: int, path: str, parent_pid: int) -> None:
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
    uvloop.run(_serve(handler, host, port, path))


async def _serve(handler: Handler, host: str, port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A thousand clients connect at once; beyond the backlog each would wait a second for its next try.
    server = await loop.create_server(partial(Connection, handler), host, port, backlog=4096)
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
