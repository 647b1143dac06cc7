"""Shows the summary of a run as HTML, for the output of a notebook's cell."""

from __future__ import annotations

import html

from actors.core.messages.tasks import TaskState
from cluster.report.console import duration, plain
from cluster.report.receipt import receipt_lines, usage_text
from cluster.report.summary import RunSummary
from cluster.report.views import counts_text
from headrace.progress.timeline import Timeline

_MAX_CAUSES = 10


def summary_html(summary: RunSummary, timeline: Timeline) -> str:
    """Return the totals, the causes of failure, and the plot of the run."""
    tasks = summary.tasks
    ended = [f"{count:,} {state}" for state in TaskState if (count := getattr(tasks, state))]
    left = [f"{summary.open_tasks:,} not ended"] if summary.open_tasks else []
    rows = [
        ("run", f"{summary.run_id} <b>{summary.state}</b> in {duration(summary.elapsed_s)}"),
        ("tasks", " · ".join([f"{tasks.accepted:,} submitted", *ended, *left])),
        ("calls", counts_text(summary.calls)),
        ("cost", usage_text(summary.usage, is_priced=summary.is_priced)),
        *(("", _text(line)) for line in receipt_lines(summary.receipt, is_priced=summary.is_priced)),
        *((("stopped by", _text(summary.stopped_by)),) if summary.stopped_by else ()),
        *(("results", _text(path)) for path in summary.results),
    ]
    return f"<div>{_table(rows)}{_failures(summary)}{timeline.svg()}</div>"


def _failures(summary: RunSummary) -> str:
    if not summary.failures:
        return ""
    causes = summary.failures
    rows = [
        (f"{one.tasks:,}", "<br/>".join(map(_text, (one.text, *one.others)))) for one in causes[:_MAX_CAUSES]
    ]
    if len(causes) > _MAX_CAUSES:
        rows.append(("", f"and {len(causes) - _MAX_CAUSES} more causes"))
    return f"<b>what went wrong</b>{_table(rows)}"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f'<tr><td>{name}</td><td style="text-align:left">{value}</td></tr>' for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _text(text: str) -> str:
    return html.escape(plain(text, 1_000))
