"""Takes the pictures in docs/images, from a run on this machine that costs nothing.

    python -m tools.screenshots [report …]

Needs Chromium (`make browser`). `PICTURES` names the pictures, each with the function that takes it.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import json
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import ClientSession

from cluster.config.loading import loaded
from cluster.golden.file import GoldenFile
from cluster.golden.records import Decision, GoldenRecord, Order
from cluster.http.routes.identifiers import id_of
from examples.demo_model import DemoModel
from examples.make_reviews import BAD, GOOD, MIXED, PRODUCTS
from tools.browser import CHROMIUM, Page, opened
from tools.local_service import local_service

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST_KB = 150
_RUN = "products-2026"
_MAKERS = ("Alder", "Birch", "Cedar", "Hazel", "Larch", "Maple", "Rowan", "Willow")
_JUDGED = 120
_UNFINISHED = 8  # of the 25 tasks that the live page lists when its picture is taken
_STEP = """Rate this review of {key}:
{text}"""
_SOURCES = (
    {"name": "shop", "kind": "files", "path": "shop/{key}.csv"},
    {"name": "forum", "kind": "files", "path": "forum/{key}.csv"},
)
_CONFIG = {
    "name": "products",
    "tasks": {"kind": "file", "path": "products.csv", "key": "product"},
    "sources": _SOURCES,
    "evaluate": {
        "name": "rate",
        "system": "You read reviews of products. Judge only what the review says.",
        "prompt": _STEP,
        "output": {
            "sentiment": "positive | mixed | negative",
            "satisfaction": "0..1",
            "topic": "durability | delivery | service | price | fitness",
            "returned": "bool",
            "confidence": "0..1",
        },
        "max_tokens": 120,
    },
    "dimensions": [
        {
            "name": "satisfaction",
            "field": "satisfaction",
            "weight": 3,
            "synthesize": "Write one finding about {key} from this evidence, and name the ids:\n{evidence}",
        },
        {"name": "returns", "field": "returned", "values": {"true": 1, "false": 0}, "weight": -1},
    ],
    "store": {"kind": "sqlite", "path": ".headrace/state.db", "keep": "calls"},
}


def write_inputs(folder: Path) -> list[str]:
    """Write 64 products and their reviews. Return the names of the products."""
    chance = random.Random(7)
    products = []
    for maker in _MAKERS:
        for name, words in PRODUCTS.items():
            key = f"{maker} {name}"
            products.append(
                {"product": key, "maker": maker, "kind": name, "price": chance.randrange(15, 240)}
            )
            quality = chance.betavariate(2.2, 1.8)
            for source, most in (("shop", 9), ("forum", 6)):
                texts = [_review(chance, words, quality) for _ in range(chance.randint(3, most))]
                _write(folder / source / f"{key}.csv", [{"text": text} for text in texts])
    _write(folder / "products.csv", products)
    return [str(product["product"]) for product in products]


def _review(chance: random.Random, words: tuple[str, ...], quality: float) -> str:
    does, part, other, use = words
    (mood,) = chance.choices((GOOD, MIXED, BAD), weights=(quality * 2, 0.6, (1 - quality) * 2))
    values = {"does": does, "part": part, "other": other, "use": use}
    values |= {"Part": part.capitalize(), "Other": other.capitalize()}
    values |= {"months": str(chance.randint(2, 18)), "weeks": str(chance.randint(2, 9))}
    return " ".join(each.format(**values) for each in chance.sample(mood, chance.choice((1, 2, 3))))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


async def headrace(folder: Path, *arguments: str) -> str:
    """Run a command in `folder`, and return what it prints."""
    command = (sys.executable, str(ROOT / "driver.py"), *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(arguments)} failed: {stderr.decode()}")
    return stdout.decode()


def _demo_endpoint(url: str) -> dict[str, Any]:
    price = {"input_usd_per_mtok": 0.25, "output_usd_per_mtok": 2.0}
    return {"name": "demo", "base_url": url, "model": "demo-mini", "price": price}


async def demo_run(folder: Path) -> None:
    """Make a run with a golden set in `folder`."""
    write_inputs(folder)
    async with DemoModel().open() as url:
        config = {**_CONFIG, "llm": {"endpoints": [_demo_endpoint(url)]}}
        (folder / "products.yaml").write_text(json.dumps(config), encoding="utf-8")
        await headrace(folder, "run", "products.yaml", "--engine=local", f"--run-id={_RUN}")
    items = await headrace(folder, "results", _RUN, "--items")
    rows = [json.loads(line) for line in items.splitlines()]
    _judge([row for row in rows if row["sentiment"]], folder / ".headrace" / "golden" / f"{_RUN}.jsonl")


def _judge(rows: list[dict[str, Any]], path: Path) -> None:
    """Judge some answers as a person could: most are right, and the doubtful ones less often."""
    chance = random.Random(11)
    with GoldenFile(path) as golden:
        for row in chance.sample(rows, _JUDGED):
            for name in ("sentiment", "topic"):
                is_right = chance.random() < row["confidence"] - (0.0 if name == "sentiment" else 0.06)
                others = [one for one in ("positive", "mixed", "negative") if one != row[name]]
                value = row[name] if is_right else others[0] if name == "sentiment" else "price"
                decision = Decision.ACCEPT if value == row[name] else Decision.EDIT
                record = GoldenRecord(
                    row["key"],
                    row["item"],
                    name,
                    decision,
                    "ann",
                    time.time(),
                    row[name],
                    value,
                    Order.RANDOM,
                )
                golden.append(record)


# ---- pictures --------------------------------------------------------------------------------------------


async def taken(page: Page, path: Path, *, width: int, height: int, dark: bool = False) -> None:
    """Write a picture of what the page shows."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    await page.call("Emulation.setDeviceMetricsOverride", **screen)
    await page.call("Emulation.setScrollbarsHidden", hidden=True)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    await page.call("Emulation.setEmulatedMedia", features=scheme)
    await page.call("Emulation.setScrollbarsHidden", hidden=True)
    await page.value("new Promise((drawn) => setTimeout(drawn, 400))")  # plots follow a changed width
    picture = await page.call("Page.captureScreenshot", format="webp", quality=88)
    data = base64.b64decode(picture["data"])
    if len(data) > LARGEST_KB * 1000:
        raise SystemExit(f"{path} would have {len(data) / 1000:.0f} kB: show less")
    await asyncio.to_thread(path.write_bytes, data)
    print(f"{path} ({len(data) / 1000:.0f} kB)")


async def report_pictures(images: Path, folder: Path) -> None:
    """Take the pictures of the report: wide and narrow, light and dark."""
    await demo_run(folder)
    await headrace(folder, "report", _RUN, "-o", "report.html")
    async with opened((folder / "report.html").as_uri(), folder / "browser") as page:
        await page.until("document.documentElement?.dataset.ready === 'searchable'")
        await taken(page, images / "report.webp", width=1280, height=1010)
        await taken(page, images / "report-narrow-dark.webp", width=360, height=780, dark=True)
        await _shown(page, "#/items?q=broke&sentiment=negative&sort=satisfaction")
        await taken(page, images / "report-items-dark.webp", width=1280, height=800, dark=True)
        await _shown(page, "#/tasks")
        await taken(page, images / "report-tasks-narrow.webp", width=360, height=780)


async def _shown(page: Page, address: str) -> None:
    await page.value(f"location.hash = {json.dumps(address)}")
    await page.until(f"document.documentElement.dataset.shown === {json.dumps(address)}")


async def live_pictures(images: Path, folder: Path) -> None:
    """Take the pictures of the live page of the HTTP API, and of its reference."""
    products = write_inputs(folder)
    async with DemoModel().open() as url:
        sources = [{**each, "path": str(folder / each["path"])} for each in _SOURCES]
        given = {"sources": sources, "store": {"kind": "sqlite", "path": str(folder / "service.db")}}
        config = {**_CONFIG, **given, "llm": {"endpoints": [_demo_endpoint(url)]}}
        del config["tasks"]
        (folder / "service.yaml").write_text(json.dumps(config), encoding="utf-8")
        async with local_service(loaded(folder / "service.yaml", env={})) as service:
            await _submit(service, products)
            async with opened(f"{service}/#task={id_of(products[3])}", folder / "browser") as page:
                await page.until("document.getElementById('report').textContent.includes('overall')")
                await page.until(f"document.querySelectorAll('#tasks .open').length <= {_UNFINISHED}")
                await page.until("document.querySelectorAll('#plots canvas').length === 3")
                await _scrolled(page, "body")
                await taken(page, images / "live.webp", width=1280, height=960)
                await _scrolled(page, "#tasks-title")
                await taken(page, images / "live-tasks-dark.webp", width=1280, height=580, dark=True)
                await _scrolled(page, "body")
                await taken(page, images / "live-narrow-dark.webp", width=360, height=780, dark=True)
            async with opened(f"{service}/docs#post-/v1/tasks", folder / "browser") as page:
                await page.until("document.querySelector('details[open] form')")
                await page.value("document.querySelector('details[open] form').requestSubmit()")
                await page.until("document.querySelector('.try p')?.textContent.startsWith('202')")
                await taken(page, images / "api.webp", width=1280, height=1160)


async def _submit(service: str, products: Sequence[str]) -> None:
    lines = "\n".join(json.dumps({"key": product}) for product in products)
    headers = {"Content-Type": "application/x-ndjson"}
    async with (
        ClientSession() as http,
        http.post(f"{service}/v1/batches", data=lines, headers=headers) as answer,
    ):
        answer.raise_for_status()


async def _scrolled(page: Page, selector: str) -> None:
    await page.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")


async def review_pictures(images: Path, folder: Path) -> None:
    """Take the pictures of the page of a review: wide and light, narrow and dark."""
    await demo_run(folder)
    command = (sys.executable, str(ROOT / "driver.py"), "review", _RUN, "--no-open", "--reviewer=ann")
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE)
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        async with opened(address, folder / "browser") as page:
            for number, key in enumerate(("a", "3", "a", ""), 1):
                await page.until(
                    f"document.getElementById('where').textContent.includes('question {number} ')"
                )
                if key:
                    await page.press(key)
            await taken(page, images / "review.webp", width=1280, height=720)
            await taken(page, images / "review-narrow-dark.webp", width=360, height=740, dark=True)
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def terminal_picture(images: Path, folder: Path) -> None:
    """Draw the terminal during a map."""
    words = (sys.executable, "-m", "tools.terminal", str(images / "map.svg"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*words, cwd=folder, env=environment)
    if await process.wait():
        raise SystemExit("the terminal could not be drawn")


PICTURES: Mapping[str, Callable[[Path, Path], Awaitable[None]]] = {
    "live": live_pictures,
    "report": report_pictures,
    "review": review_pictures,
    "terminal": terminal_picture,
}


async def take(names: list[str]) -> None:
    """Take the pictures with these names."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in names:
        with TemporaryDirectory() as folder:
            await PICTURES[name](IMAGES, Path(folder))


def main() -> None:
    """Take all pictures, or those that the arguments name."""
    if CHROMIUM is None:
        raise SystemExit("there is no browser: `make browser` installs one")
    unknown = set(sys.argv[1:]) - PICTURES.keys()
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(PICTURES)}")
    asyncio.run(take(sys.argv[1:] or [*PICTURES]))


if __name__ == "__main__":
    main()
