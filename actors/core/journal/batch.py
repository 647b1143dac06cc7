"""The batch of one commit to a store, and a view of the store that includes an uncommitted batch.

The rules make batches; stores apply them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from actors.core.errors import Blame, HeadraceError, StoreError
from actors.core.messages.values import Json

_PAGE = 1_000
MOST_KEY_BYTES = 2_600  # PostgreSQL cannot index a longer key
MOST_VALUE_BYTES = 64 * 1024 * 1024


class WriteBatch(Struct, frozen=True):
    """One atomic commit: deletions first, then puts.

    `deletions` are key ranges [low, high). `fences` maps keys to the values that they must have at the time
    of the commit (None: absent). If one differs, the store writes nothing and raises FencedError.
    """

    puts: Mapping[bytes, bytes] = field(default_factory=dict)
    deletions: Sequence[tuple[bytes, bytes]] = ()
    fences: Mapping[bytes, bytes | None] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the batch has neither writes nor fences."""
        return not (self.puts or self.deletions or self.fences)


class Reader(Protocol):
    """Reads committed values. A store is a `Reader`."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in ascending order of keys."""


class KeyReader(Reader, Protocol):
    """A `Reader` that can also read keys without values."""

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` (≥ 1) keys of [low, high) in ascending order, without their values."""


class Codec(Protocol):
    """Converts JSON values to bytes and back. `loads` returns a value that equals the dumped one as JSON."""

    def dumps(self, value: Json, /) -> bytes:
        """Return `value` as bytes. Raises TypeError if it is not a JSON document."""

    def loads(self, data: bytes, /) -> Json:
        """Return the value of `data`. Raises ValueError if it is invalid."""


class NotStorableError(HeadraceError):
    """A record has a value that JSON cannot represent or a row cannot hold. Nothing of it was written."""

    blame = Blame.TASK


class CheckedCodec:
    """A codec whose errors distinguish between a bad record and a damaged store."""

    def __init__(self, codec: Codec) -> None:
        self._dumps = codec.dumps
        self._loads = codec.loads

    def dumps(self, value: Json, /) -> bytes:
        """Return `value` as bytes. Raises NotStorableError if it is not a JSON document or is too large."""
        try:
            data = self._dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise NotStorableError(
                f"the record cannot be stored, since it is not a JSON document: {error}"
            ) from error
        if len(data) > MOST_VALUE_BYTES:
            raise NotStorableError(
                f"the record cannot be stored: {len(data):,} bytes exceed the maximum of {MOST_VALUE_BYTES:,}"
            )
        return data

    def loads(self, data: bytes, /) -> Json:
        """Return the value of `data`. Raises StoreError if it is invalid."""
        try:
            return self._loads(data)
        except ValueError as error:
            raise StoreError(
                f"the store is damaged: a value cannot be decoded ({error}): {data[:80]!r}"
            ) from error

    def normal(self, value: Json) -> Json:
        """Return `value` as `loads` will return it. Raises NotStorableError."""
        return self.loads(self.dumps(value))


def range_of(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the range [low, high) of the keys with this prefix. Its last byte must be below 0xff."""
    return prefix, prefix[:-1] + bytes((prefix[-1] + 1,))


def scan_all(
    reader: Reader, low: bytes, high: bytes, page_rows: int = _PAGE
) -> Iterator[tuple[bytes, bytes]]:
    """Yield all pairs of [low, high) in order of keys. Reads `page_rows` of them at a time."""
    while True:
        page = reader.scan(low, high, page_rows)
        yield from page
        if len(page) < page_rows:
            return
        low = page[-1][0] + b"\0"


class Overlay:
    """Collects changes for one batch. As a `Reader` it shows the store as it will be after the commit."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # By the first byte of the key: a scan or a deletion examines the puts of one kind only.
        self._puts: dict[int, dict[bytes, bytes]] = {}
        self._deletions: list[tuple[bytes, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        own = self._puts.get(key[0])
        if own is not None:
            value = own.get(key)
            if value is not None:
                return value
        return None if self._is_deleted(key) else self._reader.get(key)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in order. The range must be within one kind."""
        own = {key: value for key, value in self._puts.get(low[0], {}).items() if low <= key < high}
        kept = self._kept(low, high, limit)
        return sorted((dict(kept) | own).items())[:limit] if own else kept

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of `key`. Raises NotStorableError for a key that is too long for an index."""
        if len(key) > MOST_KEY_BYTES:
            raise NotStorableError(
                f"the record cannot be stored: a key of {len(key):,} bytes exceeds the maximum of "
                f"{MOST_KEY_BYTES:,}"
            )
        kind = self._puts.get(key[0])
        if kind is None:
            kind = self._puts[key[0]] = {}
        kind[key] = value

    def delete(self, low: bytes, high: bytes) -> None:
        """Delete all keys in [low, high). The range must be within one kind."""
        own = self._puts.get(low[0], {})
        for key in [key for key in own if low <= key < high]:
            del own[key]
        self._deletions.append((low, high))

    def absorb(self, later: Overlay) -> None:
        """Apply all changes of `later`, an overlay over this one."""
        for low, high in later._deletions:
            self.delete(low, high)
        for kind in later._puts.values():
            for key, value in kind.items():
                self.put(key, value)

    def batch(self, fences: Mapping[bytes, bytes | None]) -> WriteBatch:
        """Return all changes as one batch with the given fences."""
        puts: dict[bytes, bytes] = {}
        for kind in self._puts.values():
            puts.update(kind)
        return WriteBatch(puts, tuple(self._deletions), fences)

    def _kept(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` committed pairs that this batch does not delete."""
        kept: list[tuple[bytes, bytes]] = []
        while True:
            page = self._reader.scan(low, high, limit)
            kept += [pair for pair in page if not self._is_deleted(pair[0])] if self._deletions else page
            if len(page) < limit or len(kept) >= limit:
                return kept[:limit]
            low = page[-1][0] + b"\0"

    def _is_deleted(self, key: bytes) -> bool:
        return any(low <= key < high for low, high in self._deletions)
