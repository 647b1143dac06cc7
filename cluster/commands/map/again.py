"""Says how a run of ``map`` continues. The command line in the store is shown, and never executed.

A writer to the store could otherwise run code, and choose the host that receives a key.
"""

from __future__ import annotations

import shlex

from actors.core.censor import HIDDEN, NO_SECRETS, printable
from actors.core.errors import ConfigError
from actors.core.messages.journal import RunView
from cluster.input.formats import STDIN
from cluster.program import program

WITHHELD = "=..."  # the end of an override whose value is a secret


def refuse_map_run(run: RunView, *more: str) -> None:
    """Raise `ConfigError` if `map` began `run`. It names the command, with `more` words."""
    if "asked" not in run.origin:
        return
    words = [NO_SECRETS(str(word)) for word in run.origin.get("command") or ()]
    if not words:
        raise ConfigError(
            f"run {run.run_id} was started by headrace.map: the same call continues it, and returns the table"
        )
    wanted = [*words, *(each for each in more if each not in words)]
    line = " ".join([program(), *map(_quoted, wanted)])
    notes = "; pipe the same rows into it" if STDIN in words else ""
    if any(word.endswith(WITHHELD) or HIDDEN in word for word in words):
        notes += "; secrets are not stored: give them again"
    raise ConfigError(f"run {run.run_id} is one of `map`: the same command continues it{notes}: {line}")


def _quoted(word: str) -> str:
    """Return a word for a shell. A terminal does not obey it, and it stays on its line."""
    if "\n" not in word and printable(word) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{printable(escaped)}'"
