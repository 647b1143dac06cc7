"""Aggregates the reports of a run for its page: totals, score histograms, and the first reports.

Pure. Rule: memory is bounded. All reports are counted, `MOST_ROWS` of them are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from cluster.report.item_columns import stored_steps
from cluster.report.summary import RunSummary, RunTotals

MOST_ROWS = 1_000
BINS = 20


@dataclass(slots=True)
class Scores:
    """A histogram of the scores of one dimension: equal bins over its scale from `low` to `high`."""

    name: str
    low: float
    high: float
    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    missing: int = 0
    total: float = 0.0

    @property
    def scored(self) -> int:
        """Tasks that have a score."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean score, None if no task has a score."""
        return self.total / self.scored if self.scored else None

    def add(self, score: float | None) -> None:
        """Count the score of a task. A score beyond the scale is counted in the first or last bin."""
        if score is None:
            self.missing += 1
            return
        place = (score - self.low) / (self.high - self.low)
        self.counts[min(max(int(place * BINS), 0), BINS - 1)] += 1
        self.total += score


@dataclass(frozen=True, slots=True)
class Figures:
    """The aggregated reports of a run. `rows` holds the first `MOST_ROWS` reports."""

    summary: RunSummary
    overall: Scores
    dimensions: tuple[Scores, ...]
    rows: tuple[Report, ...]


def figures(run_id: str, config: Mapping[str, Json], reports: Iterable[Report], elapsed_s: float) -> Figures:
    """Aggregate `reports`. `config` is the configuration in the run's journal; it gives the scales."""
    totals, rows = RunTotals(), list[Report]()
    overall = Scores("overall", 0.0, 1.0)
    dimensions = [Scores(name, low, high) for name, low, high in _scales(config)]
    for report in reports:
        totals.accepted()
        totals.add(report)
        if len(rows) < MOST_ROWS:
            rows.append(report)
        found = {result.name: result.score for result in report.dimensions}
        overall.add(report.overall)
        for each in dimensions:
            each.add(found.get(each.name))
    return Figures(totals.summary(run_id, elapsed_s=elapsed_s), overall, tuple(dimensions), tuple(rows))


def _scales(config: Mapping[str, Json]) -> list[tuple[str, float, float]]:
    """Return name, minimum and maximum of each dimension of a stored configuration."""
    fields: dict[str, Json] = {}
    for step, output in stored_steps(config):
        for name, spec in output.items():
            fields[name] = fields[f"{step}.{name}"] = spec
    return [(one["name"], *_scale(one, fields[one["field"]])) for one in config.get("dimensions", ())]


def _scale(dimension: Mapping[str, Json], spec: Mapping[str, Json]) -> tuple[float, float]:
    numbers = (dimension.get("values") or {}).values()
    return (min(numbers), max(numbers)) if numbers else (float(spec["min"]), float(spec["max"]))
