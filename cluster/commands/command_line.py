"""Defines the options that commands share, and shows errors."""

from __future__ import annotations

import contextlib
import enum
import os
import select
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console

from actors.core.censor import printable
from actors.core.errors import Blame, FencedError, HeadraceError, StoppedError, StoreUnavailableError
from actors.core.messages.values import Json
from actors.runtime.log_guard import censored
from actors.runtime.telemetry.logs import (
    JSON_FORMAT,
    LOG_FORMAT_VARIABLE,
    log_as_json,
    messages_are_errors,
    wants_json,
)
from cluster.report.exit_codes import FAILED, INTERRUPTED, READER_GONE, UNREACHABLE, USAGE
from cluster.run.engine import EngineName

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig

ConfigPath = Annotated[Path, typer.Argument(help="The configuration, a YAML file.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=value", help="Overrides one value. May be given several times."),
]
ClusterAddress = Annotated[
    str,
    typer.Option(
        help="Run on Ray: on the cluster at this address, or local to start a cluster for this run. "
        "auto: RAY_ADDRESS, if it is set."
    ),
]
EngineChoice = Annotated[
    EngineName | None,
    typer.Option("--engine", help="Where actors run: local is one process. Default: cluster.engine."),
]
AcceptConfig = Annotated[
    bool, typer.Option("--accept-config", help="Continue although the configuration has changed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]


class LogFormatName(enum.StrEnum):
    """The formats of messages and log records."""

    PLAIN = "plain"
    JSON = JSON_FORMAT


def _log_format(name: LogFormatName | None) -> LogFormatName | None:
    """Begin to write the log in the format that the command line or the environment names."""
    if name is not None:
        os.environ[LOG_FORMAT_VARIABLE] = name.value  # for the processes that this one starts
    if name is LogFormatName.JSON:
        log_as_json(messages=True)
    return name


def use_log_format(config: HeadraceConfig) -> None:
    """Begin to write the log in the configured format, unless the command line names one."""
    if wants_json(config.telemetry.log_format, os.environ):
        os.environ[LOG_FORMAT_VARIABLE] = JSON_FORMAT
        log_as_json(messages=True)


LogFormat = Annotated[
    LogFormatName | None,
    typer.Option(
        "--log-format",
        envvar=LOG_FORMAT_VARIABLE,
        show_envvar=False,
        callback=_log_format,
        is_eager=True,
        help="Format of messages and log records on stderr. Default: telemetry.log_format.",
    ),
]
RunId = Annotated[str, typer.Argument(help="The run.", metavar="RUN_ID")]
StoreConfig = Annotated[
    Path | None,
    typer.Option("--config", help="A configuration that names the store. Default: .headrace/state.db."),
]


@contextlib.contextmanager
def errors_shown(console: Console) -> Iterator[None]:
    """Print an error with its advice, and exit with its exit code."""
    try:
        with _reader_may_leave():
            yield
    except HeadraceError as error:
        messages_are_errors()
        text = printable(censored(str(error)), indent="")  # it may quote untrusted text
        console.print(text, style="red", soft_wrap=True)  # a hard wrap would break paths that users copy
        for note in getattr(error, "__notes__", ()):
            console.print(printable(censored(note), indent=""), soft_wrap=True)
        code = {Blame.CONFIG: USAGE, Blame.CLUSTER: UNREACHABLE}.get(error.blame, FAILED)
        if isinstance(error, (StoreUnavailableError, FencedError)):
            code = FAILED  # their blame is CLUSTER, but the cluster is reachable
        if isinstance(error, StoppedError):
            code = INTERRUPTED
        raise typer.Exit(code) from error
    except KeyboardInterrupt as error:
        console.print("interrupted by Ctrl-C")
        raise typer.Exit(INTERRUPTED) from error
    except typer.Exit:
        raise
    except Exception as error:
        messages_are_errors()
        # Python's own traceback would show the text uncensored.
        console.print(printable(censored(traceback.format_exc()), indent=""), style="red", soft_wrap=True)
        raise typer.Exit(FAILED) from error


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Exit without a message if the reader of stdout has closed the pipe, as `head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_is_gone(sys.stdout.fileno()):
            raise  # another connection broke
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # otherwise Python reports the error again when it exits
        os.close(nowhere)
        raise typer.Exit(READER_GONE) from error


def _reader_is_gone(stdout: int) -> bool:
    poll = select.poll()
    poll.register(stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def print_json(document: Json) -> None:
    """Print one JSON document on stdout, on one line, with escapes for what a terminal obeys."""
    from cluster.report.tables.lines import printable_json  # noqa: PLC0415 - loads pydantic

    # JSON cannot encode a lone surrogate, which a task's key may contain.
    clean = _without_surrogates(document)
    typer.echo(printable_json(orjson.dumps(clean)).decode())


def _without_surrogates(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
        case list() | tuple():
            return [_without_surrogates(each) for each in value]
    return value
