"""Rows through `map` on the local engine: rows a second, peak memory, and completeness of the table.

The model answers at once, so that everything measured is the program's own cost. A bare asyncio loop makes
the same calls and writes the same columns in the order of the input, without a journal. Each runs in its own
process; the model runs in another.

    python -m benchmarks.cost.map_rows --rows 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import orjson
import psutil
import uvloop
from rich.console import Console

from benchmarks.results import BenchmarkResult, GoalCheck, Plot, Series, Table, check_at_most
from simulators.process import SimulatorProcess

_ROOT = Path(__file__).parents[2]
_IN_FLIGHT = 256
_PROMPT = "Classify: {text}"
_CHOICES = ["positive", "neutral", "negative"]
_FIELDS: dict[str, dict[str, object]] = {
    "sentiment": {"type": "string", "choices": _CHOICES},
    "score": {"type": "number", "min": 0, "max": 1},
}
_COLUMNS = ("sentiment: positive | neutral | negative", "score: 0.0..1.0")
_MOST_MB = 250
_LOOK_EVERY_S = 0.2
HEADRACE, BARE = "Headrace", "bare loop"


@dataclass(frozen=True, slots=True)
class MapMeasured:
    """What one program took for a number of rows. `cpu_s` is processor time."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def pace(self) -> float:
        """Rows a second."""
        return self.rows / self.wall_s


# ---- the bare loop ---------------------------------------------------------------------------------------


async def bare_loop(url: str, rows: Path, out: Path) -> None:
    """Ask about each row of the CSV file `rows`, and write the answers in its order."""
    slots = asyncio.Semaphore(_IN_FLIGHT)
    waiting: dict[int, asyncio.Task[list[str]]] = {}
    connector = aiohttp.TCPConnector(limit=0)
    with rows.open(newline="") as given, out.open("w", newline="") as file:
        read, written = csv.DictReader(given), csv.writer(file)
        written.writerow([*(read.fieldnames or ()), *_FIELDS])
        async with aiohttp.ClientSession(connector=connector) as session:
            for number, row in enumerate(read):
                await slots.acquire()
                asked = asyncio.create_task(_answered(session, url, row, slots))
                waiting[number] = asked
                for _ in range(2):
                    first = next(iter(waiting), None)
                    if first is None or not waiting[first].done():
                        break
                    written.writerow(waiting.pop(first).result())
            for asked in waiting.values():
                written.writerow(await asked)


async def _answered(
    session: aiohttp.ClientSession, url: str, row: dict[str, str], slots: asyncio.Semaphore
) -> list[str]:
    schema = {
        "type": "object",
        "properties": {name: _schema(spec) for name, spec in _FIELDS.items()},
        "required": [*_FIELDS],
    }
    body = {
        "model": "sim",
        "messages": [{"role": "user", "content": _PROMPT.format(**row)}],
        "max_tokens": 200,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    }
    try:
        headers = {"Content-Type": "application/json"}
        target = f"{url}/chat/completions"
        async with session.post(target, data=orjson.dumps(body), headers=headers) as response:
            answer = orjson.loads(await response.read())
    finally:
        slots.release()
    values = orjson.loads(answer["choices"][0]["message"]["content"])
    return [*row.values(), *(str(values[name]) for name in _FIELDS)]


def _schema(spec: dict[str, object]) -> dict[str, object]:
    names = {"choices": "enum", "min": "minimum", "max": "maximum"}
    return {names.get(name, name): value for name, value in spec.items()}


# ---- the measuring side ----------------------------------------------------------------------------------


def measured(command: list[str], rows: int, directory: Path) -> MapMeasured:
    """Run a program in `directory` to its end, and watch its memory and that of its descendants."""
    began = time.monotonic()
    peak = cpu_s = 0.0
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, cwd=directory, stdout=nothing, stderr=pipe) as program:  # noqa: S603 - our own
        seen = psutil.Process(program.pid)
        while program.poll() is None:
            try:
                peak = max(peak, sum(each.memory_info().rss for each in _family(seen)))
                used = seen.cpu_times()
                cpu_s = used.user + used.system
            except psutil.NoSuchProcess:
                pass
            time.sleep(_LOOK_EVERY_S)
        if program.returncode:
            error = (program.stderr.read() if program.stderr else b"").decode(errors="replace")
            raise RuntimeError(f"{command} ended with {program.returncode}: {error[-2000:]}")
    return MapMeasured(rows, time.monotonic() - began, cpu_s, peak / 2**20)


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    yield from process.children(recursive=True)


def compare(rows: int, *, with_bare: bool) -> dict[str, MapMeasured]:
    """Run both programs over as many rows. Raises `RuntimeError` if the table is not complete and ordered."""
    arguments = ["--latency-s", "0", "--sigma", "0", "--remember", "1000"]
    with TemporaryDirectory() as name, SimulatorProcess("llm", arguments) as model:
        directory = Path(name)
        with (directory / "rows.csv").open("w", newline="") as file:
            file.write("id,text\r\n")
            file.writelines(f"{number},review number {number}: it is fine\r\n" for number in range(rows))
        program = [
            sys.executable,
            "-m",
            "headrace",
            "map",
            "rows.csv",
            _PROMPT,
            "-o",
            "out.csv",
            "--yes",
            "-q",
        ]
        columns = [word for column in _COLUMNS for word in ("-c", column)]
        target = ["-m", "sim-remote", "--base-url", model.url, "--engine", "local"]
        found = {HEADRACE: measured([*program, *columns, *target], rows, directory)}
        _check(directory / "out.csv", rows)
        if with_bare:
            bare = [sys.executable, "-m", "benchmarks.cost.map_rows", "--bare", model.url, name]
            found[BARE] = measured(bare, rows, _ROOT)
            _check(directory / "bare.csv", rows)
    return found


def _check(path: Path, rows: int) -> None:
    with path.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["id"] != str(number) or row["sentiment"] not in _CHOICES:
                raise RuntimeError(f"{path}: row {number} is {row}")
        if number + 1 != rows:
            raise RuntimeError(f"{path} has {number + 1} of {rows} rows")


def main() -> None:
    """Measure each number of rows and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--without-bare", action="store_true")
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    if options.bare:
        url, directory = options.bare
        rows, out = Path(directory) / "rows.csv", Path(directory) / "bare.csv"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bare_loop(url, rows, out))
        return
    found = {}
    for rows in options.rows:
        found[rows] = compare(rows, with_bare=not options.without_bare)
        for program, one in found[rows].items():
            line = (
                f"{rows:,} rows, {program}: {one.pace:,.0f} rows/s, {one.peak_mb:,.0f} MB, {one.cpu_s:,.0f} s"
            )
            Console(stderr=True).print(line, highlight=False)
    outcome(found, options.form).publish()


def outcome(found: dict[int, dict[str, MapMeasured]], form: str) -> BenchmarkResult:
    """Return the result: a table, a plot of memory and the goals."""
    rows = tuple(
        (program, f"{size:,}", f"{it.pace:,.0f}", f"{it.cpu_s / size * 1e6:,.0f}", f"{it.peak_mb:,.0f}")
        for size, programs in found.items()
        for program, it in programs.items()
    )
    columns = ("", "rows", "rows a second", "µs of processor time a row", "peak memory, MB")
    sizes = tuple(map(float, found))
    line = Series(HEADRACE, sizes, tuple(programs[HEADRACE].peak_mb for programs in found.values()))
    largest = max(found)
    return BenchmarkResult(
        name="map_rows",
        form=form,
        tables=[Table(f"map form on the local engine, {os.cpu_count()} cores", columns, rows)],
        checks=[
            check_at_most(
                f"memory with {largest:,} rows, MB", found[largest][HEADRACE].peak_mb, _MOST_MB, ",.0f"
            ),
            GoalCheck("the table is complete and in order", "always", "yes", holds=True),
        ],
        plots=[Plot("map_rows", "Resident memory", "lines", "MB", (line,), "rows", log_x=True)],
    )


if __name__ == "__main__":
    main()
