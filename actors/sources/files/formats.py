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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from msgspec import Struct

from actors.core.errors import SourceBoundError, SourceError
from actors.core.messages.values import Json
from actors.sources.files.parquet_rows import LargeRow, ParquetBoundError, read_rows
from actors.sources.records import Oversize, Record, Split, cut, parse_json, to_record

_MARKS = (  # longest first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MOST_CELL = 2**30  # characters; the csv module's own limit of 131,072 refuses long texts


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


class FileReading(Struct, frozen=True):
    """How files become records. A line or row above `max_item_bytes` is not read.

    `max_fetch_bytes` bounds what a Parquet file may unfold into; a text file is as long as it is.
    """

    encoding: str
    max_item_bytes: int
    max_fetch_bytes: int
    text: str | None = None
    split: Split = Split.NONE
    max_chars: int | None = None


def format_of(path: str) -> Format:
    """Return the format that a file's suffix tells."""
    return _SUFFIXES.get(PurePosixPath(path).suffix.lower(), Format.TEXT)


def read_records(blob: Blob, reading: FileReading) -> Iterator[Record | Oversize]:
    """Yield the records of one file. Each has ``path``, and its row's own id or one made of path and line.

    Raises `SourceError` naming the file, and the line where there is one.
    """
    for record in _raw_records(blob, reading):
        if isinstance(record, Oversize):
            yield record
        else:
            yield from cut(record, split=reading.split, max_chars=reading.max_chars)


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


def _raw_records(blob: Blob, reading: FileReading) -> Iterator[Record | Oversize]:
    form = format_of(blob.path)
    if blob.truncated and form is not Format.TEXT:
        raise SourceError(f"{blob.path} is longer than max_bytes; only a text can be truncated")
    if form is Format.PARQUET:
        yield from _rows(_parquet(blob, reading), blob.path, reading.text)
        return
    text, replaced = decode(blob.data, reading.encoding, cut_short=blob.truncated)
    # These fields tell a reader of the report that an item's text is not exactly the file's.
    notes: Record = {"decoding_errors": True} if replaced else {}
    if form is Format.TEXT:
        truncated: Record = {"truncated": True} if blob.truncated else {}
        yield {"id": blob.path, "text": text, "path": blob.path, **truncated, **notes}
        return
    if form is Format.JSON:
        values = _json(text, blob.path)
    elif form is Format.JSONL:
        values = _json_lines(text, blob.path, reading.max_item_bytes)
    else:
        values = _csv(text, blob.path)
    for record in _rows(values, blob.path, reading.text):
        yield record if isinstance(record, Oversize) else {**record, **notes}


def _rows(values: Iterable[tuple[int, Json]], path: str, text: str | None) -> Iterator[Record | Oversize]:
    """Turn objects, each with its line or position, into records that know their file."""
    for number, value in values:
        if isinstance(value, LargeRow):
            yield Oversize(f"{path}#{number}", value.size)
            continue
        record = to_record(value, text=text, where=f"{path}:{number}")
        yield {"id": f"{path}#{number}", **record, "path": path}


def _json(text: str, path: str) -> Iterator[tuple[int, Json]]:
    document = parse_json(_encoded(text), path)
    yield from enumerate(document if isinstance(document, list) else [document])


def _json_lines(text: str, path: str, most: int) -> Iterator[tuple[int, Json]]:
    # Not splitlines: it also cuts at separators such as U+2028 that may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        data = _encoded(line)
        yield number, LargeRow(len(data)) if len(data) > most else parse_json(data, path, number)


def _encoded(text: str) -> bytes:
    # Some encodings (UTF-16 with errors replaced, UTF-7) decode to halves of characters.
    return text.encode(errors="replace")


def _csv(text: str, path: str) -> Iterator[tuple[int, Json]]:
    csv.field_size_limit(_MOST_CELL)  # for the whole process: there is no other way
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


def _parquet(blob: Blob, reading: FileReading) -> Iterator[tuple[int, Json]]:
    # A tenth of a second to load, which every command would wait for.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    def opened(coded: Sequence[str]) -> parquet.ParquetFile:
        return parquet.ParquetFile(pa.BufferReader(blob.data), read_dictionary=list(coded))

    rows = read_rows(opened, most_row_bytes=reading.max_item_bytes, most_bytes=reading.max_fetch_bytes)
    try:
        yield from enumerate(rows)
    except ParquetBoundError as error:
        raise SourceBoundError(f"{blob.path}: {error}; see max_fetch_bytes and max_item_bytes") from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SourceError(f"{blob.path} is not a readable Parquet file: {reason}") from None
