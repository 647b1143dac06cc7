"""One source behind what every source needs: a bound, a time-out, retries, and a breaker that reports."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator

import ray
from msgspec import Struct

from actors.core.breaker import BreakerSettings, BreakerState, CircuitBreaker
from actors.core.censor import NO_SECRETS, Censor
from actors.core.errors import Blame, ConfigError, Failure, FailureKind, HeadraceError
from actors.core.measures import FETCHES, Reading
from actors.core.messages import Fetch, Fetched, Item
from actors.core.retry import GiveUp, RetryPolicy, RetrySettings
from actors.inbox import Inbox, Reply
from actors.log_guard import guard_logs
from actors.meeting import Reachable
from actors.process import give_way, settle_in, untraced
from actors.ray_metrics import MetricsFeed
from actors.sources.base import Source, SourceSettings

_log = logging.getLogger(__name__)


class SourceStatistics(Struct, frozen=True):
    """What a source has done. `failed` fetches ended without data; `tries` counts retries too."""

    name: str
    breaker: BreakerState
    in_flight: int
    fetched: int
    failed: int
    tries: int
    last_error: str | None


class GuardedSource(Reachable):
    """Answers `Fetch` with `Fetched`, always: a failure is part of the answer."""

    def __init__(
        self,
        settings: SourceSettings,
        clock: Callable[[], float] = time.monotonic,
        censor: Censor = NO_SECRETS,
    ) -> None:
        self._settings = settings
        self._censor = censor
        guard_logs(censor)
        self._clock = clock
        self._rng = random.Random()
        self._slots = asyncio.Semaphore(settings.concurrency)
        # The user's number is the bound on retries: a budget over all tasks would fail some at random.
        self._retry = RetryPolicy(RetrySettings(settings.retries + 1, base_s=0.25, cap_s=5.0, budget=100.0))
        self._breaker = CircuitBreaker(BreakerSettings(failures=10), clock())
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetched = self._failed = self._tries = 0
        self._last_error: str | None = None
        self._source: Source | None = None
        self._broken: Failure | None = None
        try:
            self._source = settings.build()
        except (
            ConfigError
        ) as error:  # an actor whose __init__ raises is gone; this one says why, to every task
            self._broken = censor.failure(error.failure())
            self._last_error = self._broken.message
        self._metrics = MetricsFeed(lambda: readings(self._statistics()))
        settle_in()
        give_way()
        self._inbox = Inbox(self._on_item, interval_s=0.05)  # no slot at an endpoint waits for an item

    async def statistics(self) -> SourceStatistics:
        """Return a frozen snapshot."""
        return self._statistics()

    def _statistics(self) -> SourceStatistics:
        return SourceStatistics(
            name=self._settings.name,
            breaker=self._breaker.state,
            in_flight=len(self._tasks),
            fetched=self._fetched,
            failed=self._failed,
            tries=self._tries,
            last_error=self._last_error,
        )

    async def close(self) -> None:
        """Let go of connections and files; fetches under way are not answered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._source is not None:
            await self._source.close()

    def __repr__(self) -> str:
        kind = type(self._settings).__name__.removesuffix("Settings").lower()
        return f"source:{self._settings.name}({kind})"  # no counts: see the dispatcher's

    def _on_item(self, item: Fetch, reply: Reply) -> None:
        task = asyncio.create_task(self._answer(item, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, fetch: Fetch, reply: Reply) -> None:
        items: tuple[Item, ...] = ()
        error = self._broken
        attempts = 0
        if self._source is not None:
            deadline = self._clock() + fetch.expires_in_s
            items, error, attempts = await self._fetch(self._source, fetch, deadline)
        if error is None:
            self._fetched += 1
        else:
            self._failed += 1
        reply(Fetched(self._settings.name, items, error, attempts))

    async def _fetch(
        self, source: Source, fetch: Fetch, deadline: float
    ) -> tuple[tuple[Item, ...], Failure | None, int]:
        """Try until there is an answer, the retries are used up, or time is."""
        self._retry.on_first_attempt(self._clock())
        attempt = 0
        while True:
            attempt += 1
            async with self._slots:
                items, failure = await self._try(source, fetch, deadline)
            if failure is None:
                return items, None, attempt
            now = self._clock()
            decision = self._retry.next(attempt, failure, self._rng, now)
            if isinstance(decision, GiveUp) or now + decision.after_s >= deadline:
                return (), failure, attempt
            await asyncio.sleep(decision.after_s)

    async def _try(
        self, source: Source, fetch: Fetch, deadline: float
    ) -> tuple[tuple[Item, ...], Failure | None]:
        now = self._clock()
        within_s = min(self._settings.timeout_s, deadline - now)
        if within_s <= 0:
            return (), Failure(FailureKind.DEADLINE, Blame.LIMIT, "no time was left for the task")
        permit = self._breaker.allow(now)
        if permit is None:
            text = f"the breaker is open after repeated failures; the last: {self._last_error}"
            return (), Failure(FailureKind.TRANSIENT, Blame.SOURCE, text)
        self._tries += 1
        try:
            async with asyncio.timeout(within_s):
                items = tuple(await source.fetch(fetch.task))
        except TimeoutError:
            failure = Failure(FailureKind.TRANSIENT, Blame.SOURCE, f"no answer within {within_s:.1f} s")
        except HeadraceError as error:
            failure = error.failure()
        except Exception as error:  # noqa: BLE001 - anybody's code: whatever it raises goes into the report
            _log.exception("source %s failed on task %s", self._settings.name, fetch.task.key)
            text = self._censor(f"{type(error).__name__}: {error}")[:500]
            failure = Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
        else:
            self._breaker.on_success(permit, self._clock())
            return items, None
        failure = self._censor.failure(failure)
        self._last_error = failure.message
        if failure.kind is FailureKind.TRANSIENT:
            self._breaker.on_failure(permit, self._clock())
        else:
            self._breaker.on_success(permit, self._clock())  # it is up: it has answered, if with a no
        return (), failure


def readings(known: SourceStatistics) -> Iterator[Reading]:
    """Return what monitoring is told of a source."""
    yield Reading(FETCHES, known.fetched, (known.name, "succeeded"))
    yield Reading(FETCHES, known.failed, (known.name, "failed"))


SourceActor = ray.remote(untraced(GuardedSource))
