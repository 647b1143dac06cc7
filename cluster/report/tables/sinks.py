"""Result sinks: plug-ins that receive the rows of a table beside the files.

A package offers a sink under an entry point of the group ``headrace.sinks``: a callable that takes the
options of ``output.sinks`` and returns a `ResultSink`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.runtime.plugins import PluginGroup, plugin
from cluster.config.output import SinkSettings
from cluster.report.tables.columns import Column, Row


class ResultSink(Protocol):
    """Receives one table of one run. A method may raise any exception, which ends the run with its message.

    The methods are called in this order, from one thread at a time: `open`, `write` for each batch of rows in
    the order of the input, then `finish` or `discard`. Nothing may become visible before `finish`, because
    another process may have taken the run over; a resumed run writes all rows again.
    """

    def open(self, table: str, columns: Sequence[Column]) -> None:
        """Begin a table: "reports" or "items"."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take some rows: JSON values by the names of the columns."""

    def finish(self) -> None:
        """Make all rows visible, in place of those of an earlier attempt."""

    def discard(self) -> None:
        """Forget the rows. It may be called at any time before `finish`."""


MakeSink = Callable[[Mapping[str, Json]], ResultSink]


def make_sink(settings: SinkSettings) -> ResultSink:
    """Return the sink that `settings` name. Raises `ConfigError`."""
    make: MakeSink = plugin(PluginGroup.SINKS, settings.kind)
    try:
        return make(settings.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"output.sinks: {settings.kind}: {error}") from error
