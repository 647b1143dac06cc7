"""Chooses the items that a person reviews, and their order.

Pure. Rule 1: the order of items without a decision is fixed, so that a review goes on where it was stopped.
Rule 2: memory holds the chosen items only, not the run.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from actors.core.errors import ConfigError
from actors.core.messages.tasks import ItemResult, Report, Task
from actors.core.messages.values import Json
from cluster.config.problem import nearest
from cluster.golden.figures import is_number
from cluster.golden.records import Decision, GoldenRecord, Order, Place, same
from cluster.golden.standing import GoldenSet
from cluster.report.item_columns import ItemColumn
from cluster.review.values import value_text

FAILED, CHANGED, REVIEWED = "failed", "changed", "reviewed"


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """One thing that a person is asked: whether the answer to `column` is right, or which answer is better.

    `other` is the result of the run that is compared with, if there is one. `column` is None in a blind
    comparison, which is about all answers of the item. `sure` is the confidence of the answer.
    """

    task: Task
    item: ItemResult
    place: Place
    column: ItemColumn | None = None
    other: ItemResult | None = None
    order: Order | None = None
    sure: float | None = None
    differs: bool = False

    @property
    def answer(self) -> tuple[bool, Json]:
        """Whether there is an answer to `column`, and the answer."""
        return (False, None) if self.column is None else self.column.answer(self.item)


@dataclass(slots=True)
class Chosen:
    """The questions, and how many items were left out, by reason."""

    questions: list[ReviewQuestion] = field(default_factory=list)
    failed: int = 0  # without an answer to a reviewed field
    decided: int = 0
    equal: int = 0  # in a blind comparison: both runs answer the same
    unmatched: int = 0  # the other run has no such item


@dataclass(frozen=True, slots=True)
class ReviewSelection:
    """The content of a review.

    columns: the fields to judge, or those whose answers are compared. all_columns: of the table `items`.
    peers: columns of other steps with the same field, by the name of a column. other: the id of the run that
    is compared with. only: `FAILED`, `CHANGED`, `REVIEWED`, or a column and a value.
    """

    columns: tuple[ItemColumn, ...]
    all_columns: tuple[ItemColumn, ...]
    order: Order
    confidence: ItemColumn | None = None
    other: str = ""
    is_blind: bool = False
    only: str | tuple[str, str] | None = None
    most: int = 100
    seed: int = 0

    @property
    def recorded_order(self) -> Order | None:
        """The order that records name. A random order within a part of the run is no sample of the run."""
        is_part = self.only not in (None, REVIEWED)
        return None if self.order is Order.RANDOM and (is_part or self.is_blind) else self.order

    def peers(self, column: ItemColumn) -> list[ItemColumn]:
        """Return the columns in which other steps answer the same field."""
        return [each for each in self.all_columns if each.field == column.field and each.step != column.step]


Entries = Iterable[tuple[Task, Report]]
FindOther = Callable[[str], Report | None]


def choose(entries: Entries, find_other: FindOther, golden: GoldenSet, selection: ReviewSelection) -> Chosen:
    """Return what to ask about a run. `find_other` returns the report of the other run about a task."""
    chosen = Chosen()
    picked = heapq.nsmallest(
        selection.most, _ranked(entries, find_other, golden, selection, chosen), key=itemgetter(0)
    )
    for _, (task, item, other, differs) in picked:
        places = _places(task, item, selection)
        for place, column in places:
            if selection.only != REVIEWED and _is_decided(golden, place, column, item):
                continue  # another field of the item is still open
            chosen.questions.append(
                ReviewQuestion(
                    task=task,
                    item=item,
                    place=place,
                    column=column,
                    other=other,
                    order=selection.recorded_order,
                    sure=_confidence(item, selection),
                    differs=differs,
                )
            )
    return chosen


_Found = tuple[Task, ItemResult, ItemResult | None, bool]


def _ranked(
    entries: Entries, find_other: FindOther, golden: GoldenSet, selection: ReviewSelection, left_out: Chosen
) -> Iterator[tuple[tuple[float, ...], _Found]]:
    """Yield the items that can be shown, with their ranks. Counts the others in `left_out`."""
    known: set[str] = set()
    for task, report in entries:
        other_report = find_other(task.key) if selection.other else None
        others = {} if other_report is None else {each.item_id: each for each in other_report.items}
        for item in report.items:
            other = others.get(item.item_id)
            known |= task.params.keys()
            if not _is_wanted(task, item, selection):
                continue
            if selection.other and other is None:
                left_out.unmatched += 1
                continue
            differs = _differs(item, other, selection)
            if selection.only == CHANGED and not differs:
                continue
            if selection.only not in (FAILED, REVIEWED) and not _is_complete(item, other, selection):
                left_out.failed += 1
                continue
            places = _places(task, item, selection)
            decided = [_is_decided(golden, place, column, item) for place, column in places]
            is_decided = any(decided) if selection.only == REVIEWED else all(decided)
            if is_decided != (selection.only == REVIEWED):
                left_out.decided += is_decided
                continue
            if selection.is_blind and not differs:
                left_out.equal += 1
                continue
            records = [record for place, _ in places if (record := golden.get(place)) is not None]
            found = (task, item, other, differs)
            yield _rank(found, records, selection), found
    _refuse_unknown_column(selection, known)


def _places(
    task: Task, item: ItemResult, selection: ReviewSelection
) -> list[tuple[Place, ItemColumn | None]]:
    if selection.is_blind:
        names = ",".join(column.name for column in selection.columns)
        return [(Place(task.key, item.item_id, names, selection.other), None)]
    return [(Place(task.key, item.item_id, column.name), column) for column in selection.columns]


def _is_decided(golden: GoldenSet, place: Place, column: ItemColumn | None, item: ItemResult) -> bool:
    """Return whether a decision tells what a person thinks of the answer, which `retry` may have changed."""
    record = golden.get(place)
    if record is None or record.decision is Decision.SKIP:
        return False
    is_answered, answer = (False, None) if column is None else column.answer(item)
    return not is_answered or record.judge(answer) is not None


def _is_complete(item: ItemResult, other: ItemResult | None, selection: ReviewSelection) -> bool:
    """Return whether there are answers to judge: to one field, or of both runs."""
    if selection.is_blind:
        both = (item, other) if other is not None else (item,)
        return all(any(column.answer(one)[0] for column in selection.columns) for one in both)
    return any(column.answer(item)[0] for column in selection.columns)


def _is_wanted(task: Task, item: ItemResult, selection: ReviewSelection) -> bool:
    if selection.only == FAILED:
        return not all(column.answer(item)[0] for column in selection.columns)
    if not isinstance(selection.only, tuple):
        return True
    name, wanted = selection.only
    column = next((each for each in selection.all_columns if each.name == name), None)
    value = task.params.get(name) if column is None else column.answer(item)[1]
    return value_text(value) == wanted or str(value) == wanted


def _refuse_unknown_column(selection: ReviewSelection, params: set[str]) -> None:
    if not isinstance(selection.only, tuple):
        return
    known = [*params, *(column.name for column in selection.all_columns)]
    name = selection.only[0]
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(sorted(known)[:20])}"
        raise ConfigError(f"--only {name}=…: no item has this column; {hint}")


def _differs(item: ItemResult, other: ItemResult | None, selection: ReviewSelection) -> bool:
    """Return whether an answer differs from that of the other run, or from that of another step."""
    if other is not None:
        return not all(_is_same(column.answer(item), column.answer(other)) for column in selection.columns)
    for column in selection.columns:
        mine = column.answer(item)
        theirs = [peer.answer(item) for peer in selection.peers(column)]
        if any(each[0] and not _is_same(mine, each) for each in theirs):
            return True
    return False


def _is_same(one: tuple[bool, Json], other: tuple[bool, Json]) -> bool:
    return one[0] == other[0] and same(one[1], other[1])


def _confidence(item: ItemResult, selection: ReviewSelection) -> float | None:
    if selection.confidence is None:
        return None
    value = selection.confidence.answer(item)[1]
    return float(value) if is_number(value) else None


def _rank(found: _Found, records: Sequence[GoldenRecord], selection: ReviewSelection) -> tuple[float, ...]:
    """Return the rank of an item: skipped ones last, then by the order, then by luck of the seed.

    `records` are the decisions about it.
    """
    task, item, _, differs = found
    sure = _confidence(item, selection)
    by_confidence = math.inf if sure is None else sure
    luck = _luck(f"{selection.seed}/{task.key}/{item.item_id}")
    if selection.only == REVIEWED:
        return (-max(record.at for record in records), luck)
    was_skipped = bool(records)
    match selection.order:
        case Order.AGREEMENT:
            return (was_skipped, not differs, by_confidence, luck)
        case Order.CONFIDENCE:
            return (was_skipped, by_confidence, luck)
        case Order.RANDOM:
            return (was_skipped, luck)


def _luck(name: str) -> int:
    """Return a number that depends on a text alone, as if it were drawn for it."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def is_left(seed: int, place: Place) -> bool:
    """Return whether a blind comparison shows the answer of the reviewed run on the left."""
    return _luck(f"{seed}/side/{place.task}/{place.item}/{place.other}") % 2 == 0
