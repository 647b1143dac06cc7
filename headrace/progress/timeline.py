"""Keeps how a run went, in a bounded number of points, and draws it as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.report.console import ProgressView, duration

_MOST = 240  # points
_WIDTH, _HEIGHT, _TOP = 480, 100, 16  # SVG user units
_COLOURS = ("#2a78c8", "#d95f02")  # readable on light and dark pages


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """A run at one moment. `limit` is the sum of all endpoints' limits."""

    elapsed_s: float
    limit: int
    calls_per_s: float


class Timeline:
    """The limit and the throughput of a run over time."""

    def __init__(self) -> None:
        self._points: list[TimelinePoint] = []
        self._stride = 1  # of how many snapshots one is kept
        self._skipped = 0

    @property
    def points(self) -> Sequence[TimelinePoint]:
        """The points, oldest first."""
        return tuple(self._points)

    def add(self, view: ProgressView) -> None:
        """Add a snapshot. In a long run, some are skipped."""
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        limit = sum(endpoint.limit for endpoint in view.endpoints)
        self._points.append(TimelinePoint(view.elapsed_s, limit, view.calls_per_s))
        if len(self._points) >= _MOST:
            del self._points[::2]
            self._stride *= 2

    def svg(self) -> str:
        """Return a plot of both lines, each scaled to its maximum; nothing if there are too few points."""
        points = self._points
        if len(points) < 2:
            return ""
        end = max(point.elapsed_s for point in points) or 1.0
        lines = {
            "limit": [float(point.limit) for point in points],
            "calls/s": [point.calls_per_s for point in points],
        }
        parts = []
        for number, (name, values) in enumerate(lines.items()):
            most = max(values) or 1.0
            xy = " ".join(
                f"{point.elapsed_s / end * _WIDTH:.1f},{_TOP + _HEIGHT * (1 - value / most):.1f}"
                for point, value in zip(points, values, strict=True)
            )
            colour = _COLOURS[number]
            parts.append(f'<polyline points="{xy}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            parts.append(
                f'<text x="{number * 160}" y="11" fill="{colour}">{name}, at most {most:,.0f}</text>'
            )
        bottom = _TOP + _HEIGHT
        return (
            f'<svg viewBox="0 0 {_WIDTH} {bottom + 16}" width="{_WIDTH}" role="img" font-size="11" '
            'font-family="system-ui,sans-serif" aria-label="limit and calls per second over time">'
            f'{"".join(parts)}<line x1="0" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}" stroke="#8888"/>'
            f'<text x="{_WIDTH}" y="{bottom + 12}" text-anchor="end" fill="#888">{duration(end)}</text></svg>'
        )
