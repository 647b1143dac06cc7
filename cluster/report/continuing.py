"""The commands that continue a run and repeat its tasks, as they are shown.

The command line of a run of ``map`` is in the store. It is shown, and never executed: a writer to the store
could otherwise run code, and choose the host that receives a key.
"""

from __future__ import annotations

import shlex

from actors.core.censor import HIDDEN, NO_SECRETS, printable
from actors.core.messages.journal import RunView
from cluster.input.formats import STDIN
from cluster.program import program

WITHHELD = "=..."  # the end of an override whose value is a secret
RETRY_FAILED = "--retry-failed"  # the option of `map`
_OF_PYTHON = "the same call of headrace.map"


def is_of_map(run: RunView) -> bool:
    """Return whether ``map`` began a run, as a command or in Python."""
    return "asked" in run.origin


def continues(run: RunView, options: str = "") -> str:
    """Return the command that continues a run. `options` name its store.

    Of a run that a Python program began with ``headrace.map``, it says so in words.
    """
    if is_of_map(run):
        return map_line(run) or _OF_PYTHON
    return f"{program()} resume {run.run_id}{options}"


def repeats(run: RunView, flags: str, options: str = "") -> str:
    """Return the command that repeats the tasks of a run that `flags` name, such as ``--failed``."""
    if is_of_map(run):
        return map_line(run, RETRY_FAILED) or f"{_OF_PYTHON} with retry_failed=True"
    return f"{program()} retry {run.run_id} {flags}{options}"


def map_line(run: RunView, *more: str) -> str:
    """Return the command line that began a run of ``map``, and `more` words; empty after a call in Python."""
    words = _words(run)
    if not words:
        return ""
    wanted = [*words, *(each for each in more if each not in words)]
    return " ".join([program(), *map(_quoted, wanted)])


def what_to_add(run: RunView) -> str:
    """Return what the command line of a run of ``map`` lacks, as clauses that begin with a semicolon."""
    words = _words(run)
    notes = "; pipe the same rows into it" if STDIN in words else ""
    if any(word.endswith(WITHHELD) or HIDDEN in word for word in words):
        notes += "; secrets are not stored: give them again"
    return notes


def _words(run: RunView) -> list[str]:
    return [NO_SECRETS(str(word)) for word in run.origin.get("command") or ()]


def _quoted(word: str) -> str:
    """Return a word for a shell. A terminal does not obey it, and it stays on its line."""
    if "\n" not in word and printable(word) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{printable(escaped)}'"
