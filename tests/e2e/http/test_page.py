"""The live page, in a browser."""

from __future__ import annotations

import json

import pytest

from tests.e2e.http.conftest import ANN
from tests.e2e.support.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium"
)


async def test_the_page_asks_for_a_token_shows_the_service_and_follows_a_task(service, ann, name, tmp_path):
    hostile = f"<img src=x onerror=window.hacked=1>{name}"
    async with opened(service.url + "/", tmp_path) as page:
        # By keyboard alone: the token field has the focus as soon as it is needed.
        await page.until(
            "!document.getElementById('token-form').hidden && document.activeElement.id === 'token'"
        )
        await page.type(ANN)
        await page.press("Enter", "\r")
        await page.until("document.querySelectorAll('#numbers dd').length > 8")
        assert await page.value("sessionStorage.getItem('token')") == ANN
        assert await page.value("document.getElementById('token-form').hidden")
        await page.until("document.querySelector('#endpoints td')?.textContent === 'simulator'")
        assert await page.value("document.querySelectorAll('#sources tr').length") == 2
        await page.value("document.getElementById('key').focus()")
        await page.type(hostile)
        for _ in range(3):
            await page.press("Tab")
        assert await page.value("document.activeElement.textContent") == "Hand in"
        await page.press("Enter", "\r")
        await page.until("document.getElementById('stages').textContent.includes('ended: succeeded')")
        await page.until("document.getElementById('report').textContent.includes('overall')")
        stages = await page.value(
            "[...document.querySelectorAll('#stages li')].map(each => each.textContent)"
        )
        assert [stage.split(":")[0].split("  ")[0] for stage in stages] == [
            "accepted",
            "its turn has come",
            "collected",
            "evaluated",
            "quality",
            "ended",
        ]
        # What a caller named it stays text.
        assert await page.value("document.getElementById('task').textContent") == hostile
        assert await page.value("document.querySelectorAll('img').length + (window.hacked || 0)") == 0
        assert await page.value("document.querySelectorAll('#limit polyline').length") == 2
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
        loaded = await page.value("performance.getEntriesByType('resource').map(each => each.name)")
        assert all(each.startswith(service.url) for each in loaded), json.dumps(loaded)
        assert page.troubles == []
