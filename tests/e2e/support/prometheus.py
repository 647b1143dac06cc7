"""A real Prometheus for tests, of Debian's package: it scrapes a cluster as configs/prometheus describes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "prometheus"
MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
WHY_MISSING = f"{' and '.join(MISSING)} not installed: make monitoring"
_READY_WITHIN_S = 30.0


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API."""
        async with self._http.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            document = await answer.json()
        assert document["status"] == "success", document
        return document["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that answer a query now."""
        return (await self.get("query", query=expression))["result"]

    async def rules(self) -> list[dict[str, Any]]:
        """Return the alerting rules with their state."""
        return [rule for group in (await self.get("rules"))["groups"] for rule in group["rules"]]


@contextlib.asynccontextmanager
async def prometheus(directory: Path, discovery: Path, jobs: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus with our configuration, which finds Ray's targets in the file `discovery`.

    `jobs` is the address of the metrics of jobs. Prometheus scrapes and evaluates every second.
    """
    config = (CONFIGS / "prometheus.yml").read_text().replace("PROM_SD.json", str(discovery))
    config = config.replace("127.0.0.1:9477", jobs)
    for often in (
        "scrape_interval: 10s",
        "scrape_interval: 30s",
        "evaluation_interval: 15s",
        "refresh_interval: 10s",
    ):
        assert often in config
        config = config.replace(often, f"{often.partition(':')[0]}: 1s")
    config = config.replace("scrape_timeout: 5s", "scrape_timeout: 1s")
    (directory / "prometheus.yml").write_text(config)
    shutil.copy(CONFIGS / "alerts.yml", directory)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as http:
            await _ready(http, f"http://127.0.0.1:{port}", process)
            yield Prometheus(f"http://127.0.0.1:{port}", http)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _ready(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_READY_WITHIN_S):
        while True:
            assert process.returncode is None, "prometheus ended at its start"
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
