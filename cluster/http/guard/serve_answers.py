"""Middleware between Ray Serve and the application, in each process that accepts requests.

Serve lets a client set its timeout, its session and its model by headers, and fails on a header value that is
not UTF-8. Those headers are dropped. While no replica is up and when one dies, Serve answers in plain text,
raises, or returns without an answer. The caller gets a problem document, the form of all errors here.
"""

from __future__ import annotations

import logging
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.http.guard.occupancy import path_of
from cluster.http.guard.problems import away, no_path

_log = logging.getLogger(__name__)

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
        path = path_of(scope) if scope["type"] == "http" else _SERVES_OWN
        if path.startswith(_SERVES_OWN):
            await self._app(scope, receive, send)
            return
        if not path.startswith("/"):  # `GET *`: Serve has no application there, as if no replica were up
            await no_path().response()(scope, receive, send)
            return
        is_passed = is_replaced = False

        async def checked(message: Message) -> None:
            nonlocal is_passed, is_replaced
            if message["type"] == "http.response.start" and _is_failure_of_serve(message):
                is_replaced = True
                await away().response()(scope, receive, send)
            elif not is_replaced:
                is_passed = True
                await send(message)

        kept = [(name, value) for name, value in scope["headers"] if _is_kept(name, value)]
        try:
            await self._app({**scope, "headers": kept}, receive, checked)
        except Exception:
            if is_passed:
                raise  # the server closes the connection, so that the caller sees a broken answer
            _log.warning("Serve failed at a request", exc_info=True)
        if not is_passed and not is_replaced:  # otherwise the server answers with plain text
            await away().response()(scope, receive, send)


def _is_kept(name: bytes, value: bytes) -> bool:
    plain = name.lower().replace(b"_", b"-")
    return plain not in _DROPPED and (plain != _REQUEST_ID or _USABLE_ID.fullmatch(value) is not None)


def _is_failure_of_serve(start: Message) -> bool:
    return start["status"] >= 400 and all(name.lower() != _MARK for name, _ in start["headers"])
