"""The formats of files of tasks. It loads little, so that a command can read rows at once."""

from __future__ import annotations

import codecs
import contextlib
import itertools
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from actors.core.errors import ConfigError

TableFormat = Literal["jsonl", "csv", "tsv", "parquet"]
FORMATS: Mapping[str, TableFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
STDIN = "-"
UTF_8 = "utf-8"
DELIMITERS: Mapping[TableFormat, str] = {"csv": ",", "tsv": "\t"}
_HEADER_BYTES = 64 * 1024
_TABS = ("tab", "\\t")  # as a shell passes them


class FileForm(Struct, frozen=True):
    """The form of a file as the user states it. None: the suffix gives the format, and that the others."""

    format: TableFormat | None = None
    delimiter: str | None = None
    encoding: str | None = None


def delimiter_of(text: str) -> str:
    """Return the delimiter that `text` names: one character, or ``tab``. Raises `ValueError`."""
    mark = "\t" if text in _TABS else text
    if len(mark) != 1 or mark in '"\r\n':
        raise ValueError(f"a delimiter is one character such as ';', or tab, not {text!r}")
    return mark


def encoding_of(text: str) -> str:
    """Return Python's name for the encoding `text`. Raises `ValueError`."""
    try:
        "\n".encode(text)  # also fails for a codec of bytes
        name = codecs.lookup(text).name
    except (LookupError, ValueError):
        raise ValueError(f"there is no encoding {text!r}; write one such as cp1252 or utf-16") from None
    return UTF_8 if name == "utf-8-sig" else name


def text_form(delimiter: str | None, encoding: str | None) -> FileForm:
    """Return the form of a file whose suffix names its format. Raises `ConfigError`."""
    try:
        return FileForm(
            delimiter=None if delimiter is None else delimiter_of(delimiter),
            encoding=None if encoding is None else encoding_of(encoding),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def file_name(path: str) -> PurePosixPath:
    """Return the path of a file, without the scheme and the query of a URL."""
    if "://" not in path:
        return PurePosixPath(path)
    parts = urlsplit(path)
    return PurePosixPath(parts.path if parts.path.strip("/") else parts.netloc)


def stem_of(path: str) -> str:
    """Return the name of an input without directory and suffix."""
    return "stdin" if path == STDIN else file_name(path).stem


def format_of(path: str) -> TableFormat | None:
    """Return the format that the suffix of a path or a URL names, None if it names none."""
    return FORMATS.get(file_name(path).suffix.lower())


def form_needed(path: str, form: FileForm) -> FileForm:
    """Return the part of `form` that a file needs, of several files with one form.

    Its delimiter is for delimited files whose header lacks the usual one, its encoding for local files that
    are no UTF-8.
    """
    known = format_of(path)
    if known in (None, "parquet"):
        return FileForm()
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - a URL is no path
        begin = file.read(_HEADER_BYTES)
        encoding = form.encoding if b"\0" in begin or not _is_utf_8(begin, file) else None
        header = begin.decode(encoding or UTF_8, "replace").lstrip("\r\n").partition("\n")[0]
        usual = DELIMITERS.get(known)
        delimiter = None if usual is None or usual in header else form.delimiter
        return FileForm(delimiter=delimiter, encoding=encoding)
    return FileForm(delimiter=form.delimiter if known in DELIMITERS else None, encoding=form.encoding)


def _is_utf_8(begin: bytes, file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder(UTF_8)()
    try:
        for part in itertools.chain((begin,), iter(lambda: file.read(2**20), b"")):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
