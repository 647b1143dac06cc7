"""The SQL source: runs one query with bound parameters for each task, and returns one item per row.

Rule 1: Values are passed as bound parameters, never as text of the query.
Rule 2: The source never writes: its connections are read-only (`databases`), and it never commits.
Rule 3: Errors contain neither the URL, which may have a password, nor the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import exc

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item, Task
from actors.core.messages.values import Json
from actors.runtime.threads import SourceThreads
from actors.sources.base import SourceSettings
from actors.sources.items import make_items
from actors.sources.records import Record, listed, to_record
from actors.sources.sql.databases import make_engine, passes

_FETCH_ROWS = 500  # largest batch; SQLAlchemy starts with a few rows, so large rows are detected early


class Query(Struct, frozen=True):
    """The query of a source, and its number of connections.

    text: the column with the text of an item; None means "text".
    """

    source: str
    statement: str
    text: str | None
    connections: int
    timeout_s: float


class SqlSource:
    """Runs the query for each task, in as many threads as there are connections."""

    def __init__(self, url: str, query: Query, settings: SourceSettings) -> None:
        self._query = query
        self._settings = settings
        self._statement = sa.text(query.statement)
        self._names = tuple(self._statement.compile().params)
        self._url = sa.make_url(url)
        self._engine = make_engine(
            self._url, connections=query.connections, timeout_s=query.timeout_s, fetch_rows=_FETCH_ROWS
        )
        self.threads = SourceThreads(query.source, query.connections, "connections")

    async def fetch(self, task: Task) -> Sequence[Item]:
        """Return one item per row."""
        values = {name: _bindable(task, name) for name in self._names}
        return await self.threads.run(self._run, values)

    async def close(self) -> None:
        """Close the connections that are not in use; a query under way closes its own when it ends."""
        self.threads.close()
        self._engine.dispose()

    def _run(self, values: Mapping[str, Json]) -> Sequence[Item]:
        try:
            # The pool rolls the connection back; nothing is committed.
            with self._engine.connect() as connection, connection.execute(self._statement, values) as result:
                if not result.returns_rows:
                    raise SourceError(f"{self._query.source}: the query returns no rows; it must be a SELECT")
                return make_items(self._settings, self._records(result))
        except exc.SQLAlchemyError as error:
            # Without a cause, because its traceback would show the query and its parameters.
            raise self._translated(error) from None

    def _records(self, result: sa.CursorResult[Any]) -> Iterator[Record]:
        query = self._query
        columns = list(result.keys())
        if len(set(columns)) < len(columns):
            raise SourceError(
                f"{query.source}: duplicate column names in: {listed(columns)}; rename them with AS"
            )
        for position, row in enumerate(result):
            where = f"{query.source}: row {position}"
            yield to_record(dict(zip(columns, row, strict=True)), text=query.text, where=where)

    def _translated(self, error: exc.SQLAlchemyError) -> SourceError:
        name = self._query.source
        if isinstance(error, exc.TimeoutError):
            return SourceUnavailableError(f"{name}: no connection was free within the timeout")
        if not isinstance(error, exc.DBAPIError) or error.orig is None:
            return SourceError(f"{name}: {type(error).__name__}")
        lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        message = lines[0].replace(self._url.password, "***") if self._url.password else lines[0]
        if passes(error):
            return SourceUnavailableError(f"{name}: the database cannot answer now: {message}")
        return SourceError(f"{name}: the database rejects the query: {message}")


def _bindable(task: Task, name: str) -> Json:
    if name == "key":
        return task.key
    if name not in task.params:
        raise SourceError(f"the task has no value {name!r}; it has: {listed(sorted({'key', *task.params}))}")
    value = task.params[name]
    if value is not None and not isinstance(value, str | int | float):
        raise SourceError(
            f"param {name!r} is {type(value).__name__}; a query accepts text, numbers, booleans and null"
        )
    return value
