"""The journal: commits records in groups, and replies only when they are durable.

One thread owns the store and the rules. Meanwhile the event loop collects records for the next commit. A
single record is therefore fast, and under load a commit has hundreds of records. A second connection to the
store answers queries, so that they do not wait for a commit, which may take a disk 70 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct

from actors.core.censor import NO_SECRETS, Censor
from actors.core.errors import (
    ConfigError,
    FencedError,
    HeadraceError,
    InvariantError,
    StoreError,
    StoreUnavailableError,
    UnprocessableError,
)
from actors.core.journal.batch import CheckedCodec, WriteBatch
from actors.core.journal.reads import Waiting, answer
from actors.core.journal.state import JournalState, JournalStatistics, unprocessable
from actors.core.journal.turn import Defer, Deferred, Retried, Turn
from actors.core.messages.journal import AwaitCancel, OpenRun, Query, Record
from actors.core.messages.values import Done, Json
from actors.core.metrics.histogram import Histogram, HistogramTotals
from actors.core.metrics.measures import COMMIT_SECONDS, OWNED_RUNS, MeasureReading
from actors.journal.heart import Heart, ThreadHeart
from actors.journal.stores.base import Store
from actors.journal.stores.codec import JsonCodec
from actors.journal.stores.opening import StoreSettings, open_beside, open_store
from actors.journal.waiters import EventWaiters
from actors.runtime.defects import end_loudly
from actors.runtime.log_guard import guard_logs
from actors.runtime.sparing_log import SparingLog
from actors.transport.inbox import Inbox, Reply
from actors.transport.pacer import Pacer

DoneT = TypeVar("DoneT")
ItemT = TypeVar("ItemT")  # the members of a group: records or queries

_log = logging.getLogger(__name__)

_PACE_S = 0.002  # between commits under load: a commit costs as much processor time as dozens of records
_GROUP = 512  # largest number of records in a commit: with more the first of them would wait too long
_BEATS_A_LEASE = 5
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_MOST_FENCED = 3  # failures of a group's fences in a row: more of them indicate a defect
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _QUERY_WAITS_S = 0.1, 2.0, 30.0
_LOG_EVERY_S = 60.0  # bounds the log while the store is away to hundreds of lines a night


class JournalSettings(Struct, frozen=True):
    """The settings of a journal. Records are refused when the store has been away for `give_up_s` seconds.

    Queries are refused after `_QUERY_WAITS_S` at the latest, since a caller waits for the answer.
    """

    store: StoreSettings
    owner: str
    keep: str = "auto"
    lease_s: float = 5.0
    give_up_s: float = 86_400.0
    censor: Censor = NO_SECRETS


class JournalActorStatistics(Struct, frozen=True):
    """A snapshot. `trouble` is the store's error, empty while it works. `commit_p*_s` cover 200 commits."""

    rules: JournalStatistics
    queued: int
    waiting: int
    commits: int
    commit_p50_s: float
    commit_p99_s: float
    commit_seconds: HistogramTotals
    trouble: str
    notes: tuple[str, ...]


Item = Record | Deferred
Group = list[tuple[ItemT, Reply]]


class _Beat(Struct, frozen=True):
    """The result of a heartbeat.

    error: why the store does not have it; empty if it does, or if no run needs one.
    cancelled: the runs with a request for their cancellation.
    """

    error: str = ""
    is_written: bool = False
    cancelled: tuple[str, ...] = ()


class _Trouble(Struct):
    """The error that prevents writing to the store, or reading it: a full disk can still be read."""

    message: str = ""
    since: float | None = None


class Journal:
    """Answers every `Record`, `Query` and `AwaitCancel`; `actors.core.messages.journal` defines the answers.

    While the store is away, records wait for up to `give_up_s`. After that they get `StoreUnavailableError`,
    and each new record makes one more attempt. An `OpenRun` does not wait if the store was never opened. An
    unusable store does not end the journal: every record gets the store's error.
    """

    def __init__(
        self,
        settings: JournalSettings,
        clock: Callable[[], float] = time.time,
        heart: Callable[[Executor, Callable[[], None], float], Heart] = ThreadHeart,
    ) -> None:
        self._settings = settings
        guard_logs(settings.censor)
        self._clock = clock
        self._store: Store | None = None
        self._view: Store | None = None  # a second connection to the store, for queries
        self._state = JournalState(
            settings.owner, os.urandom(6).hex(), JsonCodec(), keep=settings.keep, lease_s=settings.lease_s
        )
        self._codec = CheckedCodec(JsonCodec())
        self._queue: deque[tuple[Item, Reply]] = deque()
        self._queries: deque[tuple[Query, Reply]] = deque()
        self._gathered = asyncio.Event()
        self._asked = asyncio.Event()
        self._waiters = EventWaiters(self._on_item)
        self._is_writing = False
        self._commits = 0
        self._commit_seconds = Histogram(_COMMIT_SECONDS)
        self._commit_s: deque[float] = deque(maxlen=200)
        self._unwritten, self._unread = _Trouble(), _Trouble()
        self._sparing_log = SparingLog(_log, every_s=_LOG_EVERY_S)
        self._cancel_waiters: dict[str, Reply] = {}  # by run: only the driver of a run waits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._view_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="view")
        self._pacer = Pacer(_PACE_S)
        self.inbox = Inbox(self._on_item, interval_s=_PACE_S)
        self._loops = [
            asyncio.create_task(self._repeat(self._write, "the journal's commits")),
            asyncio.create_task(self._repeat(self._answer_queries, "the journal's answers")),
        ]
        self._loop = asyncio.get_running_loop()
        self._heart = heart(self._thread, self._beat, settings.lease_s / _BEATS_A_LEASE)

    def statistics(self) -> JournalActorStatistics:
        """Return a frozen snapshot."""
        times = sorted(self._commit_s) or [0.0]
        return JournalActorStatistics(
            self._state.statistics(),
            len(self._queue) + len(self._queries),
            len(self._waiters),
            self._commits,
            times[len(times) // 2],
            times[len(times) * 99 // 100],
            self._commit_seconds.totals(),
            self._unwritten.message or self._unread.message,
            () if self._store is None else self._store.notes(),
        )

    async def close(self) -> None:
        """Close the store after the commit in progress. Records that are still queued get no reply."""
        self._heart.stop()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for thread, store in ((self._view_thread, self._view), (self._thread, self._store)):
            if store is not None:  # on its own thread: else a statement in progress would fail
                await asyncio.get_running_loop().run_in_executor(thread, store.close)
            thread.shutdown(wait=False)
        self._view = self._store = None

    def __repr__(self) -> str:
        store = type(self._settings.store).__name__.removesuffix("Settings").lower()
        return f"journal({store})"  # without counts, as the dispatcher's

    # ---- collecting --------------------------------------------------------------------------------------

    def _on_item(self, item: Item | Query | AwaitCancel, reply: Reply) -> None:
        if isinstance(item, AwaitCancel):
            self._cancel_waiters[item.run_id] = reply
        elif isinstance(item, Query):
            self._queries.append((item, reply))
            self._asked.set()
        else:
            self._queue.append((item, reply))
            self._gathered.set()

    @staticmethod
    async def _repeat(step: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            while True:
                await step()
        except Exception:  # noqa: BLE001 - after any error the records would wait forever
            end_loudly(what)

    async def _write(self) -> None:
        await self._gathered.wait()
        pause_s = self._pacer.wait_s(time.monotonic())
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        self._pacer.happened(time.monotonic())
        group = _next_group(self._queue)
        self._is_writing = True
        try:
            turn = await self._with_retries(group, self._thread, self._turn, self._unwritten)
        finally:
            self._is_writing = False
        if turn is not None:
            self._send_replies(group, turn)
        if not self._queue:
            self._gathered.clear()

    def _on_beat(self, beat: _Beat) -> None:
        for run_id in beat.cancelled:
            if run_id in self._cancel_waiters:
                self._cancel_waiters.pop(run_id)(Done())
        if self._is_writing:
            return  # a full disk may have room for a heartbeat, but not for the records
        if beat.error:  # the next record waits for the store, and reports the error if it gives up
            self._unwritten.message = beat.error
        elif beat.is_written:  # the store works again: else this would show only with the next record
            self._unwritten.message, self._unwritten.since = "", None

    async def _answer_queries(self) -> None:
        await self._asked.wait()
        self._asked.clear()
        while self._queries:
            group = _next_group(self._queries)
            thread = self._thread if self._view in (None, self._store) else self._view_thread
            with self._waiters.answering():
                answers = await self._with_retries(group, thread, self._answers, self._unread)
                for (_, reply), value in zip(group, answers or (), strict=answers is not None):
                    if isinstance(value, Waiting):
                        self._waiters.add(value.query, reply)
                    else:
                        reply(_logged(value))

    # ---- errors of the store -----------------------------------------------------------------------------

    async def _with_retries(
        self,
        group: Group[ItemT],
        thread: ThreadPoolExecutor,
        work: Callable[[Sequence[ItemT]], DoneT],
        trouble: _Trouble,
    ) -> DoneT | None:
        """Return the result of `work` for a group, with retries while the store is away.

        Return None if the whole group was refused.
        """
        records = [item for item, _ in group]
        pause_s, fenced = _FIRST_PAUSE_S, 0
        while True:
            try:
                done = await self._in_store(thread, work, records)
            except FencedError as error:  # decided again, only the records of the lost run get the error
                fenced += 1
                if fenced == _MOST_FENCED:
                    _refuse(group, error)
                    return None
            except StoreUnavailableError as error:
                trouble.message = str(error)
                self._sparing_log.write(logging.WARNING, "%s", error)
                if self._is_given_up(trouble) or self._may_refuse_at_once(records):
                    _refuse(group, error)
                    return None
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            except (StoreError, ConfigError) as error:
                trouble.message = str(error)
                _refuse(group, error)
                return None
            else:
                trouble.message, trouble.since = "", None
                return done

    async def _in_store(self, thread: ThreadPoolExecutor, work: Callable[..., DoneT], *given: Any) -> DoneT:
        try:
            return await _in(thread, work, *given)
        except (StoreError, ConfigError) as error:  # drivers quote the address, with its user and password
            message = self._settings.censor(str(error))
            raise error if message == str(error) else type(error)(message) from None

    def _is_given_up(self, trouble: _Trouble) -> bool:
        """Return whether the store has been away for too long. All groups share the time of its beginning."""
        now = time.monotonic()
        if trouble.since is None:
            trouble.since = now
        waits_s = self._settings.give_up_s
        if trouble is self._unread:
            waits_s = min(waits_s, _QUERY_WAITS_S)
        return now - trouble.since > waits_s

    def _may_refuse_at_once(self, records: Sequence[object]) -> bool:
        """Return whether the store was never opened and all records open runs, so that nothing is lost."""
        return self._store is None and all(isinstance(record, OpenRun) for record in records)

    def _send_replies(self, group: Group[Item], turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        for (_, reply), value in zip(group, turn.replies, strict=True):
            if isinstance(value, Defer):
                again = Deferred(Retried(value.record, value.observed), time.monotonic() + value.seconds)
                loop.call_later(value.seconds, self._on_item, again, reply)
            else:
                reply(_logged(value))
        self._waiters.touch(turn.touched)

    # ---- on the store's threads --------------------------------------------------------------------------

    def _opened(self) -> Store:
        if self._store is None:
            store = open_store(self._settings.store)
            for note in store.notes():
                _log.warning("%s", note)
            try:
                store.commit(self._state.take_over(store))
            except FencedError:
                end_loudly("another life of this journal has begun")
            self._store = store
        return self._store

    def _answers(self, queries: Sequence[Query]) -> list[Json]:
        store = self._opened()
        if self._view is None:
            self._view = open_beside(self._settings.store, store) or store
        return [self._answer(query, self._view) for query in queries]

    def _answer(self, query: Query, view: Store) -> Json:
        """Return the answer to one query, or its error, which must not affect the group's other queries."""
        try:
            return answer(query, view, self._codec)
        except (StoreUnavailableError, InvariantError):
            raise
        except HeadraceError as error:
            return error
        except Exception as error:  # noqa: BLE001 - no content of a query may end the journal
            return unprocessable(query, error)

    def _turn(self, records: Sequence[Item]) -> Turn:
        store = self._opened()
        due = [record.at(time.monotonic()) if isinstance(record, Deferred) else record for record in records]
        turn = self._state.handle(due, self._clock(), store)
        self._commit(store, turn.batch)
        return turn

    def _commit(self, store: Store, batch: WriteBatch) -> None:
        if batch.is_empty:
            return
        began = time.perf_counter()
        try:
            store.commit(batch)
        except BaseException:
            self._state.forget()
            raise
        self._commits += 1
        took_s = time.perf_counter() - began
        self._commit_s.append(took_s)
        self._commit_seconds.add(took_s)

    def _beat(self) -> None:
        """Commit this owner's heartbeats, and pass the result to the event loop for when it has time."""
        try:
            beat = self._committed_beat()
        except Exception:  # noqa: BLE001 - without heartbeats the runs would lose their lease
            end_loudly("the journal's heartbeat")
        with contextlib.suppress(RuntimeError):  # the event loop was closed before the journal
            self._loop.call_soon_threadsafe(self._on_beat, beat)

    def _committed_beat(self) -> _Beat:
        try:
            store = self._opened()
            batch = self._state.beat(store)
            self._commit(store, batch)
            return _Beat(is_written=not batch.is_empty, cancelled=self._state.cancel_requested(store))
        except (StoreError, ConfigError) as error:
            return _Beat(error=self._settings.censor(str(error)))
        except FencedError:
            _log.warning("another owner has taken over a run of this journal")
            return _Beat()


def _next_group(queue: deque[tuple[ItemT, Reply]]) -> Group[ItemT]:
    return [queue.popleft() for _ in range(min(len(queue), _GROUP))]


def _refuse(group: Group[ItemT], error: Exception) -> None:
    for _, reply in group:
        reply(error)


def _logged(value: Json) -> Json:
    """Return a reply. Log the cause of a defect and remove it, since it may hold secrets or not pickle."""
    if isinstance(value, UnprocessableError):
        _log.error("%s", value, exc_info=value.__cause__)
        value.__cause__ = None
    return value


async def _in(thread: ThreadPoolExecutor, work: Callable[..., DoneT], *arguments: Any) -> DoneT:
    return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)


def readings(known: JournalActorStatistics) -> Iterator[MeasureReading]:
    """Yield the metrics of a journal."""
    yield MeasureReading(OWNED_RUNS, known.rules.runs)
    yield from COMMIT_SECONDS.readings(known.commit_seconds)
