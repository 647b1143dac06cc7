"""From the bytes of one file to records: text, JSON, JSON lines, CSV and Parquet, told apart by suffix.

Rule 1: pure. Reading the bytes, and how many, is `files`'s affair.
Rule 2: a file is read whole or not at all. One bad line fails it, with the line's number, because half of
a file that passes for all of it would falsify whatever is counted over its items.
"""

from __future__ import annotations

import codecs
import csv
import enum
import io
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import orjson
from msgspec import Struct

from actors.core.errors import SourceError
from actors.core.messages import Json
from actors.sources.records import Record, Split, cut, to_record

_MARKS = (  # longest first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PARQUET_ROWS = 100  # read at once: few, because each may be as long as the file's longest value
_PARQUET_BYTES = 2**28


class Format(enum.StrEnum):
    """How a file's bytes are laid out."""

    TEXT = "text"  # whatever has no other suffix: the file is one item
    JSON = "json"  # a list: an item per element; an object: one item
    JSONL = "jsonl"  # an item per line
    CSV = "csv"  # an item per row; the first row names the columns
    PARQUET = "parquet"  # an item per row


_SUFFIXES = {
    ".json": Format.JSON,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
}


class Blob(Struct, frozen=True):
    """One file as it was read. `path` is what errors and items call it; `truncated`: more bytes followed."""

    path: str
    data: bytes
    truncated: bool = False


class Reading(Struct, frozen=True):
    """How files become records. `max_items` bounds the records of one file."""

    encoding: str
    max_items: int
    text: str | None = None
    split: Split = Split.NONE
    max_chars: int | None = None


def format_of(path: str) -> Format:
    """Return the format that a file's suffix tells."""
    return _SUFFIXES.get(PurePosixPath(path).suffix.lower(), Format.TEXT)


def read_records(blob: Blob, reading: Reading) -> list[Record]:
    """Return the records of one file. Each has ``path``, and its row's own id or one made of path and line.

    Raises `SourceError` naming the file, and the line where there is one.
    """
    records: list[Record] = []
    for record in _raw_records(blob, reading):
        for part in cut(record, split=reading.split, max_chars=reading.max_chars):
            if len(records) >= reading.max_items:
                raise SourceError(f"{blob.path} holds more than max_items = {reading.max_items} items")
            records.append(part)
    return records


def decode(data: bytes, encoding: str, *, cut_short: bool = False) -> tuple[str, bool]:
    """Return `data` as text, and whether bytes had to be replaced because they are not in `encoding`.

    A byte order mark decides over `encoding` and is removed. With `cut_short` a last character that is
    incomplete is dropped: it was whole before the cut.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], marked
            break
    make = codecs.getincrementaldecoder(encoding)
    try:
        return make("strict").decode(data, not cut_short), False
    except UnicodeDecodeError:
        return make("replace").decode(data, not cut_short), True


def _raw_records(blob: Blob, reading: Reading) -> Iterator[Record]:
    form = format_of(blob.path)
    if blob.truncated and form is not Format.TEXT:
        raise SourceError(f"{blob.path} is longer than max_bytes; only a text can be truncated")
    if form is Format.PARQUET:
        yield from _rows(_parquet(blob), blob.path, reading.text)
        return
    text, replaced = decode(blob.data, reading.encoding, cut_short=blob.truncated)
    # These fields tell a reader of the report that an item's text is not exactly the file's.
    notes: Record = {"decoding_errors": True} if replaced else {}
    if form is Format.TEXT:
        truncated: Record = {"truncated": True} if blob.truncated else {}
        yield {"id": blob.path, "text": text, "path": blob.path, **truncated, **notes}
        return
    values = {Format.JSON: _json, Format.JSONL: _json_lines, Format.CSV: _csv}[form](text, blob.path)
    for record in _rows(values, blob.path, reading.text):
        yield {**record, **notes}


def _rows(values: Iterable[tuple[int, Json]], path: str, text: str | None) -> Iterator[Record]:
    """Turn objects, each with its line or position, into records that know their file."""
    for number, value in values:
        record = to_record(value, text=text, where=f"{path}:{number}")
        yield {"id": f"{path}#{number}", **record, "path": path}


def _json(text: str, path: str) -> Iterator[tuple[int, Json]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}: {error.msg}") from None
    yield from enumerate(document if isinstance(document, list) else [document])


def _json_lines(text: str, path: str) -> Iterator[tuple[int, Json]]:
    # Not splitlines: it also cuts at separators such as U+2028 that may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SourceError(f"{path}:{number}: {error.msg}") from None


def _csv(text: str, path: str) -> Iterator[tuple[int, Json]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise SourceError(f"{path}:1: a column name comes twice")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise SourceError(
                    f"{path}:{reader.line_num}: {len(row)} fields where the header has {len(header)}"
                )
            yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise SourceError(f"{path}:{reader.line_num}: {error}") from None


def _parquet(blob: Blob) -> Iterator[tuple[int, Json]]:
    # A tenth of a second to load, which every command would wait for.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(pa.BufferReader(blob.data)) as file:
            position = unfolded = 0
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                # A value that comes often is stored once: a few kilobytes can unfold into gigabytes.
                unfolded += batch.nbytes
                if unfolded > _PARQUET_BYTES:
                    raise SourceError(f"{blob.path} unfolds into more than {_PARQUET_BYTES} bytes")
                for row in batch.to_pylist():
                    yield position, row
                    position += 1
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{blob.path} is not a readable Parquet file: {str(error).splitlines()[0]}"
        ) from None
