"""Repeatable random numbers, derived from a seed and names instead of the order of the draws.

Each random quantity of a simulator is a function of its seed and some names, such as a call's key and the
number of an attempt. Two runs agree whatever the order of their requests, and a checker can compute both.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

_NORMAL = NormalDist()
_FOUR = struct.Struct("<4Q")
_SCALE = 2.0**-52


def uniforms(seed: int, *names: object) -> tuple[float, float, float, float]:
    """Return four independent numbers in (0, 1), the same for the same seed and names."""
    return _uniforms("\x1f".join(map(str, (seed, *names))))


def _uniforms(name: str) -> tuple[float, float, float, float]:
    digest = hashlib.blake2b(name.encode(), digest_size=32).digest()
    a, b, c, d = _FOUR.unpack(digest)
    # With more bits the largest value would round to 1, and the normal quantile of 1 is infinite.
    return (
        ((a >> 12) + 0.5) * _SCALE,
        ((b >> 12) + 0.5) * _SCALE,
        ((c >> 12) + 0.5) * _SCALE,
        ((d >> 12) + 0.5) * _SCALE,
    )


def lognormal(median: float, sigma: float, u: float) -> float:
    """Return the `u` quantile of the lognormal distribution with this median and shape, in its unit."""
    return median * math.exp(sigma * _NORMAL.inv_cdf(u))


class Draws:
    """A sequence of numbers that is the same for the same seed and names.

    Every answer makes one. `random.Random` takes four times as long to create.
    """

    __slots__ = ("_blocks", "_left", "_name")

    def __init__(self, seed: int, *names: object) -> None:
        self._name = "\x1f".join(map(str, (seed, *names)))
        self._blocks = 0
        self._left: list[float] = []

    def number(self) -> float:
        """Return a number in (0, 1)."""
        if not self._left:
            self._left = [*_uniforms(f"{self._name}\x1f{self._blocks}")]
            self._blocks += 1
        return self._left.pop()

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, inclusive."""
        return min(high, low + int(self.number() * (high - low + 1)))

    def choice(self, choices: Sequence[Any]) -> Any:
        """Return one of `choices`, which must not be empty."""
        return choices[self.integer(0, len(choices) - 1)]

    def sample(self, choices: Sequence[Any], n: int) -> list[Any]:
        """Return `n` different elements of `choices`, which has at least `n`."""
        left = list(choices)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(n)]
