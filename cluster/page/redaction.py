"""Removes the values of hidden columns from everything that a page shows of a task.

Rule 1: a value is removed from its column in any case. From other texts, which may quote it, it is removed if
    it has at least `SHORTEST` characters: a shorter one occurs in ordinary text.
Rule 2: a value is also removed in the forms in which answers and errors quote it: as JSON, as Python's
    ``repr``, and in one line. Each text in a list or an object is a value of its own.
Rule 3: errors quote parts of a value. From them each part of at least `_PART` characters is removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from actors.core.messages.tasks import Report
from actors.core.messages.values import Json
from cluster.history.asked import HIDDEN_VALUE

SHORTEST = 4
_PART = 12


class Redaction:
    """The columns of the input and of the answers whose values are hidden."""

    def __init__(self, hidden: tuple[str, ...] = ()) -> None:
        self.hidden = frozenset(hidden)

    def report(self, params: Mapping[str, Json], report: Report) -> Report:
        """Return a report whose errors quote no hidden value."""
        if not self.hidden or not report.errors:
            return report
        return replace(report, errors=tuple(self.error(text, params, report) for text in report.errors))

    def error(self, text: str, params: Mapping[str, Json], report: Report | None) -> str:
        """Return the text of an error about a task without its hidden values and their parts."""
        texts = self._texts(params, report) if text else []
        return _without_parts(str(_without(text, texts)), texts) if texts else text

    def cleaned(self, document: Json, params: Mapping[str, Json], report: Report | None) -> Json:
        """Return a document about a task without its hidden values."""
        texts = self._texts(params, report)
        return _without(document, texts) if texts else document

    def _texts(self, params: Mapping[str, Json], report: Report | None) -> list[str]:
        """Return the hidden values in all forms, the longest first."""
        if not self.hidden:
            return []
        forms = {form for text in self._values(params, report) for form in _forms(text)}
        return sorted(forms, key=len, reverse=True)

    def _values(self, params: Mapping[str, Json], report: Report | None) -> Iterator[str]:
        items = () if report is None else report.items
        for name in self.hidden & params.keys():
            yield from _leaves(params[name])
        for step, values in (pair for item in items for pair in item.values.items()):
            for name, value in values.items():
                if not self.hidden.isdisjoint((name, f"{step}.{name}")):
                    yield from _leaves(value)
        if "text" in self.hidden:
            yield from (item.text for item in items if item.text)


def _leaves(value: Json) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from _leaves(each)
        case list() | tuple():
            for each in value:
                yield from _leaves(each)
        case float():
            yield from (str(value), f"{value:.6g}")  # the page rounds numbers
        case _ if value is not None:
            yield str(value)


def _forms(text: str) -> Iterator[str]:
    text = text.strip()
    for form in (
        text,
        " ".join(text.split()),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    ):
        if len(form) >= SHORTEST:
            yield form


def _without(value: Json, texts: Iterable[str]) -> Json:
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


def _without_parts(error: str, texts: Iterable[str]) -> str:
    """Return an error without the parts of `texts` that have at least `_PART` characters."""
    places: dict[str, list[int]] = {}
    for place in range(len(error) - _PART + 1):
        places.setdefault(error[place : place + _PART], []).append(place)
    hidden = bytearray(len(error))
    for text in texts:
        for at in range(len(text) - _PART + 1):
            for place in places.get(text[at : at + _PART], ()):
                hidden[place : place + _PART] = b"\1" * _PART
    shown = []
    for place, character in enumerate(error):
        if not hidden[place]:
            shown.append(character)
        elif not place or not hidden[place - 1]:
            shown.append(HIDDEN_VALUE)
    return "".join(shown)
