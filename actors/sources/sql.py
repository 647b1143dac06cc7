"""A database as a source: one query, bound parameters, one item per row.

Rule 1: values reach the database as bound parameters, never as text of the query.
Rule 2: nothing is written: `databases` opens connections that cannot, and nothing is ever committed.
Rule 3: no error shows the URL, which holds a password, or the parameters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator
from sqlalchemy import exc

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.messages import Item, Json, Task
from actors.sources.base import SourceSettings, make_items
from actors.sources.databases import make_engine, passes
from actors.sources.records import Record, listed, to_record

_FETCH_ROWS = 500


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
    max_rows: Annotated[int, Field(ge=1, le=1_000_000, description="per task; more are an error")] = 10_000
    max_chars: Annotated[
        int, Field(ge=1, le=2**30, description="of all texts per task; more are an error")
    ] = 10 * 2**20
    connections: Annotated[int, Field(ge=1, le=100, description="open at once; more fetches queue")] = 4
    read_only: Annotated[
        bool, Field(description="false admits databases that cannot be kept from writing by a connection")
    ] = True

    @field_validator("url")
    @classmethod
    def _url_is_sound(cls, url: SecretStr) -> SecretStr:
        try:
            parsed = sa.make_url(url.get_secret_value())
        except (exc.ArgumentError, ValueError):
            raise ValueError(
                "not a database URL; it looks like postgresql+psycopg://user@host/name"
            ) from None
        if parsed.get_backend_name() == "sqlite":
            if parsed.drivername not in ("sqlite", "sqlite+pysqlite") or parsed.query:
                raise ValueError("SQLite is given as sqlite:///path, without options")
            if parsed.database in (None, "", ":memory:"):
                raise ValueError("an SQLite database in memory is always empty here; give a file")
        if parsed.get_backend_name() == "postgresql" and parsed.drivername not in (
            "postgresql",
            "postgresql+psycopg",
        ):
            raise ValueError("PostgreSQL is reached by postgresql+psycopg://")
        return url

    @model_validator(mode="after")
    def _can_be_kept_from_writing(self) -> SqlSettings:
        backend = sa.make_url(self.url.get_secret_value()).get_backend_name()
        if self.read_only and backend not in ("sqlite", "postgresql"):
            raise ValueError(
                f"{backend} cannot be kept from writing by its connection; "
                "use a user with reading rights only and set read_only: false"
            )
        return self

    def build(self) -> SqlSource:
        """Return the source; nothing is connected yet. Raises `ConfigError` where the driver is missing."""
        return SqlSource(self)


class SqlSource:
    """Runs the query for each task, in as many threads as there are connections."""

    def __init__(self, settings: SqlSettings) -> None:
        self._settings = settings
        self._query = sa.text(settings.query)
        self._names = tuple(self._query.compile().params)
        self._url = sa.make_url(settings.url.get_secret_value())
        self._engine = make_engine(
            self._url, connections=settings.connections, timeout_s=settings.timeout_s, fetch_rows=_FETCH_ROWS
        )
        # Threads of our own: the loop's are few, and queries that wait would stop every other use of them.
        self._threads = ThreadPoolExecutor(settings.connections, thread_name_prefix=f"sql-{settings.name}")

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return an item per row."""
        values = {name: _bindable(task, name) for name in self._names}
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, values)

    async def close(self) -> None:
        """Close all connections once the queries under way have ended, which their deadlines ensure."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._engine.dispose()

    def _run(self, values: Mapping[str, Json]) -> Sequence[Item]:
        try:
            # The connection goes back by rollback: `begin` is never called and nothing commits.
            with self._engine.connect() as connection, connection.execute(self._query, values) as result:
                if not result.returns_rows:
                    raise SourceError(
                        f"{self._settings.name}: the query returns no rows; it must be a SELECT"
                    )
                return make_items(self._settings.name, self._records(result))
        except exc.SQLAlchemyError as error:
            # Without a cause, which would show the query and its parameters in a traceback.
            raise self._translated(error) from None

    def _records(self, result: sa.CursorResult[Any]) -> list[Record]:
        settings = self._settings
        columns = list(result.keys())
        if len(set(columns)) < len(columns):
            raise SourceError(
                f"{settings.name}: a column comes twice in: {listed(columns)}; name them with AS"
            )
        records: list[Record] = []
        characters = 0
        while rows := result.fetchmany(_FETCH_ROWS):
            for row in rows:
                where = f"{settings.name}: row {len(records)}"
                record = to_record(dict(zip(columns, row, strict=True)), text=settings.text, where=where)
                characters += len(record["text"])
                records.append(record)
            if len(records) > settings.max_rows:
                raise SourceError(f"{settings.name}: more than max_rows = {settings.max_rows} rows")
            if characters > settings.max_chars:
                raise SourceError(f"{settings.name}: texts of more than max_chars = {settings.max_chars}")
        return records

    def _translated(self, error: exc.SQLAlchemyError) -> SourceError:
        name = self._settings.name
        if isinstance(error, exc.TimeoutError):
            return SourceUnavailableError(f"{name}: no connection was free in time")
        if not isinstance(error, exc.DBAPIError) or error.orig is None:
            return SourceError(f"{name}: {type(error).__name__}")
        lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        message = lines[0].replace(self._url.password, "***") if self._url.password else lines[0]
        if passes(error):
            return SourceUnavailableError(f"{name}: the database cannot answer now: {message}")
        return SourceError(f"{name}: the database refuses the query: {message}")


def _bindable(task: Task, name: str) -> Json:
    if name == "key":
        return task.key
    if name not in task.params:
        raise SourceError(f"the task has no value {name!r}; it has: {listed(sorted({'key', *task.params}))}")
    value = task.params[name]
    if value is not None and not isinstance(value, str | int | float):
        raise SourceError(
            f"param {name!r} is {type(value).__name__}; a query takes text, numbers, booleans, null"
        )
    return value
