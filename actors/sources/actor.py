"""One source behind what every source needs: a bound, a time-out, retries, and a breaker that reports."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from actors.core.censor import NO_SECRETS, Censor
from actors.core.errors import Blame, ConfigError, Failure, FailureKind, HeadraceError
from actors.core.limits.breaker import BreakerSettings, BreakerState, CircuitBreaker
from actors.core.limits.retry import GiveUp, RetryPolicy, RetrySettings
from actors.core.messages.tasks import Fetch, Fetched
from actors.core.metrics.measures import FETCHES, MeasureReading
from actors.runtime.log_guard import guard_logs
from actors.sources.base import Source, SourceSettings
from actors.sources.items import measured
from actors.transport.inbox import Inbox, Reply

_log = logging.getLogger(__name__)

_MOST_MESSAGE = 1000  # characters of an error that a source gives
_MOST_CENSORED = 100_000  # characters that are searched for secrets


class SourceStatistics(Struct, frozen=True):
    """What a source has done. `failed` fetches ended without data; `tries` counts retries too."""

    name: str
    breaker: BreakerState
    in_flight: int
    fetched: int
    failed: int
    tries: int
    last_error: str | None


class GuardedSource:
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
        # An actor whose __init__ raises is gone; this one tells every task why.
        try:
            self._made()
        except ConfigError as error:
            self._broken = self._failure(error)
            self._last_error = self._broken.message
        except (Exception, SystemExit) as error:  # noqa: BLE001 - anybody's code: a later fetch says what it raises
            _log.warning("source %s is not there yet", settings.name, exc_info=True)
            self._last_error = self._failure(error).message  # the first fetch makes it
        self.inbox = Inbox(self._on_item, interval_s=0.05)  # no slot at an endpoint waits for an item

    def statistics(self) -> SourceStatistics:
        """Return a frozen snapshot."""
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
        fetched = Fetched(self._settings.name, (), self._broken, 0)
        if self._broken is None:
            fetched = await self._fetch(fetch, self._clock() + fetch.expires_in_s)
        if fetched.error is None:
            self._fetched += 1
        else:
            self._failed += 1
        reply(fetched)

    async def _fetch(self, fetch: Fetch, deadline: float) -> Fetched:
        """Try until there is an answer, the retries are used up, or time is."""
        self._retry.on_first_attempt(self._clock())
        attempt = 0
        while True:
            attempt += 1
            async with self._slots:
                fetched = await self._try(fetch, deadline)
            failure = fetched.error
            if failure is None:
                return replace(fetched, attempts=attempt)
            now = self._clock()
            decision = self._retry.next(attempt, failure, self._rng, now)
            if isinstance(decision, GiveUp) or now + decision.after_s >= deadline:
                return replace(fetched, attempts=attempt)
            await asyncio.sleep(decision.after_s)

    async def _try(self, fetch: Fetch, deadline: float) -> Fetched:
        now = self._clock()
        within_s = min(self._settings.timeout_s, deadline - now)
        if within_s <= 0:
            return self._without(Failure(FailureKind.DEADLINE, Blame.LIMIT, "no time was left for the task"))
        permit = self._breaker.allow(now)
        if permit is None:
            text = f"the breaker is open after repeated failures; the last: {self._last_error}"
            return self._without(Failure(FailureKind.TRANSIENT, Blame.SOURCE, text))
        self._tries += 1
        try:
            async with asyncio.timeout(within_s):
                items = tuple(await self._made().fetch(fetch.task))
            size = measured(items, self._settings)
        except TimeoutError:
            failure = Failure(FailureKind.TRANSIENT, Blame.SOURCE, f"no answer within {within_s:.1f} s")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = self._failure(error)  # the source cancelled itself: the task would wait for ever
        except (Exception, SystemExit) as error:  # noqa: BLE001 - anybody's code: it goes into the report
            if not isinstance(error, HeadraceError):
                _log.exception("source %s failed on task %s", self._settings.name, fetch.task.key)
            failure = self._failure(error)
        else:
            self._breaker.on_success(permit, self._clock())
            return Fetched(self._settings.name, items, size=size)
        self._last_error = failure.message
        if failure.kind is FailureKind.TRANSIENT:
            self._breaker.on_failure(permit, self._clock())
        else:
            self._breaker.on_success(permit, self._clock())  # it is up: it has answered, if with a no
        return self._without(failure)

    def _made(self) -> Source:
        """Return the source, made now if it could not be made before. Raises what making it raises."""
        if self._source is None:
            self._source = self._settings.build()
        return self._source

    def _without(self, failure: Failure) -> Fetched:
        return Fetched(self._settings.name, (), failure)

    def _failure(self, error: BaseException) -> Failure:
        """Return what a source raised as a value, without secrets, that any store and terminal can take."""
        if isinstance(error, HeadraceError):
            failure = error.failure()
        else:
            text = f"{type(error).__name__}: {error}"
            failure = Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
        failure = replace(failure, message=failure.message[:_MOST_CENSORED])
        failure = self._censor.failure(failure)  # before the cut, which could leave half of a secret
        message = failure.message[:_MOST_MESSAGE].encode(errors="backslashreplace").decode()
        return replace(failure, message=message)


def readings(known: SourceStatistics) -> Iterator[MeasureReading]:
    """Return what monitoring is told of a source."""
    yield MeasureReading(FETCHES, known.fetched, (known.name, "succeeded"))
    yield MeasureReading(FETCHES, known.failed, (known.name, "failed"))
