"""Converts the store section of a configuration to the settings that open the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from actors.journal.stores.opening import (
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    StoreSettings,
)

if TYPE_CHECKING:
    from cluster.config.model import StoreSection


def store_settings(store: StoreSection) -> StoreSettings:
    """Return the settings that open the configured store. A relative path is below the working directory."""
    match store.kind:
        case "sqlite":
            return SqliteSettings(str(Path(store.path).absolute()))
        case "postgres":
            return PostgresSettings(store.url.get_secret_value())
        case "redis":
            return RedisSettings(store.url.get_secret_value())
        case "memory":
            return MemorySettings()
