"""Shows a run to the caller: as one line below a notebook's cell, on a terminal, or in the log.

Rule: IPython is no dependency. A notebook is known by the IPython that its kernel has loaded.
"""

from __future__ import annotations

import html
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from cluster.report.console import (
    ProgressDisplay,
    ProgressView,
    TaskPace,
    dollars,
    duration,
    plain,
    stderr_console,
)
from cluster.report.summary import RunSummary
from headrace.progress.background import Display

_log = logging.getLogger("headrace")


@contextmanager
def display_for(progress: bool | None, unit: str) -> Iterator[Display]:  # noqa: FBT001 - as the caller gave it
    """Yield the display that `progress` selects. None: a notebook or a terminal shows the run.

    unit: what a task is called, such as "rows".
    """
    show = notebook_output() if progress is not False else None
    if show is not None:
        yield NotebookLine(show, unit)
    elif progress or (progress is None and sys.stderr.isatty()):
        console = stderr_console()
        with ProgressDisplay(console) as shown:
            yield _Terminal(lambda text: console.print(text, soft_wrap=True), shown)
    else:
        yield _Quiet()


def notebook_output() -> Callable[[str], Callable[[str], object]] | None:
    """Return a function that shows HTML below the current cell, and returns one that replaces it.

    None outside of a notebook.
    """
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if not hasattr(shell, "kernel"):
        return None
    output: Any = import_module("IPython.display")

    def show(text: str) -> Callable[[str], object]:
        handle = output.display(output.HTML(text), display_id=True)
        return lambda other: handle.update(output.HTML(other))

    return show


class _Terminal:
    def __init__(self, say: Callable[[str], object], shown: ProgressDisplay) -> None:
        self._say, self.show = say, shown.show

    def say(self, text: str) -> None:
        self._say(text)

    def end(self, text: str) -> None:
        self._say(text)


class _Quiet:
    """Logs the messages of a run, and does not show its progress."""

    def say(self, text: str) -> None:
        _log.info("%s", text)

    def show(self, view: ProgressView) -> None:
        pass

    def end(self, text: str) -> None:
        _log.info("%s", text)


class NotebookLine:
    """One line of HTML with a bar. Messages replace its text until the first snapshot, and follow it then."""

    def __init__(self, show: Callable[[str], Callable[[str], object]], unit: str) -> None:
        self._output = show
        self._unit = unit
        self._update: Callable[[str], object] | None = None
        self._pace = TaskPace()
        self._has_begun = False

    def say(self, text: str) -> None:
        """Show a message."""
        line = f"<small>{html.escape(plain(text, 500))}</small>"
        if self._has_begun:
            self._output(line)
        else:
            self._replace(line)

    def show(self, view: ProgressView) -> None:
        """Show a snapshot instead of the last one."""
        self._has_begun = True
        self._replace(notebook_line(view, self._pace.remaining_s(view), self._unit))

    def end(self, text: str) -> None:
        """Show how the run ended instead of the last snapshot."""
        self._replace(html.escape(plain(text, 500)))

    def _replace(self, line: str) -> None:
        if self._update is None:
            self._update = self._output(line)
        else:
            self._update(line)


def notebook_line(view: ProgressView, remaining_s: float | None, unit: str) -> str:
    """Return a snapshot as one line of HTML."""
    total = view.tasks_total
    parts = [
        f"{view.tasks.ended:,}/{'?' if total is None else f'{total:,}'} {unit}",
        f"{view.tasks.failed:,} failed" if view.tasks.failed else "",
        f"{view.calls_per_s:,.0f} calls/s",
        f"limit {sum(endpoint.limit for endpoint in view.endpoints):,}",
        dollars(view.cost_usd) if view.cost_usd else "",
        f"{duration(view.elapsed_s)}",
        "" if remaining_s is None else f"{duration(remaining_s)} left",
        plain(view.binding, 80),
    ]
    bar = f'<progress max="{total or 1}" value="{view.tasks.ended if total else 0}"></progress> '
    return bar + html.escape(" · ".join(filter(None, parts)))


def ended_text(summary: RunSummary, unit: str) -> str:
    """Return how a run ended, in one line."""
    tasks = summary.tasks
    parts = [
        f"{tasks.accepted:,} {unit}",
        *(
            f"{count:,} {state}"
            for state in ("succeeded", "partial", "failed", "cancelled")
            if (count := getattr(tasks, state))
        ),
        f"{summary.open_tasks:,} not ended" if summary.open_tasks else "",
        dollars(summary.usage.cost_usd) if summary.usage.cost_usd else "",
        duration(summary.elapsed_s),
    ]
    return f"{' · '.join(filter(None, parts))} · run {summary.run_id}"
