"""Runs contenders: each is a process that prepares itself, waits for a signal, runs, and reports its time.

Rule 1: preparation, which includes one task, is not counted. All between the signal and the report is.
Rule 2: a contender's processor time is that of its process and its descendants, as the system counts it.
Rule 3: this imports the standard library and `job` only, because rivals run in another environment.
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
    """A contender failed or took too long. The message ends with the end of its stderr."""


# ---- the contender's side --------------------------------------------------------------------------------


Run = Callable[[W1Job], int]
Prepare = Callable[[W1Job, argparse.Namespace], AbstractContextManager[Run]]
_WARM_UP_SALT = 1_000_000


def take_part(parser: argparse.ArgumentParser, prepare: Prepare) -> None:
    """Read the job and options from the command line, prepare, and run on the signal.

    `prepare` yields a function that runs a job and returns the number of answered calls. One task runs before
    the contender is ready, so that processes that start on demand are running.
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
        sys.stdin.readline()  # the processes stay until then, so that their time can be read


def tell(document: Mapping[str, Any]) -> None:
    """Send a document to the other side, which ignores all other output."""
    print(f"{_MARK}{json.dumps(document)}", flush=True)


# ---- the other side --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Contender:
    """The process of a contender. `contender` makes it."""

    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    _unread: bytes = field(default=b"")

    @property
    def pid(self) -> int:
        """The id of the contender's first process."""
        return self.process.pid

    def told(self, within_s: float) -> dict[str, Any]:
        """Return the next document that it sends. Raises `ContenderError`."""
        deadline = time.monotonic() + within_s
        while True:
            line = self._line(deadline)
            if line.startswith(_MARK):
                document: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return document

    def go(self) -> None:
        """Send the signal to begin or, the second time, to end."""
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
                    raise ContenderError(f"{self.name} ended too early{self._last_words()}")
                self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode(errors="replace")

    def _last_words(self) -> str:
        size = os.fstat(self.errors.fileno()).st_size
        text = os.pread(self.errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace")
        return f":\n{text}" if text else ""


@contextlib.contextmanager
def contender(name: str, command: Sequence[str], within_s: float = 120.0) -> Iterator[Contender]:
    """Start a contender and yield it when it is ready. It has ended when the context ends.

    `command` is an interpreter and its arguments. Raises `ContenderError` if it does not become ready.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - an interpreter and a module that this project names
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
                    with contextlib.suppress(
                        BrokenPipeError
                    ):  # the contender may have ended before it read the signal
                        pipe.close()
