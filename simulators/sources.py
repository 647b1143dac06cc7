"""Data sources for tests: ``python -m simulators.sources --port 0``.

``GET /{source}/{key}?items=4&latency_s=0.05&failure_rate=0.0&page_size=N`` answers
``{"results": [{"id", "text", "title", "rating"}, ...], "next": url or null, "cursor": text or null}``. Every
source and every key exists. Items depend on seed, source, key and position. Whether a request fails (500)
depends on seed, source, key, cursor and the failures before it, so a retry may succeed. A client follows the
``next`` link or sends ``cursor`` back. A source named by ``--dead`` answers 503. ``GET /stats`` counts
requests, failures and items of each source.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta

from simulators.chance import Draws, lognormal, uniforms
from simulators.serving import SimulatorRequest, add_process_arguments, serve

_MAX_REMEMBERED: Final = 10_000
_LATENCY_SIGMA: Final = 0.4
_OPENINGS: Final = (
    ("It held up well through", "Excellent work:", "We were glad of"),
    ("Nothing special about", "As expected,", "Mixed feelings about"),
    ("We had to send back", "A disappointment:", "Trouble again with"),
)
_SUBJECTS: Final = (
    "the delivery",
    "the build",
    "the support",
    "the price",
    "the manual",
    "the battery",
    "the finish",
)
_DETAILS: Final = (
    "after two weeks of daily use",
    "compared with last year's model",
    "in spite of what others reported",
    "and the second one was the same",
    "once the settings were right",
    "though the packaging was poor",
)


class BadQueryError(ValueError):
    """A request cannot be answered. The message names the parameter."""


class SourceQuery(msgspec.Struct, frozen=True):
    """The parameters of a request. `cursor` is the position of its first item."""

    source: str
    key: str
    items: Annotated[int, Meta(ge=0, le=10_000)] = 4
    latency_s: Annotated[float, Meta(ge=0, le=60)] = 0.05
    failure_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    page_size: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    cursor: Annotated[int, Meta(ge=0, le=10_000)] = 0


def parse_query(path: str, parameters: Mapping[str, str]) -> SourceQuery:
    """Return the query of an escaped path ``/source/key`` and its parameters. Raises `BadQueryError`."""
    source, separator, key = path.lstrip("/").partition("/")
    if not (source and separator and key):
        raise BadQueryError("the path must be /{source}/{key}")
    given = {**parameters, "source": unquote(source), "key": unquote(key)}
    try:
        return msgspec.convert(given, SourceQuery, strict=False)
    except msgspec.ValidationError as error:
        raise BadQueryError(str(error)) from error


def make_item(seed: int, source: str, key: str, position: int) -> dict[str, Any]:
    """Return the item at `position`, the same in every run. `rating` is 1 to 5 and fits the text."""
    draws = Draws(seed, source, key, position)
    rating = draws.integer(1, 5)
    mood = _OPENINGS[0 if rating > 3 else 1 if rating == 3 else 2]
    sentences = [
        f"{draws.choice(mood)} {draws.choice(_SUBJECTS)} {draws.choice(_DETAILS)}."
        for _ in range(draws.integer(1, 4))
    ]
    return {
        "id": f"{position}",
        "text": f"About {key}: {' '.join(sentences)}",
        "title": f"{source} on {key}, {position + 1}",
        "rating": rating,
    }


class SourcesServer:
    """All sources. `handle` answers every request; all state belongs to one event loop."""

    def __init__(self, seed: int, dead: Collection[str] = ()) -> None:
        self._seed = seed
        self._dead = frozenset(dead)
        # The failures in a row of each page, up to `_MAX_REMEMBERED` pages.
        self._failures: dict[tuple[str, str, int], int] = {}
        self._counts: dict[str, Counter[str]] = {}

    async def handle(self, request: SimulatorRequest) -> web.StreamResponse:
        """Answer `request`."""
        status, document = await self._answer(request)
        return web.Response(
            status=status, headers={"Content-Type": "application/json"}, body=orjson.dumps(document)
        )

    async def _answer(self, request: SimulatorRequest) -> tuple[int, Any]:
        path, _, query_string = request.raw_path.partition("?")
        if request.method != "GET":
            return 405, {"error": "the only method is GET"}
        if path == "/stats":
            if reason := request.foreign():
                return 403, {"error": reason}
            return 200, {source: dict(count) for source, count in sorted(self._counts.items())}
        parameters = dict(parse_qsl(query_string, keep_blank_values=True))
        try:
            query = parse_query(path, parameters)
        except BadQueryError as error:
            return 400, {"error": str(error)}
        here = f"http://{request.headers.get('Host', '')}{path}"
        return await self._find(query, here, parameters)

    async def _find(self, query: SourceQuery, here: str, parameters: Mapping[str, str]) -> tuple[int, Any]:
        count = self._counts.setdefault(query.source, Counter(requests=0, failed=0, items=0))
        count["requests"] += 1
        if query.source in self._dead:
            count["failed"] += 1
            return 503, {"error": f"source {query.source} is dead"}
        page_asked = query.source, query.key, query.cursor
        failures = self._failures.pop(page_asked, 0)
        luck, speed, _, _ = uniforms(self._seed, *page_asked, failures)
        fails = luck < query.failure_rate
        if fails:  # recorded before the wait: the next attempt may come during it
            self._failures[page_asked] = failures + 1
            if len(self._failures) > _MAX_REMEMBERED:
                del self._failures[next(iter(self._failures))]
        await asyncio.sleep(lognormal(query.latency_s, _LATENCY_SIGMA, speed))
        if fails:
            count["failed"] += 1
            return 500, {"error": "a planned fault"}
        page = self._page(query, here, parameters)
        count["items"] += len(page["results"])
        return 200, page

    def _page(self, query: SourceQuery, here: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        page_size = query.page_size or query.items
        end = min(query.items, query.cursor + page_size)
        cursor = str(end) if end < query.items else None
        following = None if cursor is None else f"{here}?{urlencode({**parameters, 'cursor': cursor})}"
        return {
            "results": [make_item(self._seed, query.source, query.key, n) for n in range(query.cursor, end)],
            "next": following,
            "cursor": cursor,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sources until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__spec__.name}", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    add_process_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument(
        "--dead", action="append", default=[], metavar="SOURCE", help="this source answers 503"
    )
    options = parser.parse_args(arguments)
    server = SourcesServer(options.seed, options.dead)
    serve(server.handle, options)


if __name__ == "__main__":
    main()
