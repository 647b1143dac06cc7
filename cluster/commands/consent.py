"""Asks the user before a large job."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from actors.core.errors import ConfigError
from cluster.estimate.figures import Estimate


def ask_before(estimate: Estimate, console: Console, *, has_budget: bool) -> None:
    """Show the estimate of a large job and ask. Raises `ConfigError` if the user or no terminal agrees.

    Without a terminal, a budget suffices.
    """
    if not estimate.wants_consent:
        return
    can_ask = sys.stdin is not None and sys.stdin.isatty() and console.is_terminal
    if not can_ask:
        if has_budget:
            return
        raise ConfigError(
            f"{estimate}\nthis job is large, and no terminal can be asked: give --yes or --budget USD"
        )
    for line in estimate.lines():
        console.print(line, soft_wrap=True)
    if not typer.confirm("go on?", err=True):
        raise ConfigError("nothing was asked")
