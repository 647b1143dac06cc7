"""The error about an input of tasks, and the bounds of a task."""

from __future__ import annotations

from actors.core.errors import ConfigError

MAX_TASK_BYTES = 2**20  # unless the configuration says otherwise


class TaskInputError(ConfigError):
    """The input of tasks is invalid. `place` is the file, `line` the line or row, None for the whole file."""

    def __init__(self, place: str, line: int | None, problem: str) -> None:
        super().__init__(place, line, problem)
        self.place = place
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        where = self.place if self.line is None else f"{self.place}:{self.line}"
        return f"{where}: {self.problem}"


def too_large(what: str, size: int, most: int) -> str:
    """Return the problem with `what` of `size` bytes, which may have `most`."""
    return f"{what} {size:,} bytes, more than {most:,}; move data to a source, or raise limits.max_task_bytes"
