"""The protocol of a store: an ordered table of keys and values, changed by atomic, fenced batches.

The rules that make the batches (`actors.core.journal`) define the meaning of the rows. Keys and values are
bytes; keys are ordered bytewise. One thread at a time uses a store object. Other processes may use the same
database.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from actors.core.errors import FencedError, StoreError
from actors.core.journal.batch import KeyReader, WriteBatch

__all__ = ["KeyReader", "Store", "WriteBatch", "check_fences", "check_limit", "checked", "key_text", "seal"]

_SEAL_BYTES = 4
_SHOWN_BYTES = 80


class Store(Protocol):
    """An ordered table of keys and values. Reads raise the same errors as `commit`, except `FencedError`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in ascending order of keys."""

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` (≥ 1) keys of [low, high) in ascending order, without their values."""

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch` atomically: first deletions, then puts. The changes are durable on return.

        Raises `FencedError` if a fence does not hold; then nothing was written. Raises
        `StoreUnavailableError` if nothing was written or the result is unknown; the same batch may be
        committed again. Raises `StoreError` if the store is unusable and another commit would not help.
        """

    def snapshot(self) -> AbstractContextManager[KeyReader]:
        """Return a context whose value reads the store as it was when the context began.

        Other processes may commit meanwhile; this store object is not used for anything else.
        """

    def notes(self) -> tuple[str, ...]:
        """Return findings from opening the store, as sentences for the user."""

    def close(self) -> None:
        """Close the file or connection. Closing again does nothing."""


def seal(key: bytes, value: bytes) -> bytes:
    """Return the stored form of `value`: the value and a checksum over key and value."""
    return value + zlib.crc32(value, zlib.crc32(key)).to_bytes(_SEAL_BYTES, "big")


def checked(key: bytes, stored: bytes, where: str) -> bytes:
    """Return the value of the stored form. Raises `StoreError` if its checksum does not match `key`."""
    value = stored[:-_SEAL_BYTES]
    if seal(key, value) != stored:
        raise StoreError(
            f"{where} is damaged: the value of key {key_text(key)} does not match its checksum. "
            "Restore the store from a backup, or begin a new one"
        )
    return value


def check_fences(batch: WriteBatch, stored: Mapping[bytes, bytes | None], where: str) -> None:
    """Raise `FencedError` unless `batch` may be applied. `stored` holds the values of its fenced keys.

    It may be applied if every fence holds. It may also be applied if every fenced key has the value that the
    batch itself leaves: then it was applied before, and the result of that commit was unknown.
    """
    if all(stored[key] == value for key, value in batch.fences.items()):
        return
    if all(stored[key] == _left_by(batch, key, value) for key, value in batch.fences.items()):
        return
    differing = next(key for key, value in batch.fences.items() if stored[key] != value)
    raise FencedError(
        f"another owner has taken over a run of this process in {where}: key {key_text(differing)} was "
        "changed. Nothing was written"
    )


def _left_by(batch: WriteBatch, key: bytes, before: bytes | None) -> bytes | None:
    """Return the value of `key` after `batch` is applied to the value `before`."""
    if key in batch.puts:
        return batch.puts[key]
    return None if any(low <= key < high for low, high in batch.deletions) else before


def key_text(key: bytes) -> str:
    """Return `key` for an error message, cut if it is long."""
    return repr(key) if len(key) <= _SHOWN_BYTES else f"{key[:_SHOWN_BYTES]!r}… ({len(key)} bytes)"


def check_limit(limit: int) -> None:
    """Raise `ValueError` for a limit below 1, which some databases treat as no limit."""
    if limit < 1:
        raise ValueError(f"the limit of a scan must be at least 1, not {limit}")
