"""Runs for a long time, repeatedly kills a part of the run, and measures memory, open files and processes.

    python -m cluster.chaos.soak --seconds 1800 --every 30

At the end SIGINT interrupts the run. Then no process may be left, memory, files and processes must not have
grown, and the journal must agree with the endpoint's ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from actors.core.journal.reads import read_run
from actors.core.messages.journal import RunView
from actors.journal.stores.opening import SqliteSettings, open_store
from cluster.chaos.plan import Blow, Strike, StrikeTarget
from cluster.chaos.processes import end_all, strike
from cluster.chaos.soak_measure import Row, Sample, has_grown, rows
from cluster.chaos.verdict import Evidence, VerdictCheck, checks
from cluster.program import ROOT, start_command
from cluster.records.reading import all_events, attempts_by_task
from cluster.records.records import CODEC
from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess

_CONFIG = ROOT / "configs" / "chaos.yaml"
_RUN_ID = "soak"
_TASKS = 2_000_000  # more than the run can complete
_AT_ONCE = 64
_SAMPLE_EVERY_S = 5.0
_END_WITHIN_S = 60.0
_GONE_WITHIN_S = 10.0
_INTERRUPTED = 130

_WIDTH = 110  # columns of the table, also if stdout is a file
_RAYS_OWN = ("gcs_server", "raylet", "log_monitor", "monitor")
_TARGETS = (
    StrikeTarget.CLIENT,
    StrikeTarget.DISPATCHER,
    StrikeTarget.PIPELINE,
    StrikeTarget.JOURNAL,
    StrikeTarget.SOURCE,
    StrikeTarget.WORKER,
)
# The checks that apply to an interrupted run.
_CHECKED = ("billed beyond its bound", "keys are honoured", "our books agree", "no gap")


@dataclass(frozen=True, slots=True)
class Soaked:
    """The result of a soak: samples over `lasted` seconds, kills by target, and the checks by outcome."""

    samples: Sequence[Sample]
    lasted: float
    killed: Counter[str]
    run: RunView
    checked: Sequence[str]
    wrong: Sequence[str]


def main() -> None:
    """Run the soak, print its result, and exit with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=1800.0, help="duration")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between kills")
    parser.add_argument("--seed", type=int, default=1, help="chooses the order of kills")
    options = parser.parse_args()
    console = Console(width=_WIDTH)
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as scratch:
        soaked = soak(Path(scratch), options.seconds, options.every, random.Random(options.seed), console)
    _print(console, soaked)
    sys.exit(1 if soaked.wrong else 0)


def soak(scratch: Path, seconds: float, every: float, rng: random.Random, console: Console) -> Soaked:
    """Run for `seconds` in the directory `scratch`, and kill a part every `every` seconds."""
    ledger = scratch / "ledger.jsonl"
    with SimulatorProcess("llm", ["--latency-s=0.3", f"--ledger={ledger}"]) as endpoint:
        process = _start(scratch, endpoint.url)
        driver = psutil.Process(process.pid)
        try:
            _wait_for_calls(scratch, process)
            samples, killed = _watch(process, driver, seconds, every, rng, console)
            of_the_run = [driver, *driver.children(recursive=True)] if process.poll() is None else []
            os.killpg(process.pid, signal.SIGINT)  # the whole process group, like a terminal
            code = process.wait(_END_WITHIN_S)
            _, left = psutil.wait_procs(of_the_run, _GONE_WITHIN_S)
        finally:
            end_all(driver)
            process.wait()
    wrong = [] if code == _INTERRUPTED else [f"the driver ended with {code}: {_log_end(scratch)}"]
    wrong += [f"left behind: {one.pid} {' '.join(one.cmdline())[:80]}" for one in left if one.is_running()]
    run, found = _books(scratch, ledger)
    wrong += [f"{check.name}: {check.detail}" for check in found if not check.holds]
    wrong += has_grown(rows(samples, seconds)[-1])
    held = [f"{check.name}: {check.detail}" for check in found if check.holds]
    return Soaked(samples, seconds, killed, run, held, wrong)


# ---- the run ---------------------------------------------------------------------------------------------


def _start(scratch: Path, url: str) -> subprocess.Popen[bytes]:
    endpoint = {"name": "sim", "base_url": url, "model": "sim", "max_in_flight": _AT_ONCE}
    overrides = {
        "llm.simulator": "null",
        "llm.endpoints": json.dumps([endpoint]),
        "tasks.count": str(_TASKS),
        "limits.active_tasks": "200",
    }
    command, env = start_command(os.environ)
    with (scratch / "driver.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - this very interpreter, and a program of ours
            [
                *(*command, "run", str(_CONFIG), "--json"),
                *("--address", "local", "--run-id", _RUN_ID),
                *(part for name, value in overrides.items() for part in ("--set", f"{name}={value}")),
            ],
            cwd=scratch,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_for_calls(scratch: Path, process: subprocess.Popen[bytes]) -> None:
    """Return once the endpoint has had a request. The soak does not measure start-up."""
    deadline = time.monotonic() + 120.0
    while not (scratch / "ledger.jsonl").stat().st_size:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the run did not begin: {_log_end(scratch)}")
        time.sleep(0.2)


def _watch(  # noqa: PLR0917 - each is an input of the watch
    process: subprocess.Popen[bytes],
    driver: psutil.Process,
    seconds: float,
    every: float,
    rng: random.Random,
    console: Console,
) -> tuple[list[Sample], Counter[str]]:
    samples: list[Sample] = []
    killed: Counter[str] = Counter()
    began, next_kill = time.monotonic(), every
    turns: list[StrikeTarget] = []
    while (at := time.monotonic() - began) < seconds and process.poll() is None:
        samples += _samples(driver, at)
        if at >= next_kill:
            next_kill += every
            turns = turns or rng.sample(_TARGETS, len(_TARGETS))
            target = turns.pop()
            blow = Strike(0.0, Blow.KILL, target, rng.randrange(1 << 16))
            if strike(blow, driver, is_over=lambda: process.poll() is not None):
                killed[str(target)] += 1
                console.print(f"{at:6.0f} s  killed {target}")
        time.sleep(_SAMPLE_EVERY_S)
    return samples, killed


def _samples(driver: psutil.Process, at: float) -> list[Sample]:
    processes: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for process in [driver, *driver.children(recursive=True)]:
        try:
            kind = "driver" if process == driver else _kind(process)
            uses, opened = process.memory_full_info().pss, process.num_fds()
        except psutil.Error:
            continue  # it has ended
        processes[kind] += 1
        memory[kind] += uses
        files[kind] += opened
    return [Sample(at, kind, processes[kind], memory[kind], files[kind]) for kind in processes]


def _kind(process: psutil.Process) -> str:
    """Return the kind of a process: the class of an actor, a program of Ray, or "workers"."""
    line = " ".join(process.cmdline())
    actor = re.match(r"ray::(\w+)", line)
    name = actor[1] if actor else ""
    if actor is None or name.endswith("Agent"):
        program = next((one for one in _RAYS_OWN if one in line), "others")
        return f"Ray's {program}"
    return name if name[:1].isupper() and name != "IDLE" else "workers"


# ---- afterwards ------------------------------------------------------------------------------------------


def _books(scratch: Path, ledger: Path) -> tuple[RunView, list[VerdictCheck]]:
    store = open_store(SqliteSettings(str(scratch / ".headrace" / "state.db")))
    try:
        run = read_run(store, CODEC, _RUN_ID)
        if run is None:
            raise SystemExit("the store does not have the run")
        attempts, events = attempts_by_task(store, _RUN_ID), list(all_events(store, _RUN_ID))
    finally:
        store.close()
    entries = read_ledger(ledger).entries
    evidence = Evidence({}, {}, (), run, attempts, events, entries, honours_keys=True)
    return run, [check for check in checks(evidence) if any(part in check.name for part in _CHECKED)]


def _log_end(scratch: Path) -> str:
    return (scratch / "driver.log").read_text(errors="replace")[-2000:]


# ---- output ----------------------------------------------------------------------------------------------


def _print(console: Console, soaked: Soaked) -> None:
    table = Table(title=f"{soaked.lasted / 60:.0f} minutes; medians of the second quarter and of the last")
    for column in ("processes", "number", "MB early", "MB late", "MB an hour", "files early", "files late"):
        table.add_column(column, justify="left" if column == "processes" else "right")
    for row in rows(soaked.samples, soaked.lasted):
        table.add_row(*_cells(row))
    console.print(table)
    tasks, counts = soaked.run.tasks, soaked.run.spent.counts
    console.print(f"killed: {', '.join(f'{name} {times}' for name, times in sorted(soaked.killed.items()))}")
    console.print(f"tasks: {tasks.accepted:,} accepted, {tasks.ended:,} ended, {tasks.failed:,} failed")
    console.print(f"calls: {counts.billed:,} billed, {counts.in_doubt:,} in doubt")
    for line in soaked.checked:
        console.print(f"holds   {line}", style="green", soft_wrap=True)
    for line in soaked.wrong:
        console.print(f"BROKEN  {line}", style="bold red", soft_wrap=True)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.kind,
        f"{row.processes[1]:.0f}",
        *(f"{bytes_ / 1e6:,.0f}" for bytes_ in row.memory),
        f"{row.slope * 3600 / 1e6:+,.0f}",
        *(f"{files:,.0f}" for files in row.files),
    )


if __name__ == "__main__":
    main()
