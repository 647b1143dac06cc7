"""Converts the values of a source (rows, objects, lines of text) to records for an `ItemCollector`.

A record is a mapping that JSON can represent, with the ``text`` of the item and optionally its ``id``. All
kinds of sources share these rules, so a column ``text`` means the same in a Parquet file, a table and an HTTP
response.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from msgspec import Struct

from actors.core.errors import SourceBoundError, SourceError
from actors.core.messages.values import Json

MAX_DEPTH = 100  # levels; deeper values exceed the recursion limits of encoders
MAX_VALUES = 1_000_000  # in one document; two bytes of JSON can become a list of sixty bytes in memory
_SCALARS = (str, int, float, type(None), bytes, bytearray, memoryview, dt.date, dt.time)
_MAX_INTEGER_BITS = 10_000  # Python refuses to convert longer integers to text
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NOT_SPACE = re.compile(r"\S")
_LONG_INTEGER = re.compile(rb"(?<![\d.])\d{19}\d*(?![\d.eE])")
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_ZEROS = b"0" * 19
# Possessive, and matches an unterminated string too: else each quote in it would start a search to the end.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

Record = dict[str, Json]


class Oversize(Struct, frozen=True):
    """A record that was not read because of its size in bytes."""

    id: str
    size: int


def parse_json(data: bytes, where: str, line: int | None = None) -> Json:
    """Parse a JSON document, which may begin with a byte order mark.

    line: the line number, if the document is one line of a file.

    Raises `SourceError`, also for more than `MAX_VALUES` values. Its message begins with `where` and the
    line.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    separators = _separators(data)
    if separators > MAX_VALUES:
        separators -= sum(_separators(string.group()) for string in _STRING.finditer(data))
    if separators > MAX_VALUES:
        raise SourceBoundError(f"{where}: more than {MAX_VALUES:,} values; request smaller parts")
    try:
        return exact_json(data)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{where}:{line or error.lineno}: not JSON: {error.msg}") from None


def exact_json(data: bytes) -> Json:
    """Parse a JSON document, with exact integers of any length. Raises `orjson.JSONDecodeError`."""
    value = orjson.loads(data)
    # The regular expression alone would take four times as long as the parser.
    if _ZEROS not in data.translate(_TO_ZEROS) or not _LONG_INTEGER.search(data):
        return value
    # orjson converts integers beyond 64 bits to floats: two ids of 25 digits could become equal.
    try:
        return json.loads(data)
    except RecursionError:
        raise orjson.JSONDecodeError("depth limit exceeded", data.decode(), 0) from None


def _separators(data: bytes) -> int:
    """Return the approximate number of values: each follows a comma or an opening bracket."""
    return sum(map(data.count, (b",", b"[", b"{")))


class Split(enum.StrEnum):
    """How a long text is split into items."""

    NONE = "none"
    PARAGRAPHS = "paragraphs"


def to_record(value: Any, *, text: str | None, where: str) -> Record:
    """Return an object or a string as a record. Raises `SourceError`.

    text: the name of the field with the text. By default this is ``text``; without such a field all fields
    are written as ``name: value`` lines.
    where: identifies the object in errors.
    """
    if isinstance(value, str):
        return {"text": plain(value)}
    if not isinstance(value, Mapping):
        raise SourceError(f"{where} is {type(value).__name__}; an item is an object or a string")
    try:
        record: Record = plain(value)
    except SourceError as error:
        raise type(error)(f"{where}: {error}") from None
    if text is not None and text not in record:
        raise SourceError(f"{where} has no field {text!r} for the text; it has: {listed(record)}")
    if text is not None:
        chosen = record.pop(text) if text != "id" else record[text]
    else:
        chosen = record["text"] if "text" in record else render(record)
    record["text"] = chosen if isinstance(chosen, str) else "" if chosen is None else _written(chosen)
    if record.get("id") in (None, ""):
        record.pop("id", None)  # without this, a row without an id would have the id "None"
    return record


def render(record: Mapping[str, Json]) -> str:
    """Return all fields except the id as ``name: value`` lines. Omits empty fields."""
    return "\n".join(
        f"{name}: {_written(value)}"
        for name, value in record.items()
        if name != "id" and value not in (None, "")
    )


def plain(value: Any) -> Json:
    """Convert a value of a database or a file to one that JSON can represent.

    Times are converted to ISO 8601, decimals to floats, bytes to text or else to base64, numbers that are not
    finite to None, and lone surrogates to U+FFFD. Values of other types, such as UUIDs, are converted by
    `str`. Raises `SourceError` if `value` has more than `MAX_DEPTH` levels or `MAX_VALUES` values.
    """
    return _Conversion().convert(value, 0)


class _Conversion:
    """Converts one value. Counts, because the conversion of a value that contains itself would not end."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def convert(self, value: Any, depth: int) -> Json:
        self._left -= 1
        if self._left < 0:
            raise SourceBoundError(f"more than {MAX_VALUES:,} values in one item")
        if depth > MAX_DEPTH:
            raise SourceBoundError(f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, _SCALARS):
            return _scalar(value)
        if isinstance(value, Mapping):
            return {_text(str(name)): self.convert(field, depth + 1) for name, field in value.items()}
        if isinstance(value, Iterable):
            return [self.convert(element, depth + 1) for element in value]
        return _scalar(value)


def _scalar(value: Any) -> Json:
    match value:
        case bool() | None:
            return value
        case str():
            plain_value: Json = _text(value)
        case int():
            plain_value = _integer(int.__int__(value))
        case decimal.Decimal():
            plain_value = _scalar(float(value)) if value.is_finite() else None
        case float():
            plain_value = float.__float__(value) if math.isfinite(value) else None
        case dt.date() | dt.time():  # a datetime is a date
            plain_value = value.isoformat()
        case dt.timedelta():
            plain_value = value.total_seconds()
        case bytes() | bytearray() | memoryview():
            plain_value = _from_bytes(bytes(value))
        case _:
            plain_value = _text(str(value))
    return plain_value


def _text(value: str) -> str:
    """Return `value` without lone surrogates and as a plain `str`, since a subclass may not unpickle."""
    return str.__str__(value if value.isascii() else _HALF_CHARACTER.sub("\ufffd", value))


def _integer(value: int) -> Json:
    # Many JSON parsers change integers beyond 64 bits; text stays the same.
    if -(2**63) <= value < 2**63:
        return value
    if value.bit_length() > _MAX_INTEGER_BITS:
        raise SourceBoundError(f"an integer of {value.bit_length():,} bits")
    return str(value)


def cut(record: Record, *, split: Split, max_chars: int | None) -> Iterator[Record]:
    """Yield `record`, or its parts if its text is split. Parts get a field ``part``, counted from 0.

    The id of a part is that of the record with ``#part`` appended. Only white space at the cuts is lost.
    """
    texts = list(_pieces(str(record["text"]), split, max_chars))
    if len(texts) <= 1:
        yield {**record, "text": texts[0]} if texts else record
        return
    for part, text in enumerate(texts):
        name = {"id": f"{record['id']}#{part}"} if "id" in record else {}
        yield {**record, **name, "text": text, "part": part}


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return at most `most` of `names`, separated by commas, for an error message."""
    shown = list(names)
    return (", ".join(shown[:most]) + (", ..." if len(shown) > most else "")) or "nothing"


def _pieces(text: str, split: Split, max_chars: int | None) -> Iterator[str]:
    whole = [text]
    if split is Split.PARAGRAPHS:
        whole = [piece for piece in _paragraphs(text) if piece]
    for piece in whole:
        if max_chars is None or len(piece) <= max_chars:
            yield piece
        else:
            yield from _windows(piece, max_chars)


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    yield "\n".join(lines)


def _windows(text: str, size: int) -> Iterator[str]:
    """Split `text` into pieces of at most `size` characters, at white space if possible."""
    # Uses positions: copying the rest of a large text for each small piece would take hours.
    begin, stop = _skip_space(text, 0), len(text.rstrip())
    while stop - begin > size:
        # One character more, because a space right after the window is a place to cut as well.
        space = max(text.rfind(" ", begin, begin + size + 1), text.rfind("\n", begin, begin + size + 1))
        end = space if space > begin else begin + size
        yield text[begin:end].rstrip()
        begin = _skip_space(text, end)
    if begin < stop:
        yield text[begin:stop]


def _skip_space(text: str, begin: int) -> int:
    """Return the position of the first character from `begin` that is not white space."""
    found = _NOT_SPACE.search(text, begin)
    return found.start() if found else len(text)


def _from_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _written(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(_written(element) for element in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_written(field)}" for name, field in value.items())
    return "" if value is None else str(value)
