"""Converts records to the items of one fetch, within the bounds of its source.

Rule 1: A record that is too large, or that JSON cannot represent, becomes an item with an error. The other
    items are not affected.
Rule 2: Too many items, or too many bytes, fail the fetch. Counts over a part of the items would be wrong.
Rule 3: Each error contains the size, the bound, and the key that sets the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from actors.core.errors import Blame, Failure, FailureKind, SourceBoundError
from actors.core.messages.tasks import Item
from actors.core.messages.values import Json
from actors.sources.base import SourceSettings
from actors.sources.records import Oversize

_MOST_ID = 200  # characters of the id of a failed item
_ERROR_BYTES = 64  # of an error besides its text
_NAME_BYTES = 1024  # upper bound of the parts of an item that a collector does not count: names and an error


class ItemCollector:
    """Converts the records of one fetch, one by one. `size` is the size of `items` in bytes.

    The ``text`` of a record becomes the text of its item, its ``id`` or else its position becomes the id, and
    all other values become fields. A repeated id gets the position appended, so that each id is unique and
    can be cited as evidence.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self.items: list[Item] = []
        self.size = 0
        self._settings = settings
        self._seen: set[str] = set()

    def add(self, record: Mapping[str, Json] | Oversize) -> None:
        """Add `record` as an item. Raises `SourceBoundError` if the fetch becomes too large."""
        if len(self.items) >= self._settings.max_items:
            raise SourceBoundError(
                f"more than max_items = {self._settings.max_items:,} items; request fewer items, or raise "
                f"{self._key('max_items')}"
            )
        self.items.append(self._too_large(record) if isinstance(record, Oversize) else self._item(record))

    def _item(self, record: Mapping[str, Json]) -> Item:
        given = record.get("id")
        local = str(len(self.items) if given is None else given)
        rest = {name: value for name, value in record.items() if name not in ("id", "text")}
        text = record.get("text")
        written = "" if text is None else str(text)
        if len(written) > self._settings.max_item_bytes:
            return self._too_large(Oversize(local, len(written)))  # encoding gigabytes takes seconds
        try:
            size = len(orjson.dumps((local, written, rest)))
        except orjson.JSONEncodeError as error:
            return self._failed(local, f"the item cannot be represented in JSON: {error}")
        if size > self._settings.max_item_bytes:
            return self._too_large(Oversize(local, size))
        self.size += size
        if self.size > self._settings.max_fetch_bytes:
            raise SourceBoundError(
                f"the first {len(self.items) + 1:,} items have {self.size:,} bytes, more than "
                f"max_fetch_bytes = {self._settings.max_fetch_bytes:,}; request fewer items, or raise "
                f"{self._key('max_fetch_bytes')}"
            )
        return Item(self._id(local), self._settings.name, written, rest)

    def _too_large(self, record: Oversize) -> Item:
        return self._failed(
            record.id,
            f"the item has {record.size:,} bytes, more than max_item_bytes = "
            f"{self._settings.max_item_bytes:,}; split it, or raise {self._key('max_item_bytes')}",
        )

    def _failed(self, local: str, message: str) -> Item:
        failure = Failure(FailureKind.PERMANENT, Blame.LIMIT, message)
        return Item(self._id(local[:_MOST_ID]), self._settings.name, "", {}, failure)

    def _id(self, local: str) -> str:
        while local in self._seen:
            local = f"{local}#{len(self.items)}"
        self._seen.add(local)
        return f"{self._settings.name}:{local}"

    def _key(self, name: str) -> str:
        return f"sources.{self._settings.name}.{name}"


def measured(items: Iterable[Item], settings: SourceSettings) -> int:
    """Return the stored size of `items` in bytes. Raises `SourceBoundError` if they exceed the bounds.

    `ItemCollector` keeps the bounds; a source that does not use it may not.
    """
    size = count = 0
    for item in items:
        count += 1
        if len(item.text) > settings.max_fetch_bytes:  # encoding gigabytes takes seconds
            raise SourceBoundError(
                f"item {item.id[:_MOST_ID]} has {len(item.text):,} characters, more than "
                f"sources.{settings.name}.max_fetch_bytes = {settings.max_fetch_bytes:,}"
            )
        try:
            size += len(orjson.dumps((item.id, item.source, item.text, item.fields)))
        except orjson.JSONEncodeError as error:
            text = f"item {item.id[:_MOST_ID]} cannot be represented in JSON: {error}"
            raise SourceBoundError(text) from None
        if item.error is not None:
            size += len(item.error.message) + _ERROR_BYTES
    most = settings.max_fetch_bytes + count * _NAME_BYTES
    if count > settings.max_items or size > most:
        raise SourceBoundError(
            f"{count:,} items of {size:,} bytes; the bounds are sources.{settings.name}.max_items = "
            f"{settings.max_items:,} and max_fetch_bytes = {settings.max_fetch_bytes:,}"
        )
    return size


def make_items(
    settings: SourceSettings, records: Iterable[Mapping[str, Json] | Oversize]
) -> tuple[Item, ...]:
    """Return `records` as items. Raises `SourceBoundError` at the first record beyond a bound."""
    collector = ItemCollector(settings)
    for record in records:
        collector.add(record)
    return tuple(collector.items)
