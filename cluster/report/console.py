"""Shows the progress of a batch run: a live panel on a terminal, or log lines.

Rule 1: The driver passes a frozen `ProgressView`; the display reads nothing else.
Rule 2: All output goes to stderr. Stdout is for data.
Rule 3: Keys, findings and errors are untrusted text. `plain` cleans them and rich never reads them as markup:
    otherwise they could move the cursor, colour the screen or forge a line.
"""

from __future__ import annotations

import enum
import re
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors.core.censor import printable
from actors.core.messages.journal import TaskTally
from actors.core.messages.values import Usage

REFRESH_S = 0.25  # between two drawings of the panel
LOG_S = 10.0  # between two log lines
RATE_WINDOW_S = 30.0  # the remaining time is estimated from the rate over this window
_RECENT_S = 10.0  # without an answered task for this long, there is no estimate
MAX_ENDPOINTS = 6
MAX_SOURCES = 12


class SourceHealth(enum.StrEnum):
    """The state of a source, by its circuit breaker."""

    OK = "ok"
    FAILING = "failing"  # the last fetches failed
    OPEN = "open"  # the breaker blocks fetches for a while


@dataclass(frozen=True, slots=True)
class EndpointView:
    """The limit of an endpoint and its attempts in flight, at one moment."""

    name: str
    limit: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source at one moment. `failures` counts the fetches that failed since the run began."""

    name: str
    health: SourceHealth = SourceHealth.OK
    failures: int = 0


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A run at one moment. Counts are since its beginning; `tasks_total` is None if it is unknown.

    `elapsed_s` is the time since this process began to run it; `ended_before` tasks had ended then, whose
    reports arrive in its first moments. `binding` is a phrase that names what limits
    the speed of the run. `unit` is what users call tasks. `is_priced`: the prices of all endpoints are known.
    `is_outage`: no endpoint answers.
    """

    run_id: str
    name: str = ""
    elapsed_s: float = 0.0
    tasks_total: int | None = None
    tasks_active: int = 0
    tasks: TaskTally = field(default_factory=TaskTally)
    ended_before: int = 0
    calls_done: int = 0
    calls_per_s: float = 0.0
    queued: int = 0
    retries: int = 0
    refused: int = 0
    endpoints: tuple[EndpointView, ...] = ()
    sources: tuple[SourceView, ...] = ()
    binding: str = ""
    tokens: int = 0
    cost_usd: float = 0.0
    budget_usd: float | None = None
    is_priced: bool = True
    unit: str = "tasks"
    is_outage: bool = False


# ---- untrusted text --------------------------------------------------------------------------------------

# ESC with its sequence (CSI, or OSC up to its end), and the one-byte CSI that some terminals obey.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?", re.DOTALL
)


def plain(text: str, limit: int = 200) -> str:
    """Return `text` as one line of at most `limit` visible characters, cut with an ellipsis.

    Removes escape sequences and invisible characters: controls, overrides of the writing direction, lone
    surrogates.
    """
    # Cutting first bounds the work; the factor leaves room for the characters that are removed.
    text = _ESCAPES.sub("", text[: limit * 8])
    text = "".join(
        character if unicodedata.category(character)[0] != "C" else " " if character in "\t\n\r" else ""
        for character in text
    )
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def visible(line: str) -> str:
    """Return a log line of any length without the characters that a terminal obeys; its layout stays."""
    return printable(_ESCAPES.sub("", line))


def stderr_console() -> Console:
    """Return a console on stderr. Honours NO_COLOR."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


# ---- progress --------------------------------------------------------------------------------------------


class TaskPace:
    """Estimates the remaining time from the rate at which tasks ended over the last 30 s.

    The rate since the start would be wrong for a resumed run, which begins with many tasks done.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._last_answer = (0.0, 0)  # when the number of answered tasks last changed, and that number

    def remaining_s(self, view: ProgressView) -> float | None:
        """Record the progress and return the estimated remaining seconds, None if there is no estimate."""
        marks, done = self._marks, max(view.tasks.ended, view.ended_before)
        marks.append((view.elapsed_s, done))
        while len(marks) > 2 and view.elapsed_s - marks[1][0] >= RATE_WINDOW_S:
            marks.popleft()
        answered = view.tasks.succeeded + view.tasks.partial
        if answered != self._last_answer[1]:
            self._last_answer = view.elapsed_s, answered
        if view.is_outage or view.elapsed_s - self._last_answer[0] >= _RECENT_S:
            return None  # in an outage tasks end only as failed, and say nothing of the time left
        since, before = marks[0]
        if view.tasks_total is None or done <= before or view.elapsed_s <= since:
            return None
        return (view.tasks_total - done) * (view.elapsed_s - since) / (done - before)


class ProgressDisplay:
    """Shows the progress of a run: a live panel on a terminal, otherwise a line every ten seconds.

    It is a context manager. With ``live=False`` a terminal gets lines too.
    """

    def __init__(
        self,
        console: Console,
        *,
        live: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._clock = clock
        self._pace = TaskPace()
        self._last: ProgressView | None = None  # the latest snapshot, until it is drawn
        self._shown_at: float | None = None
        self._live: Live | None = None
        if live and console.is_terminal and not console.is_dumb_terminal:
            # Redirected, data on stdout would go to stderr with the panel.
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, transient=True)

    def show(self, view: ProgressView) -> None:
        """Draw a snapshot if the last drawing is long enough ago; otherwise keep it for the end."""
        now = self._clock()
        self._last = view
        if self._shown_at is None or now - self._shown_at >= (REFRESH_S if self._live else LOG_S):
            self._shown_at = now
            self._draw()

    def _draw(self) -> None:
        view, self._last = self._last, None
        if view is None:
            return
        remaining_s = self._pace.remaining_s(view)
        if self._live:
            self._live.update(panel(view, remaining_s), refresh=True)
        else:
            self._console.print(Text(log_line(view, remaining_s)), soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._draw()
        finally:
            if self._live:
                self._live.stop()


def log_line(view: ProgressView, remaining_s: float | None) -> str:
    """Return the progress of a run as one log line."""
    parts = [
        f"run {plain(view.run_id)}",
        f"{view.tasks.ended:,}/{_or_unknown(view.tasks_total)} {view.unit} ended",
        f"{view.tasks_active:,} active",
        f"{view.calls_per_s:,.0f} calls/s",
        *(f"{plain(one.name)} {one.in_flight:,}/{one.limit:,} in flight" for one in view.endpoints),
        f"{view.queued:,} queued",
        f"{view.retries:,} retries, {view.refused:,} refused",
        *(
            f"source {plain(one.name)} {one.health} ({one.failures:,} failed)"
            for one in view.sources
            if one.health is not SourceHealth.OK
        ),
    ]
    if view.binding:
        parts.append(plain(view.binding))
    if remaining_s is not None:
        parts.append(f"{duration(remaining_s)} left")
    return "; ".join(parts)


def panel(view: ProgressView, remaining_s: float | None) -> RenderableType:
    """Return the live panel as a rich renderable."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=10)
    grid.add_column(ratio=1)
    grid.add_row(view.unit, _tasks_bar(view, remaining_s))
    grid.add_row("", _outcomes(view))
    calls = f"{view.calls_per_s:,.0f}/s · {view.calls_done:,} done · {view.queued:,} queued"
    grid.add_row("calls", Text(f"{calls} · {view.retries:,} retries · {view.refused:,} refused"))
    for endpoint in view.endpoints[:MAX_ENDPOINTS]:
        grid.add_row("endpoint", _endpoint(endpoint))
    if len(view.endpoints) > MAX_ENDPOINTS:
        grid.add_row("", Text(f"and {len(view.endpoints) - MAX_ENDPOINTS} more endpoints", style="dim"))
    if view.sources:
        grid.add_row("sources", _sources(view))
    grid.add_row("limited by", Text(plain(view.binding)) if view.binding else Text("nothing", style="dim"))
    budget = f" of {dollars(view.budget_usd)}" if view.budget_usd is not None else ""
    usage = Usage(view.tokens, 0, view.cost_usd)
    no_price = "" if view.is_priced or not view.tokens else " (an endpoint has no price)"
    cost = cost_text(usage, is_priced=view.is_priced)
    grid.add_row("cost", Text(f"{cost}{budget}{no_price} · {view.tokens:,} tokens"))
    title = Text(" · ".join(plain(part, 40) for part in (view.name, view.run_id) if part))
    subtitle = Text(duration(view.elapsed_s))
    return Panel(grid, title=title, title_align="left", subtitle=subtitle, subtitle_align="right")


def _tasks_bar(view: ProgressView, remaining_s: float | None) -> RenderableType:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    left = "" if remaining_s is None else f" · {duration(remaining_s)} left"
    total = view.tasks_total
    bar = ProgressBar(total=total or 1, completed=view.tasks.ended if total else 0)
    row.add_row(bar, Text(f"{view.tasks.ended:,}/{_or_unknown(total)}{left}"))
    return row


def _outcomes(view: ProgressView) -> Text:
    text = Text(f"{view.tasks_active:,} active · {view.tasks.succeeded:,} succeeded")
    for state, style in (("partial", "yellow"), ("failed", "red"), ("cancelled", "dim")):
        if count := getattr(view.tasks, state):
            text.append(f" · {count:,} {state}", style=style)
    return text


def _endpoint(endpoint: EndpointView) -> Text:
    return Text(f"{plain(endpoint.name, 32)} · {endpoint.in_flight:,} in flight · limit {endpoint.limit:,}")


_HEALTH_STYLE = {SourceHealth.OK: "green", SourceHealth.FAILING: "yellow", SourceHealth.OPEN: "red"}


def _sources(view: ProgressView) -> Text:
    """Return the health of the sources. If there is no room for all, the least healthy come first."""
    sources = view.sources
    if len(sources) > MAX_SOURCES:
        worst_first = list(reversed(SourceHealth))
        sources = tuple(sorted(sources, key=lambda source: worst_first.index(source.health)))
    text = Text()
    for source in sources[:MAX_SOURCES]:
        text.append(" · " if text else "").append(f"{plain(source.name, 24)} ")
        text.append(source.health, style=_HEALTH_STYLE[source.health])
        if source.failures:
            text.append(f" ({source.failures:,} failed)")
    if len(sources) > MAX_SOURCES:
        text.append(f" · and {len(sources) - MAX_SOURCES} more", style="dim")
    return text


def _or_unknown(total: int | None) -> str:
    return "?" if total is None else f"{total:,}"


def number(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def dollars(usd: float | None) -> str:
    """Return an amount with as many digits as it needs. `money` of the pages' scripts has the same rule."""
    if usd is None:
        return "unknown"
    if 0 < usd < 0.000001:
        return "<$0.000001"
    digits = 2 if not usd or usd >= 1 else 4 if usd >= 0.01 else 6
    return f"${usd:,.{digits}f}"


def cost_text(usage: Usage, *, is_priced: bool = True) -> str:
    """Return a cost; "unknown" for tokens that cost nothing only because an endpoint has no price."""
    return dollars(usage.known_cost(is_priced=is_priced))


def duration(seconds: float) -> str:
    """Return `seconds` in a readable form: 9.1 s, 4:07, 2:03:59."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
