"""Writes the log and the messages of a process as JSON, one object a line.

Rule 1: a line has the time, the level, the logger and the message. It has the ids of its run, task and call
    where these are known. Log collectors find lines by them.
Rule 2: secrets are removed by the guard of the log (`actors.runtime.log_guard`), before a line is written.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TextIO

import orjson

from actors.core.task_names import given_name
from actors.runtime.log_guard import censored

LOG_FORMAT_VARIABLE = "HEADRACE_LOG_FORMAT"
JSON_FORMAT = "json"
_NOTHING = ("", "")
_ALWAYS = {"time", "level", "logger", "message"}  # the members of every line
_ABOUT_NAMES = {"run", "task", "call", "error"}
_ABOUT: ContextVar[tuple[str, str]] = ContextVar("about", default=_NOTHING)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
# What Ray puts before a line of a worker that it repeats at the driver.
_PREFIX = re.compile(r"^\([^{]* pid=\d+(?:, ip=[^)]*)?\) (?=\{)")
_run = ""


def log_about(task: str, call: str = "") -> None:
    """Have the log records of this asyncio task name the task and the call that they are about."""
    _ABOUT.set((task, call))


class JsonFormatter(logging.Formatter):
    """Formats a log record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        error = record.exc_text
        if not error and record.exc_info and record.exc_info[0] is not None:
            error = censored(self.formatException(record.exc_info))
        return _line(record.created, record.levelname, record.name, record.getMessage(), error)


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes a record that cannot be formatted as one line; the library prints dozens of lines about it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - it is the interface of logging
        """Write what was logged, and why it could not be formatted."""
        error = censored(traceback.format_exc())
        with contextlib.suppress(Exception):  # stderr may be closed
            message = censored(str(record.msg))
            self.stream.write(f"{_line(record.created, record.levelname, record.name, message, error)}\n")


class JsonMessages(io.TextIOBase):
    """A stream in place of stderr that writes what is printed as messages, which end with a line feed.

    `level` is that of the messages. A line of this log, such as one of a worker that Ray repeats, stays one.
    """

    def __init__(self, stream: TextIO) -> None:
        self.level = "INFO"
        self._stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        """Write messages, and keep the beginning of one that has not ended."""
        self._begun += text
        if self._begun.endswith("\n"):
            message, self._begun = _ESCAPE.sub("", self._begun[:-1]), ""
            lines = [_PREFIX.sub("", line) for line in message.split("\n")]
            if all(map(_is_record, lines)):
                self._stream.write(censored("".join(f"{line}\n" for line in lines)))
            elif message.strip():
                now = dt.datetime.now(dt.UTC).timestamp()
                self._stream.write(f"{_line(now, self.level, 'headrace', censored(message), None)}\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream. A message that has not ended stays."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override] # a text stream has one
        """The encoding of the stream."""
        return self._stream.encoding


def log_of_run(run_id: str) -> None:
    """Set the run that the log lines of this process name."""
    global _run  # noqa: PLW0603 - a process has one log
    _run = run_id


def wants_json(configured: str, env: Mapping[str, str]) -> bool:
    """Return whether the log is written as JSON: the environment replaces what is configured."""
    return env.get(LOG_FORMAT_VARIABLE, configured) == JSON_FORMAT


def log_as_json(*, messages: bool = False) -> None:
    """Write log records from WARNING on to stderr as JSON; with `messages` also what is printed there."""
    stderr = sys.stderr
    if messages and not isinstance(stderr, JsonMessages):
        sys.stderr = JsonMessages(stderr)
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = _JsonHandler(stderr)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)


def writes_json() -> bool:
    """Return whether this process writes its messages as JSON."""
    return isinstance(sys.stderr, JsonMessages)


def messages_are_errors() -> None:
    """Give what is printed on stderr from now on the level ERROR, if it is written as JSON."""
    if isinstance(sys.stderr, JsonMessages):
        sys.stderr.level = "ERROR"


def _line(at: float, level: str, logger: str, message: str, error: str | None) -> str:
    task, call = _ABOUT.get()
    document: dict[str, Any] = {
        "time": dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "logger": logger,
        "message": message,
    }
    about = {"run": _run, "task": given_name(task), "call": call, "error": error}
    document |= {name: value for name, value in about.items() if value}
    # A key may hold a lone surrogate, which is not valid in JSON.
    clean = {name: str(value).encode("utf-8", "replace").decode() for name, value in document.items()}
    return orjson.dumps(clean).decode()


def _is_record(line: str) -> bool:
    """Return whether `line` is one of this log."""
    if not (line.startswith("{") and line.endswith("}")):
        return False
    try:
        names = {*orjson.loads(line)}
    except orjson.JSONDecodeError:
        return False
    return names >= _ALWAYS and names <= _ALWAYS | _ABOUT_NAMES
