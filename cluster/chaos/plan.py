"""Draws the strikes on a run and their times from a seed. Pure."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class StrikeTarget(enum.StrEnum):
    """A part of a run that a strike hits."""

    CLIENT = "client"
    DISPATCHER = "dispatcher"
    PIPELINE = "pipeline"
    JOURNAL = "journal"
    SOURCE = "source"
    WORKER = "worker"  # a Ray worker that runs the steps of dimensions
    DRIVER = "driver"
    EVERYTHING = "everything"  # the driver and all processes of Ray


class Blow(enum.StrEnum):
    """The kind of a strike."""

    KILL = "kill"  # SIGKILL
    FREEZE = "freeze"  # SIGSTOP, later SIGCONT: the process does not notice the pause


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike. It occurs once the endpoint has had the share `at` of the requests of the undisturbed run.

    `pick` chooses one of several targets. A freeze lasts `seconds`.
    """

    at: float
    blow: Blow
    target: StrikeTarget
    pick: int
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.0f} s" if self.blow is Blow.FREEZE else ""
        return f"{self.blow} {self.target}{lasting}"


class Form(enum.StrEnum):
    """The intensity of chaos."""

    LIGHT = "light"
    HEAVY = "heavy"


_KILLED_ONCE = tuple(StrikeTarget)
_FREEZES = {
    Form.LIGHT: (StrikeTarget.CLIENT,),
    Form.HEAVY: (StrikeTarget.CLIENT, StrikeTarget.PIPELINE, StrikeTarget.JOURNAL) * 2,
}
_FREEZE_S = {Form.LIGHT: (2.0, 3.0), Form.HEAVY: (5.0, 15.0)}
_ROUNDS = {Form.LIGHT: 1, Form.HEAVY: 4}
_FIRST, _LAST = 0.03, 0.85  # earlier or later, the target may not be running

# The rates let a run progress, and make each fault occur among a few hundred calls.
_FAULTS: Mapping[Form, Sequence[Mapping[str, Any]]] = {
    Form.LIGHT: (
        {"kind": "status", "rate": 0.03, "status": 429},
        {"kind": "status", "rate": 0.03, "status": 500},
        {"kind": "reset", "rate": 0.01},
        {"kind": "reset_after", "rate": 0.01},
        {"kind": "prose", "rate": 0.01},
    ),
    Form.HEAVY: (
        {"kind": "status", "rate": 0.05, "status": 429},
        {"kind": "status", "rate": 0.05, "status": 500},
        {"kind": "reset", "rate": 0.02},
        {"kind": "reset_after", "rate": 0.02},
        {"kind": "hang", "rate": 0.005},
        {"kind": "truncated", "rate": 0.01},
        {"kind": "empty", "rate": 0.01},
        {"kind": "prose", "rate": 0.01},
        {"kind": "wrong_schema", "rate": 0.01},
        {"kind": "html", "rate": 0.01},
    ),
}


def strikes(form: Form, seed: int) -> tuple[Strike, ...]:
    """Return the strikes on a run, in order. Each target is killed at least once."""
    rng = random.Random(seed)
    blows = [(Blow.KILL, target) for _ in range(_ROUNDS[form]) for target in _KILLED_ONCE]
    blows += [(Blow.FREEZE, target) for target in _FREEZES[form]]
    rng.shuffle(blows)
    _delay(blows, StrikeTarget.WORKER, rng)
    moments = sorted(rng.uniform(_FIRST, _LAST) for _ in blows)
    return tuple(
        Strike(
            at,
            blow,
            target,
            rng.randrange(1 << 16),
            rng.uniform(*_FREEZE_S[form]) if blow is Blow.FREEZE else 0.0,
        )
        for at, (blow, target) in zip(moments, blows, strict=True)
    )


def _delay(blows: list[tuple[Blow, StrikeTarget]], target: StrikeTarget, rng: random.Random) -> None:
    """Move the strikes on `target` to the second half, because it starts late."""
    half = len(blows) // 2
    for early in range(half):
        if blows[early][1] is target:
            others = [late for late in range(half, len(blows)) if blows[late][1] is not target]
            late = rng.choice(others)
            blows[early], blows[late] = blows[late], blows[early]


def faults(form: Form) -> tuple[Mapping[str, Any], ...]:
    """Return the faults of the endpoint, in the simulator's format."""
    return tuple(_FAULTS[form])
