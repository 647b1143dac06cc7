"""Keeps secrets and control characters out of every log line of a process, whoever writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from actors.core.censor import NO_SECRETS, Censor, printable

_FORMATTER = logging.Formatter()


class LogGuard:
    """Makes a process's log records. Tracebacks are cleaned as well: the error's text is part of them."""

    def __init__(self) -> None:
        self.censor = Censor()
        self._make: Callable[..., logging.LogRecord] | None = None

    def install(self, censor: Censor) -> None:
        """Guard all log lines from now on; `censor` is added to what is known."""
        self.censor |= censor
        if self._make is None:
            self._make = logging.getLogRecordFactory()
            logging.setLogRecordFactory(self.record)

    def record(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        """Return a record without secrets and control characters."""
        record = (self._make or logging.LogRecord)(*arguments, **named)
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001 - an argument's __str__ may raise anything, and would end the caller
            return record  # logging itself says that text and arguments do not fit
        cleaned = self.cleaned(said)
        if cleaned != said:
            record.msg, record.args = cleaned, None
        if record.exc_info and record.exc_info[0] is not None:
            # A formatter takes this text where it is there, and makes none of its own.
            record.exc_text = self.cleaned(_FORMATTER.formatException(record.exc_info))
        return record

    def cleaned(self, text: str) -> str:
        """Return `text` as a log may hold it."""
        return printable(self.censor(text))


_GUARD = LogGuard()


def guard_logs(censor: Censor = NO_SECRETS) -> None:
    """Keep what `censor` knows, and control characters, out of this process's log from now on."""
    _GUARD.install(censor)


def censored(text: str) -> str:
    """Return `text`, for people, without the secrets that this process was told of."""
    return _GUARD.censor(text)
