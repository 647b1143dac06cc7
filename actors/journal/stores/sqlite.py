"""A store in one SQLite file, which several processes of one machine may share.

Every commit is on the disk when it returns (write-ahead log, synchronous=FULL). `application_id` identifies
the file as a store, and `user_version` holds its format version. Other files are refused before anything in
them is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.core.errors import StoreError, StoreUnavailableError
from actors.journal.stores.base import WriteBatch, check_fences, check_limit, checked, seal
from actors.journal.stores.file_access import check_access, trusted_users

if TYPE_CHECKING:
    from actors.journal.stores.sqlite_wal import Tail

APPLICATION_ID = 0x48656164  # "Head", in the file's header
BUSY_S = 10.0  # how long a commit waits for commits of other processes
_CHECKPOINT_PAGES = 4000  # of 4 kB: with fewer, hot pages are copied more often; more slow the next opening
_CACHE_KB = 8_192  # per connection: the active pages of a run and the inner pages of a table of gigabytes
_SMALLEST_BYTES = 512  # the smallest page size, and so the smallest database

Migration = Callable[[sqlite3.Connection], Any]

# Each upgrades a file from the version of its index to the next. A released migration never changes.
MIGRATIONS: tuple[Migration, ...] = (
    lambda connection: connection.execute(
        "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"
    ),
)

# One statement reads one consistent state: another process may be creating the store.
_IDENTITY = """
SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
FROM pragma_application_id, pragma_user_version
"""
_GET = "SELECT v FROM kv WHERE k = ?"
_SCAN = "SELECT k, v FROM kv WHERE k >= ? AND k < ? ORDER BY k LIMIT ?"
_SCAN_KEYS = "SELECT k FROM kv WHERE k >= ? AND k < ? ORDER BY k LIMIT ?"
_DELETE = "DELETE FROM kv WHERE k >= ? AND k < ?"
_PUT = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "it is not writable: check the permissions of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its directory exists and is writable",
    sqlite3.SQLITE_PERM: "access was denied: check the permissions of the file and its directory",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: check its health, its quota and free space",
    sqlite3.SQLITE_BUSY: f"another process locked it for more than {BUSY_S:g} s: end that process, or wait",
    sqlite3.SQLITE_LOCKED: "another connection locks it: end that process, or wait",
    sqlite3.SQLITE_PROTOCOL: "it could not be locked: it must be on a local disk, not on a network drive",
    sqlite3.SQLITE_NOMEM: "out of memory: free some",
}  # temporary errors and their remedies
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteStore:
    """One connection to one file. `Store` documents the methods and their errors."""

    def __init__(self, path: str, *, beside: SqliteStore | None = None, may_lock: bool = False) -> None:
        """Open `path`, and create it if it is missing. `beside` is an open store on the same file, if any.

        `may_lock`: the store is only read. Where the disk is too full for the memory that connections share,
        lock the file.
        """
        self._path = Path(path)
        self._notes: list[str] = []
        self._file: tuple[int, int] | None = None
        self._place = self._path.absolute()  # the working directory may change
        if beside is None:
            self._make_directory()
            note = check_access(self._path, self._place.stat(), trusted_users())
            self._notes += [] if note is None else [note]
        else:
            beside.check_place()  # in a new, empty file no query would find the run
        may_be_torn = self._check_log() is not None
        self._refuse_fragment()
        with self._translated():
            self._db = self._connected()
        try:
            with self._translated():
                self._set_up_or_lock() if may_lock else self._set_up()
                if may_be_torn and self._note_torn_tail() and not may_lock:
                    # Restart the log, so that the note is given once. On a full disk this would fail.
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            # Not before: a file from a container's image gets another inode when it is opened for writing.
            self._file = self._found() if beside is None else beside.file
            self.check_place()
        except BaseException:
            self._db.close()
            raise

    # ---- the table ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        with self._translated():
            row = self._db.execute(_GET, (key,)).fetchone()
        return None if row is None else checked(key, row[0], str(self._path))

    def scan(self, low: bytes, high: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs of [low, high) in ascending order of keys."""
        check_limit(limit)
        with self._translated():
            rows = self._db.execute(_SCAN, (low, high, limit)).fetchall()
        return [(key, checked(key, stored, str(self._path))) for key, stored in rows]

    def scan_keys(self, low: bytes, high: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys of [low, high) in ascending order, without their values."""
        check_limit(limit)
        with self._translated():
            return [key for (key,) in self._db.execute(_SCAN_KEYS, (low, high, limit))]

    def commit(self, batch: WriteBatch) -> None:
        """Apply `batch` to the file at the store's path. On return it is on the disk."""
        self.check_place()
        with self._translated(), self._transaction():
            check_fences(batch, {key: self.get(key) for key in batch.fences}, str(self._path))
            if batch.deletions:
                self._db.executemany(_DELETE, batch.deletions)
            self._db.executemany(_PUT, [(key, seal(key, batch.puts[key])) for key in sorted(batch.puts)])
        self.check_place()  # else a commit to a file that was just deleted would be acknowledged

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[SqliteStore]:
        """Yield this store within one read transaction. Other connections may commit meanwhile.

        Until the end, the log keeps what they commit.
        """
        with self._translated(), self._transaction("DEFERRED"):
            self._db.execute(_GET, (b"",)).fetchone()  # the transaction begins with its first read
            yield self

    @property
    def file(self) -> tuple[int, int] | None:
        """The device and the inode of the open file."""
        return self._file

    def check_place(self) -> None:
        """Raise unless the open file is at its path: SQLite writes to a deleted file without an error.

        Raises `StoreUnavailableError` if there is no file, since it may be moved back, and `StoreError` if
        there is another one.
        """
        found = self._found()
        if found is None:
            raise StoreUnavailableError(_moved(self._path))
        if found != self._file:
            raise StoreError(
                f"the file at {self._path} is not the open store: the store was moved or deleted and "
                "replaced by another file. Stop the run, remove that file, move the store back with its "
                "-wal file, and resume the run"
            )

    def notes(self) -> tuple[str, ...]:
        """Return findings from opening the file, as sentences."""
        return tuple(self._notes)

    def close(self) -> None:
        """Close the file. The last connection to close moves the contents of the log into it."""
        self._db.close()

    # ---- opening -----------------------------------------------------------------------------------------

    def _make_directory(self) -> None:
        try:
            missing = [each for each in self._path.parents if not each.exists()]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for made in missing:
                made.chmod(0o700)
                _sync_directory(made.parent)  # else a power cut could remove the new directory
            # The store contains prompts and answers. SQLite gives its log the permissions of the file.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailableError(
                f"the store {self._path} cannot be created: {error.strerror} ({error.filename}). "
                "Check the directory and its permissions, or name another path (store.path)"
            ) from error

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._place.as_uri()}?mode=rw",  # by default SQLite creates a missing file
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )

    def _set_up_or_lock(self) -> None:
        try:
            self._set_up()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
                raise
            self._db.close()  # the locking mode of a connection that has failed cannot be changed
            self._db = self._connected()
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # needs no shared memory
            self._set_up()

    def _set_up(self) -> None:
        """Identify the file, or initialise it if it is empty, and then configure the connection."""
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        if self._version() < len(MIGRATIONS):
            with self._transaction():
                reached = self._version()  # another process may have upgraded the file meanwhile
                for version in range(reached, len(MIGRATIONS)):
                    MIGRATIONS[version](self._db)
                    self._db.execute(f"PRAGMA user_version = {version + 1}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._use_log()
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def _version(self) -> int:
        """Return the version of the file, 0 if it is empty. Raises `StoreError` if it is not a store."""
        application, version, tables = map(int, self._db.execute(_IDENTITY).fetchone())
        if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
            raise StoreError(
                f"{self._path} is a database of another program (application_id {application} at byte 68), "
                "not a store of Headrace. Name another path (store.path)"
            )
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self._path} has format version {version}; this Headrace reads up to {len(MIGRATIONS)}. "
                "Use the newer Headrace that wrote it, or name another path (store.path)"
            )
        return version

    def _use_log(self) -> None:
        """Switch to the write-ahead log. If another process does the same, SQLite raises without waiting."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                with self._transaction("EXCLUSIVE"):
                    continue  # the beginning of this transaction waited for the other processes
            if mode != "wal":
                raise StoreError(
                    f"{self._path} cannot have a write-ahead log (SQLite keeps it in mode {mode}): it must "
                    "be on a local disk. Name another path (store.path)"
                )
            return

    # ---- damage ------------------------------------------------------------------------------------------

    def _check_log(self) -> Tail | None:
        """Return the tail of the log that SQLite will drop. Raises if that includes acknowledged commits."""
        log = self._log_path()
        try:
            tail = _unreadable_tail(log)
            # A tail that differs when it is read again is a commit in progress by another process.
            if tail is None or not tail.stood or tail != _unreadable_tail(log):
                return tail
        except OSError as error:
            raise StoreUnavailableError(
                f"the store's log {log} cannot be read: {error.strerror}. Check its permissions and the disk"
            ) from error
        raise StoreError(
            f"{log} is damaged at byte {tail.at}: the commits from there to its end cannot be read. "
            "Restore the store from a backup; or, to continue without those commits, shorten the file: "
            f"truncate --size={tail.at} '{log}'"
        )

    def _note_torn_tail(self) -> bool:
        """Add a note about a torn commit. Returns whether there is one."""
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            with self._transaction():  # no other process is committing now
                tail = _unreadable_tail(self._log_path())
        except sqlite3.OperationalError as error:
            if _primary(error) != sqlite3.SQLITE_BUSY:
                raise
            tail = None  # the tail is a commit in progress by another process
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        if tail is None:
            return False
        self._notes.append(
            f"{self._log_path()}: dropped {tail.length} bytes at byte {tail.begins}, of a commit "
            "that a crash or a full disk interrupted; it was not acknowledged"
        )
        return True

    def _refuse_fragment(self) -> None:
        """Raise for a file shorter than any database: SQLite would treat it as empty and overwrite it."""
        unfinished = _size(self._path.with_name(f"{self._path.name}-journal")) > 0  # SQLite rolls it back
        if 0 < _size(self._path) < _SMALLEST_BYTES and not unfinished:
            raise StoreError(f"{self._no_database()}. Name another path (store.path)")

    def damages(self) -> tuple[str, ...]:
        """Read the whole file, some seconds per gigabyte, and return the damages, as sentences."""
        damages = []
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check(20)")]
            damages += [] if found == ["ok"] else [self._damage(message) for message in found]
            for key, stored in self._db.execute("SELECT k, v FROM kv ORDER BY k"):
                try:
                    checked(key, stored, str(self._path))
                except StoreError as error:
                    damages.append(str(error))
        except sqlite3.Error as error:
            if _primary(error) not in _DAMAGED:
                raise self._error(error) from error
            damages.append(str(self._error(error)))
        return tuple(damages)

    def _locate(self, error: sqlite3.Error) -> str:
        """Return the first damage that a check of the file's structure finds, as a clause."""
        if _primary(error) == sqlite3.SQLITE_NOTADB:
            return self._no_database()
        with contextlib.suppress(sqlite3.Error):  # too damaged to be checked
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
            return self._damage(str(error) if found == "ok" else found)
        with contextlib.suppress(sqlite3.Error):  # this lets SQLite read a truncated file
            self._db.execute("PRAGMA writable_schema = ON")
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return f"{self._path} is damaged at byte {_size(self._path)}: it ends there, before its last page"
        return f"{self._path} is damaged ({error})"

    def _damage(self, found: str) -> str:
        page = re.search(r"\bpage (\d+)", found, re.IGNORECASE)
        place = f" at byte {(int(page[1]) - 1) * self._pragma('page_size')}" if page else ""
        return f"{self._path} is damaged{place} ({' '.join(found.split())})"

    def _no_database(self) -> str:
        return f"{self._path} is not a store of Headrace: at byte 0 there is no SQLite header"

    def _log_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _found(self) -> tuple[int, int] | None:
        """Return the device and the inode of the file at the path, None if there is none."""
        try:
            found = self._place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailableError(
                f"the store {self._path} cannot be accessed: {error.strerror}. "
                "Check its directory and its permissions"
            ) from error
        return found.st_dev, found.st_ino

    # ---- SQLite ------------------------------------------------------------------------------------------

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # some errors end it, others leave it open
                self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> StoreError:
        code = _primary(error)
        if code in _DAMAGED:
            return StoreError(
                f"{self._locate(error)}. Restore it from a backup, or name another path (store.path)"
            )
        moved = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_DBMOVED
        if moved:
            return StoreUnavailableError(_moved(self._path))
        if code in _ADVICE:
            return StoreUnavailableError(
                f"the store {self._path} cannot be used now: {_ADVICE[code]} ({error})"
            )
        return StoreError(f"the store {self._path} cannot be used: {error}")


def _primary(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, None for an error that the Python module raised."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _moved(path: Path) -> str:
    return (
        f"the store {path} was moved or deleted while it was open. If it was moved, put it back with its "
        "-wal file. If it was deleted, stop the run and restore the store from a backup"
    )


def _unreadable_tail(log: Path) -> Tail | None:
    try:
        if not log.stat().st_size:
            return None
    except FileNotFoundError:
        return None
    # This loads numpy, which takes 0.1 s; a store that was closed normally has no log.
    from actors.journal.stores.sqlite_wal import unreadable_tail  # noqa: PLC0415

    return unreadable_tail(log)


def _size(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
