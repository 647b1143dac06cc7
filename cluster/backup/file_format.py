"""The format of a backup: the rows of runs in one file, whatever the kind of their store.

A file is `MAGIC` and blocks. A block is the length of its body (4 bytes, big-endian), a digest (16 bytes) and
the body, which zlib compressed. The digest is BLAKE2b over the digest of the block before (`MAGIC` for the
first one), the length and the body, so that no block can be lost, repeated or moved. The first byte of a body
is its kind. The first block is the head and the last one the end, both JSON objects; the others hold rows:
length of key, length of value (4 bytes each), key, value.

Rule: the rows of a run follow each other and begin with the row of the run. Rows of no run come last.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Annotated, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct

from actors.core.errors import Blame, HeadraceError
from actors.core.journal.batch import MOST_KEY_BYTES, MOST_VALUE_BYTES
from actors.core.messages.values import Json

MAGIC = b"HEADRACE BACKUP\n"
VERSION = 1
_DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 20  # of rows, before compression; the last row may exceed it
_MOST_BODY_BYTES = _BLOCK_BYTES + MOST_KEY_BYTES + MOST_VALUE_BYTES + 64
_LEVEL = 3  # of zlib: twice as fast as the default, and a tenth larger
_HEAD, _ROWS, _END = b"H", b"R", b"E"
_LENGTH = struct.Struct(">I")
_LENGTHS = struct.Struct(">II")

_YEAR_10000 = 253_402_300_800  # `datetime` has no later years

Row = tuple[bytes, bytes]
_Loaded = TypeVar("_Loaded", bound=Struct)


class BackupError(HeadraceError):
    """A backup cannot be written or used. Nothing was restored from it."""

    blame = Blame.CONFIG


class BackupHead(Struct, frozen=True):
    """The head of a backup: the format version of its rows, and when it was made, in seconds since 1970."""

    rows: Annotated[int, Meta(ge=1)]
    made_at: Annotated[float, Meta(ge=0, lt=_YEAR_10000)]


class _Version(Struct, frozen=True):
    version: Annotated[int, Meta(ge=1)]


class _BackupEnd(Struct, frozen=True):
    rows: int


class BackupWriter:
    """Writes a backup into `file`. It is complete after `end`."""

    def __init__(self, file: IO[bytes], head: Json) -> None:
        self._file = file
        self._digest = MAGIC
        self._rows = bytearray(_ROWS)
        self.count = 0
        self.size = len(MAGIC)
        file.write(MAGIC)
        self._write(_HEAD + orjson.dumps({"version": VERSION, **head}))

    def add(self, key: bytes, value: bytes) -> None:
        """Add a row."""
        self._rows += _LENGTHS.pack(len(key), len(value)) + key + value
        self.count += 1
        if len(self._rows) >= _BLOCK_BYTES:
            self._flush()

    def end(self) -> None:
        """Write what is left and the end."""
        self._flush()
        self._write(_END + orjson.dumps({"rows": self.count}))

    def _flush(self) -> None:
        if len(self._rows) > len(_ROWS):
            self._write(self._rows)
            self._rows = bytearray(_ROWS)

    def _write(self, content: bytes | bytearray) -> None:
        body = zlib.compress(content, _LEVEL)
        length = _LENGTH.pack(len(body))
        self._digest = _digest(self._digest, length, body)
        self._file.write(length + self._digest + body)
        self.size += len(length) + _DIGEST_BYTES + len(body)


class BackupReader:
    """Reads a backup from `file`, which `name` names in errors. Raises `BackupError` if it is damaged."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._digest = MAGIC
        self._at = len(MAGIC)
        if file.read(len(MAGIC)) != MAGIC:
            raise BackupError(f"{name} is not a backup of Headrace: it does not begin as one")
        kind, content = self._block()
        if kind != _HEAD:
            raise self._damage(len(MAGIC), "its head is missing")
        version = self._loaded(_Version, content, len(MAGIC)).version
        if version > VERSION:
            raise BackupError(
                f"{name} has format version {version}; this Headrace reads up to {VERSION}. Use "
                "the newer Headrace that wrote it"
            )
        self.head = self._loaded(BackupHead, content, len(MAGIC))

    def rows(self) -> Iterator[Row]:
        """Yield the rows. After the last one, the file is known to be whole."""
        count = 0
        while True:
            at = self._at
            kind, content = self._block()
            if kind == _END:
                break
            try:
                for row in _rows_of(content):
                    count += 1
                    yield row
            except struct.error:
                raise self._damage(at, "a row is not whole") from None
        if self._loaded(_BackupEnd, content, at).rows != count:
            raise self._damage(at, "it has another number of rows than its end says")
        if self._file.read(1):
            raise self._damage(self._at, "something follows its end")

    def _block(self) -> tuple[bytes, bytes]:
        at = self._at
        head = self._file.read(_LENGTH.size + _DIGEST_BYTES)
        if len(head) < _LENGTH.size + _DIGEST_BYTES:
            raise self._cut(at + len(head))
        length, digest = head[: _LENGTH.size], head[_LENGTH.size :]
        [expected] = _LENGTH.unpack(length)
        if expected > _MOST_BODY_BYTES:
            raise self._damage(at, "a length is impossible")
        body = self._file.read(expected)
        if len(body) < expected:
            raise self._cut(at + len(head) + len(body))
        self._digest = _digest(self._digest, length, body)
        if self._digest != digest:
            raise self._damage(at, "a block does not match its checksum")
        self._at += len(head) + len(body)
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(body, _MOST_BODY_BYTES)
        except zlib.error as error:
            raise self._damage(at, str(error)) from None
        if not inflater.eof:
            raise self._damage(at, "a block is too large")
        return content[:1], content[1:]

    def _loaded(self, kind: type[_Loaded], content: bytes, at: int) -> _Loaded:
        try:
            return msgspec.json.decode(content, type=kind)
        except (ValueError, RecursionError) as error:
            raise self._damage(at, f"the head or the end is wrong: {error}") from None

    def _cut(self, size: int) -> BackupError:
        return BackupError(
            f"{self._name} is not whole: it ends at byte {size}, within a block. Copy it again, or use "
            "another backup"
        )

    def _damage(self, at: int, what: str) -> BackupError:
        return BackupError(
            f"{self._name} is damaged at byte {at}: {what}. Copy it again, or use another backup"
        )


def _rows_of(content: bytes) -> Iterator[Row]:
    at, view = 0, memoryview(content)
    while at < len(content):
        key_bytes, value_bytes = _LENGTHS.unpack_from(content, at)
        at += _LENGTHS.size
        end = at + key_bytes + value_bytes
        if end > len(content):
            raise struct.error
        yield bytes(view[at : at + key_bytes]), bytes(view[at + key_bytes : end])
        at = end


def _digest(before: bytes, length: bytes, body: bytes) -> bytes:
    digest = hashlib.blake2b(before, digest_size=_DIGEST_BYTES)
    digest.update(length)
    digest.update(body)
    return digest.digest()
