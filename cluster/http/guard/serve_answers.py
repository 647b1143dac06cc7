"""Middleware between Ray Serve and the application, in each process that accepts requests.

Serve lets a client set its timeout, its session and its model by headers, and fails on a header value that is
not UTF-8. Those headers are dropped. Serve answers by itself, as plain text, while no replica is up and when
one dies; that answer is replaced by a problem document, the form of all errors here.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.http.guard.occupancy import path_of
from cluster.http.guard.problems import away

_DROPPED = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"x-session-id",
        b"serve-multiplexed-model-id",
    }
)
_REQUEST_ID = b"x-request-id"
_USABLE_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
_SERVES_OWN = "/-/"  # health checks and routes, which HAProxy and load balancers ask for
_MARK = b"x-content-type-options"  # every answer of the application has this header


class ServeAnswers:
    """Passes requests on to Serve, without its own headers, and its answers back, as problems if it fails."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http" or path_of(scope).startswith(_SERVES_OWN):
            await self._app(scope, receive, send)
            return
        replaced = False

        async def checked(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_failure_of_serve(message):
                replaced = True
                await away().response()(scope, receive, send)
            elif not replaced:
                await send(message)

        kept = [(name, value) for name, value in scope["headers"] if _is_kept(name, value)]
        await self._app({**scope, "headers": kept}, receive, checked)


def _is_kept(name: bytes, value: bytes) -> bool:
    plain = name.lower().replace(b"_", b"-")
    return plain not in _DROPPED and (plain != _REQUEST_ID or _USABLE_ID.fullmatch(value) is not None)


def _is_failure_of_serve(start: Message) -> bool:
    return start["status"] >= 400 and all(name.lower() != _MARK for name, _ in start["headers"])
