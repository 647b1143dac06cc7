"""What tests of the store on SQLite write and look for. As a program it commits until it is killed."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import sys

from actors.core.journal.batch import WriteBatch
from actors.journal.stores.sqlite import SqliteStore

EVERYTHING = (b"", b"\xff", 1_000_000)


def batch(number, pairs=3):
    """Return a batch whose keys tell which one it is."""
    return WriteBatch({b"%06d:%d" % (number, n): random.Random(n).randbytes(700) for n in range(pairs)})


def unsynced(path):
    """Return a store that does not wait for the disk: what tests fill is not what they are about."""
    store = SqliteStore(str(path))
    store._db.execute("PRAGMA synchronous = OFF")
    return store


def log_of(path):
    return path.with_name(f"{path.name}-wal")


def whole_batches(store):
    """Return the numbers of the batches in the store; a half one fails the test."""
    found: dict[int, int] = {}
    for key, _ in store.scan(*EVERYTHING):
        found[int(key[:6])] = found.get(int(key[:6]), 0) + 1
    assert set(found.values()) <= {3}
    return sorted(found)


@contextlib.contextmanager
def small_files(most):
    """Let no file of this process grow beyond so many bytes."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def commit_until_killed(path, first):
    """Commit batches from `first` on, and print the number of each when it is committed."""
    store = SqliteStore(path)
    sys.stdout.write("open\n")
    number = first
    while True:
        sys.stdout.flush()
        store.commit(batch(number))
        sys.stdout.write(f"{number}\n")
        number += 1


if __name__ == "__main__":
    commit_until_killed(sys.argv[1], int(sys.argv[2]))
