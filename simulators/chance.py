"""Chance that repeats: numbers drawn from what they are about, not from the order in which they are drawn.

Every random quantity of a simulator is a function of its seed and a few names (a call's key, an attempt's
number), so two runs agree however their requests interleave, and a checker can compute what must have
happened.
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
    # 52 bits and a half: with more of them the largest would round to 1, whose normal quantile is infinite.
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
    """As many numbers as are needed, each time the same for the same seed and names.

    Does what `random.Random` would, at a quarter of its cost to begin with: one is made for every answer.
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
        """Return a whole number from `low` to `high`, both included."""
        return min(high, low + int(self.number() * (high - low + 1)))

    def choice(self, choices: Sequence[Any]) -> Any:
        """Return one of `choices`, of which there is at least one."""
        return choices[self.integer(0, len(choices) - 1)]

    def sample(self, choices: Sequence[Any], n: int) -> list[Any]:
        """Return `n` different ones of `choices`, which has at least so many."""
        left = list(choices)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(n)]
