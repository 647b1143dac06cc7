"""Bounds on the fields of records and on the usage of an answer.

Without them, a number that does not fit into a row or a key that does not fit into an index would fail in the
store, together with the other records of its commit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from actors.core.journal.batch import NotStorableError
from actors.core.messages.journal import (
    Accept,
    AttemptOutcome,
    CloseRun,
    Collected,
    FindTasks,
    Finish,
    Intent,
    KeepHistory,
    Note,
    OpenRun,
    ReadEvents,
    ReadFailures,
    ReadTasks,
    Reopen,
)
from actors.core.messages.values import Usage
from actors.core.metrics.history_format import MOST_PACKED_BYTES

MOST_NUMBER = 2**63 - 1  # every store and JSON reader supports it
MOST_ROWS = 10_000  # of one answer
MOST_PAGE_BYTES = 4 * 1024 * 1024  # of the rows of one answer, unless the first row alone is larger
LONGEST_WAIT_S = 300.0  # for an event
_MOST_COUNT = 2**31 - 1
_MOST_TOKENS = 10**12  # of one answer: the sum over nine million answers fits into MOST_NUMBER
_MOST_USD = 1e9
_NAME, _KEY, _REQUEST = 256, 1_024, 512  # characters
_MOST_LISTED = 10_000
_MOST_SECONDS = 1e10

Bound = tuple[str, type, float]  # a field, its type, and its largest number or length

_RUN: Bound = ("run_id", str, _NAME)
_TASK: Bound = ("task", str, _KEY)
_OF_RECORDS: dict[type, tuple[Bound, ...]] = {
    OpenRun: (_RUN, ("name", str, _KEY)),
    CloseRun: (_RUN, ("state", str, _NAME)),
    KeepHistory: (_RUN, ("packed", bytes, MOST_PACKED_BYTES)),
    Accept: (
        _RUN,
        ("tenant", str, _NAME),
        ("priority", int, _MOST_COUNT),
        ("expires_in_s", float, _MOST_SECONDS),
        ("group", str, _NAME),
        ("idempotency", str, _REQUEST),
        ("digest", str, _NAME),
    ),
    Collected: (_RUN, _TASK, ("fetched", tuple, _MOST_LISTED)),
    Note: (_RUN, _TASK, ("kind", str, _NAME)),
    Finish: (_RUN,),
    Reopen: (_RUN, _TASK, ("ended_at", float, _MOST_SECONDS)),
    Intent: (
        _RUN,
        _TASK,
        ("call_key", str, _NAME),
        ("attempt", int, MOST_NUMBER),
        ("endpoint", str, _NAME),
        ("number", int, _MOST_COUNT),
        ("content", str, _NAME),
        ("idempotency_key", str, _REQUEST),
    ),
    AttemptOutcome: (_RUN, _TASK, ("call_key", str, _NAME), ("content", str, _NAME)),
}


def check(record: Any) -> None:
    """Raise NotStorableError if a field of a record exceeds its bound."""
    for name, kind, most in _OF_RECORDS.get(type(record), ()):
        value = getattr(record, name)
        if kind in (str, tuple, bytes):
            fits = isinstance(value, kind) and len(value) <= most
        elif kind is int:
            fits = isinstance(value, int) and 0 <= value <= most
        else:  # NaN fails the comparison
            fits = isinstance(value, int | float) and -most <= value <= most
        if not fits:
            raise NotStorableError(
                f"{name} of {type(record).__name__} cannot be stored: it is {_shown(value)}, "
                f"and must be {_wanted(kind, most)}"
            )
    if isinstance(record, Accept):
        _check_text("the key of a task", record.task.key)
    elif isinstance(record, Finish):
        _check_text("the key of a report", record.report.key)
    elif isinstance(record, AttemptOutcome) and not 0 <= record.ended.id <= MOST_NUMBER:
        raise NotStorableError(f"the number of an attempt cannot be stored: it is {_shown(record.ended.id)}")


def bounded(usage: Usage) -> Usage:
    """Return the usage of an answer, clamped to values that can be summed. An endpoint may report any."""
    usd = usage.cost_usd
    return Usage(
        min(max(int(usage.input_tokens), 0), _MOST_TOKENS),
        min(max(int(usage.output_tokens), 0), _MOST_TOKENS),
        min(max(float(usd), 0.0), _MOST_USD) if math.isfinite(usd) else 0.0,
        usage.cached_tokens and min(max(int(usage.cached_tokens), 0), _MOST_TOKENS),
        usage.cache_write_tokens and min(max(int(usage.cache_write_tokens), 0), _MOST_TOKENS),
        usage.reasoning_tokens and min(max(int(usage.reasoning_tokens), 0), _MOST_TOKENS),
    )


def first_after(query: ReadTasks | ReadFailures | ReadEvents) -> int:
    """Return the first number of a page."""
    return min(max(query.after + 1, 0), MOST_NUMBER)


def rows_of(query: ReadTasks | FindTasks | ReadFailures | ReadEvents) -> int:
    """Return the maximum number of rows of a page."""
    return min(query.limit, MOST_ROWS)


def within_page(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `rows` while they fit into one answer. The first is always yielded, so that pages progress."""
    size = 0
    for row in rows:
        if size and size + len(row) > MOST_PAGE_BYTES:
            return
        size += len(row)
        yield row


def _check_text(what: str, value: str) -> None:
    if len(value) > _KEY:
        raise NotStorableError(f"{what} has {len(value):,} characters; the maximum is {_KEY:,}")


def _wanted(kind: type, most: float) -> str:
    if kind is str:
        return f"a text of up to {most:,.0f} characters"
    if kind in (tuple, bytes):
        return f"a list of up to {most:,.0f} entries"
    return f"a number of up to {most:,.0f}{', not below 0' if kind is int else ''}"


def _shown(value: object) -> str:
    if isinstance(value, str | tuple | bytes):
        return f"{len(value):,} long"
    if isinstance(value, int | float):
        return f"{value:.6g}" if abs(value) < 1e300 else "too large"
    return type(value).__name__
