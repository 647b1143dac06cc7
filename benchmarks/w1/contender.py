"""The two sides of a contest: each contender is a process that gets ready, is told to go, and tells its time.

Rule 1: what it takes to get ready, one task included, is not counted; all that lies between "go" and the
answer is.
Rule 2: a contender's processor time is that of its process and all below it, as the system counts it.
Rule 3: this imports the standard library and `job` only: a rival runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from benchmarks.w1.job import W1Job

_MARK = "@bench "
_END_WITHIN_S = 30.0
_ROOT = Path(__file__).parents[2]


class ContenderError(Exception):
    """A contender failed, or took too long. The message holds the end of what it said."""


# ---- the contender's side --------------------------------------------------------------------------------


Run = Callable[[W1Job], int]
Prepare = Callable[[W1Job, argparse.Namespace], AbstractContextManager[Run]]
_WARM_UP_SALT = 1_000_000


def take_part(parser: argparse.ArgumentParser, prepare: Prepare) -> None:
    """Read the job and options from the command line, get ready, and run when told to.

    `prepare` yields what runs a job and returns how many calls were answered. It runs a task before it is
    ready: processes have been started by then that are started when they are needed.
    """
    parser.add_argument("job", type=W1Job.of)
    options = parser.parse_args()
    with prepare(options.job, options) as run:
        run(replace(options.job, tasks=1, salt=_WARM_UP_SALT + options.job.salt))
        tell({"ready": True})
        sys.stdin.readline()
        started = time.monotonic()
        calls = run(options.job)
        tell({"calls": calls, "wall_s": time.monotonic() - started})
        sys.stdin.readline()  # until then the processes stay, to be looked at


def tell(document: Mapping[str, Any]) -> None:
    """Tell the other side; whatever else is printed is not looked at."""
    print(f"{_MARK}{json.dumps(document)}", flush=True)


# ---- the other side --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Contender:
    """A contender's process, started. Made by `contender`."""

    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    _unread: bytes = field(default=b"")

    @property
    def pid(self) -> int:
        """The process at the top of those that belong to it."""
        return self.process.pid

    def told(self, within_s: float) -> dict[str, Any]:
        """Return what it tells next. Raises `ContenderError`."""
        deadline = time.monotonic() + within_s
        while True:
            line = self._line(deadline)
            if line.startswith(_MARK):
                document: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return document

    def go(self) -> None:
        """Tell it to go on: to begin, or to end."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"\n")
                self.process.stdin.flush()

    def _line(self, deadline: float) -> str:
        stdout = self.process.stdout
        if stdout is None:
            raise ContenderError(f"{self.name} has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ContenderError(f"{self.name} took too long{self._last_words()}")
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    raise ContenderError(f"{self.name} ended before its time{self._last_words()}")
                self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode(errors="replace")

    def _last_words(self) -> str:
        size = os.fstat(self.errors.fileno()).st_size
        text = os.pread(self.errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace")
        return f":\n{text}" if text else ""


@contextlib.contextmanager
def contender(name: str, command: Sequence[str], within_s: float = 120.0) -> Iterator[Contender]:
    """Start a contender and yield it once it is ready; it has ended when this context is left.

    `command` is an interpreter and its arguments. Raises `ContenderError` where it does not get ready.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - an interpreter that was chosen here, and a module of ours
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=_ROOT,
            start_new_session=True,
        )
        started = Contender(name, process, errors)
        try:
            started.told(within_s)
            yield started
        finally:
            started.go()
            try:
                process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # "go" may not have been read
                        pipe.close()
