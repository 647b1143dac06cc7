"""Which store: settings that travel between processes, and how one of them becomes a store.

The drivers of PostgreSQL and Redis are imported only where they are used; a run on SQLite needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.core.errors import ConfigError
from actors.journal.stores.base import Store
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """A file at `path`; it and its directory are made where they are missing."""

    path: str


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """``postgresql://user:password@host/database``. The URL is not shown."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """``redis://user:password@host:port/0``. The URL is not shown."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """A store of its own for each that opens it."""


StoreSettings = SqliteSettings | PostgresSettings | RedisSettings | MemorySettings


def open_store(settings: StoreSettings) -> Store:
    """Open the store that `settings` name, and bring its format up to date.

    Raises `ConfigError` where a driver is missing or the address is none, `StoreUnavailableError` where the
    store cannot be reached now, `StoreError` where it is damaged, of a newer version, somebody else's, or set
    up so that it may lose data.
    """
    match settings:
        case SqliteSettings(path):
            return SqliteStore(path)
        case PostgresSettings(url):
            return _open_postgres(url)
        case RedisSettings(url):
            return _open_redis(url)
        case MemorySettings():
            return MemoryStore()


def open_beside(settings: StoreSettings, store: Store) -> Store | None:
    """Open `store` once more, for another thread to read while the first one commits.

    None where nobody else sees what is in it. Raises what `open_store` raises. Makes no file.
    """
    if isinstance(settings, SqliteSettings) and isinstance(store, SqliteStore):
        return SqliteStore(settings.path, beside=store)
    return None if isinstance(settings, MemorySettings) else open_store(settings)


def _open_postgres(url: str) -> Store:
    try:
        from actors.journal.stores.postgres import PostgresStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("postgres", "psycopg", error) from None
    return PostgresStore(url)


def _open_redis(url: str) -> Store:
    try:
        from actors.journal.stores.redis import RedisStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise _missing("redis", "redis", error) from None
    return RedisStore(url)


def _missing(kind: str, package: str, error: ImportError) -> ConfigError:
    return ConfigError(
        f"store.kind: {kind} needs the package {package}, which cannot be imported ({error}). "
        f"Install it on every node with: pip install 'headrace[{kind}]'"
    )
