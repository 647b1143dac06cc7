"""The decisions of a golden set that stand: the last one about each place, without those that were undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from actors.core.messages.values import Json
from cluster.golden.records import Decision, GoldenRecord, Place


class GoldenSet:
    """The decisions that stand, by place."""

    def __init__(self, records: Iterable[GoldenRecord] = ()) -> None:
        self._known: dict[Place, list[GoldenRecord]] = {}
        for record in records:
            self.add(record)

    def add(self, record: GoldenRecord) -> None:
        """Add the next record. An undo removes the newest one about its place, if there is one."""
        if record.decision is not Decision.UNDO:
            self._known.setdefault(record.place, []).append(record)
        elif known := self._known.get(record.place):
            known.pop()
            if not known:
                del self._known[record.place]

    def get(self, place: Place) -> GoldenRecord | None:
        """Return the decision about a place."""
        known = self._known.get(place)
        return known[-1] if known else None

    def __iter__(self) -> Iterator[GoldenRecord]:
        """Yield the decisions about single answers."""
        return (known[-1] for known in self._known.values() if known[-1].decision is not Decision.PREFER)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def preferences(self) -> Iterator[GoldenRecord]:
        """Yield the preferences between the answers of two runs."""
        return (known[-1] for known in self._known.values() if known[-1].decision is Decision.PREFER)

    def fields(self) -> tuple[str, ...]:
        """Return the fields with decisions, in the order in which they were first decided."""
        return tuple(dict.fromkeys(record.field for record in self))

    def truth(self, field: str) -> dict[tuple[str, str], Json]:
        """Return the right values of a field that people stated, by task and item."""
        return {
            (record.task, record.item): record.value
            for record in self
            if record.field == field and record.states_value
        }
