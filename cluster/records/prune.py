"""Removes runs from a store: the named runs, or all that ended long ago."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from actors.core.errors import ConfigError
from actors.core.journal.batch import CheckedCodec
from actors.core.journal.prune import begin_removal, next_removal
from actors.core.journal.rows import DAMAGED, INCOMPLETE, RUNNING
from actors.core.journal.turn import Observed
from actors.core.messages.journal import RunView
from actors.journal.stores.base import Store
from cluster.records.owner_watch import Sign, watched
from cluster.records.reading import all_runs, newest_runs
from cluster.records.records import CODEC, found_run
from cluster.report.console import number

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
FINISHED = frozenset({"succeeded", "partial", "failed", "cancelled"})


def age_of(text: str) -> float:
    """Return an age such as "90s", "45m", "12h", "30d" or "8w" in seconds. Raises `ConfigError`."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--older-than {text!r} is no age: write a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _UNITS[found[2]]


def is_finished(run: RunView) -> bool:
    """Return whether every task of a run has ended, or the run lacks rows."""
    return run.state in INCOMPLETE or (run.state in FINISHED and run.tasks.ended == run.tasks.accepted)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The removed runs, the candidates that are kept and why, and how many runs were no candidates."""

    removed: tuple[RunView, ...]
    kept: tuple[tuple[RunView, str], ...]
    others: int = 0


class Pruner:
    """Removes runs of `store`. `lease_of` returns the lease of a run's owner, in seconds.

    `unfinished`: also removes runs with open tasks, unless their owner is alive.
    """

    def __init__(
        self,
        store: Store,
        lease_of: Callable[[RunView], float],
        *,
        unfinished: bool = False,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lease_of = lease_of
        self._unfinished = unfinished
        self._pause = pause
        self._clock = clock
        self._codec = CheckedCodec(CODEC)
        self._me = f"prune:{secrets.token_hex(6)}".encode()

    def prune_named(self, run_ids: Sequence[str], *, dry_run: bool = False, or_none: bool = False) -> Pruned:
        """Remove these runs. Raises `ConfigError` for a run that is unknown or not finished.

        `or_none`: remove none if one of them has to be kept.
        """
        runs = [found_run(self._store, run_id) for run_id in run_ids]
        for run in runs:
            if why := self._reason_to_keep(run):
                raise ConfigError(f"run {run.run_id} is kept: {why}")
        return self._prune(runs, dry_run=dry_run, or_none=or_none)

    def prune_old(self, older_than_s: float, now: float, *, keep: int = 0, dry_run: bool = False) -> Pruned:
        """Remove the runs that ended before `now` - `older_than_s`, by the clocks of their owners.

        The `keep` runs that began last stay.
        """
        before = now - older_than_s
        newest = {run.run_id for run in newest_runs(self._store, keep)[0]} if keep else set()
        runs, others = [], 0
        for run in all_runs(self._store):
            if (run.ended_at or run.began_at) <= before and run.run_id not in newest:
                runs.append(run)
            else:
                others += 1
        return replace(self._prune(runs, dry_run=dry_run), others=others)

    def _prune(self, runs: Sequence[RunView], *, dry_run: bool, or_none: bool = False) -> Pruned:
        removed: list[RunView] = []
        kept: list[tuple[RunView, str]] = []
        judged: Iterable[tuple[RunView, Observed | None, str]] = ((run, *self._judged(run)) for run in runs)
        if or_none:
            judged = list(judged)
            dry_run = dry_run or any(why for _, _, why in judged)
        for run, silent, why in judged:
            if why:
                kept.append((run, why))
                continue
            if not dry_run:
                self._remove(run.run_id, silent)
            removed.append(run)
        return Pruned(tuple(removed), tuple(kept))

    def _judged(self, run: RunView) -> tuple[Observed | None, str]:
        """Return the last sign of a silent owner, if the run has one, and the reason to keep the run."""
        why = self._reason_to_keep(run)
        return self._silence(run) if not why and run.state == RUNNING else (None, why)

    def _reason_to_keep(self, run: RunView) -> str:
        if run.state == DAMAGED:
            return "a row of it cannot be read: restore a backup into a new store"
        if self._unfinished or is_finished(run):
            return ""
        left = run.tasks.accepted - run.tasks.ended
        what = "its state is running" if run.state == RUNNING else f"it is {run.state}"
        return f"{what}, with {left:,} open tasks; --unfinished removes it if no process runs it"

    def _silence(self, run: RunView) -> tuple[Observed | None, str]:
        """Return the last sign of an owner that is silent for a lease; otherwise None and the reason."""
        lease_s = self._lease_of(run)
        sign, seen = watched(self._store, run.run_id, lease_s, pause=self._pause, clock=self._clock)
        if sign is Sign.SILENT:
            return seen, ""
        if sign is Sign.ALIVE:
            return None, "it is running"
        return None, "it may be running: the store or this machine is too slow to watch its owner; try again"

    def _remove(self, run_id: str, silent: Observed | None) -> None:
        self._store.commit(begin_removal(self._store, self._codec, run_id, self._me, silent))
        while (batch := next_removal(self._store, run_id, self._me)) is not None:
            self._store.commit(batch)


def prune_lines(pruned: Pruned, *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each run, then the totals."""
    did = "would be removed" if dry_run else "removed"
    for run in pruned.removed:
        yield f"{run.run_id}: {did} ({run.state}, {run.tasks.accepted:,} tasks)"
    for run, why in pruned.kept:
        yield f"{run.run_id}: kept: {why}"
    stay = len(pruned.kept) + pruned.others
    yield f"{number(len(pruned.removed), 'run')} {did}" + (
        f", {stay:,} stay{'s' * (stay == 1)}" if stay else ""
    )
