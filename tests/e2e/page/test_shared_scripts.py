"""The functions of the scripts that all pages share, in a browser."""

from __future__ import annotations

import json

import pytest

from actors.core.censor import printable
from cluster.web.document import UPLOT, asset
from tools.browser import CHROMIUM, opened

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: `make browser` installs Debian's chromium"
)
AXES = {
    0: (["0 ms"], [0]),
    0.5: (["0 ms", "250 ms", "500 ms"], [0, 0.25, 0.5]),
    50: (["0 s", "12.5 s", "50 s"], [0, 12.5, 50]),
    120: (["0:00", "1:05", "2:00"], [0, 65, 120]),
    7200: (["0:00:00", "0:01:05", "1:05:00", "2:00:00"], [0, 65, 3900, 7200]),
}


async def test_scripts_and_frames_of_pages_write_values_alike(tmp_path):
    scripts = "".join(f"<script>{asset(name)}</script>" for name in (UPLOT, "elements.js", "plots.js"))
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>x</title>{scripts}<div id=plots>", "utf-8")
    async with opened(path.as_uri(), tmp_path / "browser") as page:
        # No two times on an axis look alike.
        for last, (labels, times) in AXES.items():
            assert await page.value(f"{json.dumps(times)}.map(secondsOfAxis({last}))") == labels
        assert await page.value("[0.25, 9.1, 65, 3900].map(seconds)") == [
            "250 ms",
            "9.1 s",
            "1:05",
            "1:05:00",
        ]
        # Hidden characters have the codes that the frames of pages give them.
        every = [chr(code) for code in range(0x10000) if code != 0x0D]
        shown = await page.value(f"{json.dumps(every)}.map(visible).filter((each) => each.length > 1)")
        assert shown == [text for each in every if len(text := printable(each, indent="")) > 1]

        # A changed value of the same lines changes the plot that is there; another line draws it anew.
        await page.value(
            """(() => {
              globalThis.plots = new Plots(byId("plots"), SINCE_BEGINNING);
              const lines = [["a", [1, 2, null, 9], "--bar", []]];
              const values = { times: [0, 65, 3900, 7200], lines, cuts: [0, 1, null, 2] };
              globalThis.spec = { title: "T", unit: "u", format: number, ...values };
              plots.show([spec]);
              globalThis.canvas = document.querySelector("canvas");
            })()"""
        )
        label = "document.querySelector('.plot').getAttribute('aria-label')"
        assert await page.value(label) == "T: a up to 9"
        assert (
            await page.value("document.querySelector('figure p').textContent")
            == "▼ the limit was cut 3 times"
        )
        await page.value("plots.show([{ ...spec, cuts: null, lines: [['a', [1, 2, 3, 4], '--bar', []]] }])")
        assert await page.value(label) == "T: a up to 4"
        assert await page.value("document.querySelector('canvas') === canvas")
        assert await page.value("document.querySelector('figure p').textContent") == ""
        await page.value(
            "plots.show([{ ...spec, lines: [...spec.lines, ['b', [1, 1, 1, 1], '--text', []]] }])"
        )
        assert await page.value("document.querySelectorAll('canvas').length") == 1
        assert await page.value("document.querySelector('canvas') !== canvas")
        assert page.troubles == []
