"""Results of benchmarks: tables, plots and goals, stored as JSON for `report`."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table as RichTable

FOLDER = Path(".headrace/bench")  # overwritten by each run; docs/ holds what is published

_VERSIONS = ("ray", "aiohttp", "uvloop", "numpy", "orjson")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class GoalCheck:
    """A goal and the value that was measured. `holds` is None if it was not measured."""

    what: str
    target: str
    value: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Series:
    """A line or a bar of a plot. `low` and `high` are the spread of `y`."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot. `kind` is "bars", one for each series, or "lines". `log_x`: the x axis is logarithmic."""

    name: str
    title: str
    kind: str
    y_label: str
    series: tuple[Series, ...]
    x_label: str = ""
    log_x: bool = False


@dataclass(slots=True)
class BenchmarkResult:
    """The result of a benchmark. `data` holds figures that other tools read."""

    name: str
    form: str
    tables: list[Table] = field(default_factory=list)
    checks: list[GoalCheck] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    machine: dict[str, Any] = field(default_factory=dict)

    def publish(self) -> None:
        """Print the result and store it."""
        self.date = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
        self.machine = machine()
        console = Console(width=None if Console().is_terminal else 160)
        for table in self.tables:
            console.print(_shown(table))
        for check in self.checks:
            mark = {True: "holds", False: "NOT REACHED", None: "not measured"}[check.holds]
            console.print(
                f"{mark}: {check.what}: {check.value} ({check.target})", soft_wrap=True, markup=False
            )
        for note in self.notes:
            console.print(note, soft_wrap=True, markup=False)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.name}.json").write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))


def kept() -> dict[str, BenchmarkResult]:
    """Return the last result of each benchmark, by name."""
    return {path.stem: read(path) for path in sorted(FOLDER.glob("*.json"))}


def read(path: Path) -> BenchmarkResult:
    """Return a stored result."""
    document = orjson.loads(path.read_bytes())
    document["tables"] = [
        Table(it["title"], tuple(it["columns"]), tuple(tuple(row) for row in it["rows"]))
        for it in document["tables"]
    ]
    document["checks"] = [GoalCheck(**it) for it in document["checks"]]
    document["plots"] = [
        Plot(**{**it, "series": tuple(Series(**_tuples(one)) for one in it["series"])})
        for it in document["plots"]
    ]
    return BenchmarkResult(**document)


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: metadata.version(name) for name in _VERSIONS},
    }


def check_at_least(what: str, value: float | None, least: float, form: str = ".2f") -> GoalCheck:
    """Return the goal that `value` is at least `least`. None: not measured."""
    told = "-" if value is None else format(value, form)
    return GoalCheck(what, f"at least {least:{form}}", told, None if value is None else value >= least)


def check_at_most(what: str, value: float | None, most: float, form: str = ".2f") -> GoalCheck:
    """Return the goal that `value` is at most `most`. None: not measured."""
    told = "-" if value is None else format(value, form)
    return GoalCheck(what, f"at most {most:{form}}", told, None if value is None else value <= most)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines: Sequence[str] = info.read_text().splitlines() if info.exists() else ()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _shown(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
