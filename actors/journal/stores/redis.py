"""A store in Redis or Valkey. The server must have an append-only file that it syncs with every write.

A sorted set holds the keys in order, and a hash holds their values. A batch is one MULTI/EXEC, with a WATCH
before its fences are read. When a replica takes over, acknowledged writes that it had not received are lost;
use PostgreSQL if that is not acceptable.
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
WAIT_S = 10.0  # timeout of a connection, a reply, or conflicts with other writers
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
_PASSING_CODES = ("BUSY", "MISCONF", "NOREPLICAS")  # the driver has no classes for these

Pipeline = Any  # redis types a pipeline's commands for the asynchronous client too


class RedisStore:
    """One connection to one database. `Store` documents the methods and their errors."""

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
        """Return the value of `key`, None if there is none."""
        with self._translated():
            stored: Any = self._db.hget(_VALUES, key)
        return None if stored is None else checked(key, stored, self._where)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        with self._translated():
            keys: Any = self._db.zrangebylex(_ORDER, b"[" + low, b"(" + high, start=0, num=limit)
            stored: Any = self._db.hmget(_VALUES, keys) if keys else []
        # Another process may have deleted keys between the two commands.
        found = zip(keys, stored, strict=True)
        return [(key, checked(key, each, self._where)) for key, each in found if each is not None]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        check_limit(limit)
        with self._translated():
            keys: Any = self._db.zrangebylex(_ORDER, b"[" + low, b"(" + high, start=0, num=limit)
        return list(keys)

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch` in one transaction. On return it is on the server's disk."""
        deadline = time.monotonic() + WAIT_S
        with self._translated(), self._db.pipeline(transaction=True) as pipeline:
            while time.monotonic() < deadline:
                try:
                    self._try(pipeline, batch)
                except exceptions.WatchError:  # another process wrote: check the fences again
                    continue
                return
        raise StoreUnavailableError(
            f"the store in {self._where} has too many writers: no commit succeeded in {WAIT_S:g} s. "
            "Move some of the runs to another store"
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
        """Return no notes: the server's log has them."""
        return ()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # ---- opening -----------------------------------------------------------------------------------------

    def _on_connect(self, connection: Any) -> None:
        """Set up a connection and check the server's settings, which may have changed since the last one."""
        connection.on_connect()
        try:
            self._demand_durability(connection)
        except StoreError:
            connection.disconnect()  # the driver disconnects only after its own errors
            raise

    def _demand_durability(self, connection: Any) -> None:
        """Raise `StoreError` for a server that may lose acknowledged writes or evict them from memory."""
        try:
            shown = {name: _setting(connection, name) for name in _DEMANDED}
        except exceptions.ResponseError as error:
            raise StoreError(
                f"the durability of {self._where} cannot be checked, because it does not allow "
                f"CONFIG GET ({self._said(error)}). Allow it for this user: ACL SETUSER name +config|get"
            ) from None
        wrong = {name: value for name, value in shown.items() if value != _DEMANDED[name]}
        if wrong:
            lines = "\n".join(f"{name} {_DEMANDED[name]}" for name in wrong)
            has = ", ".join(f"{name} {value}" for name, value in wrong.items())
            raise StoreError(
                f"{self._where} may lose what it acknowledged ({has}). Add to its configuration and restart "
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
            raise self._error(error) from None  # the driver's errors may contain the address

    def _error(self, error: exceptions.RedisError | OSError) -> StoreError:
        said = self._said(error)
        refused = isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError)
        passing = isinstance(error, _PASSING_ERRORS) or said.startswith(_PASSING_CODES)
        if passing and not refused:
            return StoreUnavailableError(
                f"the store in {self._where} cannot be used now: {said}. Check that the server runs, can be "
                "reached from this host, and has memory and disk space"
            )
        return StoreError(
            f"the store in {self._where} cannot be used: {said}. Check store.url and its user's permissions"
        )

    def _said(self, error: Exception) -> str:
        said = " ".join(str(error).split()).rstrip(".")
        _, _, said = said.rpartition("caused error: ")  # the text before it quotes the command's values
        return said.replace(self._password, "***") if self._password else said


def _setting(connection: Any, name: str) -> str:
    """Return a setting of the server, "" if the server does not have it."""
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
            retry=Retry(NoBackoff(), 0),  # the caller must know that a commit is repeated
            single_connection_client=False,
            max_connections=1,
            redis_connect_func=on_connect,
        )
    except ValueError:  # its message may quote the password
        raise ConfigError(
            "store.url is not an address of Redis; use redis://user:password@host:port/0"
        ) from None
