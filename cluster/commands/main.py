"""The command line of Headrace.

Data goes to stdout, everything else to stderr. Exit codes: 0 all succeeded, 1 failed, 2 usage or
configuration error, 3 finished with partial or failed tasks, 4 cluster unreachable, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys

import typer

from cluster.commands import check, run, runs, submit
from cluster.report.exit_codes import INTERRUPTED

app = typer.Typer(
    help="Language-model work at the pace its endpoints allow.", no_args_is_help=True, add_completion=False
)
app.add_typer(run.app)
app.add_typer(check.app)
app.add_typer(submit.app)
app.add_typer(runs.app)  # these look at runs or end them, and load no Ray


def main() -> None:
    """Run the command that the process's arguments name, and end the process."""
    try:
        app()
    except BaseException as end:
        # Pressed once more as Python ends, Ctrl-C would end the process by the signal, without its exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if isinstance(end, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        raise
