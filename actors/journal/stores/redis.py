"""A store in Redis (or Valkey), for those who have one that keeps an append-only file and syncs it always.

A sorted set holds the keys in order, a hash their values. A batch is one MULTI/EXEC, watched from the reading
of its fences on. What a server acknowledged and had no time to send to its replica is lost when the replica
takes over: for that, take PostgreSQL.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.core.errors import ConfigError, StoreError, StoreUnavailableError
from actors.journal.stores.base import WriteBatch, check_fences, check_limit, checked, seal

VERSION = 1
WAIT_S = 10.0  # for a connection, an answer, or other writers
_ORDER, _VALUES, _VERSION = b"headrace:order", b"headrace:values", b"headrace:version"
_DEMANDED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
_PASSING_ERRORS = (
    OSError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
)
_PASSING_CODES = ("BUSY", "MISCONF", "NOREPLICAS")  # which the driver has no class for

Pipeline = Any  # redis types a pipeline's commands for its asynchronous twin too


class RedisStore:
    """One connection to one database; see `Store` for what its methods do and raise."""

    def __init__(self, url: str) -> None:
        self._db = _client(url, self._on_connect)
        shown = self._db.connection_pool.connection_kwargs
        self._password = str(shown.get("password") or "")
        place = shown.get("path") or f"{shown.get('host', 'localhost')}:{shown.get('port', 6379)}"
        self._where = f"Redis database {shown.get('db') or 0} at {place}"
        try:
            with self._translated():
                self._check_version()
        except BaseException:
            self.close()
            raise

    # ---- the table ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None where there is none."""
        with self._translated():
            stored: Any = self._db.hget(_VALUES, key)
        return None if stored is None else checked(key, stored, self._where)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        with self._translated():
            keys: Any = self._db.zrangebylex(_ORDER, b"[" + low, b"(" + high, start=0, num=limit)
            stored: Any = self._db.hmget(_VALUES, keys) if keys else []
        # Between the two, another process may have deleted some: they are not there.
        found = zip(keys, stored, strict=True)
        return [(key, checked(key, each, self._where)) for key, each in found if each is not None]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        check_limit(limit)
        with self._translated():
            keys: Any = self._db.zrangebylex(_ORDER, b"[" + low, b"(" + high, start=0, num=limit)
        return list(keys)

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch` in one transaction, and wait until the server's disk has it."""
        deadline = time.monotonic() + WAIT_S
        with self._translated(), self._db.pipeline(transaction=True) as pipeline:
            while time.monotonic() < deadline:
                try:
                    self._try(pipeline, batch)
                except exceptions.WatchError:  # another process wrote: look at the fences again
                    continue
                return
        raise StoreUnavailableError(
            f"the store in {self._where} is written to by too many: no commit in {WAIT_S:g} s. "
            "Give some of the runs another store"
        )

    def _try(self, pipeline: Pipeline, batch: WriteBatch) -> None:
        deleted: list[bytes] = []
        if batch.fences or batch.deletions:
            pipeline.watch(_VALUES, _ORDER)
            if batch.fences:
                check_fences(batch, self._fenced(pipeline, batch), self._where)
            for low, high in batch.deletions:
                deleted += pipeline.zrangebylex(_ORDER, b"[" + low, b"(" + high)
        pipeline.multi()
        if deleted:
            pipeline.zrem(_ORDER, *deleted)
            pipeline.hdel(_VALUES, *deleted)
        if batch.puts:
            pipeline.zadd(_ORDER, dict.fromkeys(batch.puts, 0))
            pipeline.hset(_VALUES, mapping={key: seal(key, value) for key, value in batch.puts.items()})
        pipeline.execute()

    def _fenced(self, pipeline: Pipeline, batch: WriteBatch) -> dict[bytes, bytes | None]:
        stored = pipeline.hmget(_VALUES, list(batch.fences))
        return {
            key: None if each is None else checked(key, each, self._where)
            for key, each in zip(batch.fences, stored, strict=True)
        }

    def notes(self) -> tuple[str, ...]:
        """Return nothing: the server keeps its own log of what it found."""
        return ()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # ---- opening -----------------------------------------------------------------------------------------

    def _on_connect(self, connection: Any) -> None:
        """Greet the server, and check it: since the last connection it may have been set up otherwise."""
        connection.on_connect()
        try:
            self._demand_durability(connection)
        except StoreError:
            connection.disconnect()  # the driver does this for its own errors only
            raise

    def _demand_durability(self, connection: Any) -> None:
        """Refuse a server that may lose what it acknowledged, or forget it when memory is short."""
        try:
            shown = {name: _setting(connection, name) for name in _DEMANDED}
        except exceptions.ResponseError as error:
            raise StoreError(
                f"whether {self._where} keeps what it acknowledges cannot be checked, for it does not allow "
                f"CONFIG GET ({self._said(error)}). Allow it to this user: ACL SETUSER name +config|get"
            ) from None
        wrong = {name: value for name, value in shown.items() if value != _DEMANDED[name]}
        if wrong:
            lines = "\n".join(f"{name} {_DEMANDED[name]}" for name in wrong)
            has = ", ".join(f"{name} {value}" for name, value in wrong.items())
            raise StoreError(
                f"{self._where} may lose what it acknowledged ({has}). Set in its configuration, and restart "
                f"it:\n{lines}"
            )

    def _check_version(self) -> None:
        self._db.set(_VERSION, VERSION, nx=True)
        found = int(self._db.get(_VERSION) or 0)
        if found > VERSION:
            raise StoreError(
                f"the store in {self._where} has format version {found}; this Headrace reads up to "
                f"{VERSION}. Use the newer Headrace, or name another database (store.url)"
            )

    # ---- errors ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (exceptions.RedisError, OSError) as error:
            raise self._error(error) from None  # the driver's errors may hold the address

    def _error(self, error: exceptions.RedisError | OSError) -> StoreError:
        said = self._said(error)
        refused = isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError)
        passing = isinstance(error, _PASSING_ERRORS) or said.startswith(_PASSING_CODES)
        if passing and not refused:
            return StoreUnavailableError(
                f"the store in {self._where} cannot be used now: {said}. Check that the server runs, can be "
                "reached from here, and has memory and disk space"
            )
        return StoreError(
            f"the store in {self._where} cannot be used: {said}. Check store.url and its rights"
        )

    def _said(self, error: Exception) -> str:
        said = " ".join(str(error).split()).rstrip(".")
        _, _, said = said.rpartition("caused error: ")  # before it, a pipeline quotes the command's values
        return said.replace(self._password, "***") if self._password else said


def _setting(connection: Any, name: str) -> str:
    """Return a setting of the server; empty where it does not know it."""
    connection.send_command("CONFIG", "GET", name)
    answer = connection.read_response()
    values = list(answer.values()) if isinstance(answer, dict) else answer[1::2]
    return values[0].decode() if values else ""


def _client(url: str, on_connect: Callable[[Any], None]) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=WAIT_S,
            socket_connect_timeout=WAIT_S,
            retry=Retry(NoBackoff(), 0),  # who repeats a commit has to know that it is a repetition
            single_connection_client=False,
            max_connections=1,
            redis_connect_func=on_connect,
        )
    except ValueError:  # its message may quote the password
        raise ConfigError(
            "store.url is no address of Redis; write redis://user:password@host:port/0"
        ) from None
