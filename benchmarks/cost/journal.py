"""The cost of the journal: W1 with a journal in a file, with one in memory, and without one, in turns.

All run on the same simulator processes. Figures are medians over pairs of one turn, so that other load on the
machine affects both. Processor time is that of all of Headrace's processes, without the simulators.

    python -m benchmarks.cost.journal --tasks 300 --repeat 6
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.w1.comparison import Entrant, Measured, measure
from benchmarks.w1.job import SIGMA, W1Job
from simulators.process import SimulatorProcess

_GOAL = 0.08  # the largest loss of throughput
_WITHOUT, _IN_MEMORY, _IN_A_FILE = "none", "in memory", "in a file"
_ENTRANTS = (
    Entrant(_WITHOUT, "w1.headrace_job", ("--journal", "off")),
    Entrant(_IN_MEMORY, "w1.headrace_job", ("--journal", "memory")),
    Entrant(_IN_A_FILE, "w1.headrace_job", ("--journal", "sqlite")),
)


def main() -> None:
    """Run the three in turns and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--latency-s", type=float, default=0.3)
    parser.add_argument("--cap", type=int, default=1000)
    options = parser.parse_args()
    arguments = ["--latency-s", str(options.latency_s), "--sigma", str(SIGMA), "--seed", "1"]
    measured: dict[str, list[Measured]] = {entrant.name: [] for entrant in _ENTRANTS}
    with (
        SimulatorProcess("llm", arguments) as model,
        SimulatorProcess("sources") as sources,
    ):
        for turn in range(options.repeat):
            first = turn % len(_ENTRANTS)  # each is first equally often
            for place, entrant in enumerate(_ENTRANTS[first:] + _ENTRANTS[:first]):
                salt = turn * len(_ENTRANTS) + place  # no two runs send the same requests
                job = W1Job(model.url, sources.url, options.tasks, options.cap, salt)
                measured[entrant.name].append(measure(entrant, job))
    _print(measured)


def _print(measured: dict[str, list[Measured]]) -> None:
    table = Table(title=f"the cost of the journal; goal: at most {_GOAL:.0%} of the throughput")
    for column in ("journal", "calls/s", "throughput lost", "µs a call", "µs more"):
        table.add_column(column, justify="left" if column == "journal" else "right")
    without = measured[_WITHOUT]
    for name, runs in measured.items():
        lost = _median(runs, without, lambda mine, other: 1 - mine.calls_per_s / other.calls_per_s)
        more = _median(runs, without, lambda mine, other: mine.cpu_us - other.cpu_us)
        table.add_row(
            name,
            f"{statistics.median(one.calls_per_s for one in runs):,.0f}",
            f"{lost:.1%}",
            f"{statistics.median(one.cpu_us for one in runs):,.0f}",
            f"{more:+,.0f}",
        )
    Console().print(table)


def _median(
    mine: Sequence[Measured], others: Sequence[Measured], what: Callable[[Measured, Measured], float]
) -> float:
    return statistics.median(what(one, other) for one, other in zip(mine, others, strict=True))


if __name__ == "__main__":
    main()
