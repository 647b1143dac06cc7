"""Reads the rows of a Parquet file in bounded memory, whatever its uncompressed size.

A repeated value is stored once: a file of 908 bytes can expand to 4 GB. So sizes are checked three times: as
the file declares them, before anything is read; as an upper bound of a batch, to choose its number of rows;
and as they are, before a row is converted to Python objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_SMALL_BYTES = 2**24  # of a batch whose rows need not be checked one by one
BATCH_BYTES = 2**26  # of a batch
MOST_ROWS = 1024  # of a batch
MOST_NESTED_VALUES = 2**25  # of a column of lists in one row group: all of them may belong to one row
_MOST_RATIO = 100  # the largest compression ratio of a large column
_LARGE_BYTES = 2**28
_REPEATING = {"PLAIN_DICTIONARY", "RLE_DICTIONARY", "DELTA_BYTE_ARRAY"}
_WIDTH = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


class ParquetBoundError(Exception):
    """A file exceeds a bound when it is uncompressed. The message states the bound."""


class LargeRow(Struct, frozen=True):
    """A row that was not read because of its size in bytes."""

    size: int


Opened = Callable[[Sequence[str]], "parquet.ParquetFile"]
"""Opens the file. Reads the named columns as dictionary arrays (`read_dictionary` of pyarrow)."""


def read_rows(
    opened: Opened,
    *,
    most_row_bytes: int,
    most_bytes: int | None = None,
    prepared: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Iterator[Mapping[str, Any] | LargeRow]:
    """Yield the rows of a file, or a `LargeRow` for one that is larger than `most_row_bytes`.

    In a small batch the sizes of single rows are not checked. `most_bytes` bounds the declared size of the
    whole file. `prepared` converts each batch before its rows become Python objects. Raises
    `ParquetBoundError`, and what pyarrow raises for a damaged file.
    """
    with opened(()) as file:
        if most_bytes is not None:
            _check_declared(file.metadata, most_bytes)
        for group in range(file.metadata.num_row_groups):
            rows, coded = _plan(opened, file, group, most_row_bytes)
            with contextlib.nullcontext(file) if not coded else opened(coded) as reader:
                for batch in reader.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                    yield from _rows_of(prepared(batch), most_row_bytes)


def _check_declared(metadata: parquet.FileMetaData, most_bytes: int) -> None:
    declared = values = 0
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        declared += about.total_byte_size
        values += sum(about.column(column).num_values for column in range(about.num_columns))
    # A value takes at least two bytes of JSON, even if it takes less in the file.
    size = max(declared, 2 * values)
    if size > most_bytes:
        raise ParquetBoundError(f"{size:,} bytes when uncompressed, more than {most_bytes:,}")


def _plan(
    opened: Opened, file: parquet.ParquetFile, group: int, most_row_bytes: int
) -> tuple[int, list[str]]:
    """Return the number of rows of a batch, and the columns of lists to read as dictionary arrays."""
    about = file.metadata.row_group(group)
    in_all = 2 * sum(about.column(index).num_values for index in range(about.num_columns))
    if in_all > about.num_rows * most_row_bytes:
        raise ParquetBoundError(f"rows of {in_all // max(about.num_rows, 1):,} bytes on average")
    a_row, coded = 1, []
    for index in range(about.num_columns):
        column, schema = about.column(index), file.schema.column(index)
        _check_column(column, schema)
        longest = _longest(opened, file, group, index)
        if schema.max_repetition_level:
            in_lists = column.num_values * longest
            if in_lists > BATCH_BYTES and schema.physical_type == "BYTE_ARRAY":
                coded.append(column.path_in_schema)
            a_row += in_lists // max(about.num_rows, 1)
        else:
            a_row += longest
    return min(MOST_ROWS, max(1, BATCH_BYTES // a_row)), coded


def _check_column(column: parquet.ColumnChunkMetaData, schema: parquet.ColumnSchema) -> None:
    name, unpacked = column.path_in_schema, column.total_uncompressed_size
    if unpacked > _LARGE_BYTES and unpacked > _MOST_RATIO * column.total_compressed_size:
        raise ParquetBoundError(f"column {name} has {unpacked:,} bytes when uncompressed")
    # Arrow allocates memory for 1,024 values of a fixed width, even for a smaller batch.
    fixed = int(schema.length) if schema.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    if fixed * min(column.num_values, MOST_ROWS) > BATCH_BYTES:
        raise ParquetBoundError(f"column {name} has values of {fixed:,} bytes; store them as binary")
    if schema.max_repetition_level and column.num_values > MOST_NESTED_VALUES:
        raise ParquetBoundError(
            f"column {name} has {column.num_values:,} values in one row group, more than "
            f"{MOST_NESTED_VALUES:,}; write smaller row groups"
        )


def _longest(opened: Opened, file: parquet.ParquetFile, group: int, index: int) -> int:
    """Return an upper bound of the size of a value of a column, or the average if it shares no values."""
    column, schema = file.metadata.row_group(group).column(index), file.schema.column(index)
    if schema.physical_type != "BYTE_ARRAY":
        return _WIDTH.get(schema.physical_type) or max(int(schema.length), 1)
    unpacked = int(column.total_uncompressed_size)
    average = unpacked // max(int(column.num_values), 1)
    if _REPEATING.isdisjoint(column.encodings):
        return 8 + average
    if "DELTA_BYTE_ARRAY" in column.encodings or unpacked * MOST_ROWS <= BATCH_BYTES:
        return 8 + unpacked
    return 8 + max(_longest_in_dictionary(opened, group, column.path_in_schema), average)


def _longest_in_dictionary(opened: Opened, group: int, path: str) -> int:
    """Return the length of the longest value in the dictionary of a column, by reading its first row."""
    with opened([path]) as reader:
        batches = reader.iter_batches(batch_size=1, row_groups=[group], columns=[path], use_threads=False)
        first = next(batches, None)
        return 0 if first is None else max(map(_longest_value, first.columns), default=0)


def _longest_value(array: pa.Array) -> int:
    import pyarrow as pa  # noqa: PLC0415 - the import takes a tenth of a second
    from pyarrow import compute  # noqa: PLC0415

    if isinstance(array, pa.DictionaryArray):
        lengths = compute.binary_length(array.dictionary)
        return int(compute.max(lengths).as_py() or 0)
    return max(map(_longest_value, _parts(array)), default=0)


def _rows_of(batch: pa.RecordBatch, most_row_bytes: int) -> Iterator[Mapping[str, Any] | LargeRow]:
    if sum(map(_size, batch.columns)) <= max(most_row_bytes, _SMALL_BYTES):
        yield from batch.to_pylist(maps_as_pydicts="strict")
        return
    for position in range(batch.num_rows):
        row = batch.slice(position, 1)
        size = sum(map(_size, row.columns))
        if size > most_row_bytes:
            yield LargeRow(size)
        else:
            yield from row.to_pylist(maps_as_pydicts="strict")


def _size(array: pa.Array) -> int:
    """Return the size of the values of `array`, with each repeated value counted."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import compute  # noqa: PLC0415

    if isinstance(array, pa.DictionaryArray):
        lengths = compute.binary_length(array.dictionary).cast(pa.int64())
        return int(compute.sum(lengths.take(array.indices)).as_py() or 0)
    parts = _parts(array)
    return sum(map(_size, parts)) if parts else int(array.nbytes)


def _parts(array: pa.Array) -> list[pa.Array]:
    """Return the child arrays of a nested array, limited to its slice; an empty list for a flat array."""
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(array, pa.StructArray):
        return list(array.flatten())
    if isinstance(array, pa.MapArray):
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return [part.slice(start, end - start) for part in (array.keys, array.items)]
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return [array.flatten()]
    return []
