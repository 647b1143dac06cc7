"""Remedies of causes of failures, by the kind that the text of a cause names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from actors.core.errors import FailureKind
from actors.core.messages.journal import RunView
from cluster.report.continuing import continues, repeats
from cluster.report.failures import FailureCause

_KIND = re.compile(rf"\b({'|'.join(FailureKind)}): ")


def _repeated(run: RunView) -> str:
    return repeats(run, "--failed --partial")


_ADVICE: dict[str, tuple[str, Callable[[RunView], str] | None]] = {
    FailureKind.REFUSED: ("The endpoint refused the calls until the deadline. Repeat them later.", _repeated),
    FailureKind.TRANSIENT: ("The fault was temporary. Repeat the tasks.", _repeated),
    FailureKind.IN_DOUBT: ("No answer arrived; the call may be billed. Repeat the tasks.", _repeated),
    FailureKind.UNUSABLE: (
        "The answers lack the required form. Simplify output, or raise max_tokens.",
        _repeated,
    ),
    FailureKind.PERMANENT: (
        "The same request fails again. Correct the input or the prompt first.",
        _repeated,
    ),
    FailureKind.MISCONFIGURED: (
        "Correct the configuration of the endpoint, then repeat the tasks.",
        _repeated,
    ),
    FailureKind.DEADLINE: ("Raise limits.task_deadline_s, or repeat the tasks with less load.", _repeated),
    FailureKind.CANCELLED: ("The tasks were cancelled.", None),
    FailureKind.BUDGET: ("Raise the budget, then continue the run.", continues),
    FailureKind.UNSTORED: ("The store was away. Continue the run.", continues),
}
_SKIPPED = "A value is null, so nothing was asked. A ? after its name in the prompt asks nevertheless."
_UNKNOWN = ("Open one of the tasks: its attempts say more.", _repeated)


@dataclass(frozen=True, slots=True)
class Remedy:
    """The advice about a cause, and the command that repeats its tasks; empty if none does."""

    text: str
    command: str


def remedy_of(cause: FailureCause, run: RunView) -> Remedy:
    """Return the remedy of a cause of failures."""
    if cause.is_skip:
        return Remedy(_SKIPPED, "")
    found = _KIND.search(cause.cause)
    text, command = _ADVICE[found[1]] if found else _UNKNOWN
    return Remedy(text, command(run) if command else "")
