"""Errors as RFC 9457 problem documents: one form for every error.

Rule: a problem says what happened and what to do. It holds no secret and no traceback.
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
    """One mistake in a body: where, as a JSON pointer, and what."""

    pointer: str
    detail: str


@dataclass(eq=False)
class ApiProblem(Exception):  # noqa: N818 - RFC 9457's word
    """An error as the API answers it. `kind` names it for programs; `more` holds further members."""

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


def of_error(error: HeadraceError | TimeoutError) -> ApiProblem:
    """Return the problem that a caller gets for an actor's error."""
    return _of_request(error) or _of_service(error)


def _of_request(error: Exception) -> ApiProblem | None:
    """Return the problem of a request that cannot succeed as it is, None if it can."""
    match error:
        case TaskConflictError():
            return ApiProblem(422, "conflict", str(error))
        case NotStorableError():
            return ApiProblem(422, "invalid", str(error)[:1000])
        case UnprocessableError():
            return ApiProblem(
                500, "defect", "a defect of this program; the log of the journal has the details"
            )
    return None


def _of_service(error: Exception) -> ApiProblem:
    """Return the problem of a request that may succeed later."""
    match error:
        case ShareExceededError():
            text = "your share of the backlog is full, and other callers wait; try again later"
            return ApiProblem(429, "share-exceeded", text, retry_after_s=error.retry_after_s)
        case OverloadedError():
            text = "the backlog is full; try again later"
            return ApiProblem(503, "backlog-full", text, retry_after_s=error.retry_after_s)
        case TimeoutError():
            text = "no answer in time; the request may have taken effect: look it up, or send it again"
            return ApiProblem(503, "no-answer", text, retry_after_s=limits.AWAY_S)
        case _:
            text = f"this cannot be done now: {error}"[:1000]
            return ApiProblem(503, "unavailable", text, retry_after_s=limits.AWAY_S)


def away() -> ApiProblem:
    """Return the problem of a request that no replica answers."""
    text = (
        "no process of this service answers now; the request may have taken effect: look it up, or send it "
        "again"
    )
    return ApiProblem(503, "unavailable", text, retry_after_s=1.0)


def no_path() -> ApiProblem:
    """Return the problem of a request for ``*`` or another target that is no path."""
    return ApiProblem(400, "no-path", "the target of a request must be a path, which begins with a slash")


def batch_too_large(most: int) -> ApiProblem:
    """Return the problem of a batch of more than `most` bytes."""
    remedy = f": send it in several, or set {limits.BATCH_VARIABLE} where the service is started"
    return too_large("the batch", most, remedy)


def array_too_large(most: int) -> ApiProblem:
    """Return the problem of a batch that is an array of more than `most` bytes."""
    return too_large("the array", most, ": send it as application/x-ndjson, a task a line")


def not_found(what: str) -> ApiProblem:
    """Return the problem of something that does not exist."""
    return ApiProblem(404, "not-found", f"there is no {what}")


def too_large(what: str, most: int, remedy: str = "") -> ApiProblem:
    """Return the problem of a body or line of more than `most` bytes. It ends the connection."""
    text = f"{what} is larger than {most:,} bytes{remedy}"
    return ApiProblem(413, "too-large", text, headers={"Connection": "close"}, more={"limit_bytes": most})


def too_slow(within_s: float) -> ApiProblem:
    """Return the problem of a body that did not arrive in time. It ends the connection."""
    text = f"the body, or its next piece, did not arrive within {within_s:.0f} s"
    return ApiProblem(408, "too-slow", text, headers={"Connection": "close"})
