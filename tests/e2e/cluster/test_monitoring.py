"""A real Prometheus answers what the dashboard and the alerts ask for, from a cluster with a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.support.prometheus import CONFIGS, MISSING, WHY_MISSING, prometheus

DASHBOARD = CONFIGS.parent / "grafana" / "headrace.json"
WITHIN_S = 240.0

pytestmark = pytest.mark.skipif(bool(MISSING), reason=WHY_MISSING)


def queries() -> dict[str, str]:
    """Return the queries of all panels. Grafana replaces the interval by four scrapes at least."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "15s")
        for panel in panels
        for target in panel["targets"]
    }


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "--lint-fatal", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault_in_the_files(command):
    done = subprocess.run(  # noqa: S603 - a tool of this machine
        ["promtool", *command],  # noqa: S607 - same
        cwd=CONFIGS,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
async def test_prometheus_answers_every_panel_and_evaluates_every_alert(driver, head, start_llm, tmp_path):
    endpoint = await start_llm("--latency-s", "0.1", "--cap", "8")  # past 8 in flight it refuses
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    books = {"name": "books", "base_url": endpoint.process.url, "model": "sim", "price": price}
    wire = {"name": "wire", "kind": "simulated", "items": 9, "latency_s": 0.01}
    config = driver.config(
        llm={"clients": 1, "endpoints": [books]},
        sources=[wire],
        tasks={"kind": "range", "count": 10_000},
        limits={"active_tasks": 10},  # so that some end soon
        telemetry={"traces": {"endpoint": "http://127.0.0.1:1", "sample": 1.0}},  # where nothing listens
    )
    begun = await driver("submit", str(config), "--run-id=watched", "--json", env=head.env())
    assert begun.code == 0, begun.stderr
    discovery = Path(head.session) / "prom_metrics_service_discovery.json"
    async with (
        jobs_metrics(config, driver.on(head)) as jobs,
        prometheus(tmp_path, discovery, jobs) as server,
    ):
        unanswered = queries()
        try:
            async with asyncio.timeout(WITHIN_S):
                while unanswered:
                    for name, query in list(unanswered.items()):
                        if _has_numbers(await server.query(query)):
                            del unanswered[name]
                    await asyncio.sleep(0.5)
        except TimeoutError:
            assert unanswered == {}
        rules = await server.rules()
        values = [await server.query(f"headrace_{name}_jobs") for name in ("running", "ghost")]
        assert [result[0]["value"][1] for result in values] == ["1", "0"]
    assert len(rules) >= 10
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    async with aiohttp.ClientSession() as http:
        await stop(http, head)


@contextlib.asynccontextmanager
async def jobs_metrics(config: Path, env: Mapping[str, str]) -> AsyncIterator[str]:
    """Run what compares Ray's jobs with the store, and return its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cluster.ray.ghost_jobs", "--config", str(config), "--port=0"),
        env={**os.environ, **env},
        cwd=CONFIGS.parents[1],
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            said = (await process.stderr.readline()).decode()
        assert said.startswith("metrics of jobs: http://"), said
        yield said.split("/")[2]
    finally:
        process.terminate()
        await process.wait()


def _has_numbers(result: list[dict[str, Any]]) -> bool:
    """Return whether there are series with labels that a legend can show. A rate of nothing is NaN."""
    return bool(result) and any(series["value"][1] != "NaN" for series in result)


async def stop(http: aiohttp.ClientSession, head: Any) -> None:
    token = await asyncio.to_thread(Path(head.token_path).read_text)
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(f"{head.dashboard}/api/jobs/watched/stop", headers=headers) as answer:
        assert answer.status == 200
    async with asyncio.timeout(WITHIN_S):
        ended = None
        while ended is None:
            async with http.get(f"{head.dashboard}/api/jobs/watched", headers=headers) as answer:
                ended = (await answer.json())["end_time"]
            await asyncio.sleep(0.1)
