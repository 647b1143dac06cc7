"""Problems of a configuration file, and the positions where they are.

Rule 1: a problem is a value, so that all problems of a file can be collected and reported together.
Rule 2: a problem says what the file has, what the key accepts and, for a misspelt word, the nearest known
one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from actors.core.errors import ConfigError
from cluster.config.paths import KeyPath


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One problem. `line` and `column` count from 1; they are 0 for a problem without a place in the file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    got: str | None = None
    wanted: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = ": ".join(part for part in (place, self.path, self.message) if part)
        details = [f"{word} {what}" for word, what in (("got", self.got), ("wanted", self.wanted)) if what]
        if details:
            text += f" ({', '.join(details)})"
        return f"{text}; did you mean {self.suggestion}?" if self.suggestion else text


_MOST_SHOWN = 100  # problems: a generated file may have a thousand times as many


class ConfigFileError(ConfigError):
    """A configuration file cannot be used. `problems` holds every reason, in the order of the file."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = [*map(str, self.problems[:_MOST_SHOWN])]
        if left := len(self.problems) - len(lines):
            lines.append(f"and {left:,} more problems")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a file. The line is 0 for a value from the command line."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, path: KeyPath, message: str, **details: str | None) -> ConfigProblem:
        """Return the problem of the value at `path`, which stands here."""
        return ConfigProblem(self.file, self.line, self.column, ".".join(map(str, path)), message, **details)

    def fail(self, message: str, **details: str | None) -> NoReturn:
        """Raise `ConfigFileError` with this one problem."""
        raise ConfigFileError((self.problem((), message, **details),))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the entry of `known` that `word` probably misspells, None if none is close."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
