"""The settings of an SQL source: one query with bound parameters, and one item per row.

Importing SQLAlchemy takes a third of a second. It is imported only to build a source, or to check a URL of
another database than an SQLite file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from actors.runtime.extras import missing
from actors.sources.base import SourceSettings

if TYPE_CHECKING:
    from actors.sources.sql.source import SqlSource


_SQLITE_FILE = re.compile(r"sqlite:///(?!:memory:$)[^?\n]+")


class SqlSettings(SourceSettings):
    """One query per task against SQLite or PostgreSQL."""

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["sql"]
    url: Annotated[SecretStr, Field(description="sqlite:///file.db or postgresql+psycopg://user:pw@host/db")]
    query: Annotated[
        str,
        Field(description="one SELECT with :key and params by name; its columns id and text make an item"),
    ]
    text: Annotated[str | None, Field(description="the column that is an item's text, else 'text'")] = None
    connections: Annotated[int, Field(ge=1, le=100, description="open at once; more fetches queue")] = 4
    read_only: Annotated[
        bool, Field(description="false admits databases that cannot be kept from writing by a connection")
    ] = True

    @field_validator("url")
    @classmethod
    def _url_is_sound(cls, url: SecretStr) -> SecretStr:
        problem = missing("sqlalchemy", "kind: sql")
        if problem:
            raise ValueError(problem)
        if _SQLITE_FILE.fullmatch(url.get_secret_value()):
            return url
        from sqlalchemy import exc, make_url  # noqa: PLC0415 - see the module

        try:
            parsed = make_url(url.get_secret_value())
        except (exc.ArgumentError, ValueError):
            raise ValueError("not a database URL such as postgresql+psycopg://user@host/name") from None
        if parsed.get_backend_name() == "sqlite":
            if parsed.drivername not in ("sqlite", "sqlite+pysqlite") or parsed.query:
                raise ValueError("the URL of an SQLite database is sqlite:///path, without options")
            if parsed.database in (None, "", ":memory:"):
                raise ValueError("an SQLite database in memory is always empty here; use a file")
        if parsed.get_backend_name() == "postgresql" and parsed.drivername not in (
            "postgresql",
            "postgresql+psycopg",
        ):
            raise ValueError("the URL of a PostgreSQL database begins with postgresql+psycopg://")
        return url

    @model_validator(mode="after")
    def _can_be_kept_from_writing(self) -> SqlSettings:
        if _SQLITE_FILE.fullmatch(self.url.get_secret_value()):
            return self
        from sqlalchemy import make_url  # noqa: PLC0415 - see the module

        backend = make_url(self.url.get_secret_value()).get_backend_name()
        if self.read_only and backend not in ("sqlite", "postgresql"):
            raise ValueError(
                f"a connection to {backend} cannot be made read-only; use a database user with read "
                "permissions only, and set read_only: false"
            )
        return self

    def at_once(self) -> int:
        """Return how many fetches may run at once: each needs a connection."""
        return min(self.concurrency, self.connections)

    def build(self) -> SqlSource:
        """Return the source, which does not connect yet. Raises `ConfigError` if the driver is missing."""
        from actors.sources.sql.source import Query, SqlSource  # noqa: PLC0415 - see the module

        query = Query(
            source=self.name,
            statement=self.query,
            text=self.text,
            connections=self.connections,
            timeout_s=self.timeout_s,
        )
        return SqlSource(self.url.get_secret_value(), query, self)
