"""Shows a batch run after its end: its reports, its totals, and the causes of failure.

Rule: `plain` cleans untrusted text before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.core.messages.tasks import Report, TaskState
from cluster.program import program
from cluster.report.console import MAX_SOURCES, duration, plain
from cluster.report.receipt import receipt_lines, usage_text
from cluster.report.summary import RunState, RunSummary
from cluster.report.views import counts_text

MAX_ROWS = 50  # reports
MAX_CAUSES = 10
MAX_CAUSE = 2_000  # characters

_STATES = {
    TaskState.SUCCEEDED: ("✓", "green"),
    TaskState.PARTIAL: ("~", "yellow"),
    TaskState.FAILED: ("✗", "red"),
    TaskState.CANCELLED: ("-", "dim"),
}
_RUN_STYLE = {
    RunState.SUCCEEDED: "bold green",
    RunState.PARTIAL: "bold yellow",
    RunState.FAILED: "bold red",
    RunState.INTERRUPTED: "bold",
    RunState.CANCELLED: "bold",
}

_SCORE_WIDTH = 6  # holds a score such as -12.50; the column's header is cut to it
_FINDING_WIDTH = 24  # the smallest width of the finding; the columns of dimensions share the rest


def summary_table(summary: RunSummary, reports: Sequence[Report]) -> RenderableType:
    """Return the first 50 of `reports`, the totals, the causes of failure and the result files.

    The width of the console limits how many dimensions have a column: 80 columns are enough for four.
    """
    parts: list[RenderableType] = []
    if reports:
        parts.append(_Reports(tuple(reports[:MAX_ROWS])))
        if (hidden := summary.tasks.ended - min(len(reports), MAX_ROWS)) > 0:
            parts.append(Text(f"and {hidden:,} more, in the result files", style="dim"))
        parts.append(Text())
    parts.append(_totals(summary))
    if any(not one.is_skip for one in summary.failures):
        parts += [Text(), _failures(summary)]
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Reports:
    """A table with a row for each report. Its columns depend on the width of the console that draws it."""

    reports: tuple[Report, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        names = list(dict.fromkeys(result.name for report in self.reports for result in report.dimensions))
        key_width = min(
            max(len(report.key) for report in self.reports), 18 if options.max_width < 100 else 40
        )
        key_width = max(key_width, len("task"))
        room = options.max_width - 2 - key_width - 1 - _SCORE_WIDTH - 1 - _FINDING_WIDTH
        shown = names[: max(1, room // (_SCORE_WIDTH + 1))]
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", expand=True)
        table.add_column("", width=1)
        table.add_column("task", width=key_width, overflow="ellipsis", no_wrap=True)
        for name in ("score", *shown) if names else ():
            header = Text(plain(name, _SCORE_WIDTH))
            table.add_column(header, justify="right", width=_SCORE_WIDTH, no_wrap=True)
        heading = "finding" if names else "answer"
        table.add_column(heading, ratio=1, overflow="ellipsis", no_wrap=True)
        for report in self.reports:
            scores = {result.name: result.score for result in report.dimensions}
            mark, style = _STATES[report.state]
            table.add_row(
                Text(mark, style=style),
                Text(plain(report.key)),
                *(_score(score) for score in (report.overall, *map(scores.get, shown)) if names),
                Text(plain(_headline(report))),
            )
        yield table
        if hidden := len(names) - len(shown):
            yield Text(
                f"no room here for {hidden} more dimensions; they are in the result files", style="dim"
            )


def _headline(report: Report) -> str:
    """Return the first error of a failed task; for other tasks the first finding, or else the first error.

    The finding of a task without dimensions is the answers about its first item.
    """
    findings = [result.finding for result in report.dimensions if result.finding]
    if not report.dimensions and report.items:
        answers = [value for values in report.items[0].values.values() for value in values.items()]
        findings = [", ".join(f"{name}: {value}" for name, value in answers)] if answers else []
    first = [*report.errors, *findings] if report.state is TaskState.FAILED else [*findings, *report.errors]
    return first[0] if first else ""


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def _totals(summary: RunSummary) -> RenderableType:
    tasks = summary.tasks
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True, width=10)
    grid.add_column()
    state = Text(summary.state, style=_RUN_STYLE[summary.state])
    grid.add_row(
        "run", Text(f"{plain(summary.run_id)} ").append(state).append(f" in {duration(summary.elapsed_s)}")
    )
    outcomes = Text(f"{tasks.accepted:,} submitted")
    for ended_as, (mark, style) in _STATES.items():
        skipped = summary.skipped if ended_as is TaskState.PARTIAL else 0
        if count := getattr(tasks, ended_as) - skipped:
            outcomes.append(" · ").append(f"{mark} {count:,} {ended_as}", style=style)
    if summary.skipped:
        outcomes.append(" · ").append(f"- {summary.skipped:,} skipped", style="dim")
    if summary.open_tasks is None:
        outcomes.append(" · ").append("an unknown number not ended", style="bold yellow")
    elif summary.open_tasks:
        outcomes.append(" · ").append(f"{summary.open_tasks:,} not ended", style="bold yellow")
    grid.add_row("tasks", outcomes)
    bound = "" if summary.is_complete else "at least "
    grid.add_row("calls", Text(bound + counts_text(summary.calls)))
    cost = Text(bound + usage_text(summary.usage, is_priced=summary.is_priced))
    lines = receipt_lines(summary.receipt, is_priced=summary.is_priced)
    grid.add_row("cost", Text("\n").join((cost, *(Text(line, style="dim") for line in lines))))
    if not summary.is_complete or summary.open_tasks is None:
        text = (
            "not all figures are known here, because the journal did not answer; "
            f"`{program()} status {plain(summary.run_id)}` shows those that are stored"
        )
        grid.add_row("", Text(text, style="bold yellow"))
    failing = [(name, counts) for name, counts in summary.sources.items() if counts.failed]
    if failing:
        parts = (f"{plain(name, 32)} failed {counts.failed:,}" for name, counts in failing[:MAX_SOURCES])
        grid.add_row("sources", Text(" · ".join(parts), style="yellow"))
    for one in [one for one in summary.failures if one.is_skip][:MAX_CAUSES]:
        text = one.text.removeprefix("skipped: ")
        grid.add_row("skipped", Text(f"{one.tasks:,}: {plain(text, MAX_CAUSE)}", overflow="fold"))
    for path in summary.results:
        grid.add_row("results", Text(plain(path, 1000), overflow="fold"))
    return grid


def _failures(summary: RunSummary) -> Table:
    table = Table(title="what went wrong", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("tasks", justify="right", no_wrap=True)
    table.add_column("cause")
    failures = [one for one in summary.failures if not one.is_skip]
    for one in failures[:MAX_CAUSES]:
        table.add_row(f"{one.tasks:,}", Text(plain(one.cause, MAX_CAUSE), overflow="fold"))
        for other in one.others:
            table.add_row("also", Text(plain(other, MAX_CAUSE), overflow="fold"))
    if len(failures) > MAX_CAUSES:
        table.add_row("", Text(f"and {len(failures) - MAX_CAUSES} more causes", style="dim"))
    return table
