"""Aggregates a run for the summary of its page: one pass over its tasks, whose memory is bounded."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from actors.core.messages.journal import AttemptView, RunView
from actors.core.messages.tasks import Report, Task
from actors.core.messages.values import Json
from actors.core.task.dimensions import DimensionSettings
from actors.core.task.reports import overall_interval
from actors.llm.fields import ColumnSpec
from cluster.config.answer_fields import STORED
from cluster.config.steps import Dimension
from cluster.page.course import Course
from cluster.page.distributions import ColumnNumbers, Labels, LabelSpread, NumberSpread
from cluster.report.failures import FailureCounts
from cluster.report.item_columns import ItemColumn
from cluster.report.tables.columns import InputColumns, Layout
from cluster.report.tables.value_types import Kind, ValueType

BEST = 10  # tasks at each end of the ranking
_EXTREMES = 6  # candidates for outliers at each end of a column
_MOST_OUTLIERS = 12
_OUTLYING = 3.5  # robust standard deviations (Iglewicz and Hoaglin, 1993)


@dataclass(frozen=True, slots=True, order=True)
class Ranked:
    """A task in the ranking: its overall score and the interval of that, from 0 to 1."""

    overall: float
    place: int
    key: str = field(compare=False)
    low: float = field(compare=False)
    high: float = field(compare=False)
    items: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Outlier:
    """A value far from the median of its column. `item` is empty if the column is one of tasks."""

    column: str
    key: str
    item: str
    value: float
    median: float
    distance: float


_Entry = TypeVar("_Entry", Ranked, tuple[float, int, Ranked])


class _Extremes:
    """The smallest and the largest values of a column, and where they are."""

    def __init__(self, numbers: ColumnNumbers) -> None:
        self.numbers = numbers
        self._low: list[tuple[float, int, str, str]] = []
        self._high: list[tuple[float, int, str, str]] = []
        self._seen = 0

    def add(self, value: Json, key: str, item: str) -> None:
        self.numbers.add(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        self._seen += 1
        for heap, sign in ((self._low, -1.0), (self._high, 1.0)):
            entry = (sign * value, -self._seen, key, item)
            if len(heap) < _EXTREMES:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)

    def outliers(self) -> list[Outlier]:
        found = {}
        median = self.numbers.spread().median or 0.0
        for heap, sign in ((self._low, -1.0), (self._high, 1.0)):
            for value, _, key, item in heap:
                distance = self.numbers.outlying(sign * value)
                if abs(distance) >= _OUTLYING:
                    found[key, item] = Outlier(self.numbers.name, key, item, sign * value, median, distance)
        return [*found.values()]


class RunFigures:
    """The figures of a run so far, without those of the columns `hidden`."""

    def __init__(self, run: RunView, layout: Layout, hidden: Collection[str], now: float) -> None:
        self.hidden = hidden
        self.layout = layout
        self.dimensions = stored_dimensions(run.config, layout.outputs)
        self.inputs = InputColumns()
        self.course = Course(run.began_at, run.ended_at or now)
        self.failures = FailureCounts()
        self.states: Counter[str] = Counter()
        self.item_states: Counter[str] = Counter()
        self.sources: dict[str, Counter[str]] = {}
        self.tasks = self.items = self.scored = 0
        self.key_columns: set[str] | None = None  # the columns that are equal to the key in all tasks
        unit, tasks = ("rows", "rows") if layout.is_map else ("items", "tasks")
        scored = ("overall", *(each.name for each in self.dimensions)) if self.dimensions else ()
        scales = {each.name: (each.minimum, each.maximum) for each in self.dimensions}
        self._scores = {
            name: _Extremes(ColumnNumbers(name, scales.get(name, (0.0, 1.0)), tasks, whole=False))
            for name in scored
        }
        shown = [column for column in layout.outputs if not {column.name, column.field} & {*hidden}]
        self._fields = [(column, _gatherer(column, unit)) for column in shown]
        self._best: list[Ranked] = []
        self._worst: list[tuple[float, int, Ranked]] = []

    def add(self, task: Task, report: Report, attempts: Sequence[AttemptView]) -> None:
        """Count a task that has ended."""
        self.inputs.add(self.tasks, task)
        candidates = task.params if self.key_columns is None else self.key_columns
        self.key_columns = {name for name in candidates if str(task.params.get(name)) == task.key}
        self.tasks += 1
        self.items += len(report.items)
        self.states[report.state.value] += 1
        self.failures.add(report)
        self.course.add(attempts)
        for name, outcome in report.sources.items():
            counts = self.sources.setdefault(name, Counter())
            counts["items"] += outcome.items
            counts["failed" if outcome.error else "answered"] += 1
        self._add_scores(report)
        for item in report.items:
            self.item_states[item.state.value] += 1
            for column, gathered in self._fields:
                _, value = column.answer(item)
                if isinstance(gathered, _Extremes):
                    gathered.add(value, report.key, "" if self.layout.is_map else item.item_id)
                elif gathered is not None:
                    gathered.add(value)

    def input_types(self) -> dict[str, ValueType]:
        """Return the columns of the input, without that of the key."""
        return {name: kind for name, kind in self.inputs.types.items() if name != "key"}

    def ranking(self) -> tuple[list[Ranked], list[Ranked]]:
        """Return the best tasks, best first, and the worst, worst first. No task is in both."""
        best = sorted(self._best, reverse=True)
        worst = sorted(one for _, _, one in self._worst)
        half = self.scored // 2
        if self.scored < 2 * BEST:
            return best[: self.scored - half], worst[:half]
        return best, worst

    def scores(self) -> list[NumberSpread]:
        """Return how the scores spread: the overall score, then that of each dimension."""
        return [each.numbers.spread() for each in self._scores.values()]

    def fields(self) -> list[tuple[ItemColumn, NumberSpread | LabelSpread]]:
        """Return how the answers spread, by output column; without texts that are rarely equal."""
        found: list[tuple[ItemColumn, NumberSpread | LabelSpread]] = []
        for column, gathered in self._fields:
            spread = gathered.numbers.spread() if isinstance(gathered, _Extremes) else None
            if isinstance(gathered, Labels):
                labels = gathered.spread()
                if labels is not None:
                    found.append((column, labels))
            elif spread is not None:
                found.append((column, spread))
        return found

    def outliers(self) -> list[Outlier]:
        """Return the values farthest from the median of their column, the farthest first."""
        columns = [*self._scores.values(), *(each for _, each in self._fields if isinstance(each, _Extremes))]
        found = [one for each in columns for one in each.outliers()]
        return sorted(found, key=lambda one: -abs(one.distance))[:_MOST_OUTLIERS]

    def shown_keys(self) -> set[str]:
        """Return the keys of the tasks that the summary names."""
        best, worst = self.ranking()
        return {one.key for one in (*best, *worst)} | {one.key for one in self.outliers()}

    def _add_scores(self, report: Report) -> None:
        results = {result.name: result for result in report.dimensions}
        for name, extremes in self._scores.items():
            result = results.get(name)
            value = report.overall if name == "overall" else None if result is None else result.score
            extremes.add(value, report.key, "")
        interval = overall_interval(self.dimensions, report.dimensions)
        if report.overall is None or interval is None:
            return
        low, high = interval
        ranked = Ranked(report.overall, -self.scored, report.key, low, high, len(report.items))
        self.scored += 1
        _keep(self._best, ranked)
        _keep(self._worst, (-ranked.overall, ranked.place, ranked))


def _keep(heap: list[_Entry], entry: _Entry) -> None:
    if len(heap) < BEST:
        heapq.heappush(heap, entry)
    elif entry > heap[0]:
        heapq.heapreplace(heap, entry)


def _gatherer(column: ItemColumn, unit: str) -> _Extremes | Labels | None:
    kind = column.type.kind
    match kind:
        case Kind.NUMBER | Kind.INTEGER:
            scale = (getattr(column.spec, "min", None), getattr(column.spec, "max", None))
            whole = kind is Kind.INTEGER
            return _Extremes(ColumnNumbers(column.name, scale, unit, whole=whole))
        case Kind.CHOICE:
            return Labels(column.name, unit, declared=column.type.choices)
        case Kind.BOOLEAN:
            return Labels(column.name, unit, declared=("true", "false"))
        case Kind.TEXT | Kind.DATE:
            return Labels(column.name, unit, free=True)
        case Kind.LIST if (inner := column.type.item) and inner.kind in (Kind.TEXT, Kind.CHOICE):
            return Labels(column.name, unit, declared=inner.choices, free=not inner.choices)
    return None


class _StoredStep(NamedTuple):
    name: str
    output: Mapping[str, ColumnSpec]


def stored_dimensions(
    config: Mapping[str, Json], outputs: Iterable[ItemColumn]
) -> tuple[DimensionSettings, ...]:
    """Return the dimensions of a stored configuration, with their scales. `outputs` are its columns."""
    fields: dict[str, dict[str, ColumnSpec]] = {}
    for column in outputs:
        fields.setdefault(column.step, {})[column.field] = column.spec
    steps = [_StoredStep(name, output) for name, output in fields.items()]
    return tuple(
        Dimension.model_validate(one, context=STORED).settings(steps) for one in config.get("dimensions", ())
    )
