"""The section `store`: where state is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, SerializeAsAny

from actors.core.liveness import LEASE_S, LONGEST_LEASE_S
from actors.journal.stores.base import Store
from actors.journal.stores.opening import (
    DEFAULT_PATH,
    MemorySettings,
    PostgresSettings,
    RedisSettings,
    SqliteSettings,
    StoreSettings,
)
from cluster.config.base import LocalPath, Section


class StoreKeys(Section):
    """The keys of every kind of store. A plug-in adds a `kind` literal, its own keys and `open`."""

    kind: str
    keep: Annotated[
        Literal["reports", "calls", "auto"],
        Field(description="kept of ended tasks: reports, or calls too; auto: calls too up to 10,000 tasks"),
    ] = "auto"

    lease_s: Annotated[
        float,
        Field(
            ge=0.5,
            le=LONGEST_LEASE_S,
            description="time after which another process can take over a killed run, seconds",
        ),
    ] = LEASE_S
    give_up_s: Annotated[
        float,
        Field(
            ge=1, le=604_800, description="longest wait for an unreachable store before the run ends, seconds"
        ),
    ] = 86_400.0

    def settings(self) -> StoreSettings:
        """Return what opens the store. The process of the journal receives it by value."""
        return self

    def open(self) -> Store:
        """Open the store of a plug-in. Raises the errors of `actors.journal.stores.opening.open_store`."""
        raise NotImplementedError


class SqliteSection(StoreKeys):
    """State in one file on the node of the journal."""

    kind: Literal["sqlite"]
    path: Annotated[LocalPath, Field(description="the database's file")] = DEFAULT_PATH

    def settings(self) -> SqliteSettings:
        """Return what opens the store. A relative path is below the working directory."""
        return SqliteSettings(str(Path(self.path).absolute()))


class PostgresSection(StoreKeys):
    """State in PostgreSQL, which survives the loss of the node."""

    kind: Literal["postgres"]
    url: Annotated[SecretStr, Field(min_length=1, description="postgresql://user:password@host/database")]

    def settings(self) -> PostgresSettings:
        """Return what opens the store."""
        return PostgresSettings(self.url.get_secret_value())


class RedisSection(StoreKeys):
    """State in Redis, which must have ``appendonly yes`` and ``appendfsync always``."""

    kind: Literal["redis"]
    url: Annotated[SecretStr, Field(min_length=1, description="redis://user:password@host:port/0")]

    def settings(self) -> RedisSettings:
        """Return what opens the store."""
        return RedisSettings(self.url.get_secret_value())


class MemorySection(StoreKeys):
    """State in memory, lost when the journal ends."""

    kind: Literal["memory"]

    def settings(self) -> MemorySettings:
        """Return what opens the store."""
        return MemorySettings()


Stores = SqliteSection | PostgresSection | RedisSection | MemorySection
# The settings of a plug-in, which are of no class of the union, are written with all their keys.
StoreSection = SerializeAsAny[Annotated[Stores, Field(discriminator="kind")]]
