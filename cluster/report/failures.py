"""Counts the causes of failures over the reports of a run, and keeps their exact words.

Rule 1: errors that differ only in particulars, such as an id, a path or a time, count as one cause. The
    exact text of its first error is shown, and those of a few others: the difference may be what matters.
Rule 2: memory is bounded, whatever the number of tasks and of different errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from actors.core.messages.tasks import ItemState, Report
from actors.core.messages.values import Json

MAX_CAUSES = 50  # a defect that words each failure differently must not fill memory
MAX_OTHERS = 2  # further texts of a cause
OTHER_CAUSES = "other causes"
_MAX_CHARACTERS = 2_000  # of a text
_MAX_SEARCHED = 1_000  # characters: the search takes quadratic time in the length of a word without digits
_ITEMS = re.compile(r"^evaluation of .*? failed: ")
# A word with a digit in it, such as an id, a path or a time. A number of three digits may be a status.
_PARTICULARS = re.compile(r"\b(?!\d{3}\b)(?=[\w.:#/-]*\d)[\w.:#/-]+")
_QUOTED = re.compile(r", got .*", re.DOTALL)  # an answer of the wrong form is quoted at the end of the error
_NULL_IN = "null in "  # how a null value is named
_MORE = re.compile(r"^and \d+ more errors$")


@dataclass(frozen=True, slots=True)
class FailureCause:
    """A cause of failures: how many tasks it affected, its first text, and other texts of the same form.

    `form` identifies it among the causes of a run; `forms_of` gives those of a task. `has_more`: there are
    further texts, which are not kept. `is_skip`: a value that the prompt needs is null, so nothing was asked
    about these tasks.
    """

    tasks: int
    cause: str
    others: tuple[str, ...] = ()
    has_more: bool = False
    is_skip: bool = False
    form: str = ""

    @property
    def text(self) -> str:
        """The cause as it is shown."""
        return skip_text(self.cause) if self.is_skip else self.cause

    def __str__(self) -> str:
        return self.cause

    def document(self) -> dict[str, Json]:
        """Return the cause as a JSON object."""
        skip = {"skipped": True} if self.is_skip else {}
        return {"tasks": self.tasks, "cause": self.cause, "others": list(self.others), **skip}


@dataclass(slots=True)
class _Alike:
    """Errors that differ only in particulars."""

    tasks: int = 0
    texts: list[str] = field(default_factory=list)
    has_more: bool = False
    is_skip: bool = False

    def add(self, texts: Sequence[str]) -> None:
        self.tasks += 1
        for text in texts:
            if text not in self.texts:
                if len(self.texts) <= MAX_OTHERS:
                    self.texts.append(text)
                else:
                    self.has_more = True


class FailureCounts:
    """Counts tasks by the causes of their errors."""

    def __init__(self) -> None:
        self._known: dict[str, _Alike] = {}

    def add(self, report: Report) -> None:
        """Count a task, once for each of its causes."""
        for form, texts in sorted(forms_of(report).items()):
            if form in self._known or len(self._known) < MAX_CAUSES:
                self._known.setdefault(form, _Alike(is_skip=is_skipped(report))).add(texts)
            else:
                self._known.setdefault(OTHER_CAUSES, _Alike()).add([OTHER_CAUSES])

    def causes(self) -> tuple[FailureCause, ...]:
        """Return the causes, the most frequent first."""
        # The sort is stable: of equally frequent causes, the first met is first.
        ordered = sorted(self._known.items(), key=lambda known: -known[1].tasks)
        return tuple(
            FailureCause(one.tasks, one.texts[0], tuple(one.texts[1:]), one.has_more, one.is_skip, form)
            for form, one in ordered
        )


def forms_of(report: Report) -> dict[str, list[str]]:
    """Return the errors of a task by their form: errors of one form differ only in particulars."""
    if is_skipped(report):
        return {f"skipped: {report.errors[0]}": [report.errors[0]]}  # in full: each column is another cause
    found: dict[str, list[str]] = {}
    for text in _texts(report):
        form = _PARTICULARS.sub("…", _QUOTED.sub(", got …", text[:_MAX_SEARCHED]))
        found.setdefault(form, []).append(text)
    return found


def is_skipped(report: Report) -> bool:
    """Return whether nothing was asked about a task that is its own item, because a value is null."""
    states = [item.state for item in report.items]
    return not report.sources and states == [ItemState.SKIPPED] and len(report.errors) == 1


def skip_text(cause: str) -> str:
    """Return why rows were skipped, and how their question is asked nevertheless."""
    name = cause.removeprefix(_NULL_IN)
    return f"skipped: {cause}" + (f"; {{{name}?}} asks about them too" if name != cause else "")


def cause_lines(causes: Sequence[FailureCause], most: int = 5) -> Iterator[str]:
    """Yield a line for each of the first `most` causes, with the number of tasks."""
    for one in causes[:most]:
        noun = "" if one.is_skip else " task:" if one.tasks == 1 else " tasks:"
        yield f"{one.tasks:,}{noun} {one.text}"
        yield from (f"  also: {other}" for other in one.others)
        if one.has_more:
            yield "  also: others like these"
    if len(causes) > most:
        yield f"and {len(causes) - most:,} more causes"


def _texts(report: Report) -> Iterator[str]:
    """Yield the errors of a task, without its key and its items."""
    for error in report.errors:
        text = error.partition("\n")[0][:_MAX_CHARACTERS]
        if not _MORE.match(text):
            text = text.removesuffix(f" about {report.key}").removesuffix(f" for {report.key}")
            yield _ITEMS.sub("evaluation failed: ", text)
