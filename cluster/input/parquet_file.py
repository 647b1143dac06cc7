"""Reads the rows of a Parquet file as JSON records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import orjson

from actors.core.messages.values import Json
from actors.sources.files.parquet_rows import LargeRow, ParquetBoundError, read_rows
from cluster.input.local_copy import InputFile
from cluster.input.problems import TaskInputError, too_large
from cluster.input.records import Reading, no_column

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet


def parquet_records(file: InputFile, reading: Reading) -> Iterator[tuple[int, Json]]:
    """Yield the number and the values of every row. Raises `TaskInputError`."""
    # Loading these takes 0.1 s, for which every command would wait.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from cluster.input.arrow_json import prepared, unread_columns  # noqa: PLC0415

    def opened(coded: Sequence[str]) -> parquet.ParquetFile:
        table = pq.ParquetFile(file.path, read_dictionary=list(coded))
        _check_columns(file.place, table.schema_arrow.names, reading)
        unread = unread_columns(table.schema_arrow)
        if unread and not reading.rows:  # the result has no columns of the file
            problem = f"column {min(unread)} has a type that JSON lacks; convert or drop it"
            raise TaskInputError(file.place, None, problem)
        return table

    row = 0
    try:
        records = read_rows(opened, most_row_bytes=reading.max_bytes, prepared=prepared)
        for row, record in enumerate(records, 1):
            if isinstance(record, LargeRow):
                problem = too_large("the row has", record.size, reading.max_bytes)
                raise TaskInputError(file.place, row, problem)
            yield row, _as_json(record)
    except orjson.JSONEncodeError as error:
        problem = f"a column has a type that JSON lacks: {error.__cause__ or error}; convert or drop it"
        raise TaskInputError(file.place, row, problem) from error
    except ParquetBoundError as error:
        bound = f"{error}; a task may have {reading.max_bytes:,} bytes"
        problem = f"{bound}: raise limits.max_task_bytes, or write a new file"
        raise TaskInputError(file.place, None, problem) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        problem = f"cannot be read as Parquet: {error}; write a new file"
        raise TaskInputError(file.place, row + 1 if row else None, problem) from error


def parquet_columns(file: InputFile) -> Sequence[str]:
    """Return the names of the columns of a file that `parquet_records` can read."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.1 s to load

    return pq.read_schema(file.path).names  # type: ignore[no-any-return]


def json_rows(table: pa.Table) -> list[Mapping[str, Json]]:
    """Return the rows as `parquet_records` yields them."""
    from cluster.input.arrow_json import prepared  # noqa: PLC0415 - loads pyarrow: 0.1 s

    batches = map(prepared, table.to_batches())
    return [_as_json(row) for batch in batches for row in batch.to_pylist(maps_as_pydicts="strict")]


def _check_columns(place: str, names: Sequence[str], reading: Reading) -> None:
    key = reading.key or "key"
    if key not in names and (reading.key or not reading.rows):
        raise TaskInputError(place, None, no_column(key, names))
    if len(set(names)) < len(names):
        raise TaskInputError(place, None, "two columns have the same name; rename or drop one")


def _as_json(record: Mapping[str, object]) -> Mapping[str, Json]:
    """Return `record` as JSON: dates become ISO 8601 strings, and decimals become strings.

    Raises `orjson.JSONEncodeError`.
    """
    return orjson.loads(orjson.dumps(record, default=_json_of_other))  # type: ignore[no-any-return]


def _json_of_other(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
