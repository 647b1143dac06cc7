"""A simulator as a process, from both sides: how it is started and stopped, and how it serves and ends.

The agreement between the two sides:

* the child prints one JSON line on stdout once it serves: ``{"url": ..., "port": ..., "pid": ...}``;
* it ends in order on SIGTERM and SIGINT;
* given ``--parent-pid``, it ends when its parent does, however that dies, so no test leaves one behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import uvloop
from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ROOT: Final = Path(__file__).resolve().parent.parent
_STOP_S: Final = 3.0
_PR_SET_PDEATHSIG: Final = 1


class SimulatorError(RuntimeError):
    """A simulator did not come up. The message ends with the last lines that it wrote to stderr."""


# ---- the parent's side -----------------------------------------------------------------------------------


class SimulatorProcess:
    """One simulator in a process of its own: ``SimulatorProcess("simulators.llm", ["--seed", "1"])``.

    A context manager that starts and stops it. Start it from a thread that lives as long as it shall: the
    kernel counts the end of the starting thread as the end of the parent.
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), *, start_s: float = 20.0) -> None:
        self._module = module
        self._arguments = list(arguments)
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self.pid} at {self._url}" if self.alive else "not running"
        return f"<SimulatorProcess {self._module} {state}>"

    @property
    def url(self) -> str:
        """The address that it announced, for a model with its ``/v1``. Empty before `start`."""
        return self._url

    @property
    def pid(self) -> int | None:
        """The id of the process, None where none was started."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the process and return its url.

        Raises `SimulatorError` where it ends, or has not announced itself within `start_s` seconds; then
        nothing is left running. Starting one that runs is an error as well.
        """
        if self.alive:
            raise SimulatorError(f"{self._module} is running already, as process {self.pid}")
        command = [sys.executable, "-m", self._module, "--parent-pid", str(os.getpid()), *self._arguments]
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        with tempfile.TemporaryFile() as errors:
            # A session of its own: Ctrl-C in the parent's terminal is for the parent, whose orderly end needs
            # its simulators to the last.
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, and a module of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
            try:
                self._url = self._announced(time.monotonic() + self._start_s)
            except BaseException as error:
                self.stop()
                if not isinstance(error, SimulatorError):
                    raise
                raise SimulatorError(f"{error}\n{_tail(errors.fileno())}".rstrip()) from None
        return self._url

    def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL where it is still there after 3 s. Does nothing twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def kill(self) -> None:
        """End the process at once, as a crash does. Its buffered ledger lines are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.stop()

    def _announced(self, deadline: float) -> str:
        process = self._process
        if process is None or process.stdout is None:
            raise SimulatorError(f"{self._module} was not started")
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise SimulatorError(f"{self._module} did not come up within {self._start_s:g} s")
                chunk = os.read(process.stdout.fileno(), 4096)
                if not chunk:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_STOP_S)
                    raise SimulatorError(f"{self._module} ended at start with exit code {process.returncode}")
                line += chunk
        return str(json.loads(line)["url"])


def _tail(fd: int, lines: int = 20) -> str:
    size = os.fstat(fd).st_size
    text = os.pread(fd, 8192, max(0, size - 8192)).decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


# ---- the child's side ------------------------------------------------------------------------------------


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
