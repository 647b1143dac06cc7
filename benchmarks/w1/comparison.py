"""W1: 1,000 tasks x (5 sources x 4 items + 4 dimensions) = 24,000 calls, 1,000 in flight.

Compares Headrace with its journal on disk, in memory and off; a bare loop on the calls alone and on the whole
job; Celery + gevent + Redis on the whole job; flexllm and Ray Data's HTTP processor on the calls alone. They
take turns on the same simulator processes. The time of a run is from the first task to the last report,
without preparation. Processor time is that of all processes of a contender, without the simulators.

    python -m benchmarks.w1.comparison --tasks 300 --repeat 3 [--latency-s 2] [--only Headrace]
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from rich.console import Console

from benchmarks.processes import more, processor_by_role
from benchmarks.results import BenchmarkResult, GoalCheck, Plot, Series, Table, check_at_least, check_at_most
from benchmarks.rivals import celery_gevent, environment, flexllm_calls, ray_data_http
from benchmarks.w1.contender import ContenderError, contender
from benchmarks.w1.job import SIGMA, W1Job, ideal_calls_per_s
from benchmarks.w1.perfect import perfect_calls_per_s
from benchmarks.w1.steady import watched
from simulators.process import SimulatorProcess

BARE_CALLS, BARE_WHOLE = "bare loop, calls alone", "bare loop, whole job"
HEADRACE, LOCAL, CELERY = "Headrace", "Headrace, local engine", "Celery + gevent + Redis"
FLEXLLM, RAY_DATA = "flexllm, calls alone", "Ray Data HTTP, calls alone"
_RATIOS = ("÷ bare, whole job", "÷ bare, calls")
# A contender that hangs is stopped after the sum of both.
_RUN_WITHIN_S = 120.0
_SLOWEST_CALLS_PER_S = 100.0
_LONG = 1000  # tasks: the result of a longer run has a name of its own
_PAUSE_S = 1.0  # between contenders: the processes and connections of the last one end


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender: its module, its options, and the packages that it needs."""

    name: str
    module: str
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def command(self, job: W1Job) -> list[str]:
        """Return the command that starts it."""
        python = environment.interpreter() if self.needs else sys.executable
        return [python, "-m", f"benchmarks.{self.module}", *self.options, job.text()]


ENTRANTS = (
    Entrant(BARE_CALLS, "rivals.bare_loop", ("--form", "calls")),
    Entrant(BARE_WHOLE, "rivals.bare_loop", ("--form", "whole")),
    Entrant(HEADRACE, "w1.headrace_job", ("--journal", "sqlite")),
    Entrant(LOCAL, "w1.headrace_job", ("--engine", "local")),
    Entrant(f"{LOCAL}, no journal", "w1.headrace_job", ("--engine", "local", "--journal", "off")),
    Entrant("Headrace, capacity not told", "w1.headrace_job", ("--journal", "sqlite", "--start", "16")),
    Entrant("Headrace, journal in memory", "w1.headrace_job", ("--journal", "memory")),
    Entrant("Headrace, no journal", "w1.headrace_job", ("--journal", "off")),
    Entrant(CELERY, "rivals.celery_gevent", needs=celery_gevent.NEEDS),
    Entrant(FLEXLLM, "rivals.flexllm_calls", needs=flexllm_calls.NEEDS),
    Entrant(RAY_DATA, "rivals.ray_data_http", needs=ray_data_http.NEEDS),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender.

    `roles` is its processor time in seconds by role; `middle_calls_per_s` its pace between the first and the
    last fifth of the calls.
    """

    calls: int
    wall_s: float
    roles: dict[str, float]
    middle_calls_per_s: float | None

    @property
    def calls_per_s(self) -> float:
        """The calls answered in a second."""
        return self.calls / self.wall_s

    @property
    def cpu_us(self) -> float:
        """The processor time of a call in microseconds."""
        return sum(self.roles.values()) / self.calls * 1e6


Contest = dict[str, dict[int, Measured]]  # by contender and turn, without failed turns


def measure(entrant: Entrant, job: W1Job) -> Measured:
    """Run one contender once. Raises `ContenderError`."""
    with contender(entrant.name, entrant.command(job)) as started:
        before = processor_by_role(started.pid)
        with watched(job.model_url) as watch:
            started.go()
            told = started.told(_RUN_WITHIN_S + job.calls / _SLOWEST_CALLS_PER_S)
        roles = more(processor_by_role(started.pid), before)
    if not told["calls"]:
        raise ContenderError(f"{entrant.name} answered no call")
    return Measured(told["calls"], told["wall_s"], roles, watch.calls_per_s())


def contest(options: argparse.Namespace) -> tuple[Contest, list[str]]:
    """Run all contenders in turns. Return what was measured, and notes on those that could not run."""
    notes: list[str] = []
    entrants: list[Entrant] = []
    for entrant in ENTRANTS:
        if options.only and not any(re.search(part, entrant.name) for part in options.only):
            continue
        if entrant.needs and not environment.is_installed(entrant.needs):
            notes.append(f"{entrant.name}: {environment.HOW}")
            continue
        entrants.append(entrant)
    model_arguments = ["--latency-s", str(options.latency_s), "--sigma", str(SIGMA), "--seed", "1"]
    measured: Contest = {entrant.name: {} for entrant in entrants}
    progress = Console(stderr=True)
    with (
        SimulatorProcess("llm", model_arguments) as model,
        SimulatorProcess("sources") as sources,
    ):
        for repetition in range(options.repeat):
            for number, entrant in enumerate(entrants):
                salt = repetition * len(entrants) + number
                job = W1Job(model.url, sources.url, options.tasks, options.cap, salt)
                try:
                    one = measure(entrant, job)
                except ContenderError as error:
                    progress.print(str(error), soft_wrap=True, markup=False)
                    cause = str(error).strip().splitlines()[-1]
                    notes.append(f"{entrant.name} failed in turn {repetition + 1}: {cause}")
                    continue
                measured[entrant.name][repetition] = one
                progress.print(
                    f"{entrant.name}: {one.calls_per_s:,.0f} calls/s, {one.cpu_us:,.0f} µs a call",
                    highlight=False,
                )
                time.sleep(_PAUSE_S)
    return {name: runs for name, runs in measured.items() if runs}, notes


def ratio(measured: Contest, name: str, other: str) -> float | None:
    """Return the median over the turns of one pace divided by the other, or None if one is missing."""
    mine, theirs = measured.get(name, {}), measured.get(other, {})
    ratios = [mine[turn].calls_per_s / theirs[turn].calls_per_s for turn in mine.keys() & theirs.keys()]
    return statistics.median(ratios) if ratios else None


def median(runs: Mapping[int, Measured], what: Callable[[Measured], float]) -> float:
    """Return the median of a figure over the runs."""
    return statistics.median(what(one) for one in runs.values())


def middle_pace(runs: Mapping[int, Measured]) -> float | None:
    """Return the median of the pace in the middle of the runs, or None if they were too short."""
    paces = [one.middle_calls_per_s for one in runs.values() if one.middle_calls_per_s is not None]
    return statistics.median(paces) if paces else None


def table(measured: Contest, title: str) -> Table:
    """Return the table of contenders."""
    columns = ("", "calls/s", "min", "max", "in the middle", *_RATIOS, "µs a call", "runs")
    rows = []
    for name, runs in measured.items():
        pace = [one.calls_per_s for one in runs.values()]
        form = ",.1f" if max(pace) < 100 else ",.0f"
        ratios = [ratio(measured, name, other) for other in (BARE_WHOLE, BARE_CALLS)]
        rows.append(
            (
                name,
                *(format(value, form) for value in (statistics.median(pace), min(pace), max(pace))),
                "-" if (middle := middle_pace(runs)) is None else format(middle, form),
                *("-" if value is None else f"{value:.2f}" for value in ratios),
                f"{median(runs, lambda one: one.cpu_us):,.0f}",
                str(len(runs)),
            )
        )
    return Table(title, columns, tuple(rows))


def roles_table(measured: Contest) -> Table:
    """Return the table of Headrace's processor time by process."""
    rows = []
    for name, runs in measured.items():
        if not name.startswith(HEADRACE):
            continue
        told = {
            part: statistics.median(one.roles.get(part, 0.0) / one.calls * 1e6 for one in runs.values())
            for part in {part for one in runs.values() for part in one.roles}
        }
        rows += [(name, part, f"{us:,.0f}") for part, us in sorted(told.items(), key=lambda it: -it[1])]
    return Table("processor time by process", ("", "processes", "µs a call"), tuple(rows))


def checks(measured: Contest, options: argparse.Namespace) -> list[GoalCheck]:
    """Return the goals."""
    if options.latency_s >= 1:
        pace = median(measured[HEADRACE], lambda one: one.calls_per_s) if HEADRACE in measured else None
        ideal = ideal_calls_per_s(options.cap, options.latency_s)
        middle = middle_pace(measured[HEADRACE]) if HEADRACE in measured else None
        perfect = perfect_calls_per_s(options.tasks, options.cap, options.latency_s)
        whole = f"{options.latency_s:g} s, {options.tasks:,} tasks: calls/s ÷ ideal (cap/latency)"
        return [
            check_at_least(what, None if value is None else value / bound, 0.97)
            for what, value, bound in (
                (f"{whole}, the ends included", pace, ideal),
                (f"{whole}, the middle", middle, ideal),
                ("… ÷ what no idle slot at all would make of it", pace, perfect),
            )
        ]
    mine = median(measured[HEADRACE], lambda one: one.cpu_us) if HEADRACE in measured else None
    theirs = median(measured[CELERY], lambda one: one.cpu_us) if CELERY in measured else None
    share = mine / theirs if mine is not None and theirs is not None else None
    return [
        check_at_least("W1 ÷ bare loop, whole job", ratio(measured, HEADRACE, BARE_WHOLE), 0.95),
        check_at_least("W1 ÷ bare loop, calls alone", ratio(measured, HEADRACE, BARE_CALLS), 0.88),
        check_at_least("W1 ÷ Celery + gevent", ratio(measured, HEADRACE, CELERY), 1.3),
        check_at_most("processor time a call, µs", mine, 300, ".0f"),
        check_at_most("processor time a call ÷ Celery's", share, 1 / 3),
    ]


def plots(measured: Contest, name: str) -> list[Plot]:
    """Return bars of the pace and the processor time of all contenders."""

    def bars(what: Callable[[Measured], float]) -> tuple[Series, ...]:
        return tuple(
            Series(
                who,
                (0.0,),
                (median(runs, what),),
                (min(what(one) for one in runs.values()),),
                (max(what(one) for one in runs.values()),),
            )
            for who, runs in measured.items()
        )

    return [
        Plot(f"{name}-pace", "Calls a second", "bars", "calls/s", bars(lambda one: one.calls_per_s)),
        Plot(f"{name}-cost", "Processor time of a call", "bars", "µs", bars(lambda one: one.cpu_us)),
    ]


def main() -> None:
    """Run the contenders in turns and publish the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--latency-s", type=float, default=0.3)
    parser.add_argument("--cap", type=int, default=1000)
    parser.add_argument(
        "--only", action="append", help="contenders whose name matches this pattern; repeatable"
    )
    parser.add_argument("--form", default="by hand")
    options = parser.parse_args()
    name = f"w1-{options.latency_s:g}s" + ("-long" if options.tasks > _LONG else "")
    measured, notes = contest(options)
    ideal = ideal_calls_per_s(options.cap, options.latency_s)
    perfect = perfect_calls_per_s(options.tasks, options.cap, options.latency_s)
    title = (
        f"W1: {options.tasks:,} tasks, {options.latency_s:g} s, {options.cap:,} in flight; the latency "
        f"allows {ideal:,.0f} calls/s, {perfect:,.0f} with both ends; medians of {options.repeat}, in turns"
    )
    versions = {name: environment.version(name) for name in ("celery", "gevent", "flexllm", "ray")}
    BenchmarkResult(
        name=name,
        form=options.form,
        tables=[it for it in (table(measured, title), roles_table(measured)) if it.rows],
        checks=checks(measured, options),
        plots=plots(measured, name) if len(measured) > 1 else [],
        notes=notes,
        data={
            "rivals": versions,
            "runs": {who: [asdict(one) for one in runs.values()] for who, runs in measured.items()},
        },
    ).publish()


if __name__ == "__main__":
    main()
