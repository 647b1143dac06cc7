"""Computes the growth of memory, files and processes from the samples of a soak. Pure.

Rule: Growth is measured from the second quarter of the time to the last. The first quarter is the warm-up.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_MAY_GROW = 1.15  # a restarted process is smaller than an old one, so totals vary by a tenth
_TOTAL = "all"


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes of one kind, `at` seconds after the start: how many, and their bytes and open files."""

    at: float
    kind: str
    processes: int
    memory: int
    files: int


@dataclass(frozen=True, slots=True)
class Row:
    """The growth of one kind: early and late medians, and the slope of its memory in bytes a second."""

    kind: str
    processes: tuple[float, float]
    memory: tuple[float, float]
    files: tuple[float, float]
    slope: float


def rows(samples: Sequence[Sample], lasted: float) -> tuple[Row, ...]:
    """Return a row for each kind, largest first, and a last row for the total."""
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind, []).append(sample)
    made = [_row(kind, of_kind, lasted) for kind, of_kind in kinds.items()]
    made.sort(key=lambda row: -row.memory[1])
    return (*made, _row(_TOTAL, _summed(samples), lasted))


def has_grown(total: Row) -> tuple[str, ...]:
    """Return a sentence for each quantity of `total` that has grown by more than its normal variation."""
    named = {"memory": total.memory, "open files": total.files, "processes": total.processes}
    return tuple(
        f"{name} went from {early:,.0f} to {late:,.0f}"
        for name, (early, late) in named.items()
        if late > early * _MAY_GROW
    )


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through `points`; 0 for fewer than two of them."""
    found = list(points)
    if len({at for at, _ in found}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*found, strict=True)).slope


def _row(kind: str, samples: Sequence[Sample], lasted: float) -> Row:
    early = [one for one in samples if lasted / 4 <= one.at < lasted / 2]
    late = [one for one in samples if one.at >= lasted * 3 / 4]

    def both(what: Callable[[Sample], int]) -> tuple[float, float]:
        return _median(map(what, early)), _median(map(what, late))

    return Row(
        kind,
        both(lambda one: one.processes),
        both(lambda one: one.memory),
        both(lambda one: one.files),
        slope((one.at, one.memory) for one in samples if one.at >= lasted / 4),
    )


def _summed(samples: Sequence[Sample]) -> list[Sample]:
    moments: dict[float, list[Sample]] = {}
    for sample in samples:
        moments.setdefault(sample.at, []).append(sample)
    return [
        Sample(
            at,
            _TOTAL,
            sum(one.processes for one in seen),
            sum(one.memory for one in seen),
            sum(one.files for one in seen),
        )
        for at, seen in moments.items()
    ]


def _median(values: Iterable[int]) -> float:
    return statistics.median([*values] or [0])
