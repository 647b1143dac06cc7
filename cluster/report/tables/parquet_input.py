"""Reads the rows of the input as Arrow, so that its columns keep their types in a Parquet table."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from actors.core.errors import ConfigError
from cluster.input.checked_tasks import InputChangedMeanwhileError
from cluster.input.parquet_file import json_rows
from cluster.report.tables.columns import Row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 2_000


class ArrowInput(Protocol):
    """The rows of the input, which are the tasks of the run in map form."""

    name: str

    @property
    def schema(self) -> pa.Schema:
        """The columns, and the metadata of the input."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Return a new stream of the rows that are tasks of the run, in order."""


class ParquetInput:
    """The rows of a Parquet file, or those at the positions `chosen`. Each stream opens the file again.

    More rows than there are tasks are ignored.
    """

    def __init__(self, path: Path, chosen: Collection[int] | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._chosen = chosen

    @property
    def schema(self) -> pa.Schema:
        """The columns, and the metadata of the file. Raises `InputChangedMeanwhileError` if it is gone."""
        with self._opened() as file:
            return file.schema_arrow

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order. Raises `InputChangedMeanwhileError` if the file cannot be read."""
        import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s to load

        first = 0
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                if self._chosen is None:
                    yield batch
                else:
                    within = range(first, first + batch.num_rows)
                    rows = [row - first for row in within if row in self._chosen]
                    yield batch.take(pa.array(rows, pa.int64()))
                first += batch.num_rows

    @contextlib.contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s to load
        import pyarrow.parquet as pq  # noqa: PLC0415 - same

        try:
            with pq.ParquetFile(self._path) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            raise InputChangedMeanwhileError(self.name, f"it cannot be read again: {error}") from error


def unread_of(given: ArrowInput | None) -> Mapping[str, str]:
    """Return the columns, with their types, that no prompt can name, because JSON lacks the types."""
    if given is None:
        return {}
    from cluster.input.arrow_json import unread_columns  # noqa: PLC0415 - loads pyarrow: 0.1 s

    return unread_columns(given.schema)


def refuse_unwritable(given: ArrowInput | None, formats: Iterable[tuple[str, str]]) -> None:
    """Raise `ConfigError` if a column of the input cannot be in the result.

    `formats` are those of the result, each after the place that names it in the message.
    """
    unread = unread_of(given)
    place = next((place for place, form in formats if form != "parquet"), None)
    if unread and place is not None:
        raise ConfigError(
            f"{place}: only Parquet can hold {_listed(unread)}; write Parquet, or drop the column"
        )


def unwritable_note(given: ArrowInput | None) -> str:
    """Return a note that columns are null where no file is written; empty if there are none."""
    unread = unread_of(given)
    return f"only Parquet can hold {_listed(unread)}: null here; -o FILE.parquet keeps it" if unread else ""


def _listed(unread: Mapping[str, str]) -> str:
    return ", ".join(f"column {name} ({kind})" for name, kind in unread.items())


class InputRows:
    """Takes the columns called `names` of an input, row by row, and compares them with the tasks."""

    def __init__(self, given: ArrowInput, names: Collection[str]) -> None:
        schema = given.schema
        self.fields = [each for each in schema if each.name in names]
        self.metadata = schema.metadata
        self._input = given.name
        self._schema = schema
        self._names = [each.name for each in self.fields]
        self._batches = given.batches()
        self._taken = 0

    def take(self, rows: Sequence[Row]) -> pa.Table:
        """Return the next rows as Arrow. Raises `InputChangedMeanwhileError` if `rows` have other values.

        An answer beside a row that was not asked would look right.
        """
        import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s to load

        table = pa.Table.from_batches(self._next(len(rows)), self._schema).select(self._names)
        for row, record in zip(rows, json_rows(table), strict=True):
            self._taken += 1
            if any(row[name] != record[name] for name in self._names):
                raise self._changed(f"row {self._taken:,} of those that were asked differs")
        return table

    def _next(self, count: int) -> list[pa.RecordBatch]:
        taken: list[pa.RecordBatch] = []
        while count:
            batch = next(self._batches, None)
            if batch is None:
                raise self._changed("it has fewer rows")
            if batch.schema != self._schema:
                raise self._changed("it has other columns")
            taken.append(batch.slice(0, count))
            if batch.num_rows > count:
                self._batches = chain((batch.slice(count),), self._batches)
            count -= taken[-1].num_rows
        return taken

    def _changed(self, what: str) -> InputChangedMeanwhileError:
        return InputChangedMeanwhileError(self._input, what)
