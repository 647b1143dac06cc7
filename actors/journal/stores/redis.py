"""A store in Redis or Valkey. The server must have an append-only file that it syncs with every write.

A sorted set holds the keys in order, and a hash holds their values. A batch is one MULTI/EXEC, with a WATCH
before its fences are read. When a replica takes over, acknowledged writes that it had not received are lost;
use PostgreSQL if that is not acceptable.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.core.errors import ConfigError, StoreError, StoreUnavailableError
from actors.journal.stores.base import KeyReader, WriteBatch, check_fences, check_limit, checked, seal
from actors.journal.stores.memory import MemoryStore

VERSION = 1
WAIT_S = 10.0  # timeout of a connection, a reply, or conflicts with other writers
COPY_S = 600  # the server deletes the copy for a snapshot after as long without a read
_MOST_MEMORY = 0.9  # of the server: with more, a copy could make it refuse the commits of runs
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
        self._order, self._values = _ORDER, _VALUES
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
            stored: Any = self._db.hget(self._values, key)
        return None if stored is None else checked(key, stored, self._where)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        with self._translated():
            keys = self._keys(low, high, limit)
            stored: Any = self._db.hmget(self._values, keys) if keys else []
        # Another process may have deleted keys between the two commands.
        found = zip(keys, stored, strict=True)
        return [(key, checked(key, each, self._where)) for key, each in found if each is not None]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        check_limit(limit)
        with self._translated():
            return self._keys(low, high, limit)

    def _keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        if self._order != _ORDER and not all(
            self._db.expire(name, COPY_S) for name in (self._order, self._values)
        ):
            raise StoreUnavailableError(
                f"the copy of {self._where} for a snapshot is gone: it was not read for {COPY_S} s, or the "
                "server was restarted. Repeat the command"
            )
        found: Any = self._db.zrangebylex(self._order, b"[" + low, b"(" + high, start=0, num=limit)
        return list(found)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[KeyReader]:
        """Yield a copy that the server makes at one moment, and delete the copy at the end.

        The server answers no other client while it copies. Raises `StoreUnavailableError` if it lacks memory.
        """
        copies = [name + b":" + secrets.token_hex(6).encode() for name in (_ORDER, _VALUES)]
        with self._translated():
            self._demand_memory()
            with self._db.pipeline(transaction=True) as pipeline:
                is_empty = not _copied(pipeline, copies)
        if is_empty:
            yield MemoryStore()
            return
        self._order, self._values = copies
        try:
            yield self
        finally:
            self._order, self._values = _ORDER, _VALUES
            with contextlib.suppress(exceptions.RedisError, OSError, StoreError):  # then it expires
                self._db.unlink(*copies)

    def _demand_memory(self) -> None:
        needed = sum(int(self._db.memory_usage(name, samples=100) or 0) for name in (_ORDER, _VALUES))
        memory: Any = self._db.info("memory")
        most = int(memory["maxmemory"] or memory["total_system_memory"])
        if int(memory["used_memory"]) + needed > most * _MOST_MEMORY:
            raise StoreUnavailableError(
                f"{self._where} cannot copy its rows for a snapshot: that takes {needed / 1e6:,.0f} MB of "
                f"memory, and {int(memory['used_memory']) / 1e6:,.0f} of {most / 1e6:,.0f} MB are used. Give "
                "it more memory, remove old runs with `prune`, or stop the runs and copy the server's files"
            )

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


def _copied(pipeline: Pipeline, copies: Sequence[bytes]) -> bool:
    """Copy both keys at one moment, for a limited time. Return False if there is nothing to copy."""
    for name, copy in zip((_ORDER, _VALUES), copies, strict=True):
        pipeline.copy(name, copy)
        pipeline.expire(copy, COPY_S)
    return bool(pipeline.execute()[0])


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
