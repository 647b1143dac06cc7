"""A store in PostgreSQL, for clusters that must outlive any one disk.

One batch is one transaction. A lost connection is opened again by the next use. Whether the commit that was
under way took place is not known then, which is why batches can be committed again.
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

WAIT_S = 30  # for a connection, an answer, or a lock
IDLE_S = 10  # that a transaction may do nothing: beyond it the writer counts as lost, and its locks are freed
_SETTINGS = {
    "connect_timeout": WAIT_S,
    "tcp_user_timeout": WAIT_S * 1000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "application_name": "headrace",
}
# The same for the server's end of a connection. By default it keeps one to a host that has lost power for two
# hours.
_SERVER_SETTINGS = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 4}

Migration = Callable[[psycopg.Connection], Any]

# Each brings the table from the version of its index to the next. None is ever changed once released.
MIGRATIONS: tuple[Migration, ...] = (
    lambda connection: connection.execute("CREATE TABLE headrace_kv (k bytea PRIMARY KEY, v bytea NOT NULL)"),
)

_GET = "SELECT v FROM headrace_kv WHERE k = %b"
_SCAN = "SELECT k, v FROM headrace_kv WHERE k >= %b AND k < %b ORDER BY k LIMIT %b"
_SCAN_KEYS = "SELECT k FROM headrace_kv WHERE k >= %b AND k < %b ORDER BY k LIMIT %b"
# A key that is absent has no row to lock, so whoever fences on its absence locks its hash instead.
_LOCK_ABSENT = "SELECT pg_advisory_xact_lock(h) FROM unnest(%b::bigint[]) AS h ORDER BY h"
_LOCK = "SELECT k, v FROM headrace_kv WHERE k = ANY(%b::bytea[]) ORDER BY k FOR UPDATE"
_DELETE = "DELETE FROM headrace_kv WHERE k >= %b AND k < %b"
_PUT = """
INSERT INTO headrace_kv SELECT * FROM unnest(%b::bytea[], %b::bytea[])
ON CONFLICT (k) DO UPDATE SET v = excluded.v
"""
_OWN_LOCK = 0x48656164  # of who makes or migrates the tables

# Classes of SQLSTATE (first two characters): connection, rollback, resources, lock, operator, system.
_PASSING = ("08", "40", "53", "55", "57", "58")
_PASSING_STATES = ("25006", "25P03")  # a standby, which may be promoted; a transaction idle for too long


class PostgresStore:
    """One connection to one database; see `Store` for what its methods do and raise."""

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
        """Return the value of `key`, None where there is none."""
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
        """Apply `batch` in one transaction, and wait until the server's disk has it."""
        puts = sorted(
            batch.puts
        )  # in one order everywhere: two that put the same keys wait, and do not deadlock
        with self._connected() as connection, connection.transaction():
            if batch.fences:
                check_fences(batch, self._lock(connection, batch), self._where)
            if batch.deletions:
                connection.cursor().executemany(_DELETE, batch.deletions)
            if puts:
                connection.execute(_PUT, (puts, [seal(key, batch.puts[key]) for key in puts]))

    def notes(self) -> tuple[str, ...]:
        """Return nothing: the server keeps its own log of what it found."""
        return ()

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _lock(self, connection: psycopg.Connection, batch: WriteBatch) -> dict[bytes, bytes | None]:
        """Return the values of the fenced keys, which nobody else changes before this transaction ends."""
        absent = [_hash(key) for key, value in batch.fences.items() if value is None]
        if absent:
            connection.execute(_LOCK_ABSENT, (absent,))
        rows = connection.execute(_LOCK, (list(batch.fences),), binary=True).fetchall()
        found = {key: checked(key, stored, self._where) for key, stored in rows}
        return {key: found.get(key) for key in batch.fences}

    # ---- the connection ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        """Yield the connection, or a new one, and translate what it raises."""
        try:
            if self._db is None:
                self._db = self._connect()
            yield self._db
        except psycopg.Error as error:
            raise self._error(error) from None  # the driver's errors may hold parameters and the address
        finally:
            if self._db is not None and self._db.closed:
                self._db = None

    def _connect(self) -> psycopg.Connection:
        # Statements are not prepared: poolers between here and the server may not keep them.
        connection = psycopg.connect(**{**_SETTINGS, **self._parts}, autocommit=True, prepare_threshold=None)
        try:
            self._limit_waits(connection)
            self._demand_durability(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _limit_waits(self, connection: psycopg.Connection) -> None:
        """Have the server end what waits, or keeps others waiting, for too long."""
        settings = {
            "statement_timeout": WAIT_S * 1000,
            "idle_in_transaction_session_timeout": IDLE_S * 1000,
            "tcp_user_timeout": WAIT_S * 1000,
            **_SERVER_SETTINGS,
        }
        for name, value in settings.items():
            connection.execute(f"SET {name} = {value}")

    def _demand_durability(self, connection: psycopg.Connection) -> None:
        """See to it that a commit is on a disk when it returns."""
        names = ("fsync", "synchronous_commit")
        shown = {name: str(_one(connection.execute(f"SHOW {name}"))) for name in names}
        if shown["fsync"] != "on":
            raise StoreError(
                f"{self._where} may lose what it committed: its setting fsync is {shown['fsync']}. "
                "Set fsync = on in its postgresql.conf and restart it"
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
        # Where no connection came about, or it was lost, there is no state.
        lost = state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        if lost or state in _PASSING_STATES or (state or "").startswith(_PASSING):
            return StoreUnavailableError(
                f"the store in {self._where} cannot be used now: {said}. Check that the server runs, can be "
                "reached from here, and has space"
            )
        internal = isinstance(error, psycopg.InternalError)
        advice = "The server's log says more" if internal else "Check store.url and the rights of its user"
        return StoreError(f"the store in {self._where} cannot be used: {said}. {advice}")


def _parts(url: str) -> dict[str, Any]:
    try:
        return conninfo.conninfo_to_dict(url)
    except (psycopg.ProgrammingError, ValueError):  # its message may quote the password
        raise ConfigError(
            "store.url is no address of PostgreSQL; write postgresql://user:password@host/database, with "
            "what is special in user and password percent-encoded"
        ) from None


def _place(parts: dict[str, Any]) -> str:
    """Return the words for the database in messages, without a password."""
    host, port = parts.get("host") or parts.get("hostaddr") or "the default host", parts.get("port")
    return f"PostgreSQL database {parts.get('dbname') or 'by default'} at {host}{f':{port}' if port else ''}"


def _one(cursor: psycopg.Cursor[Any]) -> Any:
    """Return the only value of the only row."""
    [value] = cursor.fetchone() or (None,)
    return value


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big", signed=True)
