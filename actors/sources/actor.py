"""The source actor: adds a bound on concurrency, a timeout, retries and a circuit breaker to one source.

Rule: while its breaker is not closed, the source is down. Then no failure counts as one of a fetch's tries,
    and fetches wait for the source, as calls wait for their endpoint: an outage fails no task by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from actors.core.censor import NO_SECRETS, Censor
from actors.core.errors import Blame, ConfigError, Failure, FailureKind, HeadraceError, SourceUnavailableError
from actors.core.limits.breaker import BreakerPermit, BreakerSettings, BreakerState, CircuitBreaker
from actors.core.limits.outage import waits_until
from actors.core.limits.retry import GiveUp, RetryPolicy, RetrySettings
from actors.core.messages.tasks import Fetch, Fetched, Item, Task
from actors.core.metrics.measures import FETCHES, SOURCE_DOWN, MeasureReading
from actors.core.task_names import tenant_of
from actors.runtime.log_guard import guard_logs
from actors.runtime.telemetry.logs import log_about
from actors.runtime.threads import OnThreads
from actors.sources.base import Source, SourceSettings
from actors.sources.items import measured
from actors.transport.inbox import Inbox, Reply

_log = logging.getLogger(__name__)

_MOST_MESSAGE = 1000  # characters of an error of a source
_MOST_CENSORED = 100_000  # characters searched for secrets


class SourceStatistics(Struct, frozen=True):
    """A snapshot of a source.

    in_flight: fetches without an answer.
    fetched, failed: fetches that ended with data, and without.
    tries: including retries.
    """

    name: str
    breaker: BreakerState
    in_flight: int
    fetched: int
    failed: int
    tries: int
    last_error: str | None


class GuardedSource:
    """Answers each `Fetch` with a `Fetched`, which contains the failure if there is one."""

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
        self._slots = asyncio.Semaphore(settings.at_once())
        # The configured number bounds retries: a budget over all tasks would fail some of them at random.
        self._retry = RetryPolicy(RetrySettings(settings.retries + 1, base_s=0.25, cap_s=5.0, budget=100.0))
        self._breaker = CircuitBreaker(BreakerSettings(failures=10), clock())
        self._down_since: float | None = None  # since when the breaker is not closed
        self._turned = asyncio.Event()  # set, and replaced, when the state of the breaker changes
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetched = self._failed = self._tries = 0
        self._last_error: str | None = None
        self._last_failure: tuple[str | None, Failure] | None = None  # with the tenant of its task
        self._source: Source | None = None
        self._broken: Failure | None = None
        # If `__init__` raised, the actor would be lost. Instead it answers each task with the reason.
        try:
            self._made()
        except ConfigError as error:
            self._broken = self._failure(error)
            self._last_error = self._broken.message
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; each fetch tries to create it again
            _log.warning("source %s could not be created; its fetches retry", settings.name, exc_info=True)
            self._last_error = self._failure(error).message
        self.inbox = Inbox(self._on_item, interval_s=0.05)  # no slot at an endpoint waits for its replies

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
        """Cancel all fetches without an answer, and close the source."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._source is not None:
            await self._source.close()

    def __repr__(self) -> str:
        kind = type(self._settings).__name__.removesuffix("Settings").lower()
        return f"source:{self._settings.name}({kind})"  # no counts: see `Dispatcher`

    def _on_item(self, item: Fetch, reply: Reply) -> None:
        task = asyncio.create_task(self._answer(item, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, fetch: Fetch, reply: Reply) -> None:
        log_about(fetch.task.key)
        fetched = Fetched(self._settings.name, (), self._broken, 0)
        if self._broken is None:
            fetched = await self._fetch(fetch, self._clock())
        if fetched.error is None:
            self._fetched += 1
        else:
            self._failed += 1
        reply(fetched)

    async def _fetch(self, fetch: Fetch, began: float) -> Fetched:
        """Fetch, and retry until there is an answer, the retries are used up or the deadline has passed."""
        self._retry.on_first_attempt(began)
        deadline = began + fetch.expires_in_s
        waits_until = partial(self._waits_until, began, fetch.expires_in_s)
        attempt = retries = 0
        while True:
            attempt += 1
            async with self._slots:
                fetched = await self._try(fetch, deadline, waits_until)
            failure = fetched.error
            if failure is None:
                return replace(fetched, attempts=attempt)
            now = self._clock()
            if failure.kind is FailureKind.TRANSIENT and self._breaker.state is not BreakerState.CLOSED:
                if now < waits_until():
                    continue  # the next try waits for the source
                return replace(fetched, attempts=attempt)
            retries += 1
            decision = self._retry.next(retries, failure, self._rng, now)
            if isinstance(decision, GiveUp) or now + decision.after_s >= deadline:
                return replace(fetched, attempts=attempt)
            await asyncio.sleep(decision.after_s)

    def _waits_until(self, began: float, expires_in_s: float) -> float:
        """Return until when a fetch waits for the source while that is down."""
        down_since = self._clock() if self._down_since is None else self._down_since
        settings = self._settings
        return waits_until(
            began, expires_in_s, down_since, outage_s=settings.outage_s, required=settings.required
        )

    async def _permit(self, waits_until: Callable[[], float]) -> BreakerPermit | None:
        """Wait for a permit of the breaker. Return None if there is none in time."""
        while (permit := self._breaker.allow(self._clock())) is None:
            now, until = self._clock(), waits_until()
            if now >= until:
                return None
            turned, wake_at = self._turned, min(self._breaker.retry_at(now) or now, until)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wake_at - now):
                    await turned.wait()
        return permit

    async def _try(self, fetch: Fetch, deadline: float, waits_until: Callable[[], float]) -> Fetched:
        if self._clock() >= deadline:
            return self._without(Failure(FailureKind.DEADLINE, Blame.LIMIT, "no time was left for the task"))
        permit = await self._permit(waits_until)
        if permit is None:
            text = f"the breaker is open after repeated failures{self._last_one(tenant_of(fetch.task.key))}"
            return self._without(Failure(FailureKind.TRANSIENT, Blame.SOURCE, text))
        self._tries += 1
        within_s = max(0.0, min(self._settings.timeout_s, deadline - self._clock()))
        try:
            items = await self._items_of(fetch.task, within_s, deadline)
            size = measured(items, self._settings)
        except TimeoutError:
            failure = Failure(FailureKind.TRANSIENT, Blame.SOURCE, f"no answer within {within_s:.1f} s")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = self._failure(error)  # the source raised it; without this the task would get no answer
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; the report contains the error
            if not isinstance(error, HeadraceError):
                _log.exception("source %s failed on task %s", self._settings.name, fetch.task.key)
            failure = self._failure(error)
        else:
            self._give_back(permit, works=True)
            return Fetched(self._settings.name, items, size=size)
        self._last_error = failure.message
        self._last_failure = tenant_of(fetch.task.key), failure
        # A source that has answered with an error works.
        self._give_back(permit, works=failure.kind is not FailureKind.TRANSIENT)
        return self._without(failure)

    def _give_back(self, permit: BreakerPermit, *, works: bool) -> None:
        """Return a permit. Wake the fetches that wait for the breaker if that changes its state."""
        before = self._breaker.state
        if works:
            self._breaker.on_success(permit, self._clock())
        else:
            self._breaker.on_failure(permit, self._clock())
        if self._breaker.state is BreakerState.CLOSED:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = self._clock()
        if self._breaker.state is not before:
            self._turned.set()
            self._turned = asyncio.Event()

    def _last_one(self, tenant: str | None) -> str:
        """Describe the last failure. Its text may quote its task: other tenants get an outline."""
        if self._last_failure is None:
            return ""
        known, failure = self._last_failure
        return f"; the last one: {failure.message if known == tenant else failure.outline()}"

    async def _items_of(self, task: Task, within_s: float, deadline: float) -> tuple[Item, ...]:
        """Fetch. The time-out begins when the source has a thread: one that timed out keeps its thread."""
        source = self._made()
        if isinstance(source, OnThreads):
            try:
                async with asyncio.timeout(within_s):
                    await source.threads.free()
            except TimeoutError:
                raise SourceUnavailableError(
                    f"no thread was free within {within_s:.1f} s: all {source.threads.most} still run "
                    "fetches that timed out; bound what the source waits for, or raise "
                    f"sources.{self._settings.name}.{source.threads.bound}"
                ) from None
            within_s = min(self._settings.timeout_s, deadline - self._clock())
        async with asyncio.timeout(within_s):
            return tuple(await source.fetch(task))

    def _made(self) -> Source:
        """Return the source, and create it first if necessary. Raises what `build` raises."""
        if self._source is None:
            self._source = self._settings.build()
        return self._source

    def _without(self, failure: Failure) -> Fetched:
        return Fetched(self._settings.name, (), failure)

    def _failure(self, error: BaseException) -> Failure:
        """Return an error of the source as a failure, without secrets and lone surrogates."""
        if isinstance(error, HeadraceError):
            failure = error.failure()
        else:
            text = f"{type(error).__name__}: {error}"
            failure = Failure(FailureKind.PERMANENT, Blame.UNKNOWN, text)
        failure = replace(failure, message=failure.message[:_MOST_CENSORED])
        failure = self._censor.failure(failure)  # before the message is cut, which could split a secret
        message = failure.message[:_MOST_MESSAGE].encode(errors="backslashreplace").decode()
        return replace(failure, message=message)


def readings(known: SourceStatistics) -> Iterator[MeasureReading]:
    """Yield the metrics of a source."""
    yield MeasureReading(FETCHES, known.fetched, (known.name, "succeeded"))
    yield MeasureReading(FETCHES, known.failed, (known.name, "failed"))
    yield MeasureReading(SOURCE_DOWN, known.breaker is not BreakerState.CLOSED, (known.name,))
