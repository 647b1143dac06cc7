"""The interface of a run to the program that runs it: messages, progress, and the request to stop."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console

from actors.runtime.log_guard import censored
from cluster.report.console import ProgressDisplay, ProgressView, visible
from cluster.run.stopping import StopRequest, stop_on_signal


class ShowsProgress(Protocol):
    """Shows snapshots of a run."""

    def show(self, view: ProgressView) -> None:
        """Show a snapshot, or keep it if the last one was shown a moment ago."""


class RunHost(Protocol):
    """The program that runs a batch. Its methods are called in the thread of the run."""

    def say(self, text: str) -> None:
        """Show a message to the user."""

    def progress(self) -> AbstractContextManager[ShowsProgress]:
        """Return the display of the run, which is open while tasks run."""

    def stop_event(self) -> StopRequest:
        """Return the request that stops the run. Called once, on the run's event loop."""


class CommandHost:
    """A command: it writes to a console, and a signal stops the run. `live`: a terminal shows a panel."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._live = live

    def say(self, text: str) -> None:
        """Print a message. Without a hard wrap, which would break paths that users copy."""
        shown = "\n".join(map(visible, censored(text).split("\n")))  # an error may quote a server
        self._console.print(shown, soft_wrap=True)

    def progress(self) -> AbstractContextManager[ShowsProgress]:
        """Return a panel, or log lines."""
        return ProgressDisplay(self._console, live=self._live)

    def stop_event(self) -> StopRequest:
        """Return the request that the first SIGINT or SIGTERM sets."""
        return stop_on_signal()
