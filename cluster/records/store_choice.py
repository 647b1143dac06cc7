"""From the configured store to what opens it."""

from __future__ import annotations

from pathlib import Path

from actors.journal.stores.opening import (
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    StoreSettings,
)
from cluster.config.model import MemoryStore, PostgresStore, RedisStore, SqliteStore, Store


def store_settings(store: Store) -> StoreSettings:
    """Return what opens the configured store. A relative path is one below this process's directory."""
    match store:
        case SqliteStore(path=path):
            return SqliteSettings(str(Path(path).absolute()))
        case PostgresStore(url=url):
            return PostgresSettings(url.get_secret_value())
        case RedisStore(url=url):
            return RedisSettings(url.get_secret_value())
        case MemoryStore():
            return MemorySettings()
