"""Implements ``driver.py run --chaos``: runs a configuration under faults, and prints the verdict."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from actors.core.messages.values import Json
from cluster.chaos.conductor import ChaosPlan, run_chaos
from cluster.chaos.plan import Form
from cluster.chaos.verdict import VerdictCheck


def chaos(
    config: Path, overrides: Sequence[str], form: Form, seed: int, *, run_id: str, console: Console
) -> tuple[VerdictCheck, ...]:
    """Run `config` under chaos, print progress and verdict on `console`, and return the checks."""
    plan = ChaosPlan(config, tuple(overrides), form, seed, run_id, console.print)
    with _exit_on_sigterm():
        found = run_chaos(plan)
    for check in found:
        mark, style = ("holds ", "green") if check.holds else ("BROKEN", "bold red")
        console.print(f"{mark}  {check.name}", style=style)
        console.print(f"        {check.detail}", soft_wrap=True)
    return found


def verdict_json(run_id: str, seed: int, found: Sequence[VerdictCheck]) -> dict[str, Json]:
    """Return the document that ``run --chaos --json`` prints."""
    return {
        "run_id": run_id,
        "seed": seed,
        "holds": all(check.holds for check in found),
        "checks": [{"name": it.name, "holds": it.holds, "detail": it.detail} for it in found],
    }


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise `SystemExit`; otherwise the run under chaos would continue after this process."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
