"""The commands of a runbook in docs/operations.md that need a cluster, on a cluster of one host.

Those for a lost head and a ghost job are run by `tests/cluster/test_three_hosts.py`.
"""

from __future__ import annotations

import os
import socket

import aiohttp
import pytest
import yaml

from tests.e2e.conftest import MARK, ROOT
from tests.e2e.http.conftest import Caller
from tests.e2e.support.runbook import execute, runbook

TASKS, CALLS_A_TASK = 12, 3


@pytest.fixture
async def shell(driver):
    """Return a function that runs the lines of a runbook beside a cluster, which ends with the test."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    dashboard = f"http://127.0.0.1:{ports[0]}"
    (driver.directory / "configs").symlink_to(ROOT / "configs")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(driver.home),
        "PYTHONPATH": str(ROOT),
        MARK: driver.mark,
        "DASHBOARD_PORT": str(ports[0]),
        "URL": f"http://127.0.0.1:{ports[1]}",
        "RAY_API_SERVER_ADDRESS": dashboard,
        "RAY_DASHBOARD_ADDRESS": dashboard,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{driver.directory}/.headrace/cluster/token",
    }

    async def perform(lines):
        return [await execute(line, driver.directory, env) for line in lines]

    yield perform, env
    await perform(["make cluster-stop"])


def configured(driver, endpoint):
    books = {"name": "books", "base_url": f"{endpoint.base}/v1", "model": "sim", "max_in_flight": 6}
    driver.config(
        name="books",
        tasks={"kind": "range", "count": TASKS},
        llm={"endpoints": [books], "clients": 1},
        store={"kind": "sqlite", "lease_s": 1.0},
    )


async def test_the_http_api_is_upgraded_and_no_task_is_lost_or_paid_twice(driver, shell, start_llm_here):
    perform, env = shell
    endpoint = await start_llm_here("--latency-s=0.2")
    configured(driver, endpoint)
    document = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())
    document["http_options"]["port"] = int(env["URL"].rpartition(":")[2])
    document["applications"][0]["args"] = {"config": "config.yaml", "replicas": 1}
    (driver.directory / "serve.yaml").write_text(yaml.safe_dump(document))
    (upgrade,) = runbook(
        "Upgrade the HTTP API",
        SERVE_CONFIG="serve.yaml",
        CONFIG="config.yaml",
        BEFORE="before",
        WHEEL="new.whl",
    )
    await perform(upgrade[-3:])  # the first start
    async with aiohttp.ClientSession() as http:
        caller = Caller(http, env["URL"], None)
        links = [(await caller.accepted({"key": f"k{n}"}))["links"] for n in range(TASKS)]
        await endpoint.until(lambda stats: stats["billed"] >= TASKS)
        await endpoint.hold()
        shown = await perform(upgrade[:-1])
        assert "1 runs" in shown[2]
        await endpoint.release()
        await perform(upgrade[-1:])
        for each in links:
            assert [event async for event in caller.events(each["events"])][-1][1] == "ended"
            assert (await caller("GET", each["result"])).json["state"] == "succeeded"
    stats = await endpoint.stats()
    assert stats["billed"] == stats["distinct_keys"] == TASKS * CALLS_A_TASK
