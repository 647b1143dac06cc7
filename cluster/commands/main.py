"""The command line of Headrace.

Data goes to stdout, everything else to stderr. Exit codes: 0 all succeeded, 1 failed, 2 usage or
configuration error, 3 finished with partial or failed tasks, 4 cluster unreachable, 130 interrupted,
141 the reader of stdout closed the pipe.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time

import typer

from cluster.commands import check, estimate, run, runs, submit
from cluster.commands import map as map_command
from cluster.report.exit_codes import FAILED, INTERRUPTED

_THREADS_END_WITHIN_S = 1.0

app = typer.Typer(
    help="Language-model work at the pace its endpoints allow.", no_args_is_help=True, add_completion=False
)
app.add_typer(map_command.app)
app.add_typer(estimate.app)
app.add_typer(run.app)
app.add_typer(check.app)
app.add_typer(submit.app)
app.add_typer(runs.app)


def main() -> None:
    """Run the command that the process's arguments name, and end the process."""
    try:
        app()
    except BaseException as end:
        # A second Ctrl-C while Python exits would end the process by the signal, without its exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _leave_threads(INTERRUPTED if isinstance(end, KeyboardInterrupt) else _code_of(end))
        if isinstance(end, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        raise


def _code_of(end: BaseException) -> int:
    if not isinstance(end, SystemExit):
        return FAILED
    return end.code if isinstance(end.code, int) else FAILED if end.code else 0


def _leave_threads(code: int) -> None:
    """End the process if a thread does not end: Python would wait indefinitely for a store that hangs."""
    deadline = time.monotonic() + _THREADS_END_WITHIN_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
