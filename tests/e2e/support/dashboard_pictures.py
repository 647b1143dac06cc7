"""Takes the pictures of Ray's dashboard in docs/, while a job runs and the HTTP API is deployed.

    python -m tests.e2e.support.dashboard_pictures docs

Takes a minute or two, and needs Chromium (`make browser`). The state of what it starts lies in a directory
that goes with it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from simulators.process import SimulatorProcess
from tests.e2e.conftest import Driver
from tests.e2e.support.deployment import Deployment, deployment
from tools.browser import Page, opened

_SCREEN = {"width": 1400, "height": 880, "deviceScaleFactor": 0.75, "mobile": False}
_COOKIE = "ray-authentication-token"
_JOB = "reviews"
_SEEN = {
    "dashboard": (
        "actors",
        ("dispatcher", "journal", "llm-client:0", "pipeline:0", "source:wire", "ALIVE"),
    ),
    "dashboard-overview": ("overview", (_JOB, "headrace", "serve_app:app")),
    "dashboard-serve": ("serve", ("headrace", "RUNNING", "HEALTHY")),
}


async def _taken(place: Path, cluster: Deployment, simulator: SimulatorProcess) -> dict[str, bytes]:
    await cluster.deploy({"replicas": 2})
    await cluster.running(2)
    driver = Driver(place)
    endpoint = {"name": "books", "base_url": simulator.url, "model": "sim"}
    tasks = {"kind": "range", "count": 100_000}
    config = driver.config(llm={"endpoints": [endpoint], "clients": 1}, tasks=tasks)
    told = await driver("submit", str(config), f"--run-id={_JOB}", env=cluster.head.env())
    assert told.code == 0, told.stderr
    dashboard = cluster.head.dashboard
    async with opened(dashboard, place / "browser") as page:
        await page.call("Network.setCookie", name=_COOKIE, value=cluster.token, url=dashboard, path="/")
        await page.call("Emulation.setDeviceMetricsOverride", **_SCREEN)
        await page.call("Page.reload")  # now with the token
        pictures = {}
        for name, (address, words) in _SEEN.items():
            await page.until("document.readyState === 'complete'")
            await page.value(f"location.hash = '#/{address}'")
            pictures[name] = await _picture(page, words)
        return pictures


async def _picture(page: Page, words: tuple[str, ...]) -> bytes:
    """Return what the page looks like as soon as all these words are in it."""
    shown = "document.body?.innerText ?? ''"
    try:
        await page.until(f"{json.dumps(words)}.every(word => ({shown}).includes(word))")
    except TimeoutError:
        raise AssertionError(f"not all of {words} in: {await page.value(shown)}") from None
    told = await page.call("Page.captureScreenshot", format="png")
    return base64.b64decode(told["data"])


def main() -> None:
    """Start what is to be seen, take the pictures, end all of it."""
    to = Path(sys.argv[1]).absolute()
    with (
        TemporaryDirectory() as root,
        TemporaryDirectory() as work,
        SimulatorProcess("llm", ["--latency-s", "1"]) as simulator,
        deployment(Path(root), "") as cluster,
    ):
        for name, picture in asyncio.run(_taken(Path(work), cluster, simulator)).items():
            (to / f"{name}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
