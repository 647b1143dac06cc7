"""A store in memory, which is lost when its process ends. For tests, and for runs that need no resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sortedcontainers import SortedDict

from actors.journal.stores.base import WriteBatch, check_fences, check_limit


class MemoryStore:
    """A store in a sorted dictionary. Values have no checksum, since they are never on a disk."""

    def __init__(self) -> None:
        self._table: SortedDict[bytes, bytes] = SortedDict()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        return self._table.get(key)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        keys = self._table.irange(low, high, inclusive=(True, False))
        return [(key, self._table[key]) for key, _ in zip(keys, range(limit), strict=False)]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        return [key for key, _ in self.scan(low, high, limit)]

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch`, or raise `FencedError`."""
        check_fences(batch, {key: self._table.get(key) for key in batch.fences}, "the store in memory")
        for low, high in batch.deletions:
            for key in list(self._table.irange(low, high, inclusive=(True, False))):
                del self._table[key]
        self._table.update(batch.puts)

    @contextmanager
    def snapshot(self) -> Iterator[MemoryStore]:
        """Yield a copy."""
        copy = MemoryStore()
        copy._table.update(self._table)
        yield copy

    def notes(self) -> tuple[str, ...]:
        """Return no notes."""
        return ()

    def close(self) -> None:
        """Do nothing."""
