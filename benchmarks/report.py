"""Writes the results of benchmarks and their plots into docs/development/performance.md and scaling.md.

Replaces the text between ``<!-- bench NAME -->`` and ``<!-- end -->`` with the tables and plots of the last
run of benchmark NAME. A block stays as it is if its benchmark was not run. Rows of the summary are replaced
one by one in the same way.

    python -m benchmarks.report
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.results import BenchmarkResult, GoalCheck, Table, kept
from benchmarks.svg import drawn

PAGES = (Path("docs/development/performance.md"), Path("docs/development/scaling.md"))
PLOTS = Path("docs/development/plots")
_BLOCK = re.compile(r"<!-- bench ([\w.-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
_SUMMARY = "summary"


def main() -> None:
    """Write the pages and the plots."""
    outcomes = kept()
    if not outcomes:
        raise SystemExit(
            "there are no results in .headrace/bench: run `make bench` or `make bench-full` first"
        )
    PLOTS.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes.values():
        for plot in outcome.plots:
            (PLOTS / f"{plot.name}.svg").write_text(drawn(plot), encoding="utf-8")
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), outcomes), encoding="utf-8")
        print(f"{page} is written")


def filled(page: str, outcomes: Mapping[str, BenchmarkResult]) -> str:
    """Return `page` with new blocks for the benchmarks in `outcomes`."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        if name == _SUMMARY:
            body = _summary(found[2], outcomes)
        elif name in outcomes:
            body = _section(outcomes[name])
        else:
            return found[0]
        return f"<!-- bench {name} -->\n{body}\n<!-- end -->"

    return _BLOCK.sub(block, page)


def _summary(before: str, outcomes: Mapping[str, BenchmarkResult]) -> str:
    """Return the table of verdicts in `before`, with new verdicts in the place of old ones."""
    _, _, *lines = (line for line in before.splitlines() if line.startswith("| "))
    verdicts = _by_subject(tuple(line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in lines)
    for outcome in outcomes.values():
        verdicts |= _by_subject(map(_verdict, outcome.checks))
    return _markdown(Table("", ("what", "measured", "wanted", ""), tuple(verdicts.values())))


def _by_subject(verdicts: Iterable[tuple[str, ...]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return verdicts by subject. One that begins with an ellipsis belongs to the subject above it."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    subject = ""
    for verdict in verdicts:
        if not verdict[0].startswith("…"):
            subject = verdict[0]
        found[subject, verdict[0]] = verdict
    return found


def _verdict(check: GoalCheck) -> tuple[str, ...]:
    mark = {True: "holds", False: "**not reached**", None: "not measured"}[check.holds]
    return (check.what, check.value, check.target, mark)


def _section(outcome: BenchmarkResult) -> str:
    parts = [_circumstances(outcome)]
    for table in outcome.tables:
        parts.append(f"**{_upper(table.title)}**")
        parts.append(_markdown(table))
    parts += [f"![{plot.title}](plots/{plot.name}.svg)" for plot in outcome.plots]
    parts += [f"- {note.splitlines()[0]}" for note in outcome.notes if note]
    return "\n\n".join(parts)


def _circumstances(outcome: BenchmarkResult) -> str:
    where = outcome.machine
    versions = {**where["versions"], **outcome.data.get("rivals", {})}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return (
        f"{outcome.date}, {outcome.form} form. {where['cores']} cores ({where['processor']}), "
        f"{where['memory_gb']} GB, {where['system']}, Python {where['python']}; {told}. "
        f"Load at the end: {where['load']}."
    )


def _markdown(table: Table) -> str:
    rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
    rows = "\n".join(f"| {' | '.join(row)} |" for row in table.rows)
    return f"| {' | '.join(table.columns)} |\n{rule}\n{rows}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    main()
