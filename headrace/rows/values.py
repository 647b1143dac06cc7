"""Converts values of tables: rows to JSON, and new columns to the arrays of pandas and polars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from actors.core.errors import ConfigError
from actors.core.messages.values import Json

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Row = dict[str, Json]


class TableError(ConfigError):
    """The table cannot be mapped. The message says what to change."""


# ---- values in -------------------------------------------------------------------------------------------


def as_json(rows: Iterable[Mapping[str, object]]) -> Iterator[Row]:
    """Yield the rows with JSON values: NaN and NaT become null, dates ISO 8601 text, decimals text."""
    for number, row in enumerate(rows, 1):
        try:
            yield orjson.loads(_encoded(row))
        except orjson.JSONEncodeError:
            name, cause = next(_unreadable(row))
            raise TableError(
                f"row {number}: the value of {name!r} has no JSON form: {cause}; convert or drop the column"
            ) from None


def _unreadable(row: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        try:
            _encoded({name: value})
        except orjson.JSONEncodeError as error:
            yield name, str(error.__cause__ or error)


def _encoded(row: Mapping[str, object]) -> bytes:
    return orjson.dumps(dict(row), default=_json_of_other, option=orjson.OPT_SERIALIZE_NUMPY)


def _json_of_other(value: object) -> Json:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    # pandas' missing values, which are no dates although one of them is of a date's class
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):  # a Timestamp of pandas
        return value.isoformat()
    raise TypeError(f"it is of the type {type(value).__name__}")


# ---- values out ------------------------------------------------------------------------------------------


def pandas_array(column: pa.ChunkedArray) -> Any:
    """Return the values as an array of pandas: nullable, and of the dtype that belongs to the Arrow type."""
    import pandas as pd  # noqa: PLC0415 - it is loaded already, by the caller
    import pyarrow.types as t  # noqa: PLC0415 - loading it takes 0.1 s

    kind, values = column.type, column.to_pylist()
    if t.is_dictionary(kind):
        return pd.Categorical(values, categories=_choices(column))
    dtypes = (
        (t.is_integer, "Int64"),
        (t.is_floating, "Float64"),
        (t.is_boolean, "boolean"),
        (t.is_string, "string"),
        (t.is_date, "datetime64[s]"),  # in nanoseconds, dates would end in 2262
    )
    return pd.Series(values, dtype=next((dtype for fits, dtype in dtypes if fits(kind)), "object")).array


def polars_series(name: str, column: pa.ChunkedArray) -> pl.Series:
    """Return the values as a series of polars. Choices are an Enum of all that are declared."""
    import polars as pl  # noqa: PLC0415 - it is loaded already, by the caller
    import pyarrow.types as t  # noqa: PLC0415 - loading it takes 0.1 s

    if t.is_dictionary(column.type):
        return pl.Series(name, column.to_pylist(), dtype=pl.Enum(_choices(column)))
    made = pl.from_arrow(column)
    assert isinstance(made, pl.Series)  # noqa: S101 - it is a frame only for a table
    return made.alias(name)


def _choices(column: pa.ChunkedArray) -> list[str]:
    """Return the declared choices, which each chunk holds, also those that no row has."""
    found: list[str] = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    return found
