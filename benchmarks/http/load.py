"""The HTTP API: acceptances a second, reads while tasks run, and an overload of five times the capacity.

    python -m benchmarks.http.load --seconds 10 --overload-seconds 60

One service with one replica on a cluster of its own, and the load from this process on the same machine.

1. Tasks are held back: how many durable POSTs a second are accepted.
2. 1,000 tasks run: how long a GET of a task takes, and whether all tasks end.
3. Five times as many POSTs a second as tasks ended in phase 2, at fixed times: how many tasks end a second,
   compared with the best window, and how memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks.http.service import CALLS_A_TASK, Service, serving
from benchmarks.results import BenchmarkResult, GoalCheck, Table, check_at_least, check_at_most

_EXCESS = 5
_SAMPLES_EVERY_S = 1.0
_LOOKS_EVERY_S = 0.5
_WINDOW_S = 10.0  # for goodput; in shorter windows the tasks that end together dominate
_REFUSALS = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to one kind of request: statuses and times."""

    statuses: Counter[int]
    times: list[float]
    took_s: float

    @property
    def accepted_per_s(self) -> float:
        """The answers with status 202 a second."""
        return self.statuses[202] / self.took_s

    def row(self, name: str) -> tuple[str, ...]:
        """Return its row of the table."""
        cuts = [f"{self.ms(share):,.0f}" for share in (50, 99)]
        told = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (name, f"{len(self.times) / self.took_s:,.0f}", *cuts, f"{max(self.times) * 1e3:,.0f}", told)

    def ms(self, share: int) -> float:
        """Return the percentile `share` of the times in ms."""
        return statistics.quantiles(self.times, n=100)[share - 1] * 1e3


@dataclass(frozen=True, slots=True)
class Overload:
    """A service under overload. `paces` are the tasks that ended a second in each window."""

    offered_per_s: float
    answers: Answers
    paces: list[float]
    memory_mb: list[float]
    lost: int

    @property
    def of_peak(self) -> float:
        """The mean pace divided by the best."""
        return statistics.fmean(self.paces) / max(self.paces)

    @property
    def growth(self) -> float:
        """The memory of all processes in the last third of the time, divided by that of the middle third."""
        third = max(1, len(self.memory_mb) // 3)
        middle, last = self.memory_mb[third : 2 * third], self.memory_mb[-third:]
        return statistics.fmean(last) / statistics.fmean(middle)

    @property
    def undue(self) -> int:
        """The number of answers that are neither an acceptance nor a documented refusal."""
        return sum(
            count for status, count in self.answers.statuses.items() if status not in {202, *_REFUSALS}
        )


async def _clients(number: int, work: Callable[[], Awaitable[tuple[int, float]] | None]) -> Answers:
    """Have `number` clients repeat `work` until it returns None."""
    statuses, times, began = Counter[int](), list[float](), time.perf_counter()

    async def one() -> None:
        while (request := work()) is not None:
            status, took_s = await request
            statuses[status] += 1
            times.append(took_s)

    await asyncio.gather(*(one() for _ in range(number)))
    return Answers(statuses, times, time.perf_counter() - began)


async def _ask(service: Service, method: str, path: str, document: object = None) -> tuple[int, float]:
    status, took_s, _ = await service.call(method, path, document)
    return status, took_s


async def _acceptances(clients: int, seconds: float) -> Answers:
    async with serving(active=1, accepted=1_000_000, latency_s=5.0) as service:

        def until(end: float) -> Callable[[], Awaitable[tuple[int, float]] | None]:
            request = {"params": {"n": 1}}
            return lambda: _ask(service, "POST", "/v1/tasks", request) if time.perf_counter() < end else None

        await _clients(
            clients, until(time.perf_counter() + 1.0)
        )  # opens the connections and warms up the code
        return await _clients(clients, until(time.perf_counter() + seconds))


async def _reading(clients: int, tasks: int) -> tuple[float, Answers, Answers]:
    """Return the tasks that ended a second, the answers to POST and the answers to GET."""
    async with serving(active=1000, accepted=10_000, latency_s=0.3) as service:
        began = time.perf_counter()
        keys = [f"t{n}" for n in range(tasks)]
        left, turns, over = iter(keys), itertools.cycle(keys), asyncio.Event()
        pauses = random.Random(1)

        def post() -> Awaitable[tuple[int, float]] | None:
            key = next(left, None)
            return None if key is None else _ask(service, "POST", "/v1/tasks", {"key": key})

        async def get() -> tuple[int, float]:
            # Reads without a pause would be an overload; in step they would come in bursts.
            await asyncio.sleep(pauses.uniform(0.0, 2 * _LOOKS_EVERY_S))
            return await _ask(service, "GET", f"/v1/tasks/{next(turns)}")

        posted = await _clients(clients, post)
        reading = asyncio.create_task(_clients(clients, lambda: None if over.is_set() else get()))
        await service.until_ended(posted.statuses[202])
        pace = posted.statuses[202] / (time.perf_counter() - began)
        over.set()
        return pace, posted, await reading


async def _overload(pace: float, seconds: float) -> Overload:
    async with serving(active=200, accepted=1000, latency_s=0.3) as service:
        statuses, times, memory = Counter[int](), list[float](), list[float]()
        accepted: set[str] = set()

        async def post(number: int) -> None:
            status, took_s, _ = await service.call("POST", "/v1/tasks", {"key": f"o{number}"})
            statuses[status] += 1
            times.append(took_s)
            if status == 202:
                accepted.add(f"o{number}")

        async def watch() -> None:
            while True:
                memory.append(await asyncio.to_thread(service.memory_mb))
                await asyncio.sleep(_SAMPLES_EVERY_S)

        watching = asyncio.create_task(watch())
        began_at, began = time.time(), time.perf_counter()
        async with asyncio.TaskGroup() as posting:
            for number in range(int(seconds * _EXCESS * pace)):
                due = began + number / (_EXCESS * pace)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                posting.create_task(post(number))
        took_s = time.perf_counter() - began
        watching.cancel()
        await service.until_ended(len(accepted))
        ends = {key: (state, at) for key, state, at in await service.ends()}
        lost = sum(1 for key in accepted if not ends.get(key, ("", 0.0))[1])
        paces = _paces([at - began_at for _, at in ends.values() if at], seconds)
        return Overload(_EXCESS * pace, Answers(statuses, times, took_s), paces, memory, lost)


def _paces(moments: Sequence[float], seconds: float) -> list[float]:
    """Return how many tasks ended a second in each whole window without the first."""
    windows = Counter(int(moment // _WINDOW_S) for moment in moments)
    return [windows[number] / _WINDOW_S for number in range(1, max(2, int(seconds // _WINDOW_S)))]


async def _measure(options: argparse.Namespace) -> BenchmarkResult:
    held = await _acceptances(options.clients, options.seconds)
    pace, posted, read = await _reading(options.clients, options.tasks)
    rows = [
        held.row("POST, tasks held back"),
        posted.row(f"POST of {options.tasks:,} tasks that run"),
        read.row("GET of a task meanwhile"),
    ]
    outcome = BenchmarkResult(
        name="http",
        form=options.form,
        checks=[
            check_at_least("durable POST/s, one replica, tasks held back", held.accepted_per_s, 300, ".0f"),
            check_at_most("GET of a task while 1,000 run, p99, ms", read.ms(99), 100, ".0f"),
        ],
    )
    outcome.notes.append(
        f"{options.tasks:,} tasks ({options.tasks * CALLS_A_TASK:,} calls): {pace:.1f} tasks/s, handing in "
        "included."
    )
    if options.overload_seconds:
        overload = await _overload(pace, options.overload_seconds)
        rows.append(overload.answers.row(f"POST, {overload.offered_per_s:,.0f}/s offered"))
        outcome.checks += _overload_checks(overload)
        outcome.notes.append(
            f"Tasks that ended a second, in {_WINDOW_S:.0f} s each: "
            f"{', '.join(f'{each:.1f}' for each in overload.paces)}; "
            f"memory of all processes at the end: {overload.memory_mb[-1]:,.0f} MiB."
        )
    columns = ("", "answers/s", "p50 ms", "p99 ms", "max ms", "answers by status")
    outcome.tables.append(Table(f"{options.clients} clients, one replica", columns, tuple(rows)))
    return outcome


def _overload_checks(overload: Overload) -> list[GoalCheck]:
    return [
        check_at_least("goodput at 5 times too much ÷ its peak", overload.of_peak, 0.9),
        check_at_most("… memory, last third ÷ the one before", overload.growth, 1.05),
        check_at_most("… answers but 202 and refusals with Retry-After", overload.undue, 0, ".0f"),
        check_at_most("… accepted tasks that did not end", overload.lost, 0, ".0f"),
    ]


def main() -> None:
    """Measure all phases and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--form", default="by hand")
    uvloop.run(_measure(parser.parse_args())).publish()


if __name__ == "__main__":
    main()
