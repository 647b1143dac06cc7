"""Reads the rows of the input as Arrow, so that its columns keep their types in a Parquet table."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 2_000


class ArrowInput(Protocol):
    """The rows of the input, which are the tasks of the run in map form."""

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
        self._path = path
        self._chosen = chosen

    @property
    def schema(self) -> pa.Schema:
        """The columns, and the metadata of the file. Raises `ValueError` if it cannot be read any more."""
        with self._opened() as file:
            return file.schema_arrow

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order. Raises `ValueError` if the file cannot be read any more."""
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
        import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.1 s to load

        try:
            with pq.ParquetFile(self._path) as file:
                yield file
        except OSError as error:
            # As an `OSError` it would be one of the file that is written.
            raise ValueError(f"the input {self._path} cannot be read again: {error}") from error


class InputRows:
    """Takes rows from the stream of an input."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches

    def take(self, count: int) -> pa.Table:
        """Return the next `count` rows. Raises `ValueError` if there are fewer."""
        import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s to load

        taken: list[pa.RecordBatch] = []
        while count:
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError("the input has fewer rows than at the start of the run")
            taken.append(batch.slice(0, count))
            if batch.num_rows > count:
                self._batches = chain((batch.slice(count),), self._batches)
            count -= taken[-1].num_rows
        return pa.Table.from_batches(taken)
