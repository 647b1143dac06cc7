"""A store in one SQLite file, which several processes of one machine may share.

Every commit is on the disk when it returns (write-ahead log, synchronous=FULL). The file says what it is
(`application_id`) and of which version (`user_version`); what it cannot be read as is refused before anything
in it is changed.
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

if TYPE_CHECKING:
    from actors.journal.stores.sqlite_wal import Tail

APPLICATION_ID = 0x48656164  # "Head", in the file's header
BUSY_S = 10.0  # how long a commit waits for other processes' commits
_CHECKPOINT_PAGES = 4000  # of 4 kB: fewer would copy hot pages more often, more would slow the next opening
_CACHE_KB = 8_192  # of each connection: a run's pages at work, and the inner ones of a table of gigabytes
_SMALLEST_BYTES = 512  # of a database: one page of the smallest size

Migration = Callable[[sqlite3.Connection], Any]

# Each brings a file from the version of its index to the next. None is ever changed once released.
MIGRATIONS: tuple[Migration, ...] = (
    lambda connection: connection.execute(
        "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"
    ),
)

# In one statement, and so of one moment: another process may be making the store.
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
    sqlite3.SQLITE_READONLY: "it may not be written: check the rights of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its directory exists and may be written",
    sqlite3.SQLITE_PERM: "it may not be opened: check the rights of the file and its directory",
    sqlite3.SQLITE_IOERR: "the disk refused to read or write: check its health, its quota and free space",
    sqlite3.SQLITE_BUSY: f"another process held it for more than {BUSY_S:g} s: end that process, or wait",
    sqlite3.SQLITE_LOCKED: "another connection holds it: end that process, or wait",
    sqlite3.SQLITE_PROTOCOL: "its lock could not be taken: it must lie on a local disk, not on a network's",
    sqlite3.SQLITE_NOMEM: "memory ran out: free some",
}  # what passes, and what makes it pass
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteStore:
    """One connection to one file; see `Store` for what its methods do and raise."""

    def __init__(self, path: str, *, beside: SqliteStore | None = None) -> None:
        """Open `path`, and make it where it is missing. `beside`: an open store, whose file this must be."""
        self._path = Path(path)
        self._notes: list[str] = []
        self._file: tuple[int, int] | None = None
        self._place = self._path.absolute()  # as SQLite has it: the working directory may change
        if beside is None:
            self._make_directory()
        else:
            beside.check_place()  # an empty file made here would answer that the run does not exist
        may_be_torn = self._look_at_log() is not None
        self._refuse_fragment()
        with self._translated():
            self._db = sqlite3.connect(
                f"{self._place.as_uri()}?mode=rw",  # SQLite would make a missing file
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with self._translated():
                self._set_up()
                if may_be_torn:
                    self._note_torn_tail()
            # Only now: a file of a container's image gets another number once it is opened to be written.
            self._file = self._found() if beside is None else beside.file
            self.check_place()
        except BaseException:
            self._db.close()
            raise

    # ---- the table ---------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None where there is none."""
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
        """Apply `batch` and wait until the disk has it, in the file that is at the store's path."""
        self.check_place()
        with self._translated(), self._transaction():
            check_fences(batch, {key: self.get(key) for key in batch.fences}, str(self._path))
            if batch.deletions:
                self._db.executemany(_DELETE, batch.deletions)
            self._db.executemany(_PUT, [(key, seal(key, batch.puts[key])) for key in sorted(batch.puts)])
        self.check_place()  # else what was written to a file that was just deleted would be acknowledged

    @property
    def file(self) -> tuple[int, int] | None:
        """Return which file is open: its device and its number there."""
        return self._file

    def check_place(self) -> None:
        """Raise unless the open file is at its path: SQLite writes to a deleted file without an error.

        `StoreUnavailableError` where there is no file: it may be put back. `StoreError` where there is
        another one.
        """
        found = self._found()
        if found is None:
            raise StoreUnavailableError(_moved(self._path))
        if found != self._file:
            raise StoreError(
                f"another file lies at {self._path} than the store that is open: the store was moved or "
                "deleted, and that file was put in its place. Stop the run, move that file away, put the "
                "store back with its -wal file, and resume the run"
            )

    def notes(self) -> tuple[str, ...]:
        """Return what opening the file found."""
        return tuple(self._notes)

    def close(self) -> None:
        """Close the file; the last to close it moves what its log holds into it."""
        self._db.close()

    # ---- opening -----------------------------------------------------------------------------------------

    def _make_directory(self) -> None:
        try:
            missing = [each for each in self._path.parents if not each.exists()]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for made in missing:
                made.chmod(0o700)
                _sync_directory(made.parent)  # else a power cut could take the new directory with all in it
            # Prompts' data and answers are in it. SQLite gives its log the rights of the file.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailableError(
                f"the store {self._path} cannot be made: {error.strerror} ({error.filename}). "
                "Check the directory and its rights, or name another path (store.path)"
            ) from error

    def _set_up(self) -> None:
        """Recognise the file or make it ours, and only then set anything in it."""
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        if self._version() < len(MIGRATIONS):
            with self._transaction():
                reached = self._version()  # another process may have been faster
                for version in range(reached, len(MIGRATIONS)):
                    MIGRATIONS[version](self._db)
                    self._db.execute(f"PRAGMA user_version = {version + 1}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._use_log()
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def _version(self) -> int:
        """Return the version of the file, 0 for an empty one. Refuses what is not ours to write."""
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
        """Switch to the write-ahead log. SQLite does not wait where another process does the same."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                with self._transaction("EXCLUSIVE"):
                    continue  # beginning one did wait for the others
            if mode != "wal":
                raise StoreError(
                    f"{self._path} cannot have a write-ahead log (SQLite keeps it in mode {mode}): it must "
                    "lie on a local disk. Name another path (store.path)"
                )
            return

    # ---- damage ------------------------------------------------------------------------------------------

    def _look_at_log(self) -> Tail | None:
        """Return what SQLite is going to drop of the log. Refuses a log of which it would drop what stood."""
        log = self._log_path()
        try:
            tail = _unreadable_tail(log)
            if tail is None or not tail.stood or tail != _unreadable_tail(log):  # else a process writes to it
                return tail
        except OSError as error:
            raise StoreUnavailableError(
                f"the store's log {log} cannot be read: {error.strerror}. Check its rights and the disk"
            ) from error
        raise StoreError(
            f"{log} is damaged at byte {tail.at}: what was committed from there to its end cannot be read. "
            "Restore the store from a copy; or, to go on without those commits, shorten the file: "
            f"truncate --size={tail.at} '{log}'"
        )

    def _note_torn_tail(self) -> None:
        """Say that a commit was torn, and begin the log anew, so that it is said once."""
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            with self._transaction():  # nobody else is in the middle of a commit
                tail = _unreadable_tail(self._log_path())
        except sqlite3.OperationalError as error:
            if _primary(error) != sqlite3.SQLITE_BUSY:
                raise
            tail = None  # somebody is: what was seen is his
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        if tail is None:
            return
        self._notes.append(
            f"{self._log_path()}: dropped {tail.length} bytes at byte {tail.begins}, of a commit "
            "that a crash or a full disk interrupted; it had not been acknowledged"
        )
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _refuse_fragment(self) -> None:
        """Refuse a file shorter than any database: SQLite would take it for empty and overwrite it."""
        unfinished = _size(self._path.with_name(f"{self._path.name}-journal")) > 0  # SQLite will undo that
        if 0 < _size(self._path) < _SMALLEST_BYTES and not unfinished:
            raise StoreError(f"{self._no_database()}. Name another path (store.path)")

    def damages(self) -> tuple[str, ...]:
        """Read the whole file, some seconds a gigabyte, and return what is damaged, in sentences."""
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
        """Return where the file is damaged: the first place that a check of its structure finds."""
        if _primary(error) == sqlite3.SQLITE_NOTADB:
            return self._no_database()
        with contextlib.suppress(sqlite3.Error):  # too damaged to be checked
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
            return self._damage(str(error) if found == "ok" else found)
        with contextlib.suppress(sqlite3.Error):  # this lets SQLite look at a file that ends too early
            self._db.execute("PRAGMA writable_schema = ON")
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return f"{self._path} is damaged at byte {_size(self._path)}: it ends there, before its last page"
        return f"{self._path} is damaged ({error})"

    def _damage(self, found: str) -> str:
        page = re.search(r"\bpage (\d+)", found, re.IGNORECASE)
        place = f" at byte {(int(page[1]) - 1) * self._pragma('page_size')}" if page else ""
        return f"{self._path} is damaged{place} ({' '.join(found.split())})"

    def _no_database(self) -> str:
        return f"{self._path} is not a store of Headrace: at byte 0 no SQLite database begins"

    def _log_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _found(self) -> tuple[int, int] | None:
        """Return which file is at the path, None where there is none."""
        try:
            found = self._place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailableError(
                f"the store {self._path} cannot be reached: {error.strerror}. "
                "Check its directory and its rights"
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
                f"{self._locate(error)}. Restore it from a copy, or name another path (store.path)"
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
    """Return the primary result code, None for an error of the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _moved(path: Path) -> str:
    return (
        f"the store {path} was moved or deleted while it was open: put it back, with its -wal file. A "
        "deleted file cannot be put back: stop the run, and restore the store from a copy"
    )


def _unreadable_tail(log: Path) -> Tail | None:
    try:
        if not log.stat().st_size:
            return None
    except FileNotFoundError:
        return None
    # It loads numpy, which takes a tenth of a second: a store that was closed in order has no log.
    from actors.journal.stores.sqlite_wal import unreadable_tail  # noqa: PLC0415

    return unreadable_tail(log)


def _size(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
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
