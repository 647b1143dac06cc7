"""What a person sees of a batch run while it goes: a live panel, or lines in a log.

Rule 1: the driver hands in a frozen `ProgressView`, and nothing else is read.
Rule 2: everything goes to stderr. Stdout is for data.
Rule 3: keys, findings and errors come from strangers. They are cleaned by `plain` and never read as markup,
so that none of them can move the cursor, colour the screen or forge a line.
"""

from __future__ import annotations

import enum
import re
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors.core.censor import printable

REFRESH_S = 0.25  # of the panel
LOG_S = 10.0  # of the lines that stand for it where there is no terminal
RATE_WINDOW_S = 30.0  # the remaining time follows from the pace over this long
MAX_ENDPOINTS = 6
MAX_SOURCES = 12


class SourceHealth(enum.StrEnum):
    """How a source does, as its breaker sees it."""

    OK = "ok"
    FAILING = "failing"  # the last fetches failed
    OPEN = "open"  # so many failed that it is not asked for a while


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint now: how many attempts may be in flight, and how many are."""

    name: str
    limit: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source now. `failures` counts fetches that failed since the run began."""

    name: str
    health: SourceHealth = SourceHealth.OK
    failures: int = 0


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A run at one moment. Counts are since its beginning; `tasks_total` is None while nobody knows it.

    `elapsed_s` is the time since this process began to run it. `binding` is the sentence that says what
    keeps the run from going faster now.
    """

    run_id: str
    name: str = ""
    elapsed_s: float = 0.0
    tasks_total: int | None = None
    tasks_active: int = 0
    tasks_succeeded: int = 0
    tasks_partial: int = 0
    tasks_failed: int = 0
    tasks_cancelled: int = 0
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

    @property
    def tasks_done(self) -> int:
        """Tasks that came to their end, whatever it was."""
        return self.tasks_succeeded + self.tasks_partial + self.tasks_failed + self.tasks_cancelled


# ---- text of strangers -----------------------------------------------------------------------------------

# ESC with its sequence (CSI, or OSC up to its end), and the one-byte CSI that some terminals obey.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?", re.DOTALL
)


def plain(text: str, limit: int = 200) -> str:
    """Return `text` as one line of at most `limit` visible characters, cut with an ellipsis.

    Escape sequences go, and so does every character that shows nothing: controls, overrides of the
    direction of writing, lone surrogates.
    """
    # Cutting first bounds the work, with room for what is dropped.
    text = _ESCAPES.sub("", text[: limit * 8])
    text = "".join(
        character if unicodedata.category(character)[0] != "C" else " " if character in "\t\n\r" else ""
        for character in text
    )
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def visible(line: str) -> str:
    """Return a line of a log, of any length, as a terminal may be given it: its layout stays."""
    return printable(_ESCAPES.sub("", line))


def stderr_console() -> Console:
    """Return where people are told things. Honours NO_COLOR."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


# ---- progress --------------------------------------------------------------------------------------------


class TaskPace:
    """How fast tasks have ended over the last 30 s: a resumed run begins with many done at once."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def remaining_s(self, view: ProgressView) -> float | None:
        """Note where the run is; return the seconds it will take still, None while that cannot be said."""
        marks, done = self._marks, view.tasks_done
        marks.append((view.elapsed_s, done))
        while len(marks) > 2 and view.elapsed_s - marks[1][0] >= RATE_WINDOW_S:
            marks.popleft()
        since, before = marks[0]
        if view.tasks_total is None or done <= before or view.elapsed_s <= since:
            return None
        return (view.tasks_total - done) * (view.elapsed_s - since) / (done - before)


class ProgressDisplay:
    """Shows a run while it goes: a live panel on a terminal, else a line every ten seconds.

    Use as a context manager. Without `live` a terminal gets lines too, as where a program reads along.
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
        self._last: ProgressView | None = None  # the latest that is not shown yet
        self._shown_at: float | None = None
        self._live: Live | None = None
        if live and console.is_terminal and not console.is_dumb_terminal:
            # Stdout is not redirected: what is data stays data, also while the panel is up.
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, transient=True)

    def show(self, view: ProgressView) -> None:
        """Take a snapshot. It is drawn if the last drawing is long enough ago, else kept for the end."""
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
    """Return the state of a run in one line, for logs."""
    parts = [
        f"run {plain(view.run_id)}",
        f"{view.tasks_done:,}/{_or_unknown(view.tasks_total)} tasks done, {view.tasks_active:,} active",
        f"{view.calls_per_s:,.0f} calls/s",
        *(f"{plain(one.name)} {one.in_flight:,}/{one.limit:,} in flight" for one in view.endpoints),
        f"{view.queued:,} queued",
        f"{view.retries:,} retries, {view.refused:,} refused",
        *(f"source {plain(one.name)} {one.health} ({one.failures:,} failed)" for one in _unwell(view)),
    ]
    if view.binding:
        parts.append(plain(view.binding))
    if remaining_s is not None:
        parts.append(f"{duration(remaining_s)} left")
    return "; ".join(parts)


def panel(view: ProgressView, remaining_s: float | None) -> RenderableType:
    """Return the live panel."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=10)
    grid.add_column(ratio=1)
    grid.add_row("tasks", _tasks_bar(view, remaining_s))
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
    budget = f" of ${view.budget_usd:,.2f}" if view.budget_usd is not None else ""
    grid.add_row("cost", Text(f"${view.cost_usd:,.4f}{budget} · {view.tokens:,} tokens"))
    title = Text(" · ".join(plain(part, 40) for part in (view.name, view.run_id) if part))
    subtitle = Text(duration(view.elapsed_s))
    return Panel(grid, title=title, title_align="left", subtitle=subtitle, subtitle_align="right")


def _tasks_bar(view: ProgressView, remaining_s: float | None) -> RenderableType:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    left = "" if remaining_s is None else f" · {duration(remaining_s)} left"
    total = view.tasks_total
    bar = ProgressBar(total=total or 1, completed=view.tasks_done if total else 0)
    row.add_row(bar, Text(f"{view.tasks_done:,}/{_or_unknown(total)}{left}"))
    return row


def _outcomes(view: ProgressView) -> Text:
    text = Text(f"{view.tasks_active:,} active · {view.tasks_succeeded:,} succeeded")
    if view.tasks_partial:
        text.append(f" · {view.tasks_partial:,} partial", style="yellow")
    if view.tasks_failed:
        text.append(f" · {view.tasks_failed:,} failed", style="red")
    if view.tasks_cancelled:
        text.append(f" · {view.tasks_cancelled:,} cancelled", style="dim")
    return text


def _endpoint(endpoint: EndpointView) -> Text:
    return Text(f"{plain(endpoint.name, 32)} · {endpoint.in_flight:,} in flight · limit {endpoint.limit:,}")


_HEALTH_STYLE = {SourceHealth.OK: "green", SourceHealth.FAILING: "yellow", SourceHealth.OPEN: "red"}


def _unwell(view: ProgressView) -> list[SourceView]:
    return [source for source in view.sources if source.health is not SourceHealth.OK]


def _sources(view: ProgressView) -> Text:
    """Return the sources' health; where there is no room for all, those that do worst come first."""
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


def duration(seconds: float) -> str:
    """Return `seconds` as people say it: 9.1 s, 4:07, 2:03:59."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
