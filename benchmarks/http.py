"""The HTTP door: acceptances a second, reading while tasks run, and what 5 times too much does to it.

    python -m benchmarks.http --seconds 10 --overload-seconds 60

One service on a cluster of its own, one replica, and the load from this process, all on the same machine.

1. Tasks are held back: how many POSTs a second are accepted, each durable, by so many clients.
2. 1,000 tasks run: how long GET of a task takes for so many clients, and whether all tasks end.
3. Five times as many POSTs as tasks ended in phase 2, at fixed times whatever comes back: how many tasks end
   a second, beside the best that was seen, and what happens to memory.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import aiohttp
import psutil
import uvloop

_CALLS_A_TASK = 13  # 3 sources x 4 items, and a finding
_SAMPLES_EVERY_S = 1.0


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


class Service:
    """A running service, and a session to call it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, process: psutil.Process) -> None:
        self.url = url
        self._session = session
        self._process = process

    async def call(self, method: str, path: str, document: Any = None) -> tuple[int, float, Any]:
        """Return the status, how long it took, and the document of an answer; status 0: there was none."""
        began = time.perf_counter()
        try:
            async with self._session.request(method, self.url + path, json=document) as answer:
                told = await answer.json(content_type=None)
                if answer.status >= 400 and answer.content_type != "application/problem+json":
                    return -answer.status, time.perf_counter() - began, told
                return answer.status, time.perf_counter() - began, told
        except (aiohttp.ClientError, TimeoutError):
            return 0, time.perf_counter() - began, None

    async def ended(self) -> int:
        """Return how many tasks have ended."""
        _, _, known = await self.call("GET", "/v1/pipeline")
        return int(known["tasks"]["ended"])

    async def until_ended(self, tasks: int) -> None:
        """Return once so many tasks have ended."""
        async with asyncio.timeout(600):
            while await self.ended() < tasks:  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.2)

    def memory_mb(self) -> float:
        """Return what all processes of the service hold, in MiB."""
        total = 0
        for process in self._process.children(recursive=True):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20


@asynccontextmanager
async def _serving(active: int, accepted: int, latency_s: float) -> AsyncIterator[Service]:
    with TemporaryDirectory() as place:
        config = _config(Path(place), active, accepted, latency_s)
        with (Path(place) / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - this very interpreter, before any load
                [sys.executable, "-m", "http_api.standalone", str(config), "--port", "0"],
                env={**os.environ, "RAY_AUTH_MODE": "disabled", "HEADRACE_API_TOKEN": ""},
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


async def _clients(number: int, seconds: float, work: Callable[[], Awaitable[float]]) -> list[float]:
    """Have so many clients do `work` again and again; return how long each took."""
    until, times = time.perf_counter() + seconds, []

    async def one() -> None:
        while time.perf_counter() < until:
            times.append(await work())

    await asyncio.gather(*(one() for _ in range(number)))
    return times


def _told(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms, max {max(times) * 1000:.0f} ms"


async def _acceptances(clients: int, seconds: float) -> None:
    async with _serving(1, 1_000_000, 5.0) as service:
        seen: Counter[int] = Counter()

        async def post() -> float:
            status, took_s, _ = await service.call("POST", "/v1/tasks", {"params": {"n": 1}})
            seen[status] += 1
            return took_s

        await _clients(clients, 1.0, post)
        seen.clear()
        began = time.perf_counter()
        times = await _clients(clients, seconds, post)
        pace = seen[202] / (time.perf_counter() - began)
        print(f"1. POST /v1/tasks, {clients} clients: {pace:.0f} durable acceptances/s; {_told(times)}")
        print(f"   answers by status: {dict(seen)}   (goal: >= 300/s)")


async def _reading(clients: int, tasks: int) -> float:
    """Return how many tasks ended a second."""
    async with _serving(1000, 10_000, 0.3) as service:
        began = time.perf_counter()
        keys = [f"t{n}" for n in range(tasks)]
        statuses = Counter(
            status
            for status, _, _ in await asyncio.gather(
                *(service.call("POST", "/v1/tasks", {"key": key}) for key in keys)
            )
        )
        times: list[float] = []
        turns = itertools.cycle(keys)
        over = asyncio.Event()

        async def read() -> None:
            while not over.is_set():
                _, took_s, _ = await service.call("GET", f"/v1/tasks/{next(turns)}")
                times.append(took_s)
                await asyncio.sleep(0.1)  # a client that asks without a pause is one of the overload

        readers = [asyncio.create_task(read()) for _ in range(clients)]
        await service.until_ended(statuses[202])
        took_s = time.perf_counter() - began
        over.set()
        await asyncio.gather(*readers)
        pace = statuses[202] / took_s
        print(
            f"2. {tasks} tasks ({tasks * _CALLS_A_TASK} calls): {took_s:.1f} s, {pace:.1f} tasks/s; "
            f"POSTs by status: {dict(statuses)}"
        )
        print(
            f"   GET of a task meanwhile, {clients} clients, {len(times)} reads: {_told(times)}   "
            "(goal: p99 <= 100 ms)"
        )
        return pace


async def _overload(pace: float, seconds: float) -> None:
    async with _serving(200, 1000, 0.3) as service:
        seen: Counter[int] = Counter()
        hurried: set[asyncio.Task[None]] = set()
        memory: list[float] = []

        async def post(number: int) -> None:
            status, _, _ = await service.call("POST", "/v1/tasks", {"key": f"o{number}"})
            seen[status] += 1

        async def watch() -> None:
            while True:
                memory.append(await asyncio.to_thread(service.memory_mb))
                await asyncio.sleep(_SAMPLES_EVERY_S)

        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        marks: list[tuple[float, int]] = []
        for number in itertools.count():
            due = began + number / (5 * pace)
            if due > began + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(post(number))
            hurried.add(task)
            task.add_done_callback(hurried.discard)
            if not marks or time.perf_counter() - marks[-1][0] > 5:
                marks.append((time.perf_counter(), await service.ended()))
        marks.append((time.perf_counter(), await service.ended()))
        await asyncio.gather(*hurried)
        await service.until_ended(seen[202])
        watching.cancel()
        paces = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(marks)]
        settled = paces[2:] or paces
        third = max(1, len(memory) // 3)
        print(f"3. 5 x {pace:.1f} tasks/s offered for {seconds:.0f} s: answers {dict(sorted(seen.items()))}")
        mean, best = statistics.fmean(settled), max(paces)
        print(
            f"   ended a second: {mean:.1f} on average, {best:.1f} in the best 5 s (ratio {mean / best:.2f}, "
            f"goal >= 0.9); all {seen[202]} accepted have ended"
        )
        middle, end = statistics.fmean(memory[third : 2 * third]), statistics.fmean(memory[-third:])
        print(f"   memory of all processes: {middle:.0f} MiB in the middle third, {end:.0f} in the last")


async def _main(options: argparse.Namespace) -> None:
    await _acceptances(options.clients, options.seconds)
    pace = await _reading(options.clients, options.tasks)
    if options.overload_seconds:
        await _overload(pace, options.overload_seconds)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"load of this machine at the end: {load:.1f} a core; figures mean little where others use it")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
