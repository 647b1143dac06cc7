"""Measures the report of a run of W1's shape in a headless browser, and prints a table.

    python -m benchmarks.report_page [--tasks 1000]

Makes the run itself (configs/w1.yaml on the local engine, with simulated sources and model) unless an earlier
measurement has made it, writes its report, opens it from the file, and times what a reader does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from tools.browser import CHROMIUM, Page, opened

ROOT = Path(__file__).parents[1]
PLACE = ROOT / ".headrace" / "bench" / "report"
_GOALS = {"file": 5.0, "usable": 2.0, "search": 200.0, "sort": 200.0}
_REPEATS = 7
_WORDS = ("tone", "reliable", "task-0007", "evidence points", "nonce:7", "wiki", "no such word")
_MARKS = ("usable", "searchable")
_MARKED = "performance.getEntriesByName('%s')[0].startTime / 1000"
_TIMED = """(async () => {
  const view = document.querySelector('input[type=search]');
  const before = performance.now();
  %s
  document.body.offsetHeight;
  return performance.now() - before;
})()"""


def run_of(tasks: int) -> str:
    """Return the id of a run with this number of tasks, which is made unless it is there."""
    run_id = f"w1-{tasks}"
    PLACE.mkdir(parents=True, exist_ok=True)
    known = subprocess.run(_command("status", run_id), cwd=PLACE, capture_output=True, check=False)  # noqa: S603
    if known.returncode:
        print(f"making a run of {tasks:,} tasks …", file=sys.stderr)
        changes = [f"--set=tasks.count={tasks}", "--set=llm.simulator.max_in_flight=300"]
        config = str(ROOT / "configs" / "w1.yaml")
        command = _command("run", config, "--engine=local", f"--run-id={run_id}", *changes)
        subprocess.run(command, cwd=PLACE, check=True, capture_output=True)  # noqa: S603 - our own program
    return run_id


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "driver.py"), *arguments]


def written(run_id: str) -> tuple[Path, float, float]:
    """Return the report of a run, the seconds that it took to write, and the most memory in MB."""
    path = PLACE / f"{run_id}.html"
    began = time.monotonic()
    process = psutil.Popen(_command("report", run_id, "-o", str(path)), cwd=PLACE)
    most = 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("the report was not written")
    return path, time.monotonic() - began, most / 1e6


async def timed(path: Path) -> tuple[dict[str, float], Page]:
    """Return what a browser needs, in seconds and milliseconds."""
    with TemporaryDirectory() as folder:
        async with opened(path.as_uri(), Path(folder)) as page:
            await page.until("document.documentElement?.dataset.ready === 'searchable'")
            found: dict[str, list[float]] = {name: [] for name in (*_MARKS, "items", "search", "sort")}
            for view in ("#/", "#/items"):
                await page.value(f"location.hash = '{view}'")
                for _ in range(_REPEATS):
                    await page.call("Page.reload")
                    await page.until("document.documentElement?.dataset.ready === 'searchable'")
                    marks = {name: await page.value(_MARKED % name) for name in _MARKS}
                    if view == "#/items":
                        found["items"].append(marks["usable"])
                    else:
                        for name, seconds in marks.items():
                            found[name].append(seconds)
            await page.until("document.querySelectorAll('.rows tbody tr').length === 100")
            for word in _WORDS:
                typed = f"view.value = {json.dumps(word)}; view.dispatchEvent(new Event('input'));"
                found["search"].append(await page.value(_TIMED % typed))
            await page.value(_TIMED % "view.value = ''; view.dispatchEvent(new Event('input'));")
            for column in ("quality", "note", "source", "task", "state"):
                click = f"document.querySelector('[data-sort={column}]').click();"
                found["sort"].append(await page.value(_TIMED % click))
            return {
                name: max(times) if name in ("search", "sort") else median(times)
                for name, times in found.items()
                if times
            }, page


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description="Measures the report page.")
    options.add_argument("--tasks", type=int, default=1_000)
    given = options.parse_args()
    if CHROMIUM is None:
        raise SystemExit("there is no browser: `make browser` installs one")
    run_id = run_of(given.tasks)
    path, took_s, most_mb = written(run_id)
    times, page = asyncio.run(timed(path))
    size = path.stat().st_size / 1e6
    elsewhere = [address for address in page.requests if not address.startswith(path.as_uri())]
    rows = [
        ("size of the file", f"{size:.2f} MB", size <= _GOALS["file"], "≤ 5 MB"),
        ("written in", f"{took_s:.1f} s, {most_mb:.0f} MB of memory", True, ""),
        ("usable after", f"{times['usable']:.2f} s", times["usable"] <= _GOALS["usable"], "≤ 2 s"),
        (
            "the same, opened at the items",
            f"{times['items']:.2f} s",
            times["items"] <= _GOALS["usable"],
            "≤ 2 s",
        ),
        ("prompts searchable after", f"{times['searchable']:.2f} s", True, ""),
        ("slowest search", f"{times['search']:.0f} ms", times["search"] <= _GOALS["search"], "≤ 200 ms"),
        ("slowest sort", f"{times['sort']:.0f} ms", times["sort"] <= _GOALS["sort"], "≤ 200 ms"),
        ("errors on the console", f"{len(page.troubles)}", not page.troubles, "0"),
        ("requests to elsewhere", f"{len(elsewhere)}", not elsewhere, "0"),
    ]
    print(f"{given.tasks:,} tasks, {given.tasks * 20:,} items; {os.cpu_count()} processors\n")
    print("| what | measured | goal | |\n| --- | --- | --- | --- |")
    for what, measured, is_met, goal in rows:
        print(f"| {what} | {measured} | {goal} | {'' if not goal else 'met' if is_met else 'MISSED'} |")
    if not all(is_met for _, _, is_met, _ in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
