"""Runs all benchmarks one after another, in a short or a full form, and prints a table of their goals.

Each runs in its own process and stores its result. One that fails does not stop the others, and is listed at
the end. `python -m benchmarks.report` writes the results into the documentation.

    python -m benchmarks.suite --form short
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.results import FOLDER, kept


@dataclass(frozen=True, slots=True)
class SuitePart:
    """A benchmark and its options. It is stopped after `within_s`, which is far more than it takes."""

    module: str
    options: str
    within_s: float

    def command(self, form: str) -> list[str]:
        """Return the command that runs it."""
        return [sys.executable, "-m", f"benchmarks.{self.module}", *self.options.split(), "--form", form]


_MAIN_ONLY = "--only ^Headrace$ --only bare --only Celery"
_SLOW_ONLY = "--only ^Headrace$ --only whole"
SHORT = (
    SuitePart("w1.comparison", f"--tasks 300 --repeat 2 {_MAIN_ONLY}", 400),
    SuitePart("w1.comparison", f"--tasks 150 --repeat 1 --latency-s 2 {_SLOW_ONLY}", 300),
    SuitePart("dispatch.ceiling", "--depths 1000 100000 --calls 30000 --rounds 5", 200),
    SuitePart("cost.latency", "--seconds 6 --warm-up 4 --starts 1", 200),
    SuitePart("http.load", "--seconds 5 --overload-seconds 45", 400),
    SuitePart("cost.memory", "--tasks 1000 10000", 200),
    SuitePart("cost.map_rows", "--rows 20000", 300),
    SuitePart("cost.dialects", "--calls 2000", 100),
    SuitePart("cost.scale", "--nodes 1 2 --tasks 30 --caps 100 600 --seconds 5", 300),
)
FULL = (
    SuitePart("w1.comparison", "--tasks 1000 --repeat 5", 3600),
    SuitePart("w1.comparison", f"--tasks 1000 --repeat 5 --latency-s 2 {_SLOW_ONLY} --only Celery", 7200),
    SuitePart("w1.comparison", "--tasks 10000 --repeat 1 --latency-s 2 --only ^Headrace$", 3600),
    SuitePart("dispatch.ceiling", "--depths 1000 10000 100000 1000000 --calls 30000 --rounds 15", 3600),
    SuitePart("cost.latency", "--seconds 30 --starts 5", 1200),
    SuitePart("http.load", "--seconds 30 --overload-seconds 60", 900),
    SuitePart("cost.memory", "--tasks 1000 10000 100000 1000000", 4 * 3600),
    SuitePart("cost.map_rows", "--rows 10000 100000 1000000", 2 * 3600),
    SuitePart("cost.dialects", "--calls 50000", 600),
    SuitePart("cost.scale", "--nodes 1 2 4 --tasks 200 --caps 75 150 300 600 --seconds 20", 1800),
)


def main() -> None:
    """Run all benchmarks and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--form", choices=("short", "full"), default="short")
    options = parser.parse_args()
    console = Console()
    started = time.monotonic()
    before = {path: path.stat().st_mtime_ns for path in FOLDER.glob("*.json")}
    failed = [
        part for part in (SHORT if options.form == "short" else FULL) if not _run(part, options.form, console)
    ]
    fresh = {path.stem for path in FOLDER.glob("*.json") if before.get(path) != path.stat().st_mtime_ns}
    table = Table(title="goals", title_justify="left")
    for column in ("", "measured", "wanted", ""):
        table.add_column(column)
    for name, outcome in kept().items():
        for check in outcome.checks if name in fresh else ():
            mark = {True: "holds", False: "not reached", None: "not measured"}[check.holds]
            table.add_row(f"{name}: {check.what}", check.value, check.target, mark)
    console.print(table)
    console.print(
        f"{(time.monotonic() - started) / 60:.1f} minutes; `python -m benchmarks.report` writes the pages"
    )
    for part in failed:
        console.print(
            f"benchmarks.{part.module} {part.options} failed: its goals are missing above", markup=False
        )
    raise SystemExit(1 if failed else 0)


def _run(part: SuitePart, form: str, console: Console) -> bool:
    console.rule(f"{part.module} {part.options}")
    started = time.monotonic()
    process = subprocess.Popen(part.command(form))  # noqa: S603 - this interpreter and a module of this project
    try:
        return process.wait(part.within_s) == 0
    except subprocess.TimeoutExpired:
        console.print(f"stopped: it took longer than {part.within_s:.0f} s")
        process.terminate()
        return False
    finally:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        console.print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
