"""Checks every request before its route: size, caller and number; and gives every error one form.

It is a plain ASGI application around the routes: it neither reads bodies nor collects streams.
"""

from __future__ import annotations

import logging
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.http.guard import limits
from cluster.http.guard.auth import Authenticator
from cluster.http.guard.occupancy import Occupancy, path_of
from cluster.http.guard.problems import ApiProblem

_log = logging.getLogger(__name__)

_GUARDED = "/v1"
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


class ApiGuard:
    """Passes requests to `app`. Their state then has `tenant`, the caller's name, and `space`."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator
        self._occupancy = Occupancy()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = over = False
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def marked(message: Message) -> None:
            nonlocal begun, over
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS:
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _NO_PAGE)
            over = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            tenant = self._admitted(scope)
            with self._occupancy.held(scope, tenant):
                await self._app(scope, receive, marked)
        except ApiProblem as problem:
            if begun:
                raise
            await problem.response()(scope, receive, marked)
        except Exception:  # the answer has an id under which the log has the exception
            _log.exception("request %s: %s %s failed", request_id, scope["method"], scope["path"])
            if not begun:
                await defect(request_id).response()(scope, receive, marked)
            elif not over:
                raise  # part of an answer was sent: otherwise the caller takes it for whole

    def _admitted(self, scope: Scope) -> str | None:
        """Return the caller's name, None if the address is open to everybody. Raises `ApiProblem`."""
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > limits.HEADER_BYTES:
            raise ApiProblem(431, "headers-too-large", f"the headers exceed {limits.HEADER_BYTES:,} bytes")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > limits.TARGET_BYTES:
            raise ApiProblem(414, "target-too-long", f"the address exceeds {limits.TARGET_BYTES:,} bytes")
        path = path_of(scope)
        if path != _GUARDED and not path.startswith(_GUARDED + "/"):
            return None
        server = scope.get("server")
        tenant = self._authenticator.admit(
            _single(headers, "authorization"),
            _single(headers, "host"),
            server[0] if server else None,
            origins=headers.getlist("origin"),
            fetch_sites=headers.getlist("sec-fetch-site"),
        )
        scope["state"]["tenant"], scope["state"]["space"] = tenant, self._authenticator.space(tenant)
        return tenant


def defect(request_id: str) -> ApiProblem:
    """Return the problem of a request that met a defect."""
    return ApiProblem(500, "defect", f"a defect of this program; its log has more under {request_id}")


def _single(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else None
