"""The wait of an interactive call beside a deep batch, and the shares of tenants, by the dispatcher's rules.

A discrete-event simulation of `DispatchState` and the clients' slot queues with seeded random numbers. A
batch of 1,000 waiting calls keeps an endpoint of 64 slots full. Either one interactive call a second arrives,
or three tenants of weights 1, 1 and 2 share the endpoint. A slot becomes free every service/limit seconds.

    python -m benchmarks.dispatch.fairness [--seeds 5] [--lag-s 0]
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.core.dispatch.events import AttemptDone, CallOffered, ClientBegan, Event, Tell
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.attempts import Attempt, AttemptEnded, SetShare
from actors.core.messages.calls import Call
from actors.core.messages.values import Priority, Usage
from actors.core.queue.slot_queue import SlotQueue

LIMIT = 64
MEDIAN_S, SIGMA = 0.3, 0.4
SERVICE_S = MEDIAN_S * math.exp(SIGMA**2 / 2)
WEIGHTS = {"a": 1.0, "b": 1.0, "c": 2.0}
_DEPTH = 1000
_WINDOW_S = 30.0
_TOKENS = 300  # the estimate for a call


class FairnessWorld:
    """A dispatcher, two clients, and an endpoint that never refuses. A message takes `lag_s`."""

    def __init__(self, seed: int, lag_s: float = 0.0) -> None:
        self.now = 0.0
        self.waits_s: list[float] = []  # of interactive calls, from offer to start
        self.tokens: Counter[tuple[int, str]] = Counter()  # by window and tenant
        self.idle_s = 0.0  # slots times seconds
        self._lag_s = lag_s
        self._rng = random.Random(seed)
        rules = EndpointRules("sim", LimiterSettings(max_in_flight=LIMIT, start=LIMIT))
        settings = DispatchSettings((rules,), tenant_weights=WEIGHTS)
        self._state = DispatchState(settings, now=0.0, rng=random.Random(seed))
        self._queues = {name: SlotQueue[Attempt]() for name in ("client:0", "client:1")}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = itertools.count()
        self._calls: dict[str, tuple[Call, float]] = {}
        self._in_flight = 0
        self._counted_at = 0.0
        self._alarm = 0
        self._happen([ClientBegan(name) for name in self._queues])

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Schedule `action` at `time`."""
        heapq.heappush(self._events, (time, next(self._serial), action, arguments))

    def offer(self, *, priority: Priority = Priority.BATCH, tenant: str = "") -> None:
        """Offer one more call."""
        number = next(self._serial)
        task = f"{tenant}-{priority}-{number % 100}"
        call = Call(f"k{number}", "f", "", _TOKENS, task, tenant, priority, expires_in_s=1e9)
        self._calls[call.key] = call, self.now
        self._happen([CallOffered(call)])

    def run(self, until: float) -> None:
        """Run the events until `until`."""
        while self._events and self._events[0][0] <= until:
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        self.now = until

    def _happen(self, events: list[Event]) -> None:
        for instruction in self._state.handle(events, self.now):
            if isinstance(instruction, Tell):
                self.at(self.now + self._lag_s, self._told, instruction.client, instruction.message)
        wake = self._state.next_wake(self.now)
        self._alarm += 1
        if wake is not None:
            self.at(max(wake, self.now + 0.001), self._ring, self._alarm)

    def _ring(self, number: int) -> None:
        if number == self._alarm:
            self._happen([])

    def _told(self, client: str, message: object) -> None:
        queue = self._queues[client]
        if isinstance(message, SetShare):
            self._start(client, queue.set_slots(message.slots, message.reserved))
        elif isinstance(message, Attempt):
            self._start(client, queue.offer(message.id, message, first=message.first))

    def _count(self, change: int) -> None:
        self.idle_s += (LIMIT - self._in_flight) * (self.now - self._counted_at)
        self._in_flight += change
        self._counted_at = self.now

    def _start(self, client: str, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            self._count(1)
            call, offered_at = self._calls.pop(attempt.call_key)
            if call.priority is Priority.INTERACTIVE:
                self.waits_s.append(self.now - offered_at)
            took_s = self._rng.lognormvariate(math.log(MEDIAN_S), SIGMA)
            used = Usage(100, round(took_s * 600))
            end = AttemptEnded(attempt.id, {}, usage=used, took_s=took_s)
            self.at(self.now + took_s, self._end, client, end, call)

    def _end(self, client: str, end: AttemptEnded, call: Call) -> None:
        self._count(-1)
        used = end.usage.input_tokens + end.usage.output_tokens
        self.tokens[int(self.now // _WINDOW_S), call.tenant] += used
        self._start(client, self._queues[client].end(end.id))
        self.at(self.now + self._lag_s, self._happen, [AttemptDone(end)])
        if call.priority is Priority.BATCH:
            self.offer(tenant=call.tenant)


def interactive(seed: int, *, seconds: float = 300.0, lag_s: float = 0.0) -> FairnessWorld:
    """Return the world after a batch with one interactive call a second at random times."""
    world = FairnessWorld(seed, lag_s)
    luck = random.Random(f"arrivals {seed}")
    for _ in range(_DEPTH + LIMIT):
        world.offer()
    moment = 5.0
    while (moment := moment + luck.expovariate(1.0)) < seconds:
        world.at(moment, partial(world.offer, priority=Priority.INTERACTIVE))
    world.run(seconds)
    return world


def tenants(seed: int, *, seconds: float = 150.0, lag_s: float = 0.0) -> list[dict[str, float]]:
    """Return each tenant's share of the tokens in each window of 30 s, without the first."""
    world = FairnessWorld(seed, lag_s)
    for number in range(_DEPTH + LIMIT):
        world.offer(tenant="abc"[number % 3])
    world.run(seconds)
    shares = []
    for window in range(1, int(seconds / _WINDOW_S)):
        total = sum(world.tokens[window, name] for name in WEIGHTS)
        shares.append({name: world.tokens[window, name] / total for name in WEIGHTS})
    return shares


def unfairness(shares: list[dict[str, float]]) -> float:
    """Return the largest relative deviation of a share from its weight in any window."""
    whole = sum(WEIGHTS.values())
    return max(
        abs(share[name] * whole / weight - 1.0) for share in shares for name, weight in WEIGHTS.items()
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lag-s", type=float, default=0.0, help="between dispatcher and clients, one way")
    options = parser.parse_args()
    table = Table(
        title=f"64 slots, {SERVICE_S:.3f} s a call: one free every {SERVICE_S / LIMIT * 1e3:.1f} ms"
    )
    for column in (
        "seed",
        "interactive: p50",
        "p99, of service/limit",
        "slots idle",
        "tenants: worst share off by",
    ):
        table.add_column(column, justify="right")
    for seed in range(options.seeds):
        world = interactive(seed, lag_s=options.lag_s)
        p50 = statistics.median(world.waits_s)
        p99 = statistics.quantiles(world.waits_s, n=100)[98]
        table.add_row(
            f"{seed}",
            f"{p50 / SERVICE_S * LIMIT:.2f}",
            f"{p99 / SERVICE_S * LIMIT:.2f}",
            f"{world.idle_s / LIMIT / world.now:.1%}",
            f"{unfairness(tenants(seed, lag_s=options.lag_s)):.1%}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
