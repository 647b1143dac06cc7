"""The pages of the service, in a browser."""

from __future__ import annotations

import json

import pytest

from tests.e2e.http.conftest import ANN
from tools.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium"
)


async def enter_token(page):
    """Enter the token by keyboard alone: its field has the focus as soon as it is needed."""
    await page.until("!document.getElementById('token-form').hidden && document.activeElement.id === 'token'")
    await page.type(ANN)
    await page.press("Enter", "\r")
    await page.until("document.querySelectorAll('#numbers dd').length > 2")


async def texts(page, selector):
    return await page.value(f"[...document.querySelectorAll({selector!r})].map(each => each.textContent)")


async def loads_only_from(page, url):
    loaded = await page.value("performance.getEntriesByType('resource').map(each => each.name)")
    assert all(each.startswith(url) for each in loaded), json.dumps(loaded)
    assert page.troubles == []


async def test_the_page_asks_for_a_token_shows_the_service_and_follows_a_task(service, ann, name, tmp_path):
    hostile = f"<img src=x onerror=window.hacked=1>{name}"
    async with opened(service.url + "/", tmp_path) as page:
        await enter_token(page)
        assert await page.value("sessionStorage.getItem('token')") == ANN
        assert await page.value("document.getElementById('token-form').hidden")
        await page.until("document.querySelector('#endpoints td')?.textContent === 'simulator'")
        assert await page.value("document.querySelectorAll('#sources tr').length") == 2
        await page.value("document.getElementById('key').focus()")
        await page.type(hostile)
        for _ in range(3):
            await page.press("Tab")
        assert await page.value("document.activeElement.textContent") == "Submit"
        await page.press("Enter", "\r")
        await page.until("document.getElementById('stages').textContent.includes('ended: succeeded')")
        await page.until("document.getElementById('report').textContent.includes('overall')")
        stages = await texts(page, "#stages li")
        assert [stage.split(":")[0].split("  ")[0] for stage in stages] == [
            "accepted",
            "its turn has come",
            "collected",
            "evaluated",
            "quality",
            "ended",
        ]
        # What a caller named it stays text.
        assert await page.value("document.getElementById('task-key').textContent") == hostile
        assert await page.value("document.querySelectorAll('img').length + (window.hacked || 0)") == 0
        await page.value("document.querySelector('#attempts-box summary').click()")
        await page.until("document.querySelectorAll('#attempts tr').length > 1")

        # The list finds it, and a page that is opened later shows what happened before.
        await page.value("document.getElementById('prefix').focus()")
        await page.type(hostile[:-2])
        await page.press("Enter", "\r")
        await page.until("document.querySelectorAll('#tasks tr').length === 1")
        assert hostile in (await texts(page, "#tasks tr"))[0]
        await page.call("Page.reload")
        await page.until("document.querySelectorAll('#plots canvas').length >= 1")
        await page.until("document.getElementById('stages').textContent.includes('ended: succeeded')")
        assert "points" in await page.value("document.getElementById('history-note').textContent")

        colours = []
        for scheme in ("light", "dark"):
            await page.call(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            colours.append(await page.value("getComputedStyle(document.body).backgroundColor"))
        assert colours[0] != colours[1]
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True
        )
        assert await page.value("document.scrollingElement.scrollWidth") <= 360
        await loads_only_from(page, service.url)


async def test_the_reference_sends_the_requests_that_it_describes(service, name, tmp_path):
    async with opened(service.url + "/docs#get-/v1/tasks", tmp_path) as page:
        await page.until("document.querySelector('details[open] form')")
        send = "document.querySelector('details[open] form').requestSubmit()"
        await page.value(send)
        await page.until("document.querySelector('.try p')?.textContent.startsWith('401')")
        await page.value("document.getElementById('token').focus()")
        await page.type(ANN)
        await page.press("Enter", "\r")
        await page.value("document.querySelector('details[open] input[type=number]').value = '1'")
        await page.value(send)
        await page.until("document.querySelector('.try p')?.textContent.startsWith('200')")
        shown = await texts(page, "details[open] .try pre")
        assert "/v1/tasks?limit=1" in shown[0]
        assert ANN not in shown[0]
        assert set(json.loads(shown[1])) == {"tasks", "next"}
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True
        )
        assert await page.value("document.scrollingElement.scrollWidth") <= 360
        await loads_only_from(page, service.url)
