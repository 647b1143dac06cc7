"""Writes the rows of tables as blocks of columns, each compressed and in a separate element.

The page reads a block when it needs it, so that opening it does not depend on the number of rows.

Rule: memory is bounded. A block ends after `BLOCK_ROWS` rows, or after `BLOCK_BYTES` bytes of JSON.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import BinaryIO

import orjson

from actors.core.messages.values import Json

BLOCK_ROWS = 1_000
BLOCK_BYTES = 1_000_000
_LEVEL = 6  # 9 takes twice the time and saves 2 %


class PageFullError(Exception):
    """The blocks have reached the maximum size of the file."""


class BlockFile:
    """A file of blocks. Adding a row raises `PageFullError` once the file has more than `most_bytes`."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self.size = 0

    def write(self, name: str, document: Json) -> None:
        """Write an element with a document."""
        element = f'<template id="{name}">{packed(document)}</template>\n'.encode()
        self._file.write(element)
        self.size += len(element)
        if self.size > self._most_bytes:
            raise PageFullError


class TableBlocks:
    """The blocks of one table. `starts` holds the number of the first row of each."""

    def __init__(self, file: BlockFile, name: str, width: int) -> None:
        self._file = file
        self._name = name
        self._width = width
        self._rows: list[Sequence[Json]] = []
        self._bytes = 0
        self.starts: list[int] = []
        self.count = 0

    def add(self, row: Sequence[Json]) -> None:
        """Add a row, a value for each column."""
        self._rows.append(row)
        self._bytes += len(as_json(row))
        self.count += 1
        if len(self._rows) >= BLOCK_ROWS or self._bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not written yet."""
        if not self._rows:
            return
        columns = [[row[place] for row in self._rows] for place in range(self._width)]
        name = f"{self._name}-{len(self.starts)}"
        self.starts.append(self.count - len(self._rows))
        self._rows, self._bytes = [], 0
        self._file.write(name, columns)


def packed(document: Json) -> str:
    """Return a document as compressed JSON in base64, which no text in it can break out of."""
    return base64.b64encode(gzip.compress(as_json(document), _LEVEL, mtime=0)).decode()


def as_json(document: Json) -> bytes:
    """Return a document as JSON. A lone surrogate is an escape, which orjson refuses to write."""
    try:
        return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # also an integer of more than 64 bits
        return json.dumps(document, allow_nan=False).encode()
