"""Draws a `Plot` as SVG: bars or lines that are readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from benchmarks.results import Plot, Series

_WIDTH = 720
_BAR, _GAP = 22, 12
_NAMES = 230  # for the names of bars
_PLOT_HEIGHT = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 160, 40, 48
_COLOURS = ("#1f77b4", "#d95f02", "#2a9d4a", "#9467bd", "#8c564b", "#c2458a", "#7f7f7f", "#b5a400")
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#444}.title{font-weight:600;font-size:14px}"
    ".axis{stroke:#999;stroke-width:1}.grid{stroke:#ccc;stroke-width:.5}.spread{stroke:#444;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.grid{stroke:#555}.spread{stroke:#ddd}}</style>"
)


def drawn(plot: Plot) -> str:
    """Return the plot as an SVG document."""
    return _bars(plot) if plot.kind == "bars" else _lines(plot)


# ---- bars ------------------------------------------------------------------------------------------------


def _bars(plot: Plot) -> str:
    most = max((max((*one.y, *one.high)) for one in plot.series), default=1.0) or 1.0
    room = _WIDTH - _NAMES - 90

    def across(value: float) -> float:
        return _NAMES + room * value / most

    parts = [_text(8, 22, f"{plot.title} ({plot.y_label})", "title")]
    for number, one in enumerate(plot.series):
        top = _TOP + number * (_BAR + _GAP)
        middle = top + _BAR / 2
        parts.append(_text(_NAMES - 8, middle + 4, one.name, anchor="end"))
        parts.append(
            f'<rect x="{_NAMES}" y="{top}" width="{across(one.y[0]) - _NAMES:.1f}" height="{_BAR}" '
            f'fill="{_COLOURS[number % len(_COLOURS)]}"/>'
        )
        end = across(max((*one.y, *one.high)))
        if one.low and one.high and one.high[0] > one.low[0]:
            parts.append(_line(across(one.low[0]), middle, across(one.high[0]), middle, "spread"))
        parts.append(_text(end + 6, middle + 4, _figure(one.y[0])))
    return _document(_TOP + len(plot.series) * (_BAR + _GAP), plot.title, parts)


# ---- lines -----------------------------------------------------------------------------------------------


def _lines(plot: Plot) -> str:
    xs = [x for one in plot.series for x in one.x]
    ys = [y for one in plot.series for y in one.y]
    if not xs:
        return _document(_TOP, plot.title, [_text(8, 22, f"{plot.title}: nothing was measured", "title")])
    across = _scale(xs, _LEFT, _WIDTH - _RIGHT, log=plot.log_x)
    up = _scale([0.0, max(ys) or 1.0], _TOP + _PLOT_HEIGHT, _TOP, log=False)
    bottom = _TOP + _PLOT_HEIGHT
    parts = [_text(8, 22, f"{plot.title} ({plot.y_label})", "title")]
    for tick in _ticks(max(ys) or 1.0):
        parts.append(_line(_LEFT, up(tick), _WIDTH - _RIGHT, up(tick), "grid"))
        parts.append(_text(_LEFT - 6, up(tick) + 4, _figure(tick), anchor="end"))
    parts += [_text(across(x), bottom + 18, _figure(x), anchor="middle") for x in sorted(set(xs))]
    parts.append(_line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "axis"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 38, plot.x_label, anchor="middle"))
    for number, one in enumerate(plot.series):
        parts += _one_line(one, across, up, _COLOURS[number % len(_COLOURS)])
        parts.append(
            f'<rect x="{_WIDTH - _RIGHT + 14}" y="{_TOP + number * 20}" width="12" height="12" '
            f'fill="{_COLOURS[number % len(_COLOURS)]}"/>'
        )
        parts.append(_text(_WIDTH - _RIGHT + 32, _TOP + number * 20 + 11, one.name))
    return _document(bottom + _BOTTOM, plot.title, parts)


def _one_line(
    one: Series, across: Callable[[float], float], up: Callable[[float], float], colour: str
) -> list[str]:
    points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(one.x, one.y, strict=True))
    dots = [
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>'
        for x, y in zip(one.x, one.y, strict=True)
    ]
    return [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _scale(values: Sequence[float], start: float, end: float, *, log: bool) -> Callable[[float], float]:
    """Return a function that maps the range of `values` to [start, end]. A logarithmic one begins above 0."""
    measure: Callable[[float], float] = (lambda value: math.log10(max(value, 1e-9))) if log else float
    low, high = measure(min(values)), measure(max(values))
    width = high - low or 1.0
    return lambda value: start + (end - start) * (measure(value) - low) / width


def _ticks(most: float) -> list[float]:
    raw = most / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return [step * number for number in range(int(most / step) + 1)]


# ---- parts -----------------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _figure(value: float) -> str:
    if value >= 1_000_000 and value % 1_000_000 == 0:
        return f"{value / 1_000_000:.0f}M"
    if value >= 10_000 and value % 1000 == 0:
        return f"{value / 1000:.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _document(height: float, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title, quote=True)}">\n{_STYLE}\n{body}\n</svg>\n'
    )
