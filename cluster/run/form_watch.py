"""Decides when a step that no answer fits stops a run: further answers would be paid for and not used.

Pure. Rule: one usable answer shows that the step can be answered, and ends the watch over it.
"""

from __future__ import annotations

from collections import Counter

from actors.core.errors import Blame, Failure, FailureKind
from actors.core.messages.tasks import Report
from actors.llm.forms import RAISE_MAX_TOKENS

MOST_UNUSABLE = 20  # rows without a usable answer before the first that has one


class FormWatch:
    """Counts the items whose answer to a step does not fit, until an answer does.

    before: rows that failed when the run was begun, and whose reports come again.
    """

    def __init__(self, before: int = 0) -> None:
        self._most = before + MOST_UNUSABLE
        self._answered: set[str] = set()
        self._unusable: Counter[str] = Counter()

    @property
    def is_answered(self) -> bool:
        """Whether an answer was usable."""
        return bool(self._answered)

    @property
    def left(self) -> int:
        """The number of rows that may still be asked before the first usable answer."""
        return self._most - self._unusable.total()

    def look(self, report: Report) -> Failure | None:
        """Return the cause that must stop the run after this report, None if the run may continue."""
        for item in report.items:
            self._answered.update(item.values)
        for item in report.items:
            if item.error is None or item.error.kind is not FailureKind.UNUSABLE or not item.step:
                continue
            if item.step in self._answered:
                continue
            self._unusable[item.step] += 1
            if self._unusable[item.step] >= self._most:
                cause = item.error.message
                advice = "" if RAISE_MAX_TOKENS in cause else "; change the columns or the model"
                which = f"none of the first {self._most} answers of step {item.step} fits its form"
                text = f"{which}: {cause}{advice}"
                return Failure(FailureKind.UNUSABLE, Blame.CONFIG, text)
        return None
