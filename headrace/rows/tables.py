"""Reads the rows of the caller's table, and returns a table of the same kind with further columns.

Rule 1: A result has the rows of its input: the same number, order, index, duplicates and dtypes. The input is
    never changed.
Rule 2: The dtypes of new columns follow from their Arrow types, never from the values.
Rule 3: pandas and polars are not dependencies. A table can only be theirs if they are loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from headrace.rows.values import Row, TableError, as_json, pandas_array, polars_series

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_CHUNK = 1_000  # rows that are converted together


class InputTable(Protocol):
    """A table in memory."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of its columns."""

    @property
    def count(self) -> int:
        """Return the number of its rows."""

    def rows(self) -> Iterator[Row]:
        """Return a new stream of the rows, as JSON values. Raises `TableError`."""

    def taken(self, positions: Sequence[int]) -> InputTable:
        """Return the table of the rows at these positions."""

    def joined(self, new: pa.Table) -> Any:
        """Return the caller's table with the columns of `new`, which has as many rows.

        A column of the table that has the name of a new one is left out.
        """


def table_of(value: object) -> InputTable:
    """Return the table that the caller gave. An iterable of mappings is read first. Raises `TableError`."""
    for module, name, kind in (
        ("pandas", "DataFrame", PandasTable),
        ("polars", "DataFrame", PolarsTable),
        ("pyarrow", "Table", ArrowTable),
    ):
        known = getattr(sys.modules.get(module), name, None)
        if known is not None and isinstance(value, known):
            return kind(value)
    kind_name = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")
    wanted = "give a pandas or polars DataFrame, a pyarrow Table, a list of dicts, or the path of a file"
    if kind_name == "polars.LazyFrame":
        raise TableError("a polars.LazyFrame has no rows yet: give frame.collect()")
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TableError(f"a {kind_name} is not a table: {wanted}")
    records = list(value)
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            hint = '; write [{"text": each} for each in texts]' if isinstance(record, str) else f": {wanted}"
            raise TableError(f"row {number} is a {type(record).__name__}, not a dict{hint}")
    return RecordTable(records)


class RecordTable:
    """A list of mappings, which may have different keys. The result is a list of dicts."""

    def __init__(self, records: Sequence[Mapping[str, object]]) -> None:
        self._records = records
        names = list(dict.fromkeys(name for record in records for name in record))
        self.columns = _checked(names) if records else ()
        self.count = len(records)

    def rows(self) -> Iterator[Row]:
        """Yield the records. A missing key is null."""
        missing = dict.fromkeys(self.columns)
        return as_json({**missing, **record} for record in self._records)

    def taken(self, positions: Sequence[int]) -> RecordTable:
        """Return the table of the records at these positions."""
        return RecordTable([self._records[position] for position in positions])

    def joined(self, new: pa.Table) -> list[dict[str, Any]]:
        """Return a copy of each record, with the new columns."""
        made, records = set(new.column_names), zip(self._records, new.to_pylist(), strict=True)
        return [
            {**{name: record[name] for name in record if name not in made}, **row} for record, row in records
        ]


class ArrowTable:
    """A Table of pyarrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.columns = _checked(table.column_names)
        self.count = table.num_rows

    def rows(self) -> Iterator[Row]:
        """Yield the rows."""
        return as_json(
            row for batch in self._table.to_batches(max_chunksize=_CHUNK) for row in batch.to_pylist()
        )

    def taken(self, positions: Sequence[int]) -> ArrowTable:
        """Return the table of the rows at these positions."""
        return ArrowTable(self._table.take(list(positions)))

    def joined(self, new: pa.Table) -> pa.Table:
        """Return the table with the new columns."""
        table = self._table.drop_columns([name for name in self.columns if name in new.column_names])
        for field, column in zip(new.schema, new.columns, strict=True):
            table = table.append_column(field, column)
        return table


class PandasTable:
    """A pandas DataFrame. Its index is kept, and is not a column."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        if frame.columns.nlevels > 1:
            raise TableError("the columns have several levels; flatten them: frame.columns.to_flat_index()")
        self.columns = _checked([str(name) for name in frame.columns])
        self.count = len(frame)

    def rows(self) -> Iterator[Row]:
        """Yield the rows."""
        return as_json(
            dict(zip(self.columns, values, strict=True))
            for first in range(0, self.count, _CHUNK)
            for values in zip(*self._lists(first), strict=True)
        )

    def _lists(self, first: int) -> list[list[object]]:
        chunk = self._frame.iloc[first : first + _CHUNK]
        return [chunk.iloc[:, number].tolist() for number in range(len(self.columns))]

    def taken(self, positions: Sequence[int]) -> PandasTable:
        """Return the frame of the rows at these positions."""
        return PandasTable(self._frame.iloc[list(positions)])

    def joined(self, new: pa.Table) -> pd.DataFrame:
        """Return the frame with the new columns, in pandas' nullable dtypes."""
        made = set(new.column_names)
        frame = self._frame.drop(columns=[name for name in self._frame.columns if str(name) in made])
        for name in new.column_names:  # `assign` takes no column with the name of its own argument: "self"
            # A Series would be aligned by its index, and a frame may have equal labels.
            frame[name] = pandas_array(new.column(name))
        return frame


class PolarsTable:
    """A polars DataFrame."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self.columns = _checked(frame.columns)
        self.count = frame.height

    def rows(self) -> Iterator[Row]:
        """Yield the rows."""
        return as_json(
            row
            for first in range(0, self.count, _CHUNK)
            for row in self._frame.slice(first, _CHUNK).to_dicts()
        )

    def taken(self, positions: Sequence[int]) -> PolarsTable:
        """Return the frame of the rows at these positions."""
        return PolarsTable(self._frame[list(positions)])

    def joined(self, new: pa.Table) -> pl.DataFrame:
        """Return the frame with the new columns. A column with choices is an Enum of them."""
        columns = [polars_series(name, new.column(name)) for name in new.column_names]
        return self._frame.drop(new.column_names, strict=False).with_columns(columns)


def _checked(names: list[str]) -> tuple[str, ...]:
    """Return `names`, the columns of a table. Raises `TableError`."""
    if not names:
        raise TableError("the table has no columns")
    for name in names:
        if not isinstance(name, str):
            raise TableError(f"the key {name!r} of a row is not a string; write it as one")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TableError(f"two columns have the name {twice!r}; rename or drop one")
    return tuple(names)
