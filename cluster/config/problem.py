"""What is wrong with a configuration file, and where it is wrong.

Rule 1: a problem is a value, found in one place and shown in another: all of a file's are reported together.
Rule 2: whoever makes one says what was got, what was wanted and, where a word is close, what was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from actors.core.errors import ConfigError

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 where there is no place in the file."""

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


class ConfigFileError(ConfigError):
    """A configuration file cannot be used. `problems` holds every reason, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; the line is 0 for a value from the command line."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, path: Steps, message: str, **details: str | None) -> Problem:
        """Return what is wrong here."""
        return Problem(self.file, self.line, self.column, ".".join(map(str, path)), message, **details)

    def fail(self, message: str, **details: str | None) -> NoReturn:
        """Raise `ConfigFileError` about this place alone."""
        raise ConfigFileError((self.problem((), message, **details),))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` looks like a slip of, None where none does."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
