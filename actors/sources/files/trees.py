"""File systems below a root: what matches a pattern, and the bytes of one file.

Rule 1: a local file is opened below the root only, whatever a task's values and links say. The links are
resolved first, then every step is opened without following links, so that a link exchanged meanwhile is
met with an error and not followed.
Rule 2: what was read is what the file was: a file that changes during the read is an error.
Rule 3: nothing that cannot be read passes for nothing. (The standard library's `glob` skips what it may
not list.)

All methods block; who calls them does so in a thread. They raise OSError for what the system refuses, and
`SourceError` for what is refused here.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import posixpath
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec

from actors.core.errors import ConfigError, HeadraceError, SourceError, SourceUnavailableError

_WILDCARD = re.compile(r"[*?\[]")


class Tree(Protocol):
    """A file system as far as a source needs it. `until` is when the fetch ends, by `time.monotonic`."""

    def match(self, pattern: str, most: int, until: float) -> list[str]:
        """Return the sorted paths, relative to the root, of the files that match; at most `most`.

        `pattern` knows ``*``, ``?``, ``[]`` and, as a whole segment, ``**`` for any depth.
        """
        ...

    def read(self, path: str, size: int, until: float) -> bytes:
        """Return up to `size` bytes of the file at `path`, as `match` named it."""
        ...


class LocalTree:
    """A disk. Patterns are relative to the working directory, as the root is.

    The root's own path may hold links, since it is configuration.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def match(self, pattern: str, most: int, until: float) -> list[str]:  # noqa: ARG002 - no turn is waited for
        """Return what matches. A folder matches only where nothing is a wildcard; reading it then fails."""
        root = Path(os.path.realpath(self._root))
        start = Path("/" if pattern.startswith("/") else ".")
        segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
        found = _matches(start, segments)
        if _WILDCARD.search(pattern):
            found = (path for path in found if not path.is_dir())
        return sorted({self._relative(path, root) for path in itertools.islice(found, most)})

    def read(self, path: str, size: int, until: float) -> bytes:  # noqa: ARG002 - no turn is waited for
        """Return up to `size` bytes. Raises `SourceError` where links lead out of the root."""
        root = Path(os.path.realpath(self._root))
        real = Path(os.path.realpath(root / path, strict=True))
        if not real.is_relative_to(root):
            raise SourceError(f"{shown_name(path)} leads out of the root {self._root}")
        descriptor = _open_beneath(root, real.relative_to(root).parts)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise SourceError(f"{shown_name(path)} is not a regular file")
            data = _read_up_to(file, size)
            after = os.fstat(descriptor)
        cut_off = len(data) < min(before.st_size, size)
        if cut_off or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise SourceUnavailableError(f"{shown_name(path)} changed while it was read")
        return data

    def _relative(self, path: Path, root: Path) -> str:
        """Return where `path` stands below `root`; its last link is left in place, for `read` to resolve."""
        named = Path(os.path.normpath(path.absolute()))
        for candidate in (named, Path(os.path.realpath(path.parent)) / path.name):
            if candidate.is_relative_to(root):
                return candidate.relative_to(root).as_posix()
        raise SourceError(f"{shown_name(str(path))} leads out of the root {self._root}")


@dataclass(eq=False, slots=True)
class _RemoteConnection:
    """A file system, made at its first use, and the lock that gives it to one thread at a time."""

    turn: threading.Lock | None
    files: Any = None


class RemoteTree:
    """Whatever fsspec reaches. Names are all there is to check: links cannot be seen from here.

    `url` is a folder in the file system, and `root` (None: that folder) the root; `options` go to its
    constructor, which connects: so it is called at the first use, and again after an error. Raises
    `ConfigError` where the package is not installed, or, when used, where the options do not fit.
    """

    def __init__(self, url: str, root: str | None, options: Mapping[str, Any]) -> None:
        self._url = url
        self._options = options
        try:
            kind = fsspec.get_filesystem_class(fsspec.core.split_protocol(url)[0])
            self._folder = fsspec.core.strip_protocol(url)
            named_root = self._folder if root is None else fsspec.core.strip_protocol(root)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"the file system of {url} cannot be used: {error}") from error
        self._is_absolute = kind.root_marker == "/"
        self._root = self._normal(named_root)
        self._is_async = bool(kind.async_impl)
        self._connection = self._new_connection()

    def match(self, pattern: str, most: int, until: float) -> list[str]:
        """Return what matches `pattern`, which is relative to `url`."""
        full = self._normal(posixpath.join(self._folder, pattern))
        with self._files(pattern, until) as files:
            # fsspec caches listings; without this a file written since the last fetch would not be seen.
            files.invalidate_cache()
            found = files.glob(full, detail=True)
        paths = sorted(
            path for path, info in found.items() if info["type"] == "file" or not _WILDCARD.search(pattern)
        )
        return [self._relative(path) for path in paths[:most]]

    def read(self, path: str, size: int, until: float) -> bytes:
        """Return up to `size` bytes."""
        full = posixpath.join(self._root, path)
        with self._files(path, until) as files:
            with files.open(full, "rb") as file:
                data = _read_up_to(file, size)
            length = files.info(full)["size"]
        if length is not None and min(length, size) != len(data):
            raise SourceUnavailableError(f"{shown_name(path)} changed while it was read")
        return data

    @contextlib.contextmanager
    def _files(self, path: str, until: float) -> Iterator[Any]:
        """Yield the file system, connected. After an error the next use connects anew."""
        with self._taken(path, until) as connection:
            try:
                if connection.files is None:
                    connection.files = self._connected()
                yield connection.files
            except (FileNotFoundError, HeadraceError):
                raise
            except OSError:
                connection.files = None
                raise
            except Exception as error:  # each file system has errors of its own: FTP's are no OSError
                connection.files = None
                text = f"{shown_name(path)} cannot be read now: {type(error).__name__}: {error}"
                raise SourceUnavailableError(text) from error

    @contextlib.contextmanager
    def _taken(self, path: str, until: float) -> Iterator[_RemoteConnection]:
        """Yield the connection to this thread alone.

        A call of fsspec may hang for ever, and then keeps its connection. So the wait for it ends with the
        fetch, and the next fetch makes another connection. Without this one hung call would shut the source.
        """
        connection = self._connection
        if connection.turn is None:
            yield connection
            return
        if not connection.turn.acquire(timeout=max(0.0, until - time.monotonic())):
            if self._connection is connection:
                self._connection = self._new_connection()
            text = (
                f"{shown_name(path)} cannot be read now: another read has not ended; the next one reconnects"
            )
            raise SourceUnavailableError(text)
        try:
            yield connection
        finally:
            connection.turn.release()

    def _new_connection(self) -> _RemoteConnection:
        # Two threads must not use one connection at once; an asynchronous file system sees to that itself.
        return _RemoteConnection(None if self._is_async else threading.Lock())

    def _connected(self) -> Any:
        try:
            # Else fsspec would give back an instance whose connection is broken.
            return fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **self._options)[0]
        except (ImportError, ValueError, TypeError) as error:
            # The error's own text is left out: constructors like to quote the options, passwords included.
            reason = str(error) if isinstance(error, ImportError) else type(error).__name__
            raise ConfigError(f"the file system of {self._url} cannot be used: {reason}") from error

    def _normal(self, path: str) -> str:
        absolute = "/" + path.lstrip("/") if self._is_absolute else path
        return posixpath.normpath(absolute) if absolute else ""

    def _relative(self, path: str) -> str:
        normal = self._normal(path)
        prefix = self._root.rstrip("/") + "/" if self._root else ""
        if not normal.startswith(prefix) or normal.startswith("../"):
            raise SourceError(f"{shown_name(str(path))} leads out of the root {self._root}")
        return normal[len(prefix) :]


def shown_name(path: str) -> str:
    r"""Return a path as text; a byte that is no UTF-8 appears as ``\xff``.

    Python keeps such bytes as halves of characters, which neither the store nor a terminal can write.
    """
    try:
        return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a distant file system may give any half
        return path.encode(errors="backslashreplace").decode()


def _matches(folder: Path, segments: Sequence[str]) -> Iterator[Path]:
    """Yield what matches `segments` below `folder`, the names of each folder in sorted order."""
    if not segments:
        yield folder
        return
    first, rest = segments[0], segments[1:]
    if first == "**":
        yield from _matches(folder, rest)
        for entry in _entries(folder):
            # Links are not descended into: a link upwards would make the tree endless.
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _matches(folder / entry.name, segments)
    elif _WILDCARD.search(first):
        for entry in _entries(folder):
            hidden = entry.name.startswith(".") and not first.startswith(".")
            if not hidden and fnmatch.fnmatchcase(entry.name, first) and (not rest or entry.is_dir()):
                yield from _matches(folder / entry.name, rest)
    elif _exists(folder / first):
        yield from _matches(folder / first, rest)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _open_beneath(root: Path, parts: Sequence[str]) -> int:
    """Open the file at `parts` below `root` for reading and return its descriptor; no link is followed.

    Without this a folder could be exchanged for a link between the check of a path and its opening.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in parts[:-1]:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        name = parts[-1] if parts else "."
        # Without O_NONBLOCK opening a pipe would wait for a writer, for ever.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _read_up_to(file: Any, size: int) -> bytes:
    chunks: list[bytes] = []
    missing = size
    while missing > 0 and (chunk := file.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)
