"""Where the rows of one table go: a file or a sink."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from actors.core.errors import text_of
from cluster.config.output import SinkSettings
from cluster.input.local_copy import is_url
from cluster.report.tables.columns import Row, TableName
from cluster.report.tables.formats import Encoder, encoder_of
from cluster.report.tables.kinds import AnyTable
from cluster.report.tables.parquet_input import ArrowInput
from cluster.report.tables.sinks import ResultSink, make_sink
from cluster.report.tables.targets import (
    ResultFile,
    ResultsError,
    explained,
    refuse_unusable,
    remove_parts,
    result_file,
    shown,
    target_format,
)


class TableOutput(Protocol):
    """Receives one table. Each method except `discard` may raise `ResultsError`, which begins with `name`."""

    table: TableName
    name: str

    def open(self) -> None:
        """Check that the rows can be written. Only the owner of the run may call this."""

    def begin(self, table: AnyTable, arrow_input: ArrowInput | None) -> None:
        """Receive the columns."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""

    def finish(self) -> None:
        """Complete what is written, without making it visible."""

    def publish(self) -> None:
        """Make all rows visible at once, in place of earlier ones."""

    def discard(self) -> None:
        """Forget what is not published."""


class FileOutput:
    """A file at a path or an fsspec URL, whose suffix names the format.

    Raises `ConfigError` for another suffix, and for a URL of an unknown kind.
    `is_private`: the directory belongs to the run, so that all parts that killed writers left are removed.
    In another directory only those of `run_id` are removed, and a symbolic link keeps leading to the file.
    """

    def __init__(self, table: TableName, target: str, *, is_private: bool = False, run_id: str = "") -> None:
        self.table = table
        self.name = shown(target)
        self._target = target
        self._format = target_format(target)
        refuse_unusable(target)
        self._is_private = is_private
        self._run_id = run_id
        self._file: ResultFile | None = None
        self._encoder: Encoder | None = None

    def open(self) -> None:
        """Create the temporary file."""
        with self._explained():
            if self._is_private:
                Path(self._target).parent.mkdir(parents=True, exist_ok=True)
                remove_parts(Path(self._target))
                self._file = result_file(self._target)
                return
            place = self._target if is_url(self._target) else os.path.realpath(self._target)
            if self._run_id and not is_url(place):
                remove_parts(Path(place), self._run_id)
            self._file = result_file(place, self._run_id)

    def begin(self, table: AnyTable, arrow_input: ArrowInput | None) -> None:
        """Write the header."""
        assert self._file is not None  # noqa: S101 - `open` comes first
        with self._explained():
            self._encoder = encoder_of(self._format, table, self._file.file, arrow_input)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        assert self._encoder is not None  # noqa: S101 - `begin` comes first
        with self._explained():
            self._encoder.write(rows)

    def finish(self) -> None:
        """Write the end of the file, and sync it under its temporary name. A full disk raises here."""
        assert self._encoder is not None  # noqa: S101 - `begin` comes first
        assert self._file is not None  # noqa: S101 - same
        with self._explained():
            self._encoder.finish()
            self._file.finish()

    def publish(self) -> None:
        """Give the file its name."""
        assert self._file is not None  # noqa: S101 - `open` comes first
        with self._explained():
            self._file.publish()

    def discard(self) -> None:
        """Delete the temporary file."""
        if self._encoder is not None:
            self._encoder.discard()
        if self._file is not None:
            self._file.discard()
        self._encoder = self._file = None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explained(self.name):
                yield
        except (TypeError, ValueError, NotImplementedError) as error:  # the last from pyarrow
            raise ResultsError(
                f"{self.name}: {text_of(error)}; correct that, or choose another format"
            ) from error


class SinkOutput:
    """A sink that a package offers. Raises `ConfigError` if there is none of that name."""

    def __init__(self, table: TableName, settings: SinkSettings) -> None:
        self.table = table
        self.name = f"sink {settings.kind}"
        self._sink: ResultSink = make_sink(settings)

    def open(self) -> None:
        """Do nothing: the columns are not known yet."""

    def begin(self, table: AnyTable, arrow_input: ArrowInput | None) -> None:  # noqa: ARG002 - sinks take JSON values
        """Open the sink."""
        with self._explained():
            self._sink.open(table.name.value, table.columns)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        with self._explained():
            self._sink.write(rows)

    def finish(self) -> None:
        """Do nothing: `ResultSink.finish` makes the rows visible."""

    def publish(self) -> None:
        """Finish the sink."""
        with self._explained():
            self._sink.finish()

    def discard(self) -> None:
        """Discard the sink's rows."""
        with contextlib.suppress(Exception):  # the first error counts
            self._sink.discard()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a plug-in raises its own errors
            raise ResultsError(f"{self.name}: {text_of(error)}") from error
