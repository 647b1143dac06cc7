"""Parses files into records: text, JSON, JSON lines, CSV and Parquet, by suffix. Images and PDF are not read.

Rule 1: Pure: bytes in, records out.
Rule 2: A file is read completely or fails. An invalid line fails the file, and the error contains its number:
    counts over a part of the file would be wrong.
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

_MARKS = (  # UTF-32 before UTF-16, because its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MOST_CELL = 2**30  # characters; the default limit of the csv module, 131,072, refuses long texts


class Format(enum.StrEnum):
    """The format of a file."""

    TEXT = "text"  # any other suffix; one item per file
    JSON = "json"  # one item per element of a list, or one item for an object
    JSONL = "jsonl"  # one item per line
    CSV = "csv"  # one item per row; the first row contains the column names
    PARQUET = "parquet"  # one item per row
    BINARY = "binary"  # an image or a PDF document; one item per file, without text


_SUFFIXES = {
    ".json": Format.JSON,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    **dict.fromkeys((".gif", ".jpeg", ".jpg", ".pdf", ".png", ".webp"), Format.BINARY),
}


class Blob(Struct, frozen=True):
    """The content of a file. `path`: its name in errors and items. `truncated`: whether more bytes follow."""

    path: str
    data: bytes
    truncated: bool = False


class FileReading(Struct, frozen=True):
    """The settings of parsing. A line or row larger than `max_item_bytes` is not parsed.

    max_fetch_bytes: bounds the uncompressed size of a Parquet file.
    """

    encoding: str
    max_item_bytes: int
    max_fetch_bytes: int
    text: str | None = None
    split: Split = Split.NONE
    max_chars: int | None = None


def format_of(path: str) -> Format:
    """Return the format for the suffix of `path`."""
    return _SUFFIXES.get(PurePosixPath(path).suffix.lower(), Format.TEXT)


def read_records(blob: Blob, reading: FileReading) -> Iterator[Record | Oversize]:
    """Yield the records of one file. Each has a ``path``, and an ``id``, by default the path and the line.

    Raises `SourceError` with the file and the line.
    """
    for record in _raw_records(blob, reading):
        if isinstance(record, Oversize):
            yield record
        else:
            yield from cut(record, split=reading.split, max_chars=reading.max_chars)


def decode(data: bytes, encoding: str, *, cut_short: bool = False) -> tuple[str, bool]:
    """Return `data` as text, and whether bytes that are invalid in the encoding were replaced.

    A byte order mark overrides `encoding` and is removed. With `cut_short`, an incomplete last character is
    dropped: it was complete before the cut.
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
        raise SourceError(f"{blob.path} is larger than max_bytes; only text files can be truncated")
    if form is Format.PARQUET:
        yield from _rows(_parquet(blob, reading), blob.path, reading.text)
        return
    text, replaced = decode(blob.data, reading.encoding, cut_short=blob.truncated)
    # These fields show in the report that the text of an item differs from that of the file.
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
    """Yield numbered objects as records with the path of their file."""
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
    # Not `splitlines`, which also splits at characters such as U+2028 that a JSON string may contain.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        data = _encoded(line)
        yield number, LargeRow(len(data)) if len(data) > most else parse_json(data, path, number)


def _encoded(text: str) -> bytes:
    # Some encodings (UTF-16 with replaced errors, UTF-7) decode to lone surrogates.
    return text.encode(errors="replace")


def _csv(text: str, path: str) -> Iterator[tuple[int, Json]]:
    csv.field_size_limit(_MOST_CELL)  # only possible for the whole process
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise SourceError(f"{path}:1: the header has duplicate column names")
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
    # Importing it takes a tenth of a second, which would delay every command.
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
