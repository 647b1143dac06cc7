"""The settings of the stores, which can be sent between processes, and the functions that open a store.

The drivers of PostgreSQL and Redis are imported only when they are used; a run on SQLite needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from actors.core.errors import ConfigError
from actors.journal.stores.base import Store
from actors.journal.stores.memory import MemoryStore
from actors.journal.stores.sqlite import SqliteStore
from actors.runtime.extras import advice

DEFAULT_PATH = ".headrace/state.db"


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """A file at `path`. The file and its directory are created if they are missing."""

    path: str


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """A database at ``postgresql://user:password@host/database``. The `repr` omits the URL."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """A database at ``redis://user:password@host:port/0``. The `repr` omits the URL."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """A store in memory. Each call of `open_store` makes a separate one."""


class PluginStoreSettings(Protocol):
    """The settings of a store of another package. They can be pickled, and their `repr` shows no secret."""

    def open(self) -> Store:
        """Open the store. Raises the errors of `open_store`."""


StoreSettings = SqliteSettings | PostgresSettings | RedisSettings | MemorySettings | PluginStoreSettings


def open_store(settings: StoreSettings, *, may_lock: bool = False) -> Store:
    """Open the store that `settings` name, and upgrade its format.

    `may_lock`: an SQLite store on a full disk may be locked, so that it can be read.

    Raises `ConfigError` if a driver is missing or the address is invalid. Raises `StoreUnavailableError` if
    the store cannot be reached now. Raises `StoreError` if it is damaged, of a newer version, of another
    program, or configured so that it may lose data.
    """
    match settings:
        case SqliteSettings(path):
            return SqliteStore(path, may_lock=may_lock)
        case PostgresSettings(url):
            return _open_postgres(url)
        case RedisSettings(url):
            return _open_redis(url)
        case MemorySettings():
            return MemoryStore()
        case _:
            return settings.open()


def open_beside(settings: StoreSettings, store: Store) -> Store | None:
    """Open `store` a second time, so that another thread can read while the first one commits.

    Return None for a store that cannot be shared. Raises the errors of `open_store`. Creates no file.
    """
    if isinstance(settings, SqliteSettings) and isinstance(store, SqliteStore):
        return SqliteStore(settings.path, beside=store)
    return None if isinstance(settings, MemorySettings) else open_store(settings)


def _open_postgres(url: str) -> Store:
    try:
        from actors.journal.stores.postgres import PostgresStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ConfigError(f"{advice('psycopg', 'store.kind: postgres')} ({error})") from None
    return PostgresStore(url)


def _open_redis(url: str) -> Store:
    try:
        from actors.journal.stores.redis import RedisStore  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ConfigError(f"{advice('redis', 'store.kind: redis')} ({error})") from None
    return RedisStore(url)
