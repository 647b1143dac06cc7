"""How likely a difference is without a cause, and the correction for several questions at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

_EXACT = 100_000  # discordant pairs; above, a term of the binomial sum changes nothing in the normal limit


def mcnemar_mid_p(b: int, c: int) -> float:
    """Return the two-sided mid-p value of McNemar's test.

    Only A is right in `b` pairs, and only B in `c`. Pairs in which both or neither are right say nothing
    about which is better. The exact test is too strict, since few outcomes are possible. Mid-p counts half of
    the observed outcome, and its errors of the first kind stay near the level (Fagerland, Lydersen, Laake,
    *BMC Medical Research Methodology* 13:91, 2013). Raises ValueError for negative counts.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts are not negative: {b}, {c}")
    n, fewer = b + c, min(b, c)
    if b == c:
        return 1.0
    if n > _EXACT:
        return math.erfc((n - 2 * fewer) / math.sqrt(2 * n))
    at = math.lgamma(n + 1) - math.lgamma(fewer + 1) - math.lgamma(n - fewer + 1) - n * math.log(2)
    term, total = 1.0, 0.5  # relative to the observed outcome, which counts half
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        total += term
        if term < 1e-18:
            break
    return min(1.0, 2 * total * math.exp(at))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number, in the order given.

    With no difference in any column, the chance that one of the corrected values is below 0.05 is at most
    0.05, also if the columns depend on each other (Holm, *Scandinavian Journal of Statistics* 6, 1979).
    Raises ValueError if a value is not from 0 to 1.
    """
    for value in p_values:
        if not 0 <= value <= 1:  # also rejects NaN
            raise ValueError(f"a p-value is from 0 to 1, not {value}")
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
