"""The format version of the rows in a store, which differs from the version of the database's table.

Rule: a version reads the rows of all earlier versions and refuses a store to which a newer one has written.
    Otherwise it would misread rows, and write rows that the newer version misreads.
"""

from __future__ import annotations

from actors.core.errors import StoreError
from actors.core.journal.batch import Reader, WriteBatch
from actors.core.journal.keys import FORMAT

OLDEST = 1  # of a store without a version
VERSION = 3
_DIGITS = 9


def check_format(reader: Reader) -> int:
    """Return the version of the rows. Raises `StoreError` if it is invalid or newer than `VERSION`."""
    stored = reader.get(FORMAT)
    if stored is None:
        return OLDEST
    version = int(stored) if stored.isdigit() and len(stored) <= _DIGITS else None
    if version is None:
        raise StoreError(f"the store is damaged: the version of its rows is {stored[:40]!r}")
    if version > VERSION:
        raise StoreError(
            f"the rows of this store have format version {version}; this Headrace reads up to {VERSION}. Use "
            "the newer Headrace that wrote them, or name another store (store.path or store.url)"
        )
    return version


def raise_format(reader: Reader) -> WriteBatch:
    """Return the batch that raises the version of the rows to `VERSION`. Raises `StoreError`."""
    return WriteBatch({FORMAT: str(VERSION).encode()} if check_format(reader) < VERSION else {})
