"""Makes the words and figures of the summary of a page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from actors.core.messages.journal import RunView
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import Json, Usage
from actors.core.metrics.history import History
from cluster.page.distributions import LabelSpread
from cluster.page.drawings import short
from cluster.page.figures import RunFigures
from cluster.page.remedies import remedy_of
from cluster.page.rows import cause_label
from cluster.program import program
from cluster.report.console import cost_text, duration
from cluster.report.continuing import continues
from cluster.report.endpoint_history import work_s
from cluster.report.failures import FailureCause
from cluster.report.receipt import receipt_of
from cluster.report.views import is_open, is_priced, moment, sample_text, stopped_by, total_tasks
from cluster.statistics.intervals import Interval, wilson
from cluster.web.templates import visible

_TEXT_CHARACTERS = 2_000
_CONFIG_CHARACTERS = 200_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def page_summary(
    run: RunView,
    figures: RunFigures,
    causes: Collection[FailureCause],
    history: History | None,
    *,
    unended: int,
    now: float,
) -> dict[str, Any]:
    """Return the values of the template. `unended`: accepted tasks that have not ended."""
    unended = max(unended, total_tasks(run) - figures.tasks)
    priced = is_priced(run)
    best, worst = figures.ranking()
    lasted = max((run.ended_at or now) - run.began_at, 0.0)
    worked = work_s(lasted, history)
    receipt = receipt_of(run.spent)
    fields = [spread for _, spread in figures.fields()]
    return {
        "run": run,
        "is_map": figures.layout.is_map,
        "unit": "row" if figures.layout.is_map else "task",
        "headline": _headline(figures, unended),
        "tone": _tone(figures, unended),
        "stopped": stopped_by(run),
        "sample": sample_text(run),
        "goes_on": continues(run) if unended and is_open(run) else "",
        "made": moment(now),
        "began": moment(run.began_at),
        "states": _states(figures, unended),
        "facts": _facts(run, figures, lasted, worked, priced=priced),
        "best": best,
        "worst": worst,
        "scores": figures.scores(),
        "numbers": [one for one in fields if not isinstance(one, LabelSpread) and one.count],
        "labels": [one for one in fields if isinstance(one, LabelSpread)],
        "outliers": figures.outliers(),
        "causes": [(cause, cause_label(cause), remedy_of(cause, run)) for cause in causes],
        "receipt": receipt,
        "priced": priced,
        "spent": run.spent.usage,
        "endpoints": [
            (name, one, one.percentiles()) for name, one in sorted(figures.course.endpoints.items())
        ],
        "sources": sorted(figures.sources.items()),
        "config": _config(run.config, is_redacted=bool(figures.hidden)),
        "program": program(),
        "share": _share,
    }


def _headline(figures: RunFigures, unended: int) -> str:
    noun = "row" if figures.layout.is_map else "task"
    total = figures.tasks + unended
    if not total:
        return f"No {noun} was accepted"
    succeeded = figures.states[TaskState.SUCCEEDED]
    if succeeded == total:
        return f"All {total:,} {noun}s succeeded" if total > 1 else f"The {noun} succeeded"
    others = (
        (figures.states[TaskState.FAILED], "failed", "failed"),
        (figures.states[TaskState.PARTIAL], "is partial", "are partial"),
        (figures.states[TaskState.CANCELLED], "was cancelled", "were cancelled"),
        (unended, "has not ended", "have not ended"),
    )
    parts = [f"{count:,} {one if count == 1 else many}" for count, one, many in others if count]
    return f"{succeeded:,} of {total:,} {noun}s succeeded; {', '.join(parts)}"


def _tone(figures: RunFigures, unended: int) -> str:
    if figures.states[TaskState.FAILED] or not figures.tasks:
        return "failed"
    return "partial" if unended or len(+figures.states) > 1 else next(iter(+figures.states), "partial")


def _states(figures: RunFigures, unended: int) -> list[tuple[str, int]]:
    order = (TaskState.FAILED, TaskState.PARTIAL, TaskState.CANCELLED)
    counts = [(state.value, figures.states[state]) for state in order]
    counts += [("open", unended), ("succeeded", figures.states[TaskState.SUCCEEDED])]
    return [(state, count) for state, count in counts if count]


def _facts(
    run: RunView, figures: RunFigures, lasted: float, worked: float, *, priced: bool
) -> list[tuple[str, str, str]]:
    """Return the name, the value and the detail of each figure at the top."""
    spent, counts = run.spent.usage, run.spent.counts
    tasks = figures.tasks
    unit = "row" if figures.layout.is_map else "task"
    each = f"{cost_text(_each(spent, tasks), is_priced=priced)} a {unit}" if tasks else ""
    facts = [("cost", cost_text(spent, is_priced=priced), each)]
    facts.append(("calls", f"{counts.billed:,}", _others(run)))
    facts.append(
        (
            "tokens",
            compact(spent.tokens),
            f"{compact(spent.input_tokens)} in, {compact(spent.output_tokens)} out",
        )
    )
    rate = counts.billed / worked if worked > 0 else 0.0
    with_pauses = "" if worked == lasted else f", {duration(lasted)} with pauses"
    facts.append(("time", duration(worked), f"{short(round(rate, 1))} calls/s{with_pauses}"))
    if not figures.layout.is_map:
        failed = figures.items - figures.item_states["succeeded"]
        facts.append(
            ("items", f"{figures.items:,}", f"{failed:,} not answered" if failed else "all answered")
        )
    return facts


def _others(run: RunView) -> str:
    counts = run.spent.counts
    parts = {
        "reused": counts.reused,
        "refused": counts.refused,
        "failed": counts.failed,
        "unusable": counts.unusable,
        "in doubt": counts.in_doubt,
    }
    return (
        ", ".join(f"{count:,} {name}" for name, count in parts.items() if count) or "none refused or failed"
    )


def _each(usage: Usage, tasks: int) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, usage.cost_usd / tasks)


def _share(count: int, whole: int) -> Interval | None:
    """Return a share with its interval, None if the counts are not of parts of a whole."""
    return wilson(count, whole) if 0 <= count <= whole and whole else None


def _config(config: Mapping[str, Json], *, is_redacted: bool) -> str:
    """Return the configuration as text. Its tasks may be rows of the input, with hidden values."""
    shown = {name: value for name, value in config.items() if name != "tasks" or not is_redacted}
    text = orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
    return text[:_CONFIG_CHARACTERS]


# ---- text ------------------------------------------------------------------------------------------------


def compact(count: int) -> str:
    """Return a large count in thousands or millions."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if count >= size:
            divisor = 1_000 if unit == "k" else size
            return f"{count / divisor:,.1f} {unit}"
    return f"{count:,}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - no value
    return f"{value * 1000:.0f} ms" if value < 1 else duration(value)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else short(value)  # noqa: RUF001 - no value


def _address(text: str) -> str:
    """Return a text as a part of an address, as the page's scripts encode it."""
    return quote(_SURROGATE.sub("\ufffd", text), safe="")


def _text(value: object) -> str:
    text = str(value)
    return visible(text if len(text) <= _TEXT_CHARACTERS else f"{text[:_TEXT_CHARACTERS]}…")


FILTERS: dict[str, Callable[..., str]] = {
    "number": _number,
    "seconds": _seconds,
    "text": _text,
    "address": _address,
    "cost": cost_text,
    "compact": compact,
    "interval": Interval.text,
    "bounds": Interval.bounds_text,
}
