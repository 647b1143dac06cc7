"""The report in a browser, opened from a file."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from actors.core.messages.journal import Accept, CloseRun, Collected
from actors.core.messages.tasks import (
    DimensionResult,
    Fetched,
    Item,
    ItemResult,
    ItemState,
    SourceOutcome,
    Task,
    TaskState,
)
from actors.core.messages.values import Usage
from cluster.config.model import HeadraceConfig
from cluster.page.options import PageOptions
from cluster.page.writing import write_page
from cluster.records.records import CODEC
from cluster.web.document import asset
from tests.e2e.support import axe
from tests.unit.support.amounts import AMOUNTS
from tests.unit.support.stored_run import StoredRun
from tools.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium"
)
HOSTILE = "</script></template><img src=x onerror=window.hacked=1>\u2028\x00\ud800"
ENDPOINT = {"name": "e", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
RATING = {"quality": {"type": "number", "min": 0, "max": 10}, "note": {"type": "string"}}
LABEL = {"label": {"type": "string", "choices": ("good", "bad")}}


def sourced_run():
    """Return a run of 130 tasks with two items each; one of them failed, and one is hostile."""
    job = HeadraceConfig.model_validate(
        {
            "llm": {"endpoints": (ENDPOINT,)},
            "sources": ({"name": "wire", "kind": "simulated"},),
            "evaluate": {"name": "rate", "prompt": "Rate {text}", "output": RATING},
            "dimensions": ({"name": "quality", "field": "quality"},),
        }
    )
    run = StoredRun(job, keep="calls", codec=CODEC)
    for number in range(130):
        key = HOSTILE if number == 7 else f"task-{number:03}"
        task = Task(key, {"city": "Ulm"})
        run.desk.tell(Accept(run.run_id, task))
        items = tuple(Item(f"wire:{place}", "wire", f"text {number}-{place}") for place in range(2))
        run.desk.tell(Collected(run.run_id, key, (Fetched("wire", items),)))
        note = HOSTILE if number == 7 else f"=note {number}"
        values = {"rate": {"quality": number % 100 / 10, "note": note}}
        results = tuple(ItemResult(item.id, "wire", ItemState.SUCCEEDED, values) for item in items)
        state = TaskState.FAILED if number == 99 else TaskState.SUCCEEDED
        quality = DimensionResult("quality", number % 100 / 10, 0.0, 10.0, 2, note, ("wire:1",))
        report = replace(
            run.report(task, state, results, Usage(10, 5, 0.01)),
            overall=number % 100 / 100,
            dimensions=(quality,),
            sources={"wire": SourceOutcome(2)},
            errors=("evaluation of wire:0 failed: unusable: no JSON",) if number == 99 else (),
        )
        run.end(report)
    return run


def rows_run():
    """Return a run in map form."""
    job = {"llm": {"endpoints": (ENDPOINT,)}, "evaluate": {"prompt": "Rate {body}", "output": LABEL}}
    run = StoredRun(HeadraceConfig.model_validate(job), keep="calls")
    run.answer(Task("r1", {"body": "a mug"}), Usage(20, 5, 0.01))
    run.reject(Task("r2", {"body": "a lamp"}))
    return run


@asynccontextmanager
async def page_of(run, tmp_path):
    run.desk.tell(CloseRun(run.run_id, "interrupted"))
    path = write_page(run.store, run.run_id, tmp_path / "page.html", 1e6, PageOptions()).path
    async with opened(path.as_uri(), tmp_path / "browser") as page:
        await page.until("document.documentElement.dataset.ready === 'searchable'")
        yield page
        assert page.troubles == []
        assert {address.partition("#")[0] for address in page.requests} == {path.as_uri()}


async def go(page, address):
    await page.value(f"location.hash = {json.dumps(address)}")
    await page.until(f"document.documentElement.dataset.shown === {json.dumps(address)}")


async def column(page, place):
    """Return the texts of a column of the table that is shown."""
    return await page.value(
        f"[...document.querySelectorAll('.rows tbody tr')].map((row) => row.children[{place}].textContent)"
    )


async def test_tasks_are_found_sorted_and_opened_down_to_an_attempt(tmp_path):
    async with page_of(sourced_run(), tmp_path) as page:
        assert await page.value("document.querySelector('h1').textContent") == (
            "129 of 130 tasks succeeded; 1 failed"
        )
        assert await page.value("document.querySelectorAll('#summary svg rect').length") > 20
        await page.press("t", "t")
        await page.until("document.querySelectorAll('.rows tbody tr').length === 100")
        assert (await column(page, 0))[:2] == ["task-099", "task-000"]  # failures are first
        await page.value("document.querySelector('[data-sort=quality]').click()")
        await page.value("document.querySelector('[data-sort=quality]').click()")
        assert (await column(page, 0))[0] == "task-099"
        assert await page.value("location.hash") == "#/tasks?sort=-quality"
        await page.press("/", "/")
        await page.type("text 42-1")  # in the prompt of an item, not in a column
        await page.until("document.activeElement.type === 'search' && location.hash.includes('q=')")
        await page.press("Escape")
        await page.until("document.activeElement.value === '' && !location.hash.includes('q=')")
        await go(page, "#/items?q=42-1")
        assert await column(page, 0) == ["task-042"]
        await page.press("j", "j")
        await go(page, "#/item/task-042/wire%3A1")
        text = await page.value("document.getElementById('explore').innerText")
        assert "Rate \n" in text or "text 42-1" in text
        assert "evidence of: quality" in text
        await go(page, "#/tasks?state=failed&q=unusable")
        assert await column(page, 0) == ["task-099"]
        await go(page, "#/tasks?q=quality%3E=9.8+task")
        assert await column(page, 0) == ["task-099", "task-098"]
        await page.value("document.querySelectorAll('.rows tbody a')[1].click()")
        await page.until("document.querySelector('.detail h1')?.textContent === 'task-098'")
        assert await page.value("document.activeElement.id") == "main"
        await page.press("k", "k")
        await page.until("document.querySelector('.detail h1')?.textContent === 'task-099'")
        await page.press("Escape")
        await page.until("document.activeElement.textContent === 'task-099'")  # where the reader was
        await page.value("URL.createObjectURL = (blob) => ((window.saved = blob), 'blob:null/x')")
        await go(page, "#/items?q=note+12&sort=task")
        await page.value("HTMLAnchorElement.prototype.click = () => {}")
        await page.value(
            "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Export CSV').click()"
        )
        exported = await page.value("window.saved.text()")
        assert exported.startswith('"task","item","state","error","source","quality","note","cost"\r\n')
        assert '"task-012","wire:0","succeeded",,"wire",1.2,"\'=note 12",0\r\n' in exported


async def test_hostile_texts_stay_texts(tmp_path):
    async with page_of(sourced_run(), tmp_path) as page:
        await go(page, "#/tasks?q=onerror")
        (key,) = await column(page, 0)
        assert key == "</script></template><img src=x onerror=window.hacked=1>\\u2028\\x00\\ud800"
        await page.value("document.querySelector('.rows tbody a').click()")
        await page.until("document.querySelector('.detail h1')?.textContent.includes('onerror')")
        await page.until("document.getElementById('explore').innerText.includes('evidence: wire:1')")
        await page.value(
            "[...document.querySelectorAll('a')].find((one) => one.textContent === 'wire:1').click()"
        )
        await page.until("document.querySelector('.detail h1')?.textContent === 'wire:1'")
        assert await page.value("document.querySelectorAll('img').length + (window.hacked || 0)") == 0


async def test_rows_open_to_their_prompt_and_their_cause(tmp_path):
    async with page_of(rows_run(), tmp_path) as page:
        await go(page, "#/tasks")
        assert await column(page, 0) == ["r2", "r1"]
        await go(page, "#/task/r2")
        text = await page.value("document.getElementById('explore').innerText")
        assert "Rate a lamp" in text
        assert "permanent: HTTP 400: no" in text
        await go(page, "#/task/none")
        assert "Not in this file" in await page.value("document.getElementById('explore').innerText")
        amounts = json.dumps([usd for usd, _ in AMOUNTS])  # tables write them as the summary does
        written = await page.value(f"(() => {{ {asset('elements.js')}\nreturn {amounts}.map(money) }})()")
        assert written == [text for _, text in AMOUNTS]


@pytest.mark.skipif(not axe.PLACE.exists(), reason="NO AXE: `make browser` fetches axe-core")
async def test_every_view_passes_the_rules_of_accessibility(tmp_path):
    async with page_of(sourced_run(), tmp_path) as page:
        for width, scheme in ((1280, "light"), (360, "dark")):
            screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            await page.call("Emulation.setDeviceMetricsOverride", **screen)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=features)
            for view in ("#/", "#/tasks", "#/items?q=note", "#/task/task-099", "#/item/task-042/wire%3A1"):
                await go(page, view)
                assert await axe.faults(page) == [], (width, scheme, view)
                assert await page.value("document.documentElement.scrollWidth <= innerWidth"), (width, view)
