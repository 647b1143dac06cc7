"""Measures limiters in simulated worlds of unknown capacity: goodput, refusals, latency.

    python -m benchmarks.limiter.simulation [--seeds 5] [--scenario NAME]... [--only ours] [--json]

A simulation (`world`, `callers`) with the same seeds for every limiter. Goodput is the work of the endpoint
after the warm-up as a share of its capacity. Refusals are a share of all requests from the first second on.
The p50 is that of answered calls. The exit code is 1 if Headrace's limiter misses a target.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from actors.core.limiter.limiter import AdaptiveLimiter, LimiterSettings, Permit
from actors.core.messages.attempts import RateHeaders, Refusal
from benchmarks.limiter.callers import LimiterOutcome, Simulation
from benchmarks.limiter.peers import PEERS, LimiterRule
from benchmarks.limiter.world import LimiterWorld


class Ours:
    """`AdaptiveLimiter` behind the simulation's interface."""

    def __init__(self, world: LimiterWorld, rng: random.Random) -> None:
        settings = LimiterSettings(max_in_flight=world.max_in_flight, start=world.start)
        self.limiter = AdaptiveLimiter(settings, now=0.0, rng=rng)
        self._until: float | None = None

    def acquire(self, now: float, tokens: int) -> Permit | None:
        """Ask the limiter, and keep the time until which to wait."""
        got = self.limiter.try_acquire(now, tokens=tokens)
        if isinstance(got, Permit):
            return got
        self._until = got.until
        return None

    def wake_at(self, now: float) -> float | None:
        """Return the end of the wait or the next tick, whichever is sooner."""
        times = [t for t in (self._until, self.limiter.tick(now)) if t is not None]
        return min(times, default=None)

    def adopt(self, now: float, tokens: int, *, streams: bool) -> Permit:
        """Count a call that a client started."""
        return self.limiter.adopt(now, tokens=tokens, streams=streams)

    def backlog(self, now: float) -> int:
        """Return how many calls may wait at the clients."""
        return self.limiter.backlog(now)

    def limit(self) -> float:
        """Return the present limit."""
        return self.limiter.limit

    def sampled(self, permit: Permit) -> bool:
        """Return whether the limiter wants this call streamed."""
        return permit.sample

    def success(
        self, permit: Permit, now: float, output: int, prompt: int, headers: RateHeaders | None
    ) -> None:
        """Pass it to the limiter."""
        self.limiter.on_success(permit, now, input_tokens=prompt, output_tokens=output, headers=headers)

    def refused(
        self, permit: Permit, now: float, wait_s: float, kind: Refusal, headers: RateHeaders | None
    ) -> bool:
        """Pass it to the limiter."""
        self.limiter.on_refused(permit, now, retry_after=wait_s, kind=kind, headers=headers)
        return False

    def failed(self, permit: Permit, now: float) -> None:
        """Pass it to the limiter."""
        self.limiter.on_failure(permit, now)

    def streamed(self, permit: Permit, now: float, tokens: int) -> None:
        """Pass it to the limiter."""
        self.limiter.on_tokens(permit, now, tokens=tokens)


@dataclass(frozen=True, slots=True)
class LimiterTarget:
    """The targets for the mean over the seeds: a least goodput, and the most of everything else."""

    goodput: float
    refused: float
    p50_s: float = math.inf
    reached_90_s: float = math.inf
    recovered_s: float = math.inf
    retries: float = 1.0

    def missed(self, got: LimiterOutcome) -> list[str]:
        """Return the names of the targets that `got` misses."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "goodput"]
        missed = [name for name in names if not getattr(got, name) <= getattr(self, name)]
        return (["goodput"] if got.goodput < self.goodput else []) + missed


_TPM = LimiterWorld(tokens_per_minute=600_000, sigma=1.2, warm_up_s=150, duration_s=450)
_SHORT = LimiterWorld(
    tasks=4000,
    max_in_flight=1000,
    first_token_s=0.1,
    token_s=0.001,
    round_trip_s=0.001,
    streams=False,
    duration_s=30,
    warm_up_s=5,
)
_LONG = LimiterWorld(
    uniform=(485, 985), mean_tokens=735, tasks=300, duration_s=3600
)  # answers take 10 to 20 s
_replace = dataclasses.replace
_ENDLESS = 1_000_000

# At the ideal limit a median answer (145 tokens) takes 3.3 s at cap and knee, 14.9 s in a batch of 256.
SCENARIOS: dict[str, tuple[LimiterWorld, LimiterTarget]] = {
    "cap 64": (LimiterWorld(slots=((0, 64),)), LimiterTarget(0.98, 0.01, reached_90_s=15)),
    "cap 512": (LimiterWorld(slots=((0, 512),)), LimiterTarget(0.98, 0.01, reached_90_s=15)),
    "knee 64": (LimiterWorld(slots=((0, 64),), line=_ENDLESS), LimiterTarget(0.95, 0, p50_s=1.5 * 3.27)),
    "batch 256": (
        LimiterWorld(slots=((0, 256),), line=_ENDLESS, contention=64),
        LimiterTarget(0.95, 0, p50_s=1.2 * 14.9),
    ),
    "64-32-64": (
        LimiterWorld(slots=((0, 64), (100, 32), (200, 64))),
        LimiterTarget(0.95, 0.013, recovered_s=30),
    ),
    "tpm, headers": (_TPM, LimiterTarget(0.98, 0.005)),
    "tpm, silent": (_replace(_TPM, tells_rates=False), LimiterTarget(0.98, 0.015)),
    "tpm, 40 % taken": (_replace(_TPM, shared=0.4), LimiterTarget(0.98, 0.015)),
    "8 clients, 1 dies": (
        LimiterWorld(slots=((0, 64),), clients=8, lag_s=0.025, kill_at=150),
        LimiterTarget(0.98, 0.015, reached_90_s=15),
    ),
    "faults": (
        LimiterWorld(slots=((0, 64),), hangs=0.05, resets=0.02, outage=(150, 155)),
        LimiterTarget(0.93, 1, retries=0.1),
    ),
    "others take 0-50 %": (LimiterWorld(slots=((0, 64),), foreign_every_s=20), LimiterTarget(0.90, 0.04)),
    "long, cap 16": (_replace(_LONG, slots=((0, 16),)), LimiterTarget(0.98, 0.015)),
    "long, cap 32": (_replace(_LONG, slots=((0, 32),)), LimiterTarget(0.98, 0.015)),
    "long, cap 64": (_replace(_LONG, slots=((0, 64),)), LimiterTarget(0.98, 0.015)),
    "long, 32-16-32": (_replace(_LONG, slots=((0, 32), (1200, 16), (2400, 32))), LimiterTarget(0.95, 0.015)),
    "short, cap 1000": (
        _replace(_SHORT, slots=((0, 1000),), max_in_flight=5000),
        LimiterTarget(0.98, 0.01, reached_90_s=5),
    ),
    "short, max 1000": (
        _replace(_SHORT, slots=((0, 1000),), line=_ENDLESS),
        LimiterTarget(0.98, 0, reached_90_s=5),
    ),
    "uneven, told 1000": (
        LimiterWorld(
            slots=((0, 1000),),
            line=_ENDLESS,
            tasks=4000,
            start=1000,
            sigma=0.4,
            first_token_s=0.3,
            token_s=0.009,
            uneven=0.5,
            round_trip_s=0.01,
            warm_up_s=2,
            duration_s=62,
        ),
        LimiterTarget(0.98, 0, reached_90_s=1),
    ),
    "short, we are slow": (_replace(_SHORT, local_calls_per_s=1500, duration_s=60), LimiterTarget(0.95, 0)),
}


def run(name: str, rule: Callable[[LimiterWorld, random.Random], LimiterRule], seeds: int) -> LimiterOutcome:
    """Return the mean result of `rule` over the seeds in a scenario."""
    world, _ = SCENARIOS[name]
    outcomes = [Simulation(world, rule, seed).run() for seed in range(seeds)]
    means = {
        field.name: statistics.fmean(getattr(outcome, field.name) for outcome in outcomes)
        for field in dataclasses.fields(LimiterOutcome)
    }
    return LimiterOutcome(**means)


def main() -> None:
    """Print a row for each scenario and limiter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be given several times")
    parser.add_argument("--only", choices=["ours", *PEERS])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    arguments = parser.parse_args()
    rules: dict[str, Callable[[LimiterWorld, random.Random], LimiterRule]] = {"ours": Ours, **PEERS}
    if arguments.only:
        rules = {arguments.only: rules[arguments.only]}
    rows = []
    if not arguments.json:
        print(f"{'scenario':19} {'limiter':18} goodput refused     p50  retries   t90  limits")
    for scenario in arguments.scenario or SCENARIOS:
        for name, rule in rules.items():
            got = run(scenario, rule, arguments.seeds)
            missed = SCENARIOS[scenario][1].missed(got) if name == "ours" else []
            rows.append({"scenario": scenario, "limiter": name, **dataclasses.asdict(got), "missed": missed})
            if not arguments.json:
                print(
                    f"{scenario:19} {name:18} {got.goodput:7.1%} {got.refused:7.2%} {got.p50_s:7.2f} "
                    f"{got.retries:8.1%} {got.reached_90_s:5.1f} {got.low:5.0f}-{got.high:<5.0f}"
                    + (f" misses {', '.join(missed)}" if missed else ""),
                    flush=True,
                )
    if arguments.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
    sys.exit(any(row["missed"] for row in rows))


if __name__ == "__main__":
    main()
