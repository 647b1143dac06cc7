"""Directories that nobody else on the host can enter: above all that we and Ray write into temporary places.

Ray makes directories and sockets that everybody may write to. Below a directory that is closed to others,
nobody reaches them, and nobody can place a link where we or Ray will write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from actors.core.errors import Blame, HeadraceError

# Below the root, a cluster or a service has a directory of its own: 11 bytes, with the slash. Behind that,
# Ray puts up to 66 bytes, in all 107 at most; and HAProxy a node's id and a name, 59 bytes, in all 97 at
# most, because it binds a socket under a longer name first.
_LONGEST_ROOT = min(107 - 66 - 11, 97 - 59 - 11)


class PlaceError(HeadraceError):
    """A directory that has to be private is somebody else's, or none."""

    blame = Blame.CONFIG


def private_root() -> Path:
    """Return this user's directory for what is temporary, made where it is missing. Raises `PlaceError`."""
    return private_directory(root_path())


def sessions_directory() -> Path:
    """Return the directory for the sessions of clusters that end with their run. Raises `PlaceError`.

    Ray opens the directory that it is given to everybody, so that must not be the root itself.
    """
    return private_directory(private_root() / "ray")


def root_path() -> Path:
    """Return where `private_root` is: below TMPDIR, unless sockets would not fit there."""
    name = f"headrace-{os.geteuid()}"
    wanted = Path(tempfile.gettempdir(), name)
    return wanted if len(os.fsencode(wanted)) <= _LONGEST_ROOT else Path("/tmp", name)  # noqa: S108 - checked


def private_directory(path: Path) -> Path:
    """Return `path`, a directory that belongs to this user and is closed to all others.

    It is made where it is missing, and closed where it is open. Raises `PlaceError` where it is a link,
    belongs to another user, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        is_link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        reason = "it is a link, or no directory" if is_link else str(error.strerror)
        raise PlaceError(f"{path} cannot be used as a private directory: {reason}; {_ADVICE}") from error
    try:
        known = os.fstat(place)
        if known.st_uid != os.geteuid():
            raise PlaceError(f"{path} belongs to another user (id {known.st_uid}); {_ADVICE}")
        if stat.S_IMODE(known.st_mode) & 0o077:
            os.fchmod(place, 0o700)
    finally:
        os.close(place)
    return path


def is_own_file(path: Path) -> bool:
    """Return whether `path` is a file of this user that others cannot have placed or changed.

    A directory that is closed now may have been open before.
    """
    try:
        known = path.lstat()
    except OSError:
        return False
    is_ours = stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid() and known.st_nlink == 1
    return is_ours and not stat.S_IMODE(known.st_mode) & 0o022


_ADVICE = "remove it, or set TMPDIR to a directory of yours with a short path, or name another directory"
