"""Runs a configuration twice, undisturbed and under strikes, and gathers the evidence for the verdict.

The undisturbed run uses the local engine, which starts in a second. The other one uses Ray: the reports of
both engines are equal.

The endpoint is a simulator that outlives every driver, so its ledger has every request. After a driver is
killed, ``driver.py resume`` continues the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from actors.core.errors import Blame, ConfigError, HeadraceError
from actors.core.journal.reads import read_run
from actors.core.messages.values import Json
from actors.journal.stores.opening import open_store
from cluster.chaos.plan import Blow, Form, Strike, faults, strikes
from cluster.chaos.processes import end_all, strike
from cluster.chaos.verdict import Evidence, VerdictCheck, checks
from cluster.config.model import HeadraceConfig, load
from cluster.program import start_command
from cluster.records.reading import all_events, attempts_by_task
from cluster.records.records import CODEC
from simulators.ledger import read_ledger
from simulators.process import SimulatorProcess

_LOOK_EVERY_S = 0.02
_MOST_RESUMES = 30
_LONGEST_RUN_S = 1800.0

_FINE = (0, 3)  # exit codes of a completed run


class ChaosError(HeadraceError):
    """The undisturbed run failed, or the run under strikes could not be completed."""

    blame = Blame.UNKNOWN


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """The arguments of a chaos run. `say` receives a line of text for each step."""

    config: Path
    overrides: tuple[str, ...]
    form: Form
    seed: int
    run_id: str
    say: Callable[[str], None]


def run_chaos(plan: ChaosPlan) -> tuple[VerdictCheck, ...]:
    """Run the configuration undisturbed, then under strikes; return the checks. Raises `ChaosError`."""
    config = load(plan.config, overrides=list(plan.overrides), env=os.environ)
    if config.llm.simulator is None:
        raise ConfigError("chaos costs money at a real endpoint: remove llm.endpoints to use the simulator")
    if config.store.kind == "memory":
        raise ConfigError("store.kind is memory: there is nothing to resume from")
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as scratch:
        undisturbed = _Stage(plan, config, Path(scratch) / "undisturbed", f"{plan.run_id}-undisturbed", ())
        plan.say("running undisturbed on the local engine, for comparison")
        reference, requests = undisturbed.run(())
        plan.say(f"this took {requests} requests; running with {plan.form} chaos, seed {plan.seed}")
        struck = _Stage(plan, config, Path(scratch) / "struck", plan.run_id, faults(plan.form))
        planned = strikes(plan.form, plan.seed)
        results, _ = struck.run([(blow, int(blow.at * requests)) for blow in planned])
        return checks(struck.evidence(config, results, reference, planned))


class _Stage:
    """One run of the configuration with its own simulator."""

    def __init__(
        self,
        plan: ChaosPlan,
        config: HeadraceConfig,
        scratch: Path,
        run_id: str,
        planned_faults: Sequence[Mapping[str, Any]],
    ) -> None:
        scratch.mkdir()
        self._plan = plan
        self._scratch = scratch
        self._run_id = run_id
        self._ledger = scratch / "ledger.jsonl"
        self._faults = planned_faults
        self._fired: Counter[str] = Counter()
        (scratch / "faults.json").write_bytes(orjson.dumps(list(planned_faults)))
        simulator = config.llm.simulator
        if simulator is None:
            raise ConfigError("the configuration has no llm.simulator")
        self._simulator = simulator.model_copy(
            update={"ledger": str(self._ledger), "faults": str(scratch / "faults.json")}
        )
        self._results = Path(config.output.directory) / run_id / "reports.jsonl"

    def run(self, planned: Sequence[tuple[Strike, int]]) -> tuple[list[dict[str, Json]], int]:
        """Complete the run under the `planned` strikes; return its result lines and number of requests."""
        with SimulatorProcess("llm", self._simulator.arguments()) as endpoint:
            where = ["--address", "local"] if planned else ["--engine", "local"]
            arguments = [*where, *self._overrides(endpoint.url)]
            waiting = list(planned)
            command, deadline = ["run", str(self._plan.config), "--run-id", self._run_id], _deadline()
            for _ in range(_MOST_RESUMES):
                code = self._drive([*command, *arguments], endpoint, waiting)
                if code in _FINE:
                    return _lines(self._results), _requests(endpoint)
                if not planned or time.monotonic() > deadline:
                    break
                self._plan.say(f"the driver ended with {code}; resuming")
                command = ["resume", self._run_id, "--config", str(self._plan.config)]
        log = (self._scratch / "driver.log").read_text(errors="replace")[-3000:]
        raise ChaosError(f"run {self._run_id} could not be completed; the end of its log:\n{log}")

    def _overrides(self, url: str) -> list[str]:
        endpoint = self._simulator.endpoint(url).model_dump(mode="json", exclude={"api_key", "price"})
        given = [*self._plan.overrides, f"llm.endpoints={json.dumps([endpoint])}", "llm.simulator=null"]
        given += ["output.tables=[reports]", "output.format=[jsonl]"]  # the verdict reads them
        return [part for override in given for part in ("--set", override)]

    def _drive(
        self, arguments: Sequence[str], endpoint: SimulatorProcess, waiting: list[tuple[Strike, int]]
    ) -> int:
        """Run one driver until it ends or a strike kills it; return its exit code."""
        with (self._scratch / "driver.log").open("ab") as log:
            command, env = start_command(os.environ)
            process = subprocess.Popen(  # noqa: S603 - this interpreter, and a program of this project
                [*command, *arguments, "--json"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        driver = psutil.Process(process.pid)
        try:
            while process.poll() is None:
                if waiting and _requests(endpoint) >= waiting[0][1]:
                    blow, _ = waiting[0]
                    struck = strike(blow, driver, is_over=lambda: process.poll() is not None)
                    if not struck and process.poll() is not None:
                        break  # an earlier strike ended this driver: the next one gets this strike
                    del waiting[0]
                    self._fired[_name(blow)] += struck
                    self._plan.say(f"  {blow}{'' if struck else ': there was none'}")
                time.sleep(_LOOK_EVERY_S)
        finally:
            end_all(driver)
            process.wait()
        return process.returncode

    def evidence(
        self,
        config: HeadraceConfig,
        results: Sequence[Mapping[str, Json]],
        reference: Sequence[Mapping[str, Json]],
        planned: Sequence[Strike],
    ) -> Evidence:
        """Gather the records of this run, and the ledger of the endpoint."""
        store = open_store(config.store.settings())
        try:
            run = read_run(store, CODEC, self._run_id)
            if run is None:
                raise ChaosError(f"the store has no run {self._run_id}")
            events = list(all_events(store, self._run_id))
            attempts = attempts_by_task(store, self._run_id)
        finally:
            store.close()
        ledger = read_ledger(self._ledger)
        seen = Counter(str(line["key"]) for line in results)
        return Evidence(
            results={str(line["key"]): line for line in results},
            reference={str(line["key"]): line for line in reference},
            repeated=[key for key, times in seen.items() if times > 1],
            run=run,
            attempts=attempts,
            events=events,
            ledger=ledger.entries,
            honours_keys=self._simulator.idempotency,
            fired=self._fired,
            planned=Counter(_name(blow) for blow in planned),
            faults=ledger.sums().by_fault,
            planned_faults=[str(fault["kind"]) for fault in self._faults],
        )


def _name(blow: Strike) -> str:
    return f"{'killed' if blow.blow is Blow.KILL else 'frozen'} {blow.target}"


def _deadline() -> float:
    return time.monotonic() + _LONGEST_RUN_S


def _requests(endpoint: SimulatorProcess) -> int:
    url = f"{endpoint.url.removesuffix('/v1')}/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - on loopback, of this project
        return int(orjson.loads(answer.read())["requests"])


def _lines(path: Path) -> list[dict[str, Json]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]
