"""Recognises the file at the target of `map`: an earlier result of the job may be replaced, no other file.

Rule: a file is an earlier result if it has the column `_error` and the columns of the input. So the same
question about more rows, or another question about the same table, may be written in its place: the store
keeps the answers of both.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import orjson

from actors.core.censor import Censor
from actors.core.errors import ConfigError, text_of
from cluster.input.formats import TableFormat
from cluster.input.local_copy import is_url
from cluster.report.item_columns import ERROR_COLUMN
from cluster.report.tables.targets import filesystem_of, shown, target_format

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_MOST_LINE = 64 * 2**20  # bytes or characters of a first line
_SHOWN = 8  # columns in a message
_REMEDY = "name another file, or give --overwrite"


def refuse_foreign(target: str, input_columns: Collection[str]) -> None:
    """Raise `ConfigError` if the path or URL holds anything but an earlier result for these columns."""
    try:
        columns = _columns_at(target)
    except Exception as error:  # each file system and format raises its own errors
        cause = Censor()(text_of(error))
        raise ConfigError(
            f"{shown(target)}: what is there cannot be read as an earlier result: {cause}; {_REMEDY}"
        ) from error
    if columns is None:
        return
    missing = [name for name in (ERROR_COLUMN, *input_columns) if name not in columns]
    if missing:
        names = ", ".join(itertools.islice(columns, _SHOWN)) or "none"
        raise ConfigError(
            f"{shown(target)} exists, and is no earlier result of this job: it lacks the column {missing[0]} "
            f"(it has {names}); {_REMEDY}"
        )


def _columns_at(target: str) -> Sequence[str] | None:
    """Return the columns of a file; None if there is no file, or an empty one."""
    opened: AbstractContextManager[IO[bytes]]
    if is_url(target):
        filesystem, path = filesystem_of(target)
        if not filesystem.exists(path) or filesystem.size(path) == 0:
            return None
        opened = filesystem.open(path, "rb")
    else:
        local = Path(target)
        if not local.exists() or not local.stat().st_size:
            return None
        opened = local.open("rb")
    with opened as file:
        return _columns_in(file, target_format(target))


def _columns_in(file: IO[bytes], form: TableFormat) -> Sequence[str]:
    if form == "parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415 - takes 0.1 s to load

        return pq.read_schema(file).names  # type: ignore[no-any-return]
    if form == "jsonl":
        row = orjson.loads(file.readline(_MOST_LINE))
        return [*row] if isinstance(row, dict) else ()
    with io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="") as text:
        lines = iter(lambda: text.readline(_MOST_LINE), "")
        return next(csv.reader(lines, delimiter="\t" if form == "tsv" else ","), [])
