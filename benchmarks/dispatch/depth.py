"""The cost of a call in the dispatcher's rules, by the number of calls that wait.

Pure: `DispatchState` with clients that answer at once. A queue of each depth stays full while calls pass
through. The depths take turns in one process, so that their ratio does not depend on the machine's speed.

    python -m benchmarks.dispatch.depth
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time

from rich.console import Console
from rich.table import Table

from actors.core.dispatch.events import AttemptDone, CallOffered, ClientBegan, Event, Tell
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.dispatch.state import DispatchState
from actors.core.limiter.limiter import LimiterSettings
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.calls import Call
from actors.core.messages.values import Usage

_IN_FLIGHT = 1000
_BATCH = 100  # events in one batch, as a courier under load delivers them
_TASKS = 1000
_USAGE = Usage(100, 60)


class Bench:
    """A dispatcher with `depth` calls waiting."""

    def __init__(self, depth: int) -> None:
        self._now = 0.0
        self._serial = 0
        rules = EndpointRules("sim", LimiterSettings(max_in_flight=_IN_FLIGHT, start=_IN_FLIGHT))
        self._state = DispatchState(
            DispatchSettings(endpoints=(rules,), max_queued=10_000_000), now=0.0, rng=random.Random(0)
        )
        self._flying: list[int] = []
        self._handle([ClientBegan("llm-client:0"), ClientBegan("llm-client:1")])
        self._handle([self._offer() for _ in range(depth + _IN_FLIGHT)])

    def pass_through(self, calls: int) -> float:
        """End `calls` calls and offer as many; return the processor time of one in microseconds."""
        offers = [[self._offer() for _ in range(_BATCH)] for _ in range(calls // _BATCH)]
        started = time.process_time()
        for offered in offers:
            ended, self._flying = self._flying[:_BATCH], self._flying[_BATCH:]
            events: list[Event] = [
                AttemptDone(AttemptEnded(one, {}, usage=_USAGE, took_s=0.3)) for one in ended
            ]
            self._handle(events + offered)
        return (time.process_time() - started) / calls * 1e6

    def _offer(self) -> Event:
        self._serial += 1
        call = Call(
            f"call-{self._serial}", "evaluate", "", 300, f"task-{self._serial % _TASKS}", expires_in_s=1e9
        )
        return CallOffered(call)

    def _handle(self, events: list[Event]) -> None:
        self._now += 0.03
        for instruction in self._state.handle(events, self._now):
            if isinstance(instruction, Tell) and isinstance(instruction.message, Attempt):
                self._flying.append(instruction.message.id)


def main() -> None:
    """Measure each depth in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    benches = {depth: Bench(depth) for depth in options.depths}
    gc.collect()
    gc.freeze()  # as the dispatcher's process does
    gc.set_threshold(50_000, 20, 20)
    measured: dict[int, list[float]] = {depth: [] for depth in benches}
    for _ in range(options.rounds):
        for depth, bench in benches.items():
            measured[depth].append(bench.pass_through(options.calls))
    table = Table(title="the dispatcher's rules, offer to completion")
    for column in ("calls waiting", "µs a call", "min", f"÷ {options.depths[0]:,}"):
        table.add_column(column, justify="right")
    shallow = measured[options.depths[0]]
    for depth, each in measured.items():
        ratio = statistics.median(one / other for one, other in zip(each, shallow, strict=True))
        table.add_row(f"{depth:,}", f"{statistics.median(each):.1f}", f"{min(each):.1f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
