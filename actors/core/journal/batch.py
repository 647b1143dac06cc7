"""What one commit to a store consists of, and how the store looks before it is committed.

Pure data: the rules make batches, stores apply them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from actors.core.errors import Blame, HeadraceError, StoreError
from actors.core.messages.values import Json

_PAGE = 1_000
MOST_KEY_BYTES = 2_600  # PostgreSQL's index has no room for a longer one
MOST_VALUE_BYTES = 64 * 1024 * 1024


class WriteBatch(Struct, frozen=True):
    """One atomic commit: deletions come first, then puts; all or nothing.

    `deletions` are key ranges [low, high). `fences` name the value a key must have at the moment of the
    commit (None: absent); if one differs nothing is written and FencedError is raised.
    """

    puts: Mapping[bytes, bytes] = field(default_factory=dict)
    deletions: Sequence[tuple[bytes, bytes]] = ()
    fences: Mapping[bytes, bytes | None] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write and nothing to make sure of."""
        return not (self.puts or self.deletions or self.fences)


class Reader(Protocol):
    """What is committed: the reading half of a store."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None where there is none."""

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in ascending order of keys."""


class Codec(Protocol):
    """Values to bytes and back: what `loads` returns equals what `dumps` was given, as JSON sees it."""

    def dumps(self, value: Json, /) -> bytes:
        """Return `value` as bytes. Raises TypeError where it is no JSON document."""

    def loads(self, data: bytes, /) -> Json:
        """Return the value. Raises ValueError where `data` holds none."""


class NotStorableError(HeadraceError):
    """A record holds what no JSON document or no row can hold. Nothing of it was written."""

    blame = Blame.TASK


class CheckedCodec:
    """A codec that tells by its errors whose fault it is: the record's, or the store's."""

    def __init__(self, codec: Codec) -> None:
        self._dumps = codec.dumps
        self._loads = codec.loads

    def dumps(self, value: Json, /) -> bytes:
        """Return `value` as bytes. Raises NotStorableError."""
        try:
            data = self._dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise NotStorableError(f"this cannot be stored, since it is no JSON document: {error}") from error
        if len(data) > MOST_VALUE_BYTES:
            raise NotStorableError(
                f"this cannot be stored: {len(data):,} bytes, more than {MOST_VALUE_BYTES:,}"
            )
        return data

    def loads(self, data: bytes, /) -> Json:
        """Return the value. Raises StoreError where `data` holds none."""
        try:
            return self._loads(data)
        except ValueError as error:
            raise StoreError(
                f"the store holds a value that cannot be read ({error}): {data[:80]!r}"
            ) from error

    def normal(self, value: Json) -> Json:
        """Return `value` as it will be read back. Raises NotStorableError."""
        return self.loads(self.dumps(value))


def range_of(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the range [low, high) of the keys that begin with `prefix`, whose last byte is below 0xff."""
    return prefix, prefix[:-1] + bytes((prefix[-1] + 1,))


def scan_all(reader: Reader, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield all pairs of [low, high) in order, a bounded number at a time."""
    while True:
        page = reader.scan(low, high, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        low = page[-1][0] + b"\0"


class Overlay:
    """A store as it will be once this batch is committed. A `Reader`, and the maker of the batch."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # By a key's first byte: a scan or a deletion has to look through the puts of one kind only.
        self._puts: dict[int, dict[bytes, bytes]] = {}
        self._deletions: list[tuple[bytes, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None where there is none."""
        own = self._puts.get(key[0])
        if own is not None:
            value = own.get(key)
            if value is not None:
                return value
        return None if self._is_deleted(key) else self._reader.get(key)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` (≥ 1) pairs of [low, high) in order. The range lies within one kind."""
        own = {key: value for key, value in self._puts.get(low[0], {}).items() if low <= key < high}
        kept = self._kept(low, high, limit)
        return sorted((dict(kept) | own).items())[:limit] if own else kept

    def put(self, key: bytes, value: bytes) -> None:
        """Have `key` hold `value`. Raises NotStorableError for a key that is too long for an index."""
        if len(key) > MOST_KEY_BYTES:
            text = f"this cannot be stored: its keys take {len(key):,} bytes, more than {MOST_KEY_BYTES:,}"
            raise NotStorableError(text)
        kind = self._puts.get(key[0])
        if kind is None:
            kind = self._puts[key[0]] = {}
        kind[key] = value

    def delete(self, low: bytes, high: bytes) -> None:
        """Have no key in [low, high), a range within one kind."""
        own = self._puts.get(low[0], {})
        for key in [key for key in own if low <= key < high]:
            del own[key]
        self._deletions.append((low, high))

    def absorb(self, later: Overlay) -> None:
        """Have all that `later`, an overlay over this one, has changed."""
        for low, high in later._deletions:
            self.delete(low, high)
        for kind in later._puts.values():
            for key, value in kind.items():
                self.put(key, value)

    def batch(self, fences: Mapping[bytes, bytes | None]) -> WriteBatch:
        """Return all that was changed as one commit."""
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
