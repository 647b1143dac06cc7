"""The geometry of the summary's drawings, in units of an SVG `viewBox` that is 100 wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.page.distributions import NumberSpread
from cluster.statistics.calibration import Calibration

WIDTH, HEIGHT = 100.0, 36.0
_GAP = 0.6
_LEAST = 0.8  # the height of the smallest bar, so that a count of one is visible


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle, and the text that explains it."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class NumberDrawing:
    """Bars, the places of the quartiles and the median on the axis, and the ends of the axis."""

    bars: Sequence[Mark]
    box: tuple[float, float, float]
    low: float
    high: float


def histogram(spread: NumberSpread) -> NumberDrawing | None:
    """Return the drawing of numbers, None if there are none."""
    if not spread.bins or spread.median is None:
        return None
    low, high = spread.bins[0].low, spread.bins[-1].high
    most = max(one.count for one in spread.bins)
    # The bins of whole numbers have these in their middle.
    is_whole = low % 1 == 0.5 and spread.bins[0].high - low == 1
    bars = []
    for one in spread.bins:
        if not one.count:
            continue
        begin, end = _place(one.low, low, high), _place(one.high, low, high)
        height = max(_LEAST, one.count / most * HEIGHT)
        span = short(one.low + 0.5) if is_whole else f"{short(one.low)} to {short(one.high)}"
        title = f"{span}: {one.count:,} {spread.unit}"
        bars.append(
            Mark(_at(begin + _GAP / 2), _at(HEIGHT - height), _at(end - begin - _GAP), _at(height), title)
        )
    box = [
        _at(_place(each or 0.0, low, high))
        for each in (spread.first_quartile, spread.median, spread.third_quartile)
    ]
    ends = (low + 0.5, high - 0.5) if is_whole else (low, high)
    return NumberDrawing(bars, (box[0], box[1], box[2]), *ends)


def reliability(calibrated: Calibration) -> list[Mark]:
    """Return a mark for each bin of confidences: at its confidence and accuracy, by its count."""
    most = max((one.count for one in calibrated.bins), default=0)
    marks = []
    for one in calibrated.bins:
        if one.count:
            size = 2.0 + 6.0 * (one.count / most) ** 0.5
            left, top = one.confidence * WIDTH - size / 2, (1 - one.accuracy) * WIDTH - size / 2
            title = f"{one.count:,} answers with confidence {one.confidence:.2f}: {one.accuracy:.0%} right"
            marks.append(Mark(_at(left), _at(top), _at(size), _at(size), title))
    return marks


def stack(parts: Sequence[tuple[str, float]]) -> list[tuple[str, Mark]]:
    """Return the parts of a bar, each with its name, side by side. Parts that are 0 are left out."""
    total = sum(size for _, size in parts) or 1.0
    found, at = [], 0.0
    for name, size in parts:
        if size > 0:
            width = size / total * WIDTH
            found.append((name, Mark(_at(at), 0.0, _at(width), 10.0, f"{name}: {short(size)}")))
            at += width
    return found


def bar(part: float, whole: float) -> float:
    """Return the length of a bar for `part` of `whole`."""
    return _at(part / whole * WIDTH) if whole > 0 else 0.0


def span(low: float, high: float, least: float = 1.0) -> tuple[float, float]:
    """Return the beginning and the length of an interval on a scale from 0 to 1."""
    begin, end = (min(max(each, 0.0), 1.0) * WIDTH for each in (low, high))
    length = max(end - begin, least)
    return _at(min(begin, WIDTH - length)), _at(length)


def short(value: float) -> str:
    """Return a number with three significant digits."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _place(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) * WIDTH if high > low else WIDTH / 2


def _at(value: float) -> float:
    return round(value, 2)
