"""The journal: commits what actors tell it in groups, and answers only what is durable.

One thread owns the store and the rules; the event loop gathers records meanwhile, and whatever has gathered
goes with the next commit. So a single record is fast, and under load a commit carries hundreds. Queries are
answered from a second view of the store: a disk may take 70 ms for a commit, and nobody who looks need wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from actors.core.metrics.measures import COMMIT_SECONDS, MeasureReading
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
ItemT = TypeVar("ItemT")  # what is in a group: records, or queries

_log = logging.getLogger(__name__)

_PACE_S = 0.002  # between commits under load: each costs as much processor time as dozens of records in it
_GROUP = 512  # records in one commit, at the most: more would make the first of them wait
_BEATS_A_LEASE = 5
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_FENCED_TWICE = 3  # a batch that loses its fences this often in a row has a defect
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _QUERY_WAITS_S = 0.1, 2.0, 30.0
_LOG_EVERY_S = 60.0  # a store that is away for a night is told of in hundreds of lines, not in ten thousands


class JournalSettings(Struct, frozen=True):
    """What a journal is told. `give_up_s`: how long a store may be away before records are refused.

    Queries are refused after `_QUERY_WAITS_S` at the latest: somebody waits for the answer.
    """

    store: StoreSettings
    owner: str
    keep: str = "auto"
    lease_s: float = 5.0
    give_up_s: float = 86_400.0
    censor: Censor = NO_SECRETS


class JournalActorStatistics(Struct, frozen=True):
    """A snapshot. `trouble` is empty while the store works; commit times, in seconds, are of the last 200."""

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


class _Trouble(Struct):
    """What keeps the store from being written, or read: a full disk can be read all the while."""

    said: str = ""
    since: float | None = None


class Journal:
    """Answers every `Record`, `Query` and `AwaitCancel`; see `actors.core.messages.journal` for what with.

    While the store is away records wait for it, `give_up_s` at the most; after that they are answered with
    `StoreUnavailableError`, and each that comes has the store tried once. Whoever begins a run in a store
    that cannot be opened need not wait. A store that cannot be used ends nothing: every record is answered
    with what is wrong with it.
    """

    def __init__(self, settings: JournalSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        guard_logs(settings.censor)
        self._clock = clock
        self._store: Store | None = None
        self._view: Store | None = None  # of the same, for queries
        self._state = JournalState(
            settings.owner, os.urandom(6).hex(), JsonCodec(), keep=settings.keep, lease_s=settings.lease_s
        )
        self._codec = CheckedCodec(JsonCodec())
        self._queue: deque[tuple[Item, Reply]] = deque()
        self._queries: deque[tuple[Query, Reply]] = deque()
        self._gathered = asyncio.Event()
        self._asked = asyncio.Event()
        self._waiters = EventWaiters(self._on_item)
        self._beat_due = False
        self._commits = 0
        self._commit_seconds = Histogram(_COMMIT_SECONDS)
        self._commit_s: deque[float] = deque(maxlen=200)
        self._unwritten, self._unread = _Trouble(), _Trouble()
        self._sparing_log = SparingLog(_log, every_s=_LOG_EVERY_S)
        self._cancel_waiters: dict[str, Reply] = {}  # by run, which has one driver
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._view_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="view")
        self._pacer = Pacer(_PACE_S)
        self.inbox = Inbox(self._on_item, interval_s=_PACE_S)
        self._loops = [
            asyncio.create_task(self._for_ever(self._work, "the journal's work")),
            asyncio.create_task(self._for_ever(self._look, "the journal's answers")),
        ]
        self._schedule_beat()

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
            self._unwritten.said or self._unread.said,
            () if self._store is None else self._store.notes(),
        )

    async def close(self) -> None:
        """Let go of the store, behind a commit that is under way. What has only gathered is not answered."""
        self._beat_timer.cancel()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for thread, store in ((self._view_thread, self._view), (self._thread, self._store)):
            if store is not None:  # beneath what is under way it would take the statement from it
                await asyncio.get_running_loop().run_in_executor(thread, store.close)
            thread.shutdown(wait=False)
        self._view = self._store = None

    def __repr__(self) -> str:
        store = type(self._settings.store).__name__.removesuffix("Settings").lower()
        return f"journal({store})"  # no counts: see the dispatcher's

    # ---- gathering ---------------------------------------------------------------------------------------

    def _on_item(self, item: Item | Query | AwaitCancel, reply: Reply) -> None:
        if isinstance(item, AwaitCancel):
            self._cancel_waiters[item.run_id] = reply
        elif isinstance(item, Query):
            self._queries.append((item, reply))
            self._asked.set()
        else:
            self._queue.append((item, reply))
            self._gathered.set()

    def _schedule_beat(self) -> None:
        def beat() -> None:
            self._beat_due = True
            self._gathered.set()
            self._schedule_beat()

        interval_s = self._settings.lease_s / _BEATS_A_LEASE
        self._beat_timer = asyncio.get_running_loop().call_later(interval_s, beat)

    @staticmethod
    async def _for_ever(step: Callable[[], Awaitable[None]], what: str) -> None:
        try:
            while True:
                await step()
        except Exception:  # noqa: BLE001 - whatever it is, records would wait for ever
            end_loudly(what)

    async def _work(self) -> None:
        await self._gathered.wait()
        pause_s = self._pacer.wait_s(time.monotonic()) if self._queue else 0.0
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        if self._beat_due:
            self._beat_due = False
            for run_id in await _in(self._thread, self._beat):
                if run_id in self._cancel_waiters:
                    self._cancel_waiters.pop(run_id)(Done())
        if self._queue:
            self._pacer.happened(time.monotonic())
            group = _next_group(self._queue)
            turn = await self._settled(group, self._thread, self._turn, self._unwritten)
            if turn is not None:
                self._give(group, turn)
        if not (self._queue or self._beat_due):
            self._gathered.clear()

    async def _look(self) -> None:
        await self._asked.wait()
        self._asked.clear()
        while self._queries:
            group = _next_group(self._queries)
            thread = self._thread if self._view in (None, self._store) else self._view_thread
            with self._waiters.looking():
                found = await self._settled(group, thread, self._answers, self._unread)
                for (_, reply), value in zip(group, found or (), strict=found is not None):
                    if isinstance(value, Waiting):
                        self._waiters.add(value.query, reply)
                    else:
                        reply(_logged(value))

    # ---- a store in trouble ------------------------------------------------------------------------------

    async def _settled(
        self,
        group: Group[ItemT],
        thread: ThreadPoolExecutor,
        work: Callable[[Sequence[ItemT]], DoneT],
        trouble: _Trouble,
    ) -> DoneT | None:
        """Return what `work` makes of a group, however often the store is away; None where all is refused."""
        records = [item for item, _ in group]
        pause_s, fenced = _FIRST_PAUSE_S, 0
        while True:
            try:
                done = await self._in_store(thread, work, records)
            except FencedError as error:  # decided anew, each record learns whether its run is another's
                fenced += 1
                if fenced == _FENCED_TWICE:
                    _refuse(group, error)
                    return None
            except StoreUnavailableError as error:
                trouble.said = str(error)
                self._sparing_log.write(logging.WARNING, "%s", error)
                if self._is_given_up(trouble) or self._may_be_told_at_once(records):
                    _refuse(group, error)
                    return None
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            except (StoreError, ConfigError) as error:
                trouble.said = str(error)
                _refuse(group, error)
                return None
            else:
                trouble.said, trouble.since = "", None
                return done

    async def _in_store(self, thread: ThreadPoolExecutor, work: Callable[..., DoneT], *given: Any) -> DoneT:
        try:
            return await _in(thread, work, *given)
        except (StoreError, ConfigError) as error:  # drivers quote the address, with its user and password
            said = self._settings.censor(str(error))
            raise error if said == str(error) else type(error)(said) from None

    def _is_given_up(self, trouble: _Trouble) -> bool:
        """Return whether the store, which is away, has been so for too long; all groups share that time."""
        now = time.monotonic()
        if trouble.since is None:
            trouble.since = now
        waits_s = self._settings.give_up_s
        if trouble is self._unread:
            waits_s = min(waits_s, _QUERY_WAITS_S)
        return now - trouble.since > waits_s

    def _may_be_told_at_once(self, records: Sequence[object]) -> bool:
        """Return whether these only begin runs, in a store that was never opened: nothing is lost by it."""
        return self._store is None and all(isinstance(record, OpenRun) for record in records)

    def _give(self, group: Group[Item], turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        for (_, reply), value in zip(group, turn.replies, strict=True):
            if isinstance(value, Defer):
                again = Deferred(Retried(value.record, value.observed), time.monotonic() + value.seconds)
                loop.call_later(value.seconds, self._on_item, again, reply)
            else:
                reply(_logged(value))
        self._waiters.touch(turn.touched)

    # ---- in the store's threads --------------------------------------------------------------------------

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
        """Return the answer to one query, or its error: the other queries of the group have theirs."""
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
        if not (batch.puts or batch.deletions or batch.fences):
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

    def _beat(self) -> tuple[str, ...]:
        """Show in the store that this owner is alive; return the runs that are to be cancelled."""
        try:
            store = self._opened()
            beat = self._state.beat(store)
            self._commit(store, beat)
            if not beat.is_empty:  # else nobody would know that it can be written again before a record comes
                self._unwritten.said, self._unwritten.since = "", None
            return self._state.cancel_requested(store)
        except (StoreError, ConfigError) as error:
            # The next record waits for the store, and says so where it gives up.
            self._unwritten.said = self._settings.censor(str(error))
        except FencedError:
            _log.warning("a run of this journal was taken over by another owner")
        return ()


def _next_group(queue: deque[tuple[ItemT, Reply]]) -> Group[ItemT]:
    return [queue.popleft() for _ in range(min(len(queue), _GROUP))]


def _refuse(group: Group[ItemT], error: Exception) -> None:
    for _, reply in group:
        reply(error)


def _logged(value: Json) -> Json:
    """Return a reply. The cause of a defect stays here: it may hold anything, and need not pickle."""
    if isinstance(value, UnprocessableError):
        _log.error("%s", value, exc_info=value.__cause__)
        value.__cause__ = None
    return value


async def _in(thread: ThreadPoolExecutor, work: Callable[..., DoneT], *arguments: Any) -> DoneT:
    return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)


def readings(known: JournalActorStatistics) -> Iterator[MeasureReading]:
    """Return what monitoring is told of a journal."""
    yield from COMMIT_SECONDS.readings(known.commit_seconds)
