"""Reads request bodies within a bound of bytes and a time limit.

Rule: a body whose Content-Length is too large is refused before any of it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem, batch_too_large, too_large, too_slow

JSON = "application/json"
LINES = "application/x-ndjson"
_LINES_TOO = frozenset({LINES, "application/jsonl", "application/x-jsonlines", "application/ndjson"})


def is_lines(content_type: str) -> bool:
    """Return whether this media type means JSON lines."""
    return content_type.partition(";")[0].strip().lower() in _LINES_TOO


def media_type(request: Request, *wanted: str) -> str:
    """Return which of the `wanted` media types a body has. Raises `ApiProblem` 415."""
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    found = LINES if is_lines(given) else given.strip().lower()
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if found not in wanted or charset not in ("", "utf-8", "utf8"):
        text = f"the body must be {' or '.join(wanted)}, in UTF-8: set Content-Type"
        raise ApiProblem(415, "media-type", text, headers={"Accept-Post": ", ".join(wanted)})
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiProblem(415, "media-type", "the body must not be compressed")
    return found


async def whole(request: Request, most: int, within_s: float, refusal: ApiProblem | None = None) -> bytes:
    """Return a body of at most `most` bytes.

    Raises `refusal` or an `ApiProblem` 413 for a larger body, and 408 if it takes longer than `within_s`.
    """
    refusal = refusal or too_large("the body", most)
    _check_announced(request, most, refusal)
    parts, size = [], 0
    try:
        async with asyncio.timeout(within_s):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise refusal
                parts.append(part)
    except TimeoutError as error:
        raise too_slow(within_s) from error
    except ClientDisconnect as error:
        raise _gone() from error
    else:
        return b"".join(parts)
    finally:
        parts.clear()  # the frames of an error may stay for minutes, and this one would keep the body


async def lines(request: Request, most: int, most_line: int) -> AsyncIterator[tuple[int, bytes | ApiProblem]]:
    """Yield the lines of a body that are not empty, numbered from 1, as they arrive.

    A line longer than `most_line` is yielded as a problem. Raises `ApiProblem` if the body is larger than
    `most`, or if its next piece does not arrive in time.
    """
    _check_announced(request, most, batch_too_large(most))
    number, size, rest, skipping = 0, 0, bytearray(), False
    stream = aiter(request.stream())
    while True:
        part = await _next_part(stream)
        if part is None:
            break
        size += len(part)
        if size > most:
            raise batch_too_large(most)
        rest += part
        *complete, tail = bytes(rest).split(b"\n") if b"\n" in part else (bytes(rest),)
        for line in complete:
            number += 1
            if skipping or len(line) > most_line:
                yield number, too_large("the line", most_line)
                skipping = False
            elif line.strip():
                yield number, line
        rest = bytearray(tail)
        if len(rest) > most_line:  # the rest of this line is not kept
            skipping, rest = True, bytearray()
    if skipping:
        yield number + 1, too_large("the line", most_line)
    elif rest.strip():
        yield number + 1, bytes(rest)


async def _next_part(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(limits.CHUNK_WITHIN_S):
            return await anext(stream, None)
    except TimeoutError as error:
        raise too_slow(limits.CHUNK_WITHIN_S) from error
    except ClientDisconnect as error:
        raise _gone() from error


def _check_announced(request: Request, most: int, refusal: ApiProblem) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdecimal() and int(announced[:20]) > most:
        raise refusal


def _gone() -> ApiProblem:
    return ApiProblem(400, "cut-off", "the body ended before it was complete")
