"""Read-only database connections, and the classification of their errors.

The database enforces that connections only read. SQLite: the file is opened read-only, and an authorizer
allows only SELECT. PostgreSQL: transactions are read-only, and a server-side cursor accepts only a single
SELECT. Connections to other databases are not restricted.

Waits for a connection, a lock and a statement have deadlines.
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
from actors.runtime.extras import explained

_CHECK_DEADLINE_OPS = 10_000  # SQLite's virtual machine executes some ten million instructions a second
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
_SQLITE_PRAGMAS = {"read_uncommitted", "data_version"}  # used by SQLAlchemy and by full-text tables
# Classes of SQLSTATE (first two characters): connection, rollback, resources, lock, operator, system.
_SQLSTATE_PASSING = ("08", "40", "53", "55", "57", "58")


def make_engine(url: sa.URL, *, connections: int, timeout_s: float, fetch_rows: int) -> sa.Engine:
    """Return an engine with at most `connections` connections. Does not connect yet.

    timeout_s: bounds each wait for a connection, a lock or a statement.
    fetch_rows: the largest number of rows fetched at once.

    Raises `ConfigError` if the driver is missing.
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
            "postgresql_readonly": True,  # for each transaction, because poolers drop session settings
            "stream_results": True,  # a server-side cursor
            "max_row_buffer": fetch_rows,
        }
    # Without the ping, a connection that the server has closed would fail the next fetch.
    options["pool_pre_ping"] = True
    try:
        return sa.create_engine(url, **options)
    except ImportError as error:
        text = explained(error, "it")
        raise ConfigError(f"the database driver {url.drivername} cannot be used: {text}") from None
    except exc.ArgumentError as error:
        raise ConfigError(f"the database driver {url.drivername} cannot be used: {error}") from None


def _postgres_arguments(url: sa.URL, timeout_s: float) -> dict[str, Any]:
    timeout_ms = math.ceil(timeout_s * 1000)
    session = {
        "default_transaction_read_only": "on",
        "statement_timeout": timeout_ms,  # includes waiting for locks
        "idle_in_transaction_session_timeout": 2 * timeout_ms,
    }
    own = url.query.get("options", "")
    own = own if isinstance(own, str) else " ".join(own)
    return {
        "connect_timeout": math.ceil(timeout_s),
        "application_name": "headrace",
        # Includes the options of the URL, such as a search path. The last ones take precedence.
        "options": " ".join([own, *(f"-c {name}={value}" for name, value in session.items())]),
    }


class _SqliteConnection(sqlite3.Connection):
    """A connection with a timeout for statements, which SQLite does not have."""

    deadline_s = math.inf
    timeout_s = math.inf

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Return a cursor, and start the timeout of its statement."""
        self.deadline_s = time.monotonic() + self.timeout_s
        return super().cursor(*arguments, **named)

    def is_late(self) -> bool:
        """Return whether SQLite must interrupt the statement."""
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
    """Allow actions that only read. Deny ATTACH, which could open or create other files."""
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second != "load_extension"
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = first in _SQLITE_PRAGMAS and second is None
    else:
        allowed = action in _SQLITE_READING
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def passes(error: exc.DBAPIError) -> bool:
    """Return whether `error` is transient. Unknown errors are permanent."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_PASSING
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_SQLSTATE_PASSING)
    # psycopg gives no SQLSTATE if the connection failed.
    return isinstance(error, exc.OperationalError)
