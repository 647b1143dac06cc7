"""The formats of files of tasks, by suffix. It loads nothing, so that a command can read rows at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

TableFormat = Literal["jsonl", "csv", "tsv", "parquet"]
FORMATS: Mapping[str, TableFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
STDIN = "-"


def file_name(path: str) -> PurePosixPath:
    """Return the path of a file, without the scheme and the query of a URL."""
    if "://" not in path:
        return PurePosixPath(path)
    parts = urlsplit(path)
    return PurePosixPath(parts.path if parts.path.strip("/") else parts.netloc)


def format_of(path: str) -> TableFormat | None:
    """Return the format that the suffix of a path or a URL names, None if it names none."""
    return FORMATS.get(file_name(path).suffix.lower())
