"""The files of a table while they are written: a local path or an fsspec URL holds all of it, or nothing.

Rule 1: Each writer uses a unique temporary name. A driver that was declared dead and continues cannot
    write into the file of its successor.
Rule 2: The file and its directory are synced before `publish` returns.
Rule 3: A remote file is written on this machine first, and uploaded by `publish` in one step.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from actors.core.censor import Censor
from actors.core.errors import Blame, ConfigError, HeadraceError, text_of
from actors.runtime.extras import explained as missing_extra
from cluster.input.formats import FORMATS, TableFormat, format_of
from cluster.input.local_copy import is_url

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

_BUFFER_BYTES = 256 * 1024


class ResultsError(HeadraceError):
    """Results cannot be written: the disk is full, or the directory is not writable."""

    blame = Blame.CONFIG


class ResultFile(Protocol):
    """A file that does not exist under its name until `publish`. All but `discard` may raise `OSError`."""

    file: IO[bytes]

    def finish(self) -> None:
        """Complete the file without its name. A second call has no effect."""

    def publish(self) -> None:
        """Give the finished file its name, in place of an earlier file."""

    def discard(self) -> None:
        """Delete what is not published."""


class LocalPart:
    """A file beside `path`. `run_id` is the run that writes it, so that its next owner can remove it.

    `mode`, without the bits of the umask, says who may read and write it.
    """

    def __init__(self, path: Path, run_id: str = "", *, mode: int = 0o666) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{_mark(run_id)}{secrets.token_hex(4)}.part")
        # Without the buffer, a write may be partial, which pyarrow does not detect. "x" follows no symbolic
        # link that another user has placed there.
        self.file: IO[bytes] = open(  # noqa: SIM115 - `finish` closes it; a Path takes no opener
            self._temporary, "xb", buffering=_BUFFER_BYTES, opener=partial(os.open, mode=mode)
        )

    def finish(self) -> None:
        """Sync the file under its temporary name. A second call has no effect."""
        if not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Rename the finished file to `path`, replacing an earlier file."""
        self._temporary.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Delete the temporary file. After `publish` this has no effect."""
        # A second error from the same full disk would hide the first.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


class RemotePart:
    """A file at an fsspec URL, kept in a temporary file of this machine until it is uploaded."""

    def __init__(self, url: str) -> None:
        self._filesystem, self._path = filesystem_of(url)
        self.file: IO[bytes] = tempfile.TemporaryFile(buffering=_BUFFER_BYTES)  # noqa: SIM115 - `discard` closes it

    def finish(self) -> None:
        """Write the local file. A second call has no effect."""
        self.file.flush()

    def publish(self) -> None:
        """Upload the file. It appears when all of it has arrived."""
        self.file.seek(0)
        try:
            with self._filesystem.transaction, self._filesystem.open(self._path, "wb") as remote:
                shutil.copyfileobj(self.file, remote, _BUFFER_BYTES)
        except OSError:
            raise
        except Exception as error:
            # Each package of fsspec has its own errors.
            raise OSError(errno.EIO, f"the upload failed: {text_of(error)}") from error
        finally:
            self.file.close()

    def discard(self) -> None:
        """Delete the local file."""
        with contextlib.suppress(OSError):
            self.file.close()


def result_file(target: str, run_id: str = "") -> ResultFile:
    """Return the file for a path or an fsspec URL. Raises `OSError`, or `ConfigError` for an unknown URL.

    See `LocalPart` for `run_id`.
    """
    if not is_url(target):
        return LocalPart(Path(target), run_id)
    return RemotePart(target)


def shown(target: str) -> str:
    """Return a path, or a URL without its secrets, for messages and summaries."""
    if not is_url(target):
        return target
    from cluster.config.secrets import shown_url  # noqa: PLC0415 - loads pydantic

    return shown_url(target)


def _mark(run_id: str) -> str:
    """Return what the parts of a run have in their names. The id itself could make them too long."""
    return f"{hashlib.sha256(run_id.encode()).hexdigest()[:8]}-" if run_id else ""


def target_format(target: str) -> TableFormat:
    """Return the format that the suffix of a path or URL names. Raises `ConfigError`."""
    found = format_of(target)
    if found is None:
        raise ConfigError(f"{shown(target)}: the suffix names no format; use one of {', '.join(FORMATS)}")
    return found


def refuse_unusable(target: str) -> None:
    """Raise `ConfigError` for a directory, and for a URL of an unknown kind or that needs another package."""
    if is_url(target):
        filesystem_of(target)
    elif Path(target).is_dir():
        raise ConfigError(f"{target}: it is a directory; name a file")


def is_same_file(one: str, other: str) -> bool:
    """Return whether two paths or URLs name one file. Symbolic links are followed; nothing is connected."""
    first, second = _place(one), _place(other)
    if isinstance(first, Path) and isinstance(second, Path):
        with contextlib.suppress(OSError):  # one does not exist
            return first.samefile(second)  # also if the file system ignores case
    return first == second


def _place(target: str) -> Path | tuple[str, ...]:
    """Return the resolved path of a local file, or the kind, the host and the path of a remote one."""
    if not is_url(target):
        return Path(target).resolve()
    import fsspec  # noqa: PLC0415 - only URLs need it
    from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415 - same

    try:
        kind = fsspec.get_filesystem_class(target.partition("://")[0])
        path = str(kind._strip_protocol(target))  # noqa: SLF001 - fsspec documents it for callers
        options = kind._get_kwargs_from_urls(target)  # noqa: SLF001 - same
    except (ImportError, ValueError):
        return (target,)
    if issubclass(kind, LocalFileSystem):
        return Path(path).resolve()
    return kind.__name__, str(options.get("host", "")), path


def filesystem_of(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL and the path there. Raises `ConfigError`."""
    import fsspec  # noqa: PLC0415 - only URLs need it

    try:
        # A cached instance may have a transaction or a broken connection of another caller.
        filesystem, path = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    except ImportError as error:
        raise ConfigError(f"{shown(url)}: {missing_extra(error, 'it')}") from error
    except ValueError as error:
        raise ConfigError(
            f"{shown(url)}: {text_of(error)}; use a path, or a URL that fsspec knows"
        ) from error
    except Exception as error:  # some packages connect at once, and each has its own errors
        cause = Censor()(text_of(error))
        raise ConfigError(f"{shown(url)}: {cause}; check the URL and the credentials") from error
    return filesystem, path


def remove_parts(path: Path, run_id: str = "") -> None:
    """Delete the temporary files of killed writers of `path`: of all of them, or of those of one run.

    Only the owner of the run may call this.
    """
    pattern = f".{_mark(run_id)}*.part" if run_id else "*.part"
    for left in path.parent.glob(f".{glob.escape(path.name)}{pattern}"):
        left.unlink(missing_ok=True)


_ADVICE = {
    errno.ENOSPC: "the disk is full; free space",
    errno.EDQUOT: "the disk quota is used up; free space",
    errno.EACCES: "writing is not permitted; permit it",
    errno.EPERM: "writing is not permitted; permit it",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.ENOENT: "the directory does not exist; make it",
    errno.ENOTDIR: "a file is in the place of a directory; move it away",
    errno.EEXIST: "a file is in the place of a directory; move it away",
}
_OTHERWISE = "write to another place (output.directory, or -o), then resume the run"


@contextlib.contextmanager
def explained(name: str, otherwise: str = _OTHERWISE) -> Iterator[None]:
    """Raise an `OSError` as a `ResultsError` that says what to do: correct its cause, or `otherwise`."""
    try:
        yield
    except OSError as error:
        what = _ADVICE.get(error.errno or 0) or f"{error.strerror or error}; correct that"
        raise ResultsError(f"{name}: {what}, or {otherwise}") from error
