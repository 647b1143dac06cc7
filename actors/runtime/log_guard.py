"""Removes secrets and control characters from all log records of a process, including those of libraries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from actors.core.censor import NO_SECRETS, Censor, printable

_FORMATTER = logging.Formatter()


class LogGuard:
    """The log record factory of a process. It also cleans tracebacks, which contain the text of the error."""

    def __init__(self) -> None:
        self.censor = Censor()
        self._make: Callable[..., logging.LogRecord] | None = None

    def install(self, censor: Censor) -> None:
        """Guard all log records from now on, and add the secrets of `censor` to the known ones."""
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
            return record  # logging reports the mismatch of the text and its arguments
        cleaned = self.cleaned(said)
        if cleaned != said:
            record.msg, record.args = cleaned, None
        if record.exc_info and record.exc_info[0] is not None:
            # A formatter uses this text if it is set, instead of formatting the traceback.
            record.exc_text = self.cleaned(_FORMATTER.formatException(record.exc_info))
        return record

    def cleaned(self, text: str) -> str:
        """Return `text` without secrets and control characters."""
        return printable(self.censor(text))


_GUARD = LogGuard()


def guard_logs(censor: Censor = NO_SECRETS) -> None:
    """Remove the secrets of `censor` and control characters from the log of this process from now on."""
    _GUARD.install(censor)


def censored(text: str) -> str:
    """Return `text` without the secrets known in this process."""
    return _GUARD.censor(text)
