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
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cluster.commands import check, drafts, estimate, report, run, runs, stores, submit
from cluster.commands.map import command as map_command
from cluster.commands.results import compare, review
from cluster.program import COMMAND, VERSION, program
from cluster.report.exit_codes import FAILED, INTERRUPTED

_THREADS_END_WITHIN_S = 1.0


class ProgramGroup(TyperGroup):
    """The commands. Their examples begin with the name under which the program was started."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # typer does not export these types
        """Return a command, None if there is no such command."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help is not None:
            command.help = command.help.replace(f": {COMMAND} ", f": {program()} ")
        return command


app = typer.Typer(
    cls=ProgramGroup, help="Language-model work at the pace its endpoints allow.", no_args_is_help=True
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer passes the value of the option
    if wanted:
        typer.echo(f"{COMMAND} {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Language-model work at the pace its endpoints allow."""


app.add_typer(map_command.app)
app.add_typer(estimate.app)
app.add_typer(run.app)
app.add_typer(check.app)
app.add_typer(drafts.app)
app.add_typer(submit.app)
app.add_typer(runs.app)
app.add_typer(report.app)
app.add_typer(compare.app)
app.add_typer(review.app)
app.add_typer(stores.app)


def main() -> None:
    """Run the command that the process's arguments name, and end the process."""
    # Otherwise pydantic executes what any directory on the import path declares as its plug-in.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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
