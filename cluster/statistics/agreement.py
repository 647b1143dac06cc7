"""How far two series of labels agree: a change matrix, and Cohen's kappa."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

_Label = TypeVar("_Label", bound=Hashable)


def confusion(a: Iterable[Hashable], b: Iterable[Hashable]) -> Counter[tuple[Hashable, Hashable]]:
    """Return how often each pair of labels occurs. Raises ValueError if the series differ in length."""
    return Counter(zip(a, b, strict=True))


def cohen_kappa(a: Iterable[Hashable], b: Iterable[Hashable]) -> float:
    """Return Cohen's kappa of two series of labels; see `kappa_of`."""
    return kappa_of(confusion(a, b))


def kappa_of(pairs: Mapping[tuple[_Label, _Label], int]) -> float:
    """Return Cohen's kappa (*Educational and Psychological Measurement* 20, 1960) of counted pairs of labels.

    It is 1 for full agreement, and 0 for as much agreement as labels drawn independently with the same shares
    have. It is NaN without pairs, and if both series hold one and the same label only: then chance
    alone gives full agreement.
    """
    n = sum(pairs.values())
    of_a: Counter[Hashable] = Counter()
    of_b: Counter[Hashable] = Counter()
    for (one, other), count in pairs.items():
        of_a[one] += count
        of_b[other] += count
    equal = sum(count for (one, other), count in pairs.items() if one == other)
    by_chance = sum(count * of_b[label] for label, count in of_a.items())  # times n, exact in integers
    if n * n == by_chance:
        return math.nan
    return (n * equal - by_chance) / (n * n - by_chance)
