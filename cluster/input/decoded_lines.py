"""Reads a text file line by line, with bounds, in the encoding of the file.

Rule: an error names the encoding to give, as far as the bytes show it.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import IO, Protocol

from cluster.input.formats import UTF_8
from cluster.input.local_copy import InputFile
from cluster.input.problems import TaskInputError, too_large

_LONGEST_MEASURED = 2**30  # bytes: the size of a too long line is counted up to here

_UTF8_BOM = b"\xef\xbb\xbf"
# How a file begins that is UTF-16, by the encoding; without a mark, by the zero of an ASCII character.
_UTF16 = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NUL = b"\0"
_GIVE = "use --encoding {}, or tasks.encoding in a configuration"


class _ByteLines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class _Recoded:
    """The lines of a file in UTF-8 whose encoding has other line ends than ASCII, such as UTF-16."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, newline="\n")

    def readline(self, size: int, /) -> bytes:
        return self._text.readline(size).encode()


def decoded_lines(file: InputFile, most: int, most_line: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, with its line end. Raises `TaskInputError`.

    A line may have `most_line` bytes. `most` is the limit of a task, for the error message.
    """
    is_recoded = "\n".encode(file.encoding) != b"\n"
    encoding = UTF_8 if is_recoded else file.encoding
    number = 0
    try:
        with file.path.open("rb") as opened:
            lines: _ByteLines = _Recoded(opened, file.encoding) if is_recoded else opened
            for number in itertools.count(1):
                raw = lines.readline(most_line + 1)
                if not raw:
                    return
                if number == 1:
                    _check_beginning(file, raw, encoding)
                    raw = raw.removeprefix(_UTF8_BOM)
                if len(raw) > most_line:
                    problem = too_large("the line has", len(raw) + _rest_of_line(raw, lines), most)
                    raise TaskInputError(file.place, number, f"{problem}; write one task a line")
                yield number, raw.decode(encoding)
    except UnicodeError as error:
        raise TaskInputError(file.place, number or 1, _undecodable(file, error)) from None
    except OSError as error:
        raise TaskInputError(file.place, None, f"cannot be read: {error.strerror}") from error


def _check_beginning(file: InputFile, raw: bytes, encoding: str) -> None:
    """Raise `TaskInputError` if the first line shows another encoding."""
    found = next((name for mark, name in _UTF16 if raw.startswith(mark)), None)
    if found is None and _NUL in raw[:2]:
        found = "utf-16-be" if raw.startswith(_NUL) else "utf-16-le"
    if found is not None:
        raise TaskInputError(file.place, 1, f"the file is UTF-16; {_GIVE.format(found)}")
    if encoding != UTF_8 and raw.startswith(_UTF8_BOM):
        raise TaskInputError(file.place, 1, f"the file begins with the mark of UTF-8; {_GIVE.format(UTF_8)}")


def _undecodable(file: InputFile, error: UnicodeError) -> str:
    where = f"byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else "the file"
    if file.encoding == UTF_8:
        return f"{where} is not UTF-8; save it as UTF-8, or if Excel wrote the file, {_GIVE.format('cp1252')}"
    return f"{where} is not {file.encoding}; {_GIVE.format('NAME')}"


def _rest_of_line(begun: bytes, lines: _ByteLines) -> int:
    """Skip the rest of a line; return its size in bytes."""
    size = 0
    while not begun.endswith(b"\n") and size < _LONGEST_MEASURED and (begun := lines.readline(2**20)):
        size += len(begun)
    return size
