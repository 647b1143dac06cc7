"""The server of a review: a page on 127.0.0.1, and the documents that it reads and writes."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from actors.core.errors import HeadraceError
from actors.core.messages.values import Json
from actors.runtime.log_guard import censored
from cluster.review.cards import CardMaker
from cluster.review.guard import HEADERS, refusal
from cluster.review.session import RefusedDecisionError, ReviewSession
from cluster.web.document import asset

HOST = "127.0.0.1"
_MOST_BODY_BYTES = 1 << 20
_MOST_SEARCHED = 200  # characters of what is searched for
_CLOSE_WITHIN_S = 1.0
_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("elements.js", "review.js", "card.js", "keys.js")
_FILES = {
    "/": ("review.html", "text/html"),
    **{f"/{name}": (name, "text/javascript") for name in _SCRIPTS},
    **{f"/{name}": (name, "text/css") for name in ("base.css", "review.css")},
}

_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ReviewServer:
    """Serves one review. `about` describes it to the page. The address holds `token`."""

    def __init__(self, session: ReviewSession, cards: CardMaker, about: dict[str, Json], token: str) -> None:
        self._session = session
        self._cards = cards
        self._about = about
        self._token = token

    async def serve(self, port: int, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM. Calls `ready` with the address. Raises OSError for a taken port."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_CLOSE_WITHIN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, ended.set)
            ready(f"http://{HOST}:{runner.addresses[0][1]}/#{self._token}")
            await ended.wait()
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MOST_BODY_BYTES)
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                *(web.get(path, _file) for path in _FILES),
                web.get("/api/review", self._overview),
                web.get("/api/questions/{index:[0-9]{1,9}}", self._card),
                web.get("/api/search", self._search),
                web.post("/api/decisions", self._decide),
                web.post("/api/undo", self._undo),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse what other pages send, and answer errors as JSON."""
        assert request.transport is not None  # noqa: S101 - the connection is open
        port = request.transport.get_extra_info("sockname")[1]
        refused = refusal(request.headers, port, None if request.path in _FILES else self._token)
        if refused is not None:
            return _answer({"error": refused[1]}, refused[0])
        try:
            return await handler(request)
        except RefusedDecisionError as error:
            return _answer({"error": str(error)}, 422)
        except HeadraceError as error:
            _log.warning("a request failed: %s", error)
            return _answer({"error": censored(str(error))}, 500)

    async def _overview(self, _: web.Request) -> web.Response:
        return _answer(
            {
                **self._about,
                "questions": self._cards.overview(),
                "progress": self._session.progress(),
                "next": self._session.next_open(-1),
            }
        )

    async def _card(self, request: web.Request) -> web.Response:
        return _answer(self._cards.card(int(request.match_info["index"])))

    async def _search(self, request: web.Request) -> web.Response:
        found, count = self._cards.matches(request.query.get("q", "")[:_MOST_SEARCHED])
        return _answer({"matches": found, "count": count})

    async def _decide(self, request: web.Request) -> web.Response:
        body = await _body(request)
        index = body.get("question")
        if not isinstance(index, int):
            raise RefusedDecisionError("question is a number")
        self._take(index, body)
        return _answer(
            {
                "entry": self._cards.entry(index),
                "progress": self._session.progress(),
                "next": self._session.next_open(index),
            }
        )

    def _take(self, index: int, body: dict[str, Any]) -> None:
        session = self._session
        match body:
            case {"action": "accept"}:
                session.accept(index)
            case {"action": "reject"}:
                session.reject(index)
            case {"action": "skip"}:
                session.skip(index)
            case {"action": "choose", "option": int() as option}:
                session.choose(index, option)
            case {"action": "edit", "text": str() as text}:
                session.edit_text(index, text)
            case {"action": "prefer", "side": str() as side}:
                session.prefer(index, side)
            case _:
                raise RefusedDecisionError("there is no such action")

    async def _undo(self, _: web.Request) -> web.Response:
        index = self._session.undo()
        if index is None:
            raise RefusedDecisionError("there is nothing to undo in this session")
        return _answer(
            {
                "entry": self._cards.entry(index),
                "progress": self._session.progress(),
                "next": index,
            }
        )


async def _file(request: web.Request) -> web.Response:
    name, kind = _FILES[request.path]
    return web.Response(text=asset(name, _ASSETS), content_type=kind, charset="utf-8")


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise RefusedDecisionError("the body is not JSON")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise RefusedDecisionError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise RefusedDecisionError("the body is not a JSON object")
    return body


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _answer(document: Json, status: int = 200) -> web.Response:
    # ASCII, because a key may contain a lone surrogate, which UTF-8 cannot encode.
    return web.Response(text=json.dumps(document), status=status, content_type="application/json")
