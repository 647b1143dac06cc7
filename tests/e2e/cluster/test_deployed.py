"""The HTTP API on a cluster: `serve deploy`, two replicas, and what may happen to them."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import psutil
import pytest
import yaml

from cluster.config.model import load
from simulators.process import SimulatorProcess
from tests.e2e.http.conftest import ANN, PROXY, ROOT, WITHIN_S, Caller
from tests.e2e.support.deployment import Deployment, deployment
from tests.e2e.support.simulated_endpoint import SimulatedEndpoint

CALLS_A_TASK = 3  # 2 items, and a finding
CLIENTS, TASKS = 50, 400
REPLICAS = 2
WORKING = 4  # clients that go on while something happens to the service


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("deployed"), f"ann={ANN}") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def simulator(cluster: Deployment) -> Iterator[SimulatorProcess]:
    ledger = cluster.directory / "ledger.jsonl"
    options = ["--latency-s", "0.2", "--sigma", "0", "--ledger", str(ledger)]
    with SimulatorProcess("llm", options) as process:
        yield process


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as session:
        yield session


@pytest.fixture
def ann(cluster: Deployment, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, cluster.url, ANN)


@pytest.fixture
async def books(cluster: Deployment, simulator: SimulatorProcess, session) -> SimulatedEndpoint:
    return SimulatedEndpoint(simulator.url, session, cluster.directory / "ledger.jsonl")


def arguments(cluster: Deployment, simulator: SimulatorProcess, **sections: Any) -> dict[str, Any]:
    """Write the configuration, and return what has two replicas serve it. The file is always the same."""
    document = {
        "name": "deployed",
        "sources": [{"name": "wire", "kind": "simulated", "items": CALLS_A_TASK - 1, "latency_s": 0.01}],
        "llm": {"endpoints": [{"name": "books", "base_url": simulator.url, "model": "sim"}], "clients": 1},
        "evaluate": {
            "prompt": "Rate this about {key}: {text}",
            "output": {"quality": {"type": "number", "min": 0, "max": 1}},
        },
        "dimensions": [{"name": "quality", "field": "quality", "synthesize": "Sum up {key}: {evidence}"}],
        "store": {"kind": "sqlite", "path": "state.db"},
        **sections,
    }
    (cluster.directory / "service.yaml").write_text(json.dumps(document))  # JSON is YAML, too
    return {"config": "service.yaml", "replicas": REPLICAS, "revision": secrets.token_hex(4)}


@pytest.fixture
async def replicas(cluster: Deployment, simulator: SimulatorProcess) -> set[int]:
    """Return the process ids of the replicas, deployed where an earlier test has not done so."""
    if not cluster.arguments:
        await cluster.deploy(arguments(cluster, simulator))
    return await cluster.running(REPLICAS)


async def test_what_stands_in_the_repository_names_a_configuration_that_can_be_served():
    (application,) = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())["applications"]
    assert application["args"] == {"config": "configs/serve_demo.yaml", "replicas": 1, "revision": 1}
    assert load(ROOT / application["args"]["config"], env={}).name == "demo"


async def test_hundreds_of_tasks_of_fifty_clients_all_end_with_one_report_each(replicas, ann, books, name):
    before = await books.stats()

    async def client(number: int) -> list[Any]:
        keys = [f"{name}-{number}-{n}" for n in range(TASKS // CLIENTS)]
        told = [(await ann.accepted({"key": key}))["links"] for key in keys]
        for links in told:
            events = await ann.followed(links["events"])
            assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
            assert [kind for _, kind, _ in events].count("ended") == 1
        return [(await ann("GET", links["result"])).json for links in told]

    reports = [report for each in await asyncio.gather(*map(client, range(CLIENTS))) for report in each]
    assert len({report["key"] for report in reports}) == len(reports) == TASKS
    assert {report["state"] for report in reports} == {"succeeded"}
    listed = await pages(ann, name)
    assert len(listed) == len(set(listed)) == TASKS
    await the_books_agree(books, before, reports)


async def pages(ann: Caller, name: str) -> list[str]:
    """Return the ids of all tasks that succeeded and whose key begins with `name`."""
    found, path = [], "/v1/tasks?state=succeeded&limit=1000"
    while path:
        page = (await ann("GET", path)).json
        found += [task["id"] for task in page["tasks"] if task["key"].startswith(name)]
        path = page["next"] and f"/v1/tasks?state=succeeded&limit=1000&cursor={page['next']}"
    return found


async def the_books_agree(books: SimulatedEndpoint, before: dict[str, Any], reports: list[Any]) -> None:
    """Each call was paid for once, and the reports say what the endpoint's ledger says."""
    after = await books.stats()
    billed, distinct = (after[each] - before[each] for each in ("billed", "distinct_keys"))
    assert billed == distinct == len(reports) * CALLS_A_TASK
    calls = [report["calls"] for report in reports]
    assert {each["planned"] for each in calls} == {CALLS_A_TASK}
    # Where an actor died, a call's fate was unknown: it was asked again under its key and billed once there.
    assert sum(each["billed"] for each in calls) <= billed
    assert billed <= sum(each["billed"] + each["in_doubt"] for each in calls)


async def redeployed(cluster: Deployment, simulator: SimulatorProcess, replicas: set[int]) -> None:
    """Have another configuration served: all replicas are replaced, and all actors but the journal."""
    (pipeline,) = cluster.processes("ray::Pipeline")
    await cluster.deploy(arguments(cluster, simulator, limits={"active_tasks": 900}))
    await cluster.running(REPLICAS, besides=replicas)
    assert await gone([pipeline])


async def proxy_killed(cluster: Deployment, *_: Any) -> None:
    """Kill the process that all connections go through; Serve starts another."""
    processes = cluster.processes(PROXY)
    assert processes
    for each in processes:
        each.send_signal(signal.SIGKILL)
    assert await gone(processes)
    async with aiohttp.ClientSession() as http:
        healthy = await Caller(http, cluster.url, None).insist("GET", "/healthz")
        assert healthy.status == 200


async def gone(processes: list[psutil.Process]) -> bool:
    """Return whether these processes end, which they were made to."""
    _, left = await asyncio.to_thread(psutil.wait_procs, processes, WITHIN_S)
    return not left


@pytest.mark.parametrize("happens", [redeployed, proxy_killed])
async def test_nothing_is_lost_or_done_twice_whatever_happens_to_the_service(
    *, cluster, simulator, replicas, ann, books, name, happens
):
    before, over = await books.stats(), asyncio.Event()
    working = [asyncio.create_task(works(ann, f"{name}-{number}", over)) for number in range(WORKING)]
    # Whichever test of this file is the first also waits for the actors to begin.
    await books.until(lambda stats: stats["billed"] >= before["billed"] + WORKING * CALLS_A_TASK, WITHIN_S)
    followed = (await ann.accepted({"params": {"n": -1}}))["links"]
    stream = ann.events(followed["events"])
    seen = [await anext(stream)]
    await happens(cluster, simulator, replicas)
    over.set()
    await stream.aclose()
    seen += [event async for event in ann.events(followed["events"], after=seen[-1][0])]
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][1] == "ended"
    reports = [report for each in await asyncio.gather(*working) for report in each]
    reports.append((await ann("GET", followed["result"])).json)
    assert {report["state"] for report in reports} == {"succeeded"}
    assert len({report["key"] for report in reports}) == len(reports)
    assert {report["key"] for report in reports} <= set(await pages(ann, "t-"))
    await the_books_agree(books, before, reports)


async def works(ann: Caller, name: str, over: asyncio.Event) -> list[Any]:
    """Hand in one task after another until it is over, each twice, follow it to its end, fetch its report."""
    reports = []
    while not over.is_set():
        request = {"params": {"n": len(reports)}}
        key = f"{name}-{len(reports)}"
        first = (await ann.insist("POST", "/v1/tasks", request, Idempotency_Key=key)).json
        events = await ann.followed(first["links"]["events"])
        assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
        again = (await ann.insist("POST", "/v1/tasks", request, Idempotency_Key=key)).json
        assert (again["id"], again["is_new"], again["state"]) == (first["id"], False, "succeeded")
        reports.append((await ann.insist("GET", first["links"]["result"])).json)
    return reports


@pytest.fixture
def name() -> str:
    """Return the beginning of the keys of this test's tasks."""
    return f"k{secrets.token_hex(4)}"
