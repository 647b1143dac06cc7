"""One turn of the journal: records that are decided together, their batch, and their replies.

A turn is one commit. Its replies must not be sent before that commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from actors.core.journal.attempts import Account, Attempts, Receipt, dump_account
from actors.core.journal.batch import CheckedCodec, Codec, Overlay, WriteBatch
from actors.core.journal.keys import totals as totals_key
from actors.core.journal.keys import writer
from actors.core.journal.rows import ACCEPTED, RunRow
from actors.core.messages.journal import OpenRun, Spent, TaskTally, TaskView
from actors.core.messages.tasks import TaskState
from actors.core.messages.values import Json, Usage


class Observed(Struct, frozen=True):
    """The writer and the heartbeat of a run as read at one moment. A live owner changes the heartbeat."""

    writer: bytes
    heartbeat: bytes | None


class Defer(Struct, frozen=True):
    """A placeholder for a reply: pass `record` again after `seconds`, as `Retried(record, observed)`."""

    seconds: float
    record: OpenRun
    observed: Observed


class Retried(Struct, frozen=True):
    """A deferred record, with the observation at that time. `late_s` is its delay beyond the asked time."""

    record: OpenRun
    observed: Observed
    late_s: float = 0.0


class Deferred(Struct, frozen=True):
    """A record to pass again at `due`, in seconds on a monotonic clock."""

    retried: Retried
    due: float

    def at(self, now: float) -> Retried:
        """Return the record with its delay, caused by a suspended process or an unavailable store."""
        return Retried(self.retried.record, self.retried.observed, max(0.0, now - self.due))


class Turn(Struct, frozen=True):
    """The result of a turn. `replies` has one entry per record: an answer, an exception or `Defer`.

    `touched` holds (run, task) for every task that has a new event.
    """

    batch: WriteBatch
    replies: tuple[Json, ...]
    touched: frozenset[tuple[str, str]]


class Totals:
    """A run's counts. Every record updates them, so that a query reads one row."""

    __slots__ = ("account", "events", "receipt", "tasks")

    def __init__(self) -> None:
        self.tasks = {ACCEPTED: 0, **{state.value: 0 for state in TaskState}}
        self.events = 0
        self.account = Account()
        self.receipt = Receipt()

    @property
    def tally(self) -> TaskTally:
        """The counts of tasks as a message."""
        return TaskTally(**self.tasks)

    @property
    def spent(self) -> Spent:
        """The counts and the usage of calls as a message."""
        account = self.account
        return Spent(account.call_counts, account.usage, account.in_doubt, lines=self.receipt.lines)

    def dump(self, codec: Codec) -> bytes:
        """Return the counts in their stored form."""
        account = self.account
        sums = [account.usage.as_list(), account.in_doubt.as_list()]
        return codec.dumps([self.tasks, self.events, account.counts, *sums, self.receipt.as_list()])

    @classmethod
    def load(cls, codec: Codec, data: bytes) -> Totals:
        """Return the counts of a stored form."""
        totals = cls()
        # The first format lacks the estimate of what is in doubt, the second the receipt.
        tasks, totals.events, counts, usage, *later = codec.loads(data)
        totals.tasks.update(tasks)
        in_doubt, lines = (*later, (), ())[:2]
        totals.account = Account(counts, Usage(*usage), Usage(*in_doubt))
        totals.receipt = Receipt(lines)
        return totals


class RunBook:
    """A cached run whose writer is this journal. A run that is claimed again has a new object."""

    __slots__ = ("row", "run_id", "totals")

    def __init__(self, row: RunRow, totals: Totals) -> None:
        self.run_id = row.run_id
        self.row = row
        self.totals = totals


class TaskBook:
    """A cached task: the data that the next record about it needs, without texts.

    `answers` maps each answered call to the attempt that answered it. `last_event` is None and `noted` is
    empty until they are needed, since most records are about calls.
    """

    __slots__ = (
        "answers", "attempts", "calls_at", "group", "key", "last_event", "noted", "ordinal", "run", "state",
    )  # fmt: skip

    def __init__(self, run: RunBook, view: TaskView, calls_at: bytes) -> None:
        self.run = run
        self.key = view.key
        self.ordinal = view.ordinal
        self.state = view.state
        self.group = view.group
        self.calls_at = calls_at
        self.attempts: Attempts = {}
        self.answers: dict[str, int] = {}
        self.last_event: int | None = None
        self.noted: set[bytes] = set()


class OpenTurn:
    """A turn in progress: the changed store, the time, and what remains to be written."""

    __slots__ = ("_accounts", "_changed", "_fences", "_me", "_touched", "_used", "codec", "now", "store")

    def __init__(self, store: Overlay, codec: CheckedCodec, now: float, me: bytes) -> None:
        self.store = store
        self.codec = codec
        self.now = now
        self._me = me
        self._fences: dict[bytes, bytes | None] = {}
        self._used: set[str] = set()
        self._changed: dict[str, RunBook] = {}
        self._accounts: dict[bytes, TaskBook] = {}
        self._touched: set[tuple[str, str]] = set()

    def claim(self, run_id: str, before: bytes | None) -> None:
        """Make this journal the writer of the run, provided that its writer is still `before`."""
        key = writer(run_id)
        # If this turn wrote to the run before it claimed it, the cache was outdated. The older fence then
        # makes the commit fail, and all records are decided again.
        self._fences.setdefault(key, self._me if run_id in self._used else before)
        self.store.put(key, self._me)

    def use(self, run_id: str) -> None:
        """Record that a reply relies on this journal being the run's writer, which becomes a fence."""
        self._used.add(run_id)

    def change(self, run: RunBook) -> None:
        """Record that the run's counts have changed. They are written once per turn."""
        self._changed[run.run_id] = run

    def change_account(self, key: bytes, book: TaskBook) -> None:
        """Record that an ended task's attempts have changed. They are written once per turn."""
        self._accounts[key] = book

    def drop(self, key: bytes) -> None:
        """Delete `key`."""
        self.store.delete(key, key + b"\0")

    def touch(self, run_id: str, task: str) -> None:
        """Record that the task has a new event."""
        self._touched.add((run_id, task))

    def settle(self) -> None:
        """Write the changed counts and attempts, which are written once per turn."""
        for key, book in self._accounts.items():
            self.store.put(key, dump_account(self.codec, book.attempts))
        for run_id, run in self._changed.items():
            self.store.put(totals_key(run_id), run.totals.dump(self.codec))
        self._accounts.clear()
        self._changed.clear()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Apply all changes made within this context, or none of them if it raises.

        Cached runs and tasks are not restored: the caller has to forget them.
        """
        before = self.store, dict(self._fences), set(self._used), set(self._touched)
        self.store = Overlay(before[0])
        try:
            yield
            self.settle()
        except BaseException:
            self.store, self._fences, self._used, self._touched = before
            self._changed.clear()
            self._accounts.clear()
            raise
        before[0].absorb(self.store)
        self.store = before[0]

    def close(self, replies: list[Json]) -> Turn:
        """Return the result of the turn."""
        self.settle()
        for run_id in self._used:
            self._fences.setdefault(writer(run_id), self._me)
        return Turn(self.store.batch(self._fences), tuple(replies), frozenset(self._touched))
