"""Starts the HTTP API on a cluster of its own as `make serve` does, and calls it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import aiohttp
import psutil

CALLS_A_TASK = 13  # 3 sources x 4 items, and a finding
_PAGE = 1000


class Service:
    """A running service, and a session to call it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, process: psutil.Process) -> None:
        self.url = url
        self._session = session
        self._process = process

    async def call(self, method: str, path: str, document: Any = None) -> tuple[int, float, Any]:
        """Return the status, the time and the document of an answer.

        The status is 0 if there was no answer, and negative for a refusal that is not as documented.
        """
        began = time.perf_counter()
        try:
            async with self._session.request(method, self.url + path, json=document) as answer:
                told = await answer.json(content_type=None)
                status = answer.status if _is_as_promised(answer) else -answer.status
                return status, time.perf_counter() - began, told
        except (aiohttp.ClientError, TimeoutError):
            return 0, time.perf_counter() - began, None

    async def until_ended(self, tasks: int) -> None:
        """Return when `tasks` tasks have ended. Raises `RuntimeError` for an undocumented answer."""
        async with asyncio.timeout(600):
            while True:
                status, _, known = await self.call("GET", "/v1/pipeline")
                if status == 200 and known["tasks"]["ended"] >= tasks:
                    return
                if status < 0:
                    raise RuntimeError(f"GET /v1/pipeline answered {-status}: {known}")
                await asyncio.sleep(0.2)

    async def ends(self) -> list[tuple[str, str, float]]:
        """Return key, state and end time of every task; the time is 0 if it has not ended."""
        found: list[tuple[str, str, float]] = []
        path = f"/v1/tasks?limit={_PAGE}"
        while path:
            _, _, page = await self.call("GET", path)
            found += [(task["key"], task["state"], _time(task["ended_at"])) for task in page["tasks"]]
            path = page["next"] and f"/v1/tasks?limit={_PAGE}&cursor={page['next']}"
        return found

    def memory_mb(self) -> float:
        """Return the memory of all processes of the service in MiB."""
        total = 0
        for process in self._process.children(recursive=True):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20


@asynccontextmanager
async def serving(*, active: int, accepted: int, latency_s: float) -> AsyncIterator[Service]:
    """Run a service that works on `active` tasks at once and lets `accepted` tasks wait."""
    with TemporaryDirectory() as place:
        config = _config(Path(place), active, accepted, latency_s)
        with (Path(place) / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - this interpreter, before any load
                [sys.executable, "-m", "cluster.http.standalone", str(config), "--port", "0"],
                env={**os.environ, "HEADRACE_API_TOKEN": ""},
                stdout=subprocess.PIPE,
                stderr=log,
            )
            try:
                output = cast("IO[bytes]", process.stdout)
                line = await asyncio.wait_for(asyncio.to_thread(output.readline), 120)
                url = json.loads(line)["url"]
                async with aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=2000), timeout=aiohttp.ClientTimeout(total=30)
                ) as session:
                    yield Service(url, session, psutil.Process(process.pid))
            finally:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, 60)


def _config(directory: Path, active: int, accepted: int, latency_s: float) -> Path:
    document = {
        "name": f"bench-{secrets.token_hex(2)}",
        "sources": [
            {"name": name, "kind": "simulated", "items": 4, "latency_s": 0.05} for name in ("a", "b", "c")
        ],
        "llm": {"simulator": {"latency_s": latency_s, "max_in_flight": 1000}},
        "evaluate": {
            "prompt": "Rate {key}: {text}",
            "output": {"quality": {"type": "number", "min": 0, "max": 1}},
        },
        "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up {key}: {evidence}"}],
        "limits": {"active_tasks": active, "accepted_tasks": accepted, "task_deadline_s": 3600},
        "store": {"kind": "sqlite", "path": str(directory / "state.db")},
    }
    path = directory / "config.yaml"
    path.write_text(json.dumps(document))
    return path


def _is_as_promised(answer: aiohttp.ClientResponse) -> bool:
    if answer.status < 400:
        return True
    comes_back = answer.status not in {429, 503} or "Retry-After" in answer.headers
    return answer.content_type == "application/problem+json" and comes_back


def _time(moment: str | None) -> float:
    return dt.datetime.fromisoformat(moment).timestamp() if moment else 0.0
