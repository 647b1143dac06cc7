"""What to do about a cause of failures, by the kind that its text names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.core.errors import FailureKind
from cluster.program import program
from cluster.report.failures import FailureCause

_KIND = re.compile(rf"\b({'|'.join(FailureKind)}): ")
_RETRY = "retry {run_id} --failed --partial"
_RESUME = "resume {run_id}"
_ADVICE: dict[str, tuple[str, str]] = {
    FailureKind.REFUSED: ("The endpoint refused the calls until the deadline. Repeat them later.", _RETRY),
    FailureKind.TRANSIENT: ("The fault was temporary. Repeat the tasks.", _RETRY),
    FailureKind.IN_DOUBT: ("No answer arrived; the call may be billed. Repeat the tasks.", _RETRY),
    FailureKind.UNUSABLE: (
        "The answers lack the required form. Simplify output, or raise max_tokens.",
        _RETRY,
    ),
    FailureKind.PERMANENT: ("The same request fails again. Correct the input or the prompt first.", _RETRY),
    FailureKind.MISCONFIGURED: ("Correct the configuration of the endpoint, then repeat the tasks.", _RETRY),
    FailureKind.DEADLINE: ("Raise limits.task_deadline_s, or repeat the tasks with less load.", _RETRY),
    FailureKind.CANCELLED: ("The tasks were cancelled.", ""),
    FailureKind.BUDGET: ("Raise the budget, then continue the run.", _RESUME),
    FailureKind.UNSTORED: ("The store was away. Continue the run.", _RESUME),
}
_SKIPPED = "A value is null, so nothing was asked. A ? after its name in the prompt asks nevertheless."
_UNKNOWN = ("Open one of the tasks: its attempts say more.", _RETRY)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What helps against a cause, and the command that repeats its tasks; empty if none does."""

    text: str
    command: str


def remedy_of(cause: FailureCause, run_id: str) -> Remedy:
    """Return the remedy of a cause of failures."""
    if cause.is_skip:
        return Remedy(_SKIPPED, "")
    found = _KIND.search(cause.cause)
    text, command = _ADVICE[found[1]] if found else _UNKNOWN
    return Remedy(text, f"{program()} {command.format(run_id=run_id)}" if command else "")
