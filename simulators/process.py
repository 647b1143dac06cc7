"""Starts and stops a simulator in a process of its own. `serving` is the other side.

The protocol between the two:

* the child prints one JSON line on stdout once it serves: ``{"url": ..., "port": ..., "pid": ...}``;
* it ends in order on SIGTERM and SIGINT;
* with ``--parent-pid`` it ends when its parent does, even if that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from site import getsitepackages, getusersitepackages
from typing import IO, Final, Self

_ROOT: Final = Path(__file__).resolve().parents[__name__.count(".")]  # holds the outermost package
_STOP_S: Final = 3.0


class SimulatorError(RuntimeError):
    """A simulator did not start. The message ends with the last lines that it wrote to stderr."""


class SimulatorProcess:
    """A process of the simulator `kind`: ``SimulatorProcess("llm", ["--seed", "1"])``.

    A context manager that starts and stops it. The thread that starts it must live as long as the simulator:
    the kernel takes the end of that thread for the end of the parent.
    """

    def __init__(self, kind: str, arguments: Sequence[str] = (), *, start_s: float = 20.0) -> None:
        self._module = f"{__package__}.{kind}"
        self._arguments = list(arguments)
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._deadline = 0.0
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self.pid} at {self._url}" if self.alive else "not running"
        return f"<SimulatorProcess {self._module} {state}>"

    @property
    def url(self) -> str:
        """The URL that it announced, which ends with ``/v1`` for a model. Empty until then."""
        return self._url

    @property
    def pid(self) -> int | None:
        """The id of the process, or None."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the process and return its URL. Raises `SimulatorError`."""
        self.launch()
        return self.announced()

    def launch(self) -> None:
        """Start the process without waiting for it. Raises `SimulatorError` if it is running."""
        if self.alive:
            raise SimulatorError(f"{self._module} is already running as process {self.pid}")
        # Without -P a folder `simulators` in the working directory would run in place of this one.
        program = [sys.executable, "-P", "-m", self._module]
        command = [*program, "--parent-pid", str(os.getpid()), *self._arguments]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        self._url = ""
        self._deadline = time.monotonic() + self._start_s
        # Without a session of its own the simulator would end with Ctrl-C in the parent's terminal, while the
        # parent still needs it.
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of this project
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(),
            start_new_session=True,
        )

    def announced(self) -> str:
        """Wait until the launched process serves, and return its URL.

        Raises `SimulatorError` if the process ends, or does not serve within `start_s` seconds of its launch.
        The process is then stopped.
        """
        if self._url:
            return self._url
        errors = self._errors
        try:
            self._url = self._announced()
        except SimulatorError as error:
            told = _tail(errors.fileno()) if errors is not None else ""
            self.stop()
            raise SimulatorError(f"{error}\n{told}".rstrip()) from None
        except BaseException:
            self.stop()
            raise
        return self._url

    def stop(self) -> None:
        """End the process with SIGTERM, and with SIGKILL after 3 s. A second call does nothing."""
        process, self._process = self._process, None
        errors, self._errors = self._errors, None
        if errors is not None:
            errors.close()
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def kill(self) -> None:
        """End the process as a crash does. Its buffered ledger lines are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.stop()

    def _announced(self) -> str:
        process = self._process
        if process is None or process.stdout is None:
            raise SimulatorError(f"{self._module} was not started")
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, self._deadline - time.monotonic())):
                    raise SimulatorError(f"{self._module} did not start within {self._start_s:g} s")
                chunk = os.read(process.stdout.fileno(), 4096)
                if not chunk:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_STOP_S)
                    raise SimulatorError(f"{self._module} ended with exit code {process.returncode}")
                line += chunk
        return str(json.loads(line)["url"])


def _environment() -> dict[str, str]:
    """Return the environment in which the child finds this package.

    In PYTHONPATH, every module of an installation would come before a module of the standard library.
    """
    if any(Path(each).resolve() == _ROOT for each in (*getsitepackages(), getusersitepackages())):
        return dict(os.environ)
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def _tail(fd: int, lines: int = 20) -> str:
    size = os.fstat(fd).st_size
    text = os.pread(fd, 8192, max(0, size - 8192)).decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
