"""``review``: a person labels answers by keyboard, and nobody else reads or writes them."""

from __future__ import annotations

import io
import json
import signal
from contextlib import asynccontextmanager

import aiohttp
import pytest

from cluster.golden.file import read_golden
from tests.e2e.support import axe
from tests.unit.support.hidden_text import HIDDEN, SHOWN, unseen
from tools.browser import CHROMIUM, opened

HOSTILE = f"<img src=x onerror=window.hacked=1><script>window.hacked=1</script>{HIDDEN}"
HARMLESS = HOSTILE.replace(HIDDEN, SHOWN)
COLUMNS = ("-c", "mood: good | bad | mixed", "-c", "confidence: 0..1")


@pytest.fixture
async def golden(driver):
    """Have a run of six rows, and return the path of its golden set."""
    rows = [{"id": f"r{number}", "text": HOSTILE} for number in range(6)]
    (driver.directory / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ended = await driver(
        "map",
        "t.jsonl",
        "Judge {text}",
        *COLUMNS,
        "-m",
        "sim",
        "-o",
        "out.jsonl",
        "--key",
        "id",
        "--yes",
        "--json",
    )
    assert ended.code == 0, ended.stderr
    run_id = ended.summary()["run_id"]
    return driver.directory / ".headrace" / "golden" / f"{run_id}.jsonl"


@asynccontextmanager
async def reviewed(driver, golden, *options):
    """Serve a review, and yield its address. Ctrl-C ends it."""
    process = await driver.start("review", golden.stem, "--no-open", "--reviewer", "ann", *options)
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.send_signal(signal.SIGINT)
    printed = (await process.stderr.read()).decode()
    assert await process.wait() == 0, printed
    assert "golden set" in printed


async def test_other_pages_and_callers_without_the_token_get_nothing(driver, golden):
    async with reviewed(driver, golden) as address, aiohttp.ClientSession() as http:
        base, token = address.split("/#")
        bearer = {"Authorization": f"Bearer {token}"}
        accept = {"question": 0, "action": "accept"}
        for headers, status in (
            (bearer, 200),
            ({}, 401),
            ({**bearer, "Host": "rebound.example"}, 403),
            ({**bearer, "Origin": "http://evil.example"}, 403),
        ):
            for method, path, body in (
                ("GET", "/api/review", None),
                ("GET", "/api/questions/0", None),
                ("GET", "/api/search?q=r1", None),
                ("POST", "/api/decisions", accept),
                ("POST", "/api/undo", {}),
            ):
                async with http.request(method, base + path, json=body, headers=headers) as answer:
                    assert answer.status == status, (method, path, headers)
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for body, status in (
            (b"x", 422),
            (b"[]", 422),
            (b'{"question": 99, "action": "accept"}', 422),
            (b" " * (2**20 + 1), 413),
        ):
            headers = {**bearer, "Content-Type": "application/json"}
            async with http.post(f"{base}/api/decisions", data=io.BytesIO(body), headers=headers) as answer:
                assert answer.status == status
        async with http.post(f"{base}/api/decisions", data=json.dumps(accept), headers=bearer) as answer:
            assert answer.status == 422  # a form of another page can send no JSON
        second = await driver("review", golden.stem, "--no-open")
        assert second.code == 1
        assert "another review writes" in second.stderr
        async with http.get(base) as page:
            assert page.status == 200
            assert token not in await page.text()
    assert len(read_golden(golden)) == 0
    assert len(golden.read_bytes().splitlines()) == 2  # a decision, and its undo
    assert golden.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium")
async def test_five_items_are_labelled_by_keyboard(driver, golden, tmp_path):
    async with reviewed(driver, golden, "--n", "5") as address, opened(address, tmp_path / "profile") as page:

        async def shows(number):
            await page.until(
                f"document.getElementById('where').textContent.startsWith('question {number} of 5')"
            )

        await shows(1)
        assert await page.value("location.hash") == ""
        await page.press("Backspace")
        for number, key in enumerate(("a", "x", "3", " "), 2):
            await page.press(key)
            await shows(number)
        await page.press("e")
        await page.until("document.getElementById('edit').open")
        await page.type("no choice")
        await page.press("Enter", "\r")
        await page.until("document.getElementById('edit-error').textContent.includes('wanted')")
        await page.value("document.getElementById('edit-text').select()")
        await page.type("mixed")
        await page.press("Enter", "\r")
        await page.until("document.getElementById('title').textContent.startsWith('All questions')")
        await page.press("u")
        await shows(5)
        await page.press("k")
        await shows(4)
        await page.press("j")
        await shows(5)
        await page.press("2")
        await page.until("document.getElementById('count').textContent.startsWith('5 of 5')")
        await page.press("/")
        await page.until("document.querySelectorAll('#matches button').length === 5")
        key = await page.value("document.querySelector('#matches li:nth-child(4) .label').textContent")
        await page.type(f"window {key.split()[1]}")  # both words are in one item only
        await page.press("Enter", "\r")
        await shows(4)
        # Texts of strangers stay texts.
        assert HARMLESS in await page.value("document.getElementById('content').textContent")
        assert unseen(await page.value("document.body.textContent")) == []
        assert await page.value("window.hacked") is None
        assert await page.value("document.querySelectorAll('main img, main script').length") == 0
        precision = await page.value("document.getElementById('precision').textContent")
        assert " right, " in precision
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True
        )
        assert await page.value("document.documentElement.scrollWidth") == 360
        if axe.PLACE.exists():
            assert await axe.faults(page) == []
        assert [each for each in page.troubles if "422" not in each] == []  # the value that did not fit
    kept = [record.decision.value for record in read_golden(golden)]
    assert kept[0] == "accept"
    assert kept[1] == "reject"
    assert kept[3] == "skip"
    assert len(kept) == 5
    assert {record.value for record in read_golden(golden)} <= {"good", "bad", "mixed", None}
    assert {record.reviewer for record in read_golden(golden)} == {"ann"}
