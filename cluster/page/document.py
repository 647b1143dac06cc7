"""Builds the frame of the page around its rows: the summary, the styles, the scripts and the index.

Rule: the policy of the page forbids everything except the styles and scripts of this frame, by their hashes.
A browser that follows it loads nothing and sends nothing, whatever the texts of a run hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from actors.core.messages.journal import RunView
from actors.core.messages.values import Json
from actors.core.metrics.history import History
from actors.runtime.log_guard import censored
from cluster.golden.figures import FieldFigures
from cluster.page import drawings
from cluster.page.blocks import packed
from cluster.page.columns import PageColumn
from cluster.page.figures import RunFigures
from cluster.page.limits import limit_series
from cluster.page.rows import ATTEMPT
from cluster.page.summary import FILTERS, page_summary
from cluster.program import VERSION, program
from cluster.report.endpoint_history import endpoint_documents
from cluster.report.failures import FailureCause
from cluster.report.item_columns import stored_steps
from cluster.report.receipt import step_of
from cluster.web.document import UPLOT, UPLOT_STYLES, asset, hashed, joined, policy
from cluster.web.templates import environment

_ASSETS = Path(__file__).parent / "assets"
_STYLES = (UPLOT_STYLES, "base.css", "report.css", "tables.css", "narrow.css")
_SCRIPTS = (
    "elements.js", "plots.js", "data.js", "csv.js", "course.js", "cells.js", "search.js", "table.js",
    "detail.js", "report.js",
)  # fmt: skip
_ROWS = "<!-- rows -->"


@dataclass(frozen=True, slots=True)
class TableData:
    """The description by which the page reads a table: `starts` are the first rows of its blocks.

    `total` counts the rows of the run, `count` those in the file.
    """

    columns: Sequence[PageColumn]
    count: int
    total: int
    starts: Sequence[int]

    def document(self) -> dict[str, Json]:
        """Return the table as the page reads it."""
        return {
            "columns": [column.document() for column in self.columns],
            "count": self.count,
            "total": self.total,
            "starts": list(self.starts),
        }


@dataclass(frozen=True, slots=True)
class PageData:
    """The tables of a page, and the number of tasks that have not ended."""

    tasks: TableData
    items: TableData
    history: TableData
    unended: int


@dataclass(frozen=True, slots=True)
class GoldenFigures:
    """How the answers compare with the golden set: field by field, and with other runs in sentences."""

    fields: Sequence[FieldFigures] = ()
    preferences: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PageContent:
    """The content of the page of a run."""

    run: RunView
    figures: RunFigures
    causes: Collection[FailureCause]
    golden: GoldenFigures
    history: History | None
    data: PageData


def frame(content: PageContent, now: float) -> tuple[bytes, bytes]:
    """Return what stands before and after the rows."""
    styles = joined(_STYLES, _ASSETS)
    plots, scripts = asset(UPLOT), joined(_SCRIPTS, _ASSETS)
    allowed = policy(scripts=[hashed(plots), hashed(scripts)], styles=[hashed(styles)], img_src="data:")
    text = (
        _environment()
        .get_template("report.html")
        .render(
            policy=allowed,
            styles=Markup(styles),  # noqa: S704 - our own files
            plots=Markup(plots),  # noqa: S704 - same
            scripts=Markup(scripts),  # noqa: S704 - same
            index=packed(_index(content)),
            data=content.data,
            draw=drawings,
            golden=content.golden,
            limits=endpoint_documents(content.history),
            version=VERSION,
            **page_summary(
                content.run,
                content.figures,
                content.causes,
                content.history,
                unended=content.data.unended,
                now=now,
            ),
        )
    )
    before, after = text.encode("utf-8", "replace").split(_ROWS.encode())
    return before, after


def _index(content: PageContent) -> dict[str, Json]:
    """Return what the page needs before its first table."""
    run, figures, data = content.run, content.figures, content.data
    return {
        "run": run.run_id,
        "program": program(),
        "isMap": figures.layout.is_map,
        "began": run.began_at,
        "tables": {
            "tasks": data.tasks.document(),
            "items": data.items.document(),
            "history": data.history.document(),
        },
        "steps": _steps(run.config),
        "attempt": list(ATTEMPT),
        "series": figures.course.series(),
        "limits": limit_series(content.history, run.began_at),
    }


def _steps(config: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the name, the instructions and the prompt of each step."""
    return [
        {"name": step["name"], "system": step.get("system"), "prompt": step.get("prompt")}
        for step in stored_steps(config)
    ]


@cache
def _environment() -> Environment:
    made = environment(_ASSETS)
    made.filters.update(FILTERS, censored=censored, step=step_of)
    return made
