"""Asks the question of a run again for ``compare --noise``, within a budget and with consent."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.core.errors import ConfigError, HeadraceError
from cluster.commands.batch import engine_of
from cluster.commands.command_line import use_log_format
from cluster.commands.consent import ask_before
from cluster.compare.choice import names_file
from cluster.records.records import found_run, opened
from cluster.report.console import plain
from cluster.report.failures import cause_lines
from cluster.run.asking_again import AskedAgain, question_of
from cluster.run.engine import EngineName
from cluster.run.host import CommandHost

_CONTINUED = "what was answered is kept: the same command continues"


class NoiseStoppedError(HeadraceError):
    """The question was not asked again about all rows."""


@dataclass(frozen=True, slots=True)
class NoiseRequest:
    """The run `run_id`, of which `size` random tasks are asked again; `config` is that of `question_of`."""

    run_id: str
    size: int
    seed: int
    budget: float | None
    config: Path | None
    overrides: tuple[str, ...]
    is_agreed: bool


def ask_again(request: NoiseRequest, console: Console, *, engine: EngineName | None, address: str) -> str:
    """Ask the question of a run again, and return the id of the new run. Raises `HeadraceError`."""
    if names_file(request.run_id):
        raise ConfigError(
            f"--noise: {request.run_id} is a file, which does not say what was asked: name the run as A"
        )
    with opened(request.config, os.environ) as store:
        run = found_run(store, request.run_id)
        config = question_of(run, store, request.config, request.overrides, os.environ)
        again = AskedAgain.of(run, store, config, size=request.size, seed=request.seed, budget=request.budget)
    if not request.is_agreed and config.llm.simulator is None:
        ask_before(again.job().estimate(), console, has_budget=request.budget is not None)
    use_log_format(config)
    chosen = engine_of(config, request.overrides, engine, address)
    try:
        with redirect_stdout(sys.stderr):  # Ray prints the output of workers on stdout, which is for data
            summary = again.ask(chosen, CommandHost(console, live=True))
    except HeadraceError as error:
        error.add_note(_CONTINUED)
        raise
    for line in cause_lines(summary.failures):
        console.print(plain(line, 2000), soft_wrap=True)
    if summary.open_tasks or summary.stopped_by:
        cause = summary.stopped_by or summary.state.value
        raise NoiseStoppedError(f"--noise: run {again.run_id} was stopped: {cause}; {_CONTINUED}")
    if unpaid := again.unpaid():
        raise NoiseStoppedError(
            f"--noise: the budget of run {again.run_id} was spent before {unpaid:,} of {len(again.tasks):,} "
            "rows were answered: the same command with a larger --budget continues"
        )
    return again.run_id
