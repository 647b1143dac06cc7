"""Connections that can only read, and what a database's errors mean.

Reading only is enforced by the database's own means. SQLite: the file is opened read-only, and an authorizer
allows nothing but SELECT. PostgreSQL: transactions are read-only, and a server-side cursor takes a single
SELECT and nothing else. Any other database is connected to as it is.

Every wait has a deadline: for a connection, for a lock, and for the statement.
"""

from __future__ import annotations

import math
import sqlite3
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import QueuePool

from actors.core.errors import ConfigError

_CHECK_DEADLINE_OPS = 10_000  # SQLite's virtual machine does some ten million instructions a second
_SQLITE_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
}
_SQLITE_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}
_SQLITE_ASKED = {"read_uncommitted", "data_version"}  # by SQLAlchemy once, and by full-text tables
# Classes of SQLSTATE (first two characters): connection, rollback, resources, lock, operator, system.
_SQLSTATE_PASSING = ("08", "40", "53", "55", "57", "58")


def make_engine(url: sa.URL, *, connections: int, timeout_s: float, fetch_rows: int) -> sa.Engine:
    """Return an engine with at most `connections` connections; nothing is connected yet.

    `timeout_s` bounds each wait: for a connection, a lock, a statement. `fetch_rows` is how many rows are
    fetched at once. Raises `ConfigError` where the driver is missing.
    """
    options: dict[str, Any] = {
        "poolclass": QueuePool,
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": timeout_s,
        "hide_parameters": True,
    }
    backend = url.get_backend_name()
    if backend == "sqlite":
        path = cast("str", url.database)
        return sa.create_engine("sqlite://", creator=lambda: _open_sqlite(path, timeout_s), **options)
    if backend == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        options["connect_args"] = _postgres_arguments(url, timeout_s)
        options["execution_options"] = {
            "postgresql_readonly": True,  # said again with each transaction: poolers drop session settings
            "stream_results": True,  # a server-side cursor
            "max_row_buffer": fetch_rows,
        }
    # A connection that the server closed meanwhile would else fail the fetch that happens to get it.
    options["pool_pre_ping"] = True
    try:
        return sa.create_engine(url, **options)
    except (exc.ArgumentError, ImportError) as error:
        raise ConfigError(f"the database driver {url.drivername} cannot be used: {error}") from None


def _postgres_arguments(url: sa.URL, timeout_s: float) -> dict[str, Any]:
    timeout_ms = math.ceil(timeout_s * 1000)
    session = {
        "default_transaction_read_only": "on",
        "statement_timeout": timeout_ms,  # waiting for a lock counts
        "idle_in_transaction_session_timeout": 2 * timeout_ms,
    }
    own = url.query.get("options", "")
    own = own if isinstance(own, str) else " ".join(own)
    return {
        "connect_timeout": math.ceil(timeout_s),
        "application_name": "headrace",
        # Ours come last and win; without the URL's own, a search path set there would be lost.
        "options": " ".join([own, *(f"-c {name}={value}" for name, value in session.items())]),
    }


class _SqliteConnection(sqlite3.Connection):
    """A connection whose statements end at a deadline; SQLite has no such setting of its own."""

    deadline_s = math.inf
    timeout_s = math.inf

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Return a cursor; its statement's time runs from here."""
        self.deadline_s = time.monotonic() + self.timeout_s
        return super().cursor(*arguments, **named)

    def is_late(self) -> bool:
        """Return whether SQLite is to interrupt the statement."""
        return time.monotonic() > self.deadline_s


def _open_sqlite(path: str, timeout_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout_s, check_same_thread=False, factory=_SqliteConnection
    )
    connection.timeout_s = timeout_s
    connection.set_authorizer(_authorize)
    connection.set_progress_handler(connection.is_late, _CHECK_DEADLINE_OPS)
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow what reads. ATTACH is not among it: it would open other files, and create them."""
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second != "load_extension"
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = first in _SQLITE_ASKED and second is None
    else:
        allowed = action in _SQLITE_READING
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def passes(error: exc.DBAPIError) -> bool:
    """Return whether asking again may help. What nobody classified does not."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_PASSING
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_SQLSTATE_PASSING)
    # PostgreSQL's driver gives no state where no connection came about.
    return isinstance(error, exc.OperationalError)
