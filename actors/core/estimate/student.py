"""Student's t distribution, and Hall's transformation of the t statistic of a skewed sample.

The t statistic of a skewed sample is skewed itself. Hall's monotone cubic transformation (*Journal of the
Royal Statistical Society* B 54, 1992; see Zhou and Gao, *The American Statistician* 54, 2000, for one sample)
makes it nearly symmetric. Its parameter, the slant, is the skewness divided by the root of the sample's size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_EXPANDED = 30  # degrees of freedom; from here Fisher's expansion is exact to 7 digits
_SUMMED = 10_000  # degrees of freedom; above, Wallace's approximation is exact to 7 digits


def t_cdf(t: float, freedom: int) -> float:
    """Return the probability that Student's t is at most `t`.

    It is the finite sum of Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
    With many degrees of freedom it is Wallace's approximation (*Annals of Mathematical Statistics* 30, 1959).
    """
    if math.isinf(t):
        return float(t > 0)
    if freedom > _SUMMED:
        z = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
        return NormalDist().cdf(math.copysign(z, t))
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    inside = total * math.sin(angle)
    return 0.5 + ((angle + inside) / math.pi if odd else inside / 2)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t by bisection, or by Fisher's expansion."""
    if freedom < _EXPANDED:
        low, high = -1e6, 1e6
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
        return (low + high) / 2
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def transformed(t: float, slant: float) -> float:
    """Return Hall's transform of the t statistic of a sample."""
    return t + slant * t * t / 3 + slant * slant * t**3 / 27 + slant / 6


def untransformed(value: float, slant: float) -> float:
    """Return the t statistic whose Hall transform is `value`."""
    if abs(slant) < 1e-9:
        return value
    root: float = math.cbrt(1 + slant * (value - slant / 6))
    return (root - 1) * 3 / slant
