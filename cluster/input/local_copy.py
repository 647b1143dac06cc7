"""Opens an input as a local file that can be read several times: a path, stdin, or a URL.

Stdin and the content of a URL are copied to a temporary file, which is deleted with its `InputFile`.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from actors.core.censor import HIDDEN, Censor
from actors.core.errors import text_of
from cluster.input.formats import (
    DELIMITERS,
    FORMATS,
    STDIN,
    UTF_8,
    FileForm,
    TableFormat,
    format_of,
    stem_of,
)
from cluster.input.problems import TaskInputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SNIFFED_BYTES = 64 * 1024
_PLAIN = FileForm()


class InputFile:
    """A local file with tasks. `place` names the input in errors. Raises `TaskInputError`.

    `delimiter` and `encoding` are those of text. `is_told`: the user has named the delimiter.
    """

    def __init__(
        self, path: Path, place: str, known: TableFormat, form: FileForm, copy: IO[bytes] | None = None
    ) -> None:
        self.path = path
        self.place = place
        self.format = known
        self.is_told = form.delimiter is not None
        self.delimiter = form.delimiter or DELIMITERS.get(known, "")
        self.encoding = form.encoding or UTF_8
        if self.is_told and known not in DELIMITERS:
            raise TaskInputError(place, None, f"a {known} file has no delimiter: leave it out")
        if form.encoding is not None and known == "parquet":
            raise TaskInputError(place, None, "a parquet file has no encoding: leave it out")
        if copy is not None:
            weakref.finalize(self, copy.close)  # which deletes the file

    @property
    def stem(self) -> str:
        """The name of the input without directory and suffix."""
        return stem_of(self.place)


def is_url(path: str) -> bool:
    """Return whether `path` is a URL that fsspec opens, such as ``s3://bucket/rows.parquet``."""
    return bool(_URL.match(path))


def open_input(path: str, form: FileForm = _PLAIN) -> InputFile:
    """Return the input at `path` as a local file. Raises `TaskInputError` if there is none.

    By default the suffix names the format. The beginning of stdin decides instead.
    """
    if path == STDIN:
        copy = _copied_stdin()
        return InputFile(Path(copy.name), STDIN, form.format or _sniffed(Path(copy.name), form), form, copy)
    known = form.format or format_of(path)
    place = Censor()(path)
    if known is None:
        *most, last = FORMATS
        problem = f"the file type is unknown; name it {', '.join(most)} or {last}"
        raise TaskInputError(place, None, problem)
    if is_url(path):
        copy = _copied_url(path, place)
        return InputFile(Path(copy.name), place, known, form, copy)
    local = Path(path)
    if not local.is_file():
        there = "it is not a file" if local.exists() else "there is no such file"
        raise TaskInputError(path, None, f"{there}; a path is relative to the working directory")
    return InputFile(local, path, known, form)


def _copied_stdin() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise TaskInputError(STDIN, None, "stdin is a terminal; pipe the rows in, or name a file")
    return _copied(sys.stdin.buffer, STDIN)


def _copied_url(url: str, place: str) -> IO[bytes]:
    import fsspec  # noqa: PLC0415 - only a URL needs it

    try:
        with fsspec.open(url, "rb") as remote:
            return _copied(remote, place)
    except TaskInputError:
        raise
    except ImportError as error:
        raise TaskInputError(place, None, f"its file system is not installed: {text_of(error)}") from error
    except Exception as error:  # each file system raises its own errors
        user = urlsplit(url).netloc.rpartition("@")[0]
        cause = Censor([(user, HIDDEN)] if user else ())(text_of(error))
        problem = f"cannot be read: {cause}; check the URL and the credentials"
        raise TaskInputError(place, None, problem) from error


def _copied(source: IO[bytes], place: str) -> IO[bytes]:
    copy = tempfile.NamedTemporaryFile(prefix="headrace-input-")  # noqa: SIM115 - it lives as long as its InputFile
    try:
        shutil.copyfileobj(source, copy, 2**20)
        copy.flush()
    except OSError as error:
        copy.close()
        problem = f"cannot be copied to {tempfile.gettempdir()}: {error.strerror or error}"
        raise TaskInputError(place, None, problem) from error
    return copy


def _sniffed(path: Path, form: FileForm) -> TableFormat:
    """Return the format of a file by its beginning: Parquet, JSON lines, TSV, or else CSV."""
    if form.delimiter is not None:
        return "csv"
    with path.open("rb") as file:
        begin = file.read(_SNIFFED_BYTES)
    if begin.startswith(b"PAR1"):
        return "parquet"
    text = begin.decode(form.encoding or UTF_8, "replace").lstrip("\ufeff \r\n\t")
    if text.startswith("{"):
        return "jsonl"
    header = text.partition("\n")[0]
    return "tsv" if "\t" in header and "," not in header else "csv"
