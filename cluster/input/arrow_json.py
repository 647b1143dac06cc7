"""Prepares Arrow columns for JSON: text for times that Python cannot hold, null for types that JSON lacks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
from pyarrow import types

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_LAST_S = 253_402_300_799 - 86_400  # a day before the end of the year 9999, for every time zone
_FIRST_S = -62_135_596_800 + 86_400
_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * 86_400  # after which the calendar repeats
_MICROSECONDS_END = 26  # of the ISO form
_UNREAD: tuple[Callable[[pa.DataType], bool], ...] = (
    types.is_binary,
    types.is_large_binary,
    types.is_binary_view,
    types.is_fixed_size_binary,
)


def prepared(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with text for durations, nanoseconds and distant years, and null for unread columns."""
    return pa.record_batch([_prepared(column) for column in batch.columns], names=batch.schema.names)


def unread_columns(schema: pa.Schema) -> dict[str, str]:
    """Return the types of the columns whose values JSON lacks, by name. They are null in the rows."""
    return {each.name: str(each.type) for each in schema if _is_unread(each.type)}


def _prepared(column: pa.Array) -> pa.Array:
    kind = column.type
    if _is_unread(kind):
        return pa.nulls(len(column))
    if types.is_duration(kind):
        digits = _DIGITS[kind.unit]
        return _texts(column, lambda value: f"PT{Decimal(value).scaleb(-digits):f}S")
    if types.is_timestamp(kind) and kind.unit == "ns":
        return _nanoseconds(column)
    if types.is_timestamp(kind):
        second = 10 ** _DIGITS[kind.unit]
        values = _integers(column)
        are_near = [each is None or _FIRST_S < each // second < _LAST_S for each in values]
        if not all(are_near):
            near = pa.array([each if near else None for each, near in zip(values, are_near, strict=True)])
            times = near.cast(kind).to_pylist()
            texts = [
                None
                if value is None
                else _distant(value, second, kind.tz)
                if time is None
                else time.isoformat()
                for value, time in zip(values, times, strict=True)
            ]
            return pa.array(texts, pa.string())
    return column


def _is_unread(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.DictionaryType):
        return _is_unread(kind.value_type)
    if types.is_nested(kind):
        inner = [kind.field(index).type for index in range(kind.num_fields)]
        has_names = not types.is_map(kind) or types.is_string(kind.key_type)
        return not has_names or any(_is_unread(each) or _needs_text(each) for each in inner)
    return any(test(kind) for test in _UNREAD)


def _needs_text(kind: pa.DataType) -> bool:
    return bool(types.is_duration(kind)) or bool(types.is_timestamp(kind) and kind.unit == "ns")


def _integers(column: pa.Array) -> list[int | None]:
    return column.cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]


def _texts(column: pa.Array, text: Callable[[int], str]) -> pa.Array:
    return pa.array([None if each is None else text(each) for each in _integers(column)], pa.string())


def _distant(value: int, second: int, zone: str | None) -> str:
    """Return a time outside the years of Python in the extended ISO form, in UTC."""
    cycles, rest = divmod(value, _CYCLE_S * second)
    time = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=rest * 1_000_000 // second)  # noqa: DTZ001 - the suffix is written below
    return f"{time.year + cycles * _CYCLE_YEARS:+05}{time.isoformat()[4:]}{'' if zone is None else '+00:00'}"


def _nanoseconds(column: pa.Array) -> pa.Array:
    """Return ISO texts. Without pandas, pyarrow reads no nanoseconds."""
    values = _integers(column)
    whole = pa.array([None if each is None else each // 1000 for each in values], pa.int64())
    times = whole.cast(pa.timestamp("us", column.type.tz)).to_pylist()
    pairs = zip(values, times, strict=True)
    return pa.array(
        [None if value is None else _iso(time, value % 1000) for value, time in pairs], pa.string()
    )


def _iso(time: dt.datetime, nanoseconds: int) -> str:
    if not nanoseconds:
        return time.isoformat()
    text = time.isoformat(timespec="microseconds")
    return f"{text[:_MICROSECONDS_END]}{nanoseconds:03}{text[_MICROSECONDS_END:]}"
