"""A store in PostgreSQL, for clusters whose data must survive the loss of a disk.

One batch is one transaction. The next operation reopens a lost connection. If the connection is lost during a
commit, its result is unknown; therefore a batch can be committed again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import conninfo

from actors.core.errors import ConfigError, StoreError, StoreUnavailableError
from actors.journal.stores.base import WriteBatch, check_fences, check_limit, checked, seal

WAIT_S = 30  # timeout of a connection, a statement or a lock
IDLE_S = 10  # longest idle time in a transaction: then the server ends it and releases its locks
SNAPSHOT_IDLE_S = 600  # the same for reading a snapshot
_SETTINGS = {
    "connect_timeout": WAIT_S,
    "tcp_user_timeout": WAIT_S * 1000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "application_name": "headrace",
}
# The same for the server's end: by default it keeps a connection to a host without power for two hours.
_SERVER_SETTINGS = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}

Migration = Callable[[psycopg.Connection], Any]

# Each upgrades the table from the version of its index to the next. A released migration never changes.
MIGRATIONS: tuple[Migration, ...] = (
    lambda connection: connection.execute("CREATE TABLE headrace_kv (k bytea PRIMARY KEY, v bytea NOT NULL)"),
)

_GET = "SELECT v FROM headrace_kv WHERE k = %b"
_SCAN = "SELECT k, v FROM headrace_kv WHERE k >= %b AND k < %b ORDER BY k LIMIT %b"
_SCAN_KEYS = "SELECT k FROM headrace_kv WHERE k >= %b AND k < %b ORDER BY k LIMIT %b"
# An absent key has no row to lock, so a fence on its absence locks the hash of the key instead.
_LOCK_ABSENT = "SELECT pg_advisory_xact_lock(h) FROM unnest(%b::bigint[]) AS h ORDER BY h"
_LOCK = "SELECT k, v FROM headrace_kv WHERE k = ANY(%b::bytea[]) ORDER BY k FOR UPDATE"
_DELETE = "DELETE FROM headrace_kv WHERE k >= %b AND k < %b"
_PUT = """
INSERT INTO headrace_kv SELECT * FROM unnest(%b::bytea[], %b::bytea[])
ON CONFLICT (k) DO UPDATE SET v = excluded.v
"""
_OWN_LOCK = 0x48656164  # the advisory lock for creating and migrating the tables

# Classes of SQLSTATE (first two characters): connection, rollback, resources, lock, operator, system.
_PASSING = ("08", "40", "53", "55", "57", "58")
_PASSING_STATES = ("25006", "25P03")  # a standby, which may be promoted; a transaction idle for too long


class PostgresStore:
    """One connection to one database. `Store` documents the methods and their errors."""

    def __init__(self, url: str) -> None:
        self._parts = _parts(url)
        self._where = _place(self._parts)
        self._db: psycopg.Connection | None = None
        try:
            with self._connected() as connection:
                self._migrate(connection)
        except BaseException:
            self.close()
            raise

    # ---- the table ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        with self._connected() as connection:
            row = connection.execute(_GET, (key,), binary=True).fetchone()
        return None if row is None else checked(key, row[0], self._where)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        with self._connected() as connection:
            rows = connection.execute(_SCAN, (low, high, limit), binary=True).fetchall()
        return [(key, checked(key, stored, self._where)) for key, stored in rows]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        check_limit(limit)
        with self._connected() as connection:
            rows = connection.execute(_SCAN_KEYS, (low, high, limit), binary=True).fetchall()
        return [key for (key,) in rows]

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch` in one transaction. On return it is on the server's disk."""
        puts = sorted(batch.puts)  # in a fixed order: else two writers of the same keys could deadlock
        with self._connected() as connection, connection.transaction():
            if batch.fences:
                check_fences(batch, self._lock(connection, batch), self._where)
            if batch.deletions:
                connection.cursor().executemany(_DELETE, batch.deletions)
            if puts:
                connection.execute(_PUT, (puts, [seal(key, batch.puts[key]) for key in puts]))

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[PostgresStore]:
        """Yield this store within one transaction of the level REPEATABLE READ."""
        with self._connected() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # It holds no locks, so it may wait longer for a disk or another store than other transactions.
            connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {SNAPSHOT_IDLE_S * 1000}")
            yield self

    def notes(self) -> tuple[str, ...]:
        """Return no notes: the server's log has them."""
        return ()

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _lock(self, connection: psycopg.Connection, batch: WriteBatch) -> dict[bytes, bytes | None]:
        """Lock the fenced keys until this transaction ends, and return their values."""
        absent = [_hash(key) for key, value in batch.fences.items() if value is None]
        if absent:
            connection.execute(_LOCK_ABSENT, (absent,))
        rows = connection.execute(_LOCK, (list(batch.fences),), binary=True).fetchall()
        found = {key: checked(key, stored, self._where) for key, stored in rows}
        return {key: found.get(key) for key in batch.fences}

    # ---- the connection ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        """Yield the connection, reopened if it was lost, and translate its errors."""
        try:
            if self._db is None:
                self._db = self._connect()
            yield self._db
        except psycopg.Error as error:
            raise self._error(error) from None  # the driver's errors may contain parameters and the address
        finally:
            if self._db is not None and self._db.closed:
                self._db = None

    def _connect(self) -> psycopg.Connection:
        # Statements are not prepared: a connection pooler may not support them.
        connection = psycopg.connect(**{**_SETTINGS, **self._parts}, autocommit=True, prepare_threshold=None)
        try:
            self._limit_waits(connection)
            self._demand_durability(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _limit_waits(self, connection: psycopg.Connection) -> None:
        """Set the server's timeouts for statements, idle transactions and dead connections."""
        settings = {
            "statement_timeout": WAIT_S * 1000,
            "idle_in_transaction_session_timeout": IDLE_S * 1000,
            "tcp_user_timeout": WAIT_S * 1000,
            **_SERVER_SETTINGS,
        }
        for name, value in settings.items():
            connection.execute(f"SET {name} = {value}")

    def _demand_durability(self, connection: psycopg.Connection) -> None:
        """Ensure that a commit is on disk when it returns. Raises `StoreError` if the server prevents it."""
        names = ("fsync", "synchronous_commit")
        shown = {name: str(_one(connection.execute(f"SHOW {name}"))) for name in names}
        if shown["fsync"] != "on":
            raise StoreError(
                f"{self._where} may lose what it committed: its setting fsync is {shown['fsync']}. "
                "Set fsync = on in postgresql.conf and restart the server"
            )
        if shown["synchronous_commit"] not in {"on", "remote_apply"}:
            connection.execute("SET synchronous_commit = on")

    def _migrate(self, connection: psycopg.Connection) -> None:
        with connection.transaction():
            connection.execute(f"SELECT pg_advisory_xact_lock({_OWN_LOCK})")
            if _one(connection.execute("SELECT to_regclass('headrace_schema')")) is None:
                connection.execute("CREATE TABLE headrace_schema (version integer NOT NULL)")
                connection.execute("INSERT INTO headrace_schema VALUES (0)")
            version = _one(connection.execute("SELECT version FROM headrace_schema"))
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"the store in {self._where} has format version {version}; this Headrace reads up to "
                    f"{len(MIGRATIONS)}. Use the newer Headrace, or name another database (store.url)"
                )
            for migration in MIGRATIONS[version:]:
                migration(connection)
            connection.execute("UPDATE headrace_schema SET version = %s", (len(MIGRATIONS),))

    def _error(self, error: psycopg.Error) -> StoreError:
        said = " ".join(str(error).split()).rstrip(".")
        password = self._parts.get("password")
        if password:
            said = said.replace(str(password), "***")
        state = error.sqlstate
        # An error without a connection, or of a lost one, has no SQLSTATE.
        lost = state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        if lost or state in _PASSING_STATES or (state or "").startswith(_PASSING):
            return StoreUnavailableError(
                f"the store in {self._where} cannot be used now: {said}. Check that the server runs, can be "
                "reached from this host, and has disk space"
            )
        internal = isinstance(error, psycopg.InternalError)
        advice = "See the server's log" if internal else "Check store.url and the privileges of its user"
        return StoreError(f"the store in {self._where} cannot be used: {said}. {advice}")


def _parts(url: str) -> dict[str, Any]:
    try:
        return conninfo.conninfo_to_dict(url)
    except (psycopg.ProgrammingError, ValueError):  # its message may quote the password
        raise ConfigError(
            "store.url is not an address of PostgreSQL; use postgresql://user:password@host/database, with "
            "special characters in user and password percent-encoded"
        ) from None


def _place(parts: dict[str, Any]) -> str:
    """Return the description of the database for messages, without the password."""
    host, port = parts.get("host") or parts.get("hostaddr") or "the default host", parts.get("port")
    return f"PostgreSQL database {parts.get('dbname') or 'by default'} at {host}{f':{port}' if port else ''}"


def _one(cursor: psycopg.Cursor[Any]) -> Any:
    """Return the only value of the only row."""
    [value] = cursor.fetchone() or (None,)
    return value


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big", signed=True)
