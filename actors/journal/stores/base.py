"""What a store is: an ordered table of keys and values, changed by atomic, fenced batches.

All meaning lies in the rules that make the batches (`actors.core.journal`). Keys and values are bytes; keys
are ordered bytewise. A store is used from one thread at a time; other processes may use the same one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Protocol

from actors.core.errors import FencedError, StoreError
from actors.core.journal.batch import WriteBatch

__all__ = ["Store", "WriteBatch", "check_fences", "check_limit", "checked", "key_text", "range_of", "seal"]

_SEAL_BYTES = 4
_SHOWN_BYTES = 80


class Store(Protocol):
    """An ordered table of keys and values. Reading may raise the errors of `commit`, but no `FencedError`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None where there is none."""

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in ascending order of keys."""

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` (≥ 1) keys of [low, high) in ascending order, without their values."""

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch`: deletions, then puts; all or nothing, and durable on return.

        Raises `FencedError` where a fence does not hold: nothing was written. `StoreUnavailableError`:
        nothing was written, or nobody knows; the same batch may be committed again. `StoreError`: the store
        cannot be used as it is, and committing again would not help.
        """

    def notes(self) -> tuple[str, ...]:
        """Return what opening the store found that people should know, in sentences."""

    def close(self) -> None:
        """Let go of the file or connection. Closing again does nothing."""


def range_of(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the range [low, high) of the keys that begin with `prefix`.

    Raises `ValueError` where no key lies above them all: an empty prefix, or one of bytes 0xff alone.
    """
    head = prefix.rstrip(b"\xff")
    if not head:
        raise ValueError(f"no key lies above all that begin with {prefix!r}")
    return prefix, head[:-1] + bytes([head[-1] + 1])


def seal(key: bytes, value: bytes) -> bytes:
    """Return `value` as it is stored: followed by a checksum over key and value."""
    return value + zlib.crc32(value, zlib.crc32(key)).to_bytes(_SEAL_BYTES, "big")


def checked(key: bytes, stored: bytes, where: str) -> bytes:
    """Return the value that `stored` seals. Raises `StoreError` where it was not written for `key`."""
    value = stored[:-_SEAL_BYTES]
    if seal(key, value) != stored:
        raise StoreError(
            f"{where} is damaged: the value of key {key_text(key)} is not what was written there. "
            "Restore the store from a copy, or begin a new one"
        )
    return value


def check_fences(batch: WriteBatch, stored: Mapping[bytes, bytes | None], where: str) -> None:
    """Raise `FencedError` unless `batch` may be applied where `stored` are the values of its fenced keys.

    It may be where every fence holds, and where every fenced key has the value that this very batch leaves:
    then it was applied before, and who could not know that commits it again.
    """
    if all(stored[key] == value for key, value in batch.fences.items()):
        return
    if all(stored[key] == _left_by(batch, key, value) for key, value in batch.fences.items()):
        return
    differing = next(key for key, value in batch.fences.items() if stored[key] != value)
    raise FencedError(
        f"another owner has taken over what this process was writing to {where}: "
        f"key {key_text(differing)} was changed. Nothing was written"
    )


def _left_by(batch: WriteBatch, key: bytes, before: bytes | None) -> bytes | None:
    """Return the value that `key` has after `batch`, of a value `before` it."""
    if key in batch.puts:
        return batch.puts[key]
    return None if any(low <= key < high for low, high in batch.deletions) else before


def key_text(key: bytes) -> str:
    """Return `key` for an error message, cut where it is long."""
    return repr(key) if len(key) <= _SHOWN_BYTES else f"{key[:_SHOWN_BYTES]!r}… ({len(key)} bytes)"


def check_limit(limit: int) -> None:
    """Raise `ValueError` for a limit that databases would take for none."""
    if limit < 1:
        raise ValueError(f"a scan returns at least one pair at most, not {limit}")
