"""Removes the values of hidden columns from everything that a page shows of a task.

Rule: a value is removed from its column in any case. From other texts, which may quote it, it is removed if
it has at least `SHORTEST` characters: a shorter one occurs in ordinary text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from cluster.history.asked import HIDDEN_VALUE

SHORTEST = 4


class Redaction:
    """The columns of the input and of the answers whose values are hidden."""

    def __init__(self, hidden: tuple[str, ...] = ()) -> None:
        self.hidden = frozenset(hidden)

    def report(self, params: Mapping[str, Json], report: Report) -> Report:
        """Return a report whose errors quote no hidden value."""
        if not self.hidden or not report.errors:
            return report
        return replace(report, errors=tuple(self.cleaned(list(report.errors), params, report)))

    def cleaned(self, document: Json, params: Mapping[str, Json], report: Report | None) -> Json:
        """Return a document about a task without its hidden values."""
        texts = {*self._texts(params, report)} if self.hidden else ()
        return _without(document, sorted(texts, key=len, reverse=True)) if texts else document

    def _texts(self, params: Mapping[str, Json], report: Report | None) -> Iterator[str]:
        items = () if report is None else report.items
        for values in (params, *(each for item in items for each in item.values.values())):
            for name in self.hidden & values.keys():
                text = str(values[name]).strip()
                if len(text) >= SHORTEST:
                    yield text
        if "text" in self.hidden:
            yield from (item.text for item in items if item.text and len(item.text) >= SHORTEST)


def _without(value: Json, texts: list[str]) -> Json:
    match value:
        case str():
            for text in texts:
                value = value.replace(text, HIDDEN_VALUE)
            return value
        case dict():
            return {name: _without(each, texts) for name, each in value.items()}
        case list() | tuple():
            return [_without(each, texts) for each in value]
    return value
