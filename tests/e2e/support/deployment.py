"""A Ray cluster with dashboard and token, on which the HTTP API is deployed as an operator does it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from cluster.ray.head import Head, start, stop
from tests.e2e.conftest import MARK, ROOT, marked

_WITHIN_S = 200.0
_GONE_WITHIN_S = 100.0


class Deployment:
    """The cluster, and what it was last asked to serve. Paths in configurations begin at `directory`."""

    def __init__(self, head: Head, directory: Path, mark: str) -> None:
        self.head = head
        self.directory = directory
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = Path(head.token_path).read_text()
        self.arguments: dict[str, Any] = {}
        self._mark = mark

    def processes(self, title: str) -> list[psutil.Process]:
        """Return the cluster's processes whose title holds `title`."""
        found = []
        for process in marked(self._mark, {self.head.pid}):
            with contextlib.suppress(psutil.NoSuchProcess):
                if title in " ".join(process.cmdline()):
                    found.append(process)
        return found

    async def deploy(self, arguments: dict[str, Any]) -> None:
        """Have `serve deploy` hand in `configs/serve.yaml` with these arguments, on a free port."""
        document = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())
        document["http_options"]["port"] = self.port
        document["applications"][0]["args"] |= arguments
        self.arguments = arguments
        (self.directory / "serve.yaml").write_text(yaml.safe_dump(document))
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "serve"),
            *("deploy", "serve.yaml", "--address", self.head.dashboard),
            cwd=self.directory,
            env={**os.environ, **self.head.env()},
            stdout=PIPE,
            stderr=STDOUT,
        )
        async with asyncio.timeout(_WITHIN_S):
            told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return what the dashboard says of the application as soon as it meets `condition`."""
        headers = {"Authorization": f"Bearer {self.token}"}
        known: dict[str, Any] = {}
        try:
            async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession(headers=headers) as http:
                while not condition(known):
                    await asyncio.sleep(0.1)
                    async with http.get(f"{self.head.dashboard}/api/serve/applications/") as answer:
                        known = (await answer.json())["applications"].get("headrace", {})
        except TimeoutError:
            raise AssertionError(f"it stays at {known}") from None
        return known

    async def running(self, replicas: int, besides: set[int] = frozenset()) -> set[int]:
        """Return the process ids of the replicas once there are so many, all running, none of `besides`."""
        known = await self.until(
            lambda known: (
                known.get("status") == "RUNNING"
                and len(_running(known)) == replicas == len(_replicas(known))
                and not _running(known) & besides
            )
        )
        return _running(known)


def _replicas(known: dict[str, Any]) -> list[dict[str, Any]]:
    return known["deployments"]["headrace"]["replicas"]


def _running(known: dict[str, Any]) -> set[int]:
    return {each["pid"] for each in _replicas(known) if each["state"] == "RUNNING"}


@contextmanager
def deployment(directory: Path, tokens: str) -> Iterator[Deployment]:
    """Start a cluster as `make cluster` does, in a directory that has `configs` as a checkout has."""
    mark = secrets.token_hex(8)
    (directory / "configs").symlink_to(ROOT / "configs")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"HOME": str(directory), "PYTHONPATH": str(ROOT), "HEADRACE_API_TOKEN": tokens, MARK: mark}
    with contextlib.chdir(directory):
        head = start(directory, dashboard_port=0, root=directory, env={**inherited, **own})
    try:
        yield Deployment(head, directory, mark)
    finally:
        stopped = stop(directory)
        _, left = psutil.wait_procs(marked(mark, {head.pid}), _GONE_WITHIN_S)
        for process in left:
            process.kill()
    assert stopped
    assert left == []


def _free_port() -> int:
    """Return a port that is free now: Serve takes no 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
