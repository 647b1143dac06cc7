"""Directories and files that no other user on the host can read or change.

Ray creates directories and sockets that everybody may write to. Below a directory that is closed to other
users, they cannot be reached, and no other user can place a link where Headrace or Ray will write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import tempfile
from pathlib import Path

from actors.core.errors import Blame, HeadraceError

# Below the root, a cluster or a service has a directory of its own: 11 bytes, with the slash. Behind that,
# Ray puts up to 66 bytes, in all 107 at most; and HAProxy a node's id and a name, 59 bytes, in all 97 at
# most, because it binds a socket under a longer name first.
_LONGEST_ROOT = min(107 - 66 - 11, 97 - 59 - 11)
_SHORTEST_TOKEN = 32  # bytes: a process that was killed may have left less


class DirectoryError(HeadraceError):
    """A directory that has to be private belongs to another user, or is no directory."""

    blame = Blame.CONFIG


def private_root() -> Path:
    """Return this user's directory for temporary files, created if it is missing. Raises `DirectoryError`."""
    return private_directory(root_path())


def sessions_directory() -> Path:
    """Return the directory for the sessions of clusters that end with their run. Raises `DirectoryError`.

    Ray opens the directory that it is given to every user, so it must not be the root itself.
    """
    return private_directory(private_root() / "ray")


def root_path() -> Path:
    """Return the path of `private_root`: below TMPDIR, unless sockets would have too long paths there."""
    name = f"headrace-{os.geteuid()}"
    wanted = Path(tempfile.gettempdir(), name)
    return wanted if len(os.fsencode(wanted)) <= _LONGEST_ROOT else Path("/tmp", name)  # noqa: S108 - checked


def private_directory(path: Path) -> Path:
    """Return `path`, a directory that belongs to this user and is closed to all others.

    The function creates it if it is missing, and closes it if it is open. Raises `DirectoryError` if it is a
    link, belongs to another user, or cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        is_link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        reason = "it is a link, or no directory" if is_link else str(error.strerror)
        raise DirectoryError(f"{path} cannot be used as a private directory: {reason}; {_ADVICE}") from error
    try:
        known = os.fstat(place)
        if known.st_uid != os.geteuid():
            raise DirectoryError(f"{path} belongs to another user (id {known.st_uid}); {_ADVICE}")
        if stat.S_IMODE(known.st_mode) & 0o077:
            os.fchmod(place, 0o700)
    finally:
        os.close(place)
    return path


def is_own_file(path: Path) -> bool:
    """Return whether `path` is a file of this user that no other user can have placed or changed.

    A directory that is closed now may have been open before.
    """
    try:
        known = path.lstat()
    except OSError:
        return False
    is_ours = stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid() and known.st_nlink == 1
    return is_ours and not stat.S_IMODE(known.st_mode) & 0o022


def token_file(directory: Path) -> Path:
    """Return the absolute path of the file in `directory` that holds a Ray token, created if it is missing.

    A file that other users can read or may have placed, or that holds too little, is replaced.
    """
    path = (directory / "token").absolute()
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # otherwise processes that start at once use different tokens
        if not _holds_token(path):
            new = path.with_name("token.new")
            new.unlink(missing_ok=True)  # a process that was killed left it
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            new.replace(path)
    finally:
        os.close(lock)
    return path


def _holds_token(path: Path) -> bool:
    if not is_own_file(path) or stat.S_IMODE(path.stat().st_mode) & 0o077:
        return False
    return len(path.read_bytes().strip()) >= _SHORTEST_TOKEN


_ADVICE = "remove it, or set TMPDIR to a directory of yours with a short path, or name another directory"
