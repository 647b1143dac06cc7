"""What goes wrong, as RFC 9457 problem documents: one form for every error.

Rule: a problem says what happened and what to do. It holds no secret and no trace of the program's inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from starlette.responses import Response

from actors.core.errors import (
    HeadraceError,
    OverloadedError,
    ShareExceededError,
    TaskConflictError,
    UnprocessableError,
)
from actors.core.journal.batch import NotStorableError
from actors.core.messages.values import Json
from cluster.http.guard import limits

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a body: where, as a JSON pointer, and what."""

    pointer: str
    detail: str


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error as it is answered. `kind` names it for programs; `more` are members of its own."""

    status: int
    kind: str
    detail: str
    faults: Sequence[Fault] = ()
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Json] = field(default_factory=dict)

    def document(self) -> dict[str, Json]:
        """Return the problem as a JSON document."""
        document: dict[str, Json] = {
            "type": f"urn:headrace:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        if self.faults:
            document["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in self.faults]
        if self.retry_after_s is not None:
            document["retry_after_s"] = round(self.retry_after_s, 1)
        return document

    def response(self) -> Response:
        """Return the problem as a response."""
        headers = {"Cache-Control": "no-store", **self.headers}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return Response(orjson.dumps(self.document()), self.status, headers, MEDIA_TYPE)


def of_error(error: HeadraceError | TimeoutError) -> Problem:
    """Return what an actor's error is to a caller."""
    return _of_request(error) or _of_service(error)


def _of_request(error: Exception) -> Problem | None:
    """Return the problem of a request that cannot be done as it is, None where it can."""
    match error:
        case TaskConflictError():
            return Problem(422, "conflict", str(error))
        case NotStorableError():
            return Problem(422, "invalid", str(error)[:1000])
        case UnprocessableError():
            return Problem(500, "defect", "a defect of this program; the log of the journal has more")
    return None


def _of_service(error: Exception) -> Problem:
    """Return the problem of a request that may be done later."""
    match error:
        case ShareExceededError():
            text = "you hold your share of the tasks that wait, and others are there; try again later"
            return Problem(429, "share-exceeded", text, retry_after_s=error.retry_after_s)
        case OverloadedError():
            text = "as many tasks wait as may; try again later"
            return Problem(503, "backlog-full", text, retry_after_s=error.retry_after_s)
        case TimeoutError():
            text = "no answer in time; what was asked may have been done: ask for it, or ask the same again"
            return Problem(503, "no-answer", text, retry_after_s=limits.AWAY_S)
        case _:
            text = f"this cannot be done now: {error}"[:1000]
            return Problem(503, "unavailable", text, retry_after_s=limits.AWAY_S)


def away() -> Problem:
    """Return the problem of a request that no replica answers."""
    text = (
        "no process of this service answers now; what was asked may have been done: ask for it, or ask the "
        "same again"
    )
    return Problem(503, "unavailable", text, retry_after_s=1.0)


def batch_too_large(most: int) -> Problem:
    """Return the problem of a batch that has more than `most` bytes."""
    remedy = f": send it in several, or set {limits.BATCH_VARIABLE} where the service is started"
    return too_large("the batch", most, remedy)


def array_too_large(most: int) -> Problem:
    """Return the problem of a batch as an array that has more than `most` bytes."""
    return too_large("the array", most, ": send it as application/x-ndjson, a task a line")


def not_found(what: str) -> Problem:
    """Return the problem of something that is not there."""
    return Problem(404, "not-found", f"there is no {what}")


def too_large(what: str, most: int, remedy: str = "") -> Problem:
    """Return the problem of something that has more than `most` bytes. The connection ends with it."""
    text = f"{what} is larger than {most:,} bytes{remedy}"
    return Problem(413, "too-large", text, headers={"Connection": "close"}, more={"limit_bytes": most})


def too_slow(within_s: float) -> Problem:
    """Return the problem of a body that did not come in time. The connection ends with it."""
    text = f"the body, or its next piece, did not come within {within_s:.0f} s"
    return Problem(408, "too-slow", text, headers={"Connection": "close"})
