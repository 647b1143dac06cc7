"""File systems below a root: match patterns and read files.

Rule 1: A local file is opened only below the root, whatever the values of a task and the links are. The links
    are resolved first. Then each step is opened without following links, so that a link that was created
    meanwhile results in an error.
Rule 2: A file that changes during the read results in an error.
Rule 3: A folder that cannot be listed results in an error. (`glob` of the standard library skips it.)

All methods block and must be called in a thread. They raise OSError for errors of the system and
`SourceError` for violations of these rules.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import posixpath
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actors.core.errors import ConfigError, HeadraceError, SourceError, SourceUnavailableError
from actors.runtime.extras import explained
from actors.runtime.local_files import read_beneath, read_up_to

_WILDCARD = re.compile(r"[*?\[]")


class Tree(Protocol):
    """The interface to a file system. `until` is the deadline of the fetch, by `time.monotonic`."""

    def match(self, pattern: str, most: int, until: float) -> list[str]:
        """Return the paths of at most `most` files that match, sorted and relative to the root.

        `pattern` may contain ``*``, ``?``, ``[]`` and, as a whole segment, ``**`` for any depth.
        """
        ...

    def read(self, path: str, size: int, until: float) -> bytes:
        """Return up to `size` bytes of the file at `path`, a result of `match`."""
        ...

    def location(self, path: str) -> str:
        """Return where `path`, a result of `match`, is: a path as that of the root is written, or a URL."""
        ...


class LocalTree:
    """The local file system. Patterns and the root are relative to the working directory.

    The path of the root may contain links, since it is configuration.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def match(self, pattern: str, most: int, until: float) -> list[str]:  # noqa: ARG002 - it does not wait
        """Return the matches. A folder matches only a pattern without wildcards; reading it then fails."""
        root = Path(os.path.realpath(self._root))
        start = Path("/" if pattern.startswith("/") else ".")
        segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
        found = _matches(start, segments)
        if _WILDCARD.search(pattern):
            found = (path for path in found if not path.is_dir())
        return sorted({self._relative(path, root) for path in itertools.islice(found, most)})

    def read(self, path: str, size: int, until: float) -> bytes:  # noqa: ARG002 - it does not wait
        """Return up to `size` bytes. Raises `SourceError` if links lead out of the root."""
        root, real = self._resolved(path)
        return read_beneath(root, real, size, shown_name(path))

    def location(self, path: str) -> str:
        """Return the path from the working directory, or an absolute one. Raises as `read`."""
        self._resolved(path)
        return os.path.normpath(os.path.join(self._root, path))  # noqa: PTH118 - a Path keeps ".."

    def _resolved(self, path: str) -> tuple[Path, Path]:
        """Return the root and `path` without links. Raises `SourceError` if they lead out of the root."""
        root = Path(os.path.realpath(self._root))
        real = Path(os.path.realpath(root / path, strict=True))
        if not real.is_relative_to(root):
            raise SourceError(f"{shown_name(path)} leads out of the root {self._root}")
        return root, real

    def _relative(self, path: Path, root: Path) -> str:
        """Return `path` relative to `root`. Does not resolve a link at its end; `read` does."""
        named = Path(os.path.normpath(path.absolute()))
        for candidate in (named, Path(os.path.realpath(path.parent)) / path.name):
            if candidate.is_relative_to(root):
                return candidate.relative_to(root).as_posix()
        raise SourceError(f"{shown_name(str(path))} leads out of the root {self._root}")


@dataclass(eq=False, slots=True)
class _RemoteConnection:
    """A file system, created on first use, and a lock that allows only one thread to use it."""

    lock: threading.Lock | None
    files: Any = None


class RemoteTree:
    """A remote file system, through fsspec. Checks only names, because it cannot detect links.

    url: a folder in the file system.
    root: the root, by default that folder.
    options: passed to the constructor of the file system. It connects, so it is called on first use, and
    again after an error.

    Raises `ConfigError` if the package is not installed, and on first use if the options are invalid.
    """

    def __init__(self, url: str, root: str | None, options: Mapping[str, Any]) -> None:
        self._url = url
        self._options = options
        import fsspec  # noqa: PLC0415 - loading it takes as long as checking a configuration

        try:
            kind = fsspec.get_filesystem_class(fsspec.core.split_protocol(url)[0])
            self._folder = fsspec.core.strip_protocol(url)
            named_root = self._folder if root is None else fsspec.core.strip_protocol(root)
        except (ImportError, ValueError) as error:
            reason = explained(error, "it") if isinstance(error, ImportError) else error
            raise ConfigError(f"the file system of {url} cannot be used: {reason}") from error
        self._is_absolute = kind.root_marker == "/"
        self._root = self._normal(named_root)
        self._is_async = bool(kind.async_impl)
        self._connection = self._new_connection()

    def match(self, pattern: str, most: int, until: float) -> list[str]:
        """Return the matches of `pattern`, which is relative to `url`."""
        full = self._normal(posixpath.join(self._folder, pattern))
        with self._files(pattern, until) as files:
            # fsspec caches listings; without this a file written since the last fetch would be missed.
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
                data = read_up_to(file, size)
            length = files.info(full)["size"]
        if length is not None and min(length, size) != len(data):
            raise SourceUnavailableError(f"{shown_name(path)} changed while it was read")
        return data

    def location(self, path: str) -> str:
        """Return the URL."""
        protocol = self._url.partition("://")[0].lower()
        return f"{protocol}://{posixpath.join(self._root, path).lstrip('/')}"

    @contextlib.contextmanager
    def _files(self, path: str, until: float) -> Iterator[Any]:
        """Yield the connected file system. After an error the next use reconnects."""
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
            except Exception as error:  # file systems define further errors, e.g. those of FTP are no OSError
                connection.files = None
                text = f"{shown_name(path)} cannot be read now: {type(error).__name__}: {error}"
                raise SourceUnavailableError(text) from error

    @contextlib.contextmanager
    def _taken(self, path: str, until: float) -> Iterator[_RemoteConnection]:
        """Yield the connection, locked for this thread.

        A call of fsspec may hang and keep its connection. So the wait for the lock ends with the fetch, and
        the next fetch creates another connection. Without this one hung call would block the source.
        """
        connection = self._connection
        if connection.lock is None:
            yield connection
            return
        if not connection.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            if self._connection is connection:
                self._connection = self._new_connection()
            text = (
                f"{shown_name(path)} cannot be read now: another read has not ended; the next one reconnects"
            )
            raise SourceUnavailableError(text)
        try:
            yield connection
        finally:
            connection.lock.release()

    def _new_connection(self) -> _RemoteConnection:
        # Two threads must not use one connection at once. An asynchronous file system is thread-safe.
        return _RemoteConnection(None if self._is_async else threading.Lock())

    def _connected(self) -> Any:
        import fsspec  # noqa: PLC0415 - see `__init__`

        try:
            # Without `skip_instance_cache` fsspec would return an instance with a broken connection.
            return fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **self._options)[0]
        except (ImportError, ValueError, TypeError) as error:
            # Omits the text of the error: constructors may quote the options, including passwords.
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
    r"""Return a path as text, with ``\xff`` for a byte that is not UTF-8.

    Python represents such bytes as lone surrogates, which neither the store nor a terminal can write.
    """
    try:
        return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a remote file system may return any surrogate
        return path.encode(errors="backslashreplace").decode()


def _matches(folder: Path, segments: Sequence[str]) -> Iterator[Path]:
    """Yield the paths below `folder` that match `segments`, with the names of each folder sorted."""
    if not segments:
        yield folder
        return
    first, rest = segments[0], segments[1:]
    if first == "**":
        yield from _matches(folder, rest)
        for entry in _entries(folder):
            # Links are not followed: a link to a parent folder would make the tree infinite.
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
