"""Server-sent events from the stored log, without gaps.

Rule 1: an event's id is its number in the log. A client that returns with `Last-Event-ID` gets later events.
Rule 2: a stream ends after its last event; a request from there answers 204, after which browsers do not
    reconnect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from actors.core.errors import HeadraceError
from actors.core.messages.journal import LoggedEvent
from actors.core.messages.values import Json
from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem, Fault, of_error
from cluster.http.routes.views import dumped, event_document

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PAGE = 200

_RETRY = b"retry: 1000\n\n"
_HEARTBEAT = b": still here\n\n"
_LARGEST = 2**63 - 1

Shown = Callable[[LoggedEvent], Json]
Page = Callable[[int, float], Awaitable[Sequence[LoggedEvent]]]


def framed(number: int, event: LoggedEvent, shown: Shown = event_document) -> bytes:
    """Return the bytes of an event. Its JSON has no line break: one line of data is enough."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.kind.encode(), dumped(shown(event)))


def last_event_id(header: str | None) -> int:
    """Return the number after which a stream continues. Raises `ApiProblem` for any other text."""
    text = "0" if header is None else header.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST):
        fault = Fault("Last-Event-ID", "not the id of an event")
        raise ApiProblem(422, "invalid", "Last-Event-ID cannot be used", (fault,))
    return int(text)


async def stream(
    page: Page,
    number_of: Callable[[LoggedEvent], int],
    is_over: Callable[[], Awaitable[bool]],
    after: int,
    shown: Shown = event_document,
) -> AsyncIterator[bytes]:
    """Yield frames of the events after `after`, up to the last once it `is_over`, and heartbeats.

    `page(after, wait_s)` returns the next events, or none after that time. If it fails, the stream ends with
    an ``error`` event without an id: the client connects again and continues.
    """
    yield _RETRY
    try:
        over = await is_over()
        while True:
            events = await page(after, 0.0 if over else limits.HEARTBEAT_S)
            for event in events:
                after = number_of(event)
                yield framed(after, event, shown)
            if over and not events:
                return
            if not events:
                yield _HEARTBEAT
            over = over or (any(event.kind == "ended" for event in events) and await is_over())
    except (HeadraceError, TimeoutError) as error:
        yield b"event: error\ndata: %s\n\n" % dumped(of_error(error).document())
