"""What the dashboard and the alerts ask for is there: scraped from a cluster while a run is going on."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
WITHIN_S = 240.0
OWN = re.compile(r"(ray_headrace_\w+)(?:\{([^}]*)\})?")


def expressions() -> list[tuple[str, str]]:
    """Return what is queried, and the legend that shows it."""
    panels = json.loads((CONFIGS / "grafana" / "headrace.json").read_text())["panels"]
    found = [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]
    # The rules are found by their form: what follows `expr:` up to the next key of the rule.
    rules = re.findall(r"expr:(.*?)\n\s+for:", (CONFIGS / "prometheus" / "alerts.yml").read_text(), re.DOTALL)
    assert len(panels) == 11
    assert len(rules) == 8
    return [*found, *((rule, "") for rule in rules)]


def asked_for() -> set[tuple[str, str]]:
    """Return the metrics that are named, each with every label that is: ("", where none is)."""
    wanted = set()
    for expression, legend in expressions():
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        labels = {label.strip() for group in grouped for label in group.split(",")}
        labels |= set(re.findall(r"\{\{(\w+)\}\}", legend))
        metrics = OWN.findall(expression)
        assert metrics, expression
        for name, matchers in metrics:
            own = labels | set(re.findall(r"(\w+)=~?\"", matchers))
            wanted |= {(name, label) for label in own or {""}}
    return wanted


def measured(text: str) -> set[tuple[str, str]]:
    found = set()
    for name, labels in OWN.findall(text):
        found |= {(name, label) for label in ("", *re.findall(r"(\w+)=\"", labels))}
    return found


async def test_every_metric_and_label_of_a_panel_or_an_alert_is_measured(driver, head, start_llm):
    endpoint = await start_llm("--latency-s", "0.1", "--cap", "8")  # past 8 in flight it refuses
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    books = {"name": "books", "base_url": endpoint.process.url, "model": "sim", "price": price}
    wire = {"name": "wire", "kind": "simulated", "items": 9, "latency_s": 0.01}
    config = driver.config(
        llm={"clients": 1, "endpoints": [books]},
        sources=[wire],
        tasks={"kind": "range", "count": 10_000},
        limits={"active_tasks": 10},  # so that some end soon
    )
    begun = await driver("submit", str(config), "--run-id=watched", "--json", env=head.env())
    assert begun.code == 0, begun.stderr
    wanted, found = asked_for(), set[tuple[str, str]]()
    async with aiohttp.ClientSession() as http:
        try:
            async with asyncio.timeout(WITHIN_S):
                while wanted - found:
                    found |= measured(await scrape(http, head.metrics))
                    await asyncio.sleep(0.3)
        except TimeoutError:
            assert wanted - found == set()
        await stop(http, head)


async def scrape(http: aiohttp.ClientSession, where: str) -> str:
    async with http.get(f"http://{where}/metrics") as answer:
        return await answer.text()


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
