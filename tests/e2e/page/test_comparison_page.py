"""The page of a comparison in a browser, opened from a file."""

from __future__ import annotations

import json
import random

import pytest

from cluster.compare.comparison import compare_sides
from cluster.compare.page import write_page
from cluster.compare.sides import TableSide
from cluster.compare.truth import TruthPairing, table_truths
from tests.e2e.support import axe
from tools.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium"
)
LABELS = ("billing", "bug", "</td><img src=x onerror=window.hacked=1>")


def compared():
    luck = random.Random(1)
    right = [luck.choice(LABELS) for _ in range(200)]

    def side(name, share, shift):
        rows = [
            {
                "key": f"k{place}",
                "label": label if luck.random() < share else luck.choice(LABELS),
                "score": luck.gauss(shift, 1),
                "summary": f"The customer asks about {label} and says {luck.choice(LABELS)} in the end.",
                "language": "en",
            }
            for place, label in enumerate(right)
        ]
        return TableSide(name, lambda: iter(rows))

    gold = [{"key": f"k{place}", "label": label} for place, label in enumerate(right)]
    truths = table_truths(TruthPairing(TableSide("gold", lambda: iter(gold))), has_items=False)
    return compare_sides(side("one", 0.5, 0), side("two", 0.8, 0.4), truths, notes=("the runs differ",))


async def test_the_page_loads_nothing_fits_a_phone_and_passes_the_rules_of_accessibility(tmp_path):
    path = write_page(compared(), tmp_path / "cmp.html")
    async with opened(path.as_uri(), tmp_path / "browser") as page:
        await page.until("document.readyState === 'complete'")
        assert (await page.value("document.querySelector('h1').textContent")).startswith(
            "B is better than A: label"
        )
        assert await page.value("document.querySelectorAll('svg.interval').length") >= 4
        assert await page.value("document.querySelectorAll('.matrix tbody tr').length") == 3
        assert await page.value("document.querySelectorAll('img').length + (window.hacked || 0)") == 0
        for width, scheme in ((1280, "light"), (360, "dark")):
            screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            await page.call("Emulation.setDeviceMetricsOverride", **screen)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=features)
            assert await page.value("document.documentElement.scrollWidth <= innerWidth"), width
            cells = "[...document.querySelectorAll('.examples td')]"
            assert await page.value(f"{cells}.every(e => e.getBoundingClientRect().right <= innerWidth)"), (
                width
            )
            if axe.PLACE.exists():
                assert await axe.faults(page) == [], (width, scheme)
        assert page.troubles == []
        assert {address.partition("#")[0] for address in page.requests} == {path.as_uri()}, json.dumps(
            page.requests
        )
