"""``driver.py run --chaos``: a run under blows, and its verdict in words."""

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
    """Run `config` under chaos, telling `console` what happens; return what holds of what is promised."""
    plan = ChaosPlan(config, tuple(overrides), form, seed, run_id, console.print)
    with _sigterm_is_heard():
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
def _sigterm_is_heard() -> Iterator[None]:
    """Have SIGTERM end this process as Ctrl-C does; else the run that it strikes would go on without it."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
