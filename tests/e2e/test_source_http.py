"""The http source against a server: paging, redirects, refusals, limits, and where secrets go."""

from __future__ import annotations

import asyncio
import gzip
import socket
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.messages import Item, Task
from actors.http1.dial import system_addresses
from actors.sources.addresses import public_addresses
from actors.sources.http import HttpSettings, HttpSource

DEADLINE_S = 100


class Server:
    """An HTTP server on loopback whose answers a test writes; it keeps what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[web.BaseRequest] = []
        self.answers = {}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        made = self.answers[request.path]
        return await made(request) if callable(made) else web.json_response(made)


@pytest.fixture
async def serve():
    """Start a server, each of another origin."""
    async with AsyncExitStack() as started:

        async def start() -> Server:
            async def dispatch(request):
                return await made.answer(request)

            runner = web.ServerRunner(web.Server(dispatch))
            await runner.setup()
            started.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made = Server(f"http://127.0.0.1:{runner.addresses[0][1]}")
            return made

        yield start


@pytest.fixture
async def server(serve):
    return await serve()


@pytest.fixture
async def other(serve):
    return await serve()


async def fetch(url: str, key: str = "k", **options):
    settings = {"allow_private": True, "timeout_s": 60, **options}
    source = HttpSource(HttpSettings(name="api", kind="http", url=url, **settings))
    try:
        return await asyncio.wait_for(source.fetch(Task(key)), DEADLINE_S)
    finally:
        await source.close()


def status(code: int, **headers: str):
    async def answer(request):
        return web.Response(status=code, headers=headers)

    return answer


def redirect(to: str, code: int = 302):
    return status(code, Location=to)


async def test_the_items_of_an_answer_are_found_by_their_path(server):
    server.answers["/v1/k"] = {
        "data": {"results": [{"id": 1, "body": "b", "stars": 5}, {"id": 2, "body": "c"}]}
    }

    assert await fetch(server.url + "/v1/{key}", items="data.results", text="body") == (
        Item("api:1", "api", "b", {"stars": 5}),
        Item("api:2", "api", "c"),
    )


async def test_the_whole_answer_is_taken_where_no_path_is_given(server):
    server.answers.update({"/list": ["a", "b"], "/one": {"text": "t"}, "/null": {"results": None}})

    assert [item.text for item in await fetch(server.url + "/list")] == ["a", "b"]
    assert [item.text for item in await fetch(server.url + "/one")] == ["t"]
    assert await fetch(server.url + "/null", items="results") == ()


async def test_a_path_that_is_not_there_names_what_is(server):
    server.answers["/v1/k"] = {"items": [], "total": 0}

    with pytest.raises(
        SourceError, match="no items at 'results': there is no 'results'; there is: items, total"
    ):
        await fetch(server.url + "/v1/{key}", items="results")


async def test_a_key_arrives_as_it_was_whatever_it_holds(server):
    async def echo(request):
        return web.json_response([request.query["q"]])

    server.answers["/v1/a/b?c&d#e+f;g%2e é/x"] = echo
    [item] = await fetch(server.url + "/v1/{key}/x?q={key}", "a/b?c&d#e+f;g%2e é")

    assert item.text == "a/b?c&d#e+f;g%2e é"
    assert "a%2Fb%3F" in server.asked[0].raw_path


async def test_next_links_are_followed_to_the_end(server):
    server.answers["/v1/k"] = {"results": ["a"], "links": {"next": "k2?page=2"}}
    server.answers["/v1/k2"] = {"results": ["b"], "links": {"next": None}}

    items = await fetch(server.url + "/v1/{key}", items="results", next="links.next")
    assert [(item.id, item.text) for item in items] == [("api:0", "a"), ("api:1", "b")]


async def test_a_cursor_is_sent_back_until_there_is_none(server):
    async def page(request):
        at = int(request.query.get("after", 0))
        return web.json_response(
            {"results": [f"{request.query['size']}-{at}"], "cursor": at + 1 if at < 2 else ""}
        )

    server.answers["/v1/k"] = page
    cursor = {"path": "cursor", "parameter": "after"}

    items = await fetch(server.url + "/v1/{key}?size=9", items="results", cursor=cursor)
    assert [item.text for item in items] == ["9-0", "9-1", "9-2"]


async def test_pages_that_lead_in_a_circle_are_an_error(server):
    server.answers["/a"] = {"results": [], "next": "/b"}
    server.answers["/b"] = {"results": [], "next": "/a"}

    with pytest.raises(SourceError, match="lead back"):
        await fetch(server.url + "/a", items="results", next="next")
    assert len(server.asked) == 2


async def test_more_pages_than_allowed_are_an_error_and_not_a_part(server):
    async def page(request):
        return web.json_response({"results": ["x"], "next": f"/a?n={len(server.asked)}"})

    server.answers["/a"] = page
    with pytest.raises(SourceError, match="more than max_pages = 3"):
        await fetch(server.url + "/a", items="results", next="next", max_pages=3)
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [204, 404, 410])
async def test_a_task_that_the_server_does_not_know_has_no_items(server, code):
    server.answers["/v1/k"] = status(code)

    assert await fetch(server.url + "/v1/{key}") == ()


async def test_a_later_page_that_is_missing_is_an_error(server):
    server.answers.update({"/a": {"results": [], "next": "/b"}, "/b": status(404)})

    with pytest.raises(SourceError, match="a page that the one before names"):
        await fetch(server.url + "/a", items="results", next="next")


@pytest.mark.parametrize("code", [400, 401, 403, 422, 304])
async def test_a_request_that_would_fail_again_is_permanent(server, code):
    server.answers["/v1/k"] = status(code)

    with pytest.raises(SourceError, match=f"answered {code}") as caught:
        await fetch(server.url + "/v1/{key}?token=hidden")
    assert not caught.value.retry
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 503])
async def test_a_server_that_is_busy_is_asked_again_when_it_wishes(server, code):
    server.answers["/v1/k"] = status(code, **{"Retry-After": "7"})

    with pytest.raises(SourceUnavailableError, match=f"answered {code}") as caught:
        await fetch(server.url + "/v1/{key}")
    assert caught.value.retry_after_s == 7


async def test_a_redirect_is_followed_and_keeps_the_headers_on_its_origin(server):
    server.answers.update({"/a": redirect("/b", 307), "/b": ["there"]})

    assert [item.text for item in await fetch(server.url + "/a", headers={"X-Token": "hidden"})] == ["there"]
    assert [request.headers.get("X-Token") for request in server.asked] == ["hidden", "hidden"]


async def test_headers_stay_away_from_another_origin_and_from_where_it_sends(server, other):
    server.answers.update({"/a": redirect(other.url + "/b"), "/c": ["back"]})
    other.answers["/b"] = redirect(server.url + "/c")

    assert [item.text for item in await fetch(server.url + "/a", headers={"X-Token": "hidden"})] == ["back"]
    assert [request.headers.get("X-Token") for request in server.asked] == ["hidden", None]
    assert [request.headers.get("X-Token") for request in other.asked] == [None]


async def test_headers_stay_away_from_a_next_page_of_another_origin(server, other):
    server.answers["/a"] = {"results": ["a"], "next": other.url + "/b"}
    other.answers["/b"] = {"results": ["b"]}

    items = await fetch(server.url + "/a", items="results", next="next", headers={"X-Token": "hidden"})
    assert [item.text for item in items] == ["a", "b"]
    assert [request.headers.get("X-Token") for request in other.asked] == [None]


async def test_redirects_without_end_are_an_error(server):
    server.answers["/a"] = redirect("/a")

    with pytest.raises(SourceError, match="more than 5 redirects"):
        await fetch(server.url + "/a")
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("ftp://h/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:pw@h/x", "credentials"),
    ],
)
async def test_a_redirect_and_a_next_link_are_checked_as_every_url_is(server, to, message):
    server.answers.update({"/a": redirect(to), "/b": {"results": [], "next": to}})

    for path in ("/a", "/b"):
        with pytest.raises(SourceError, match=message):
            await fetch(server.url + path, items="results", next="next")


@pytest.fixture
def directory(monkeypatch):
    """Have `public.test` lead to the server, but be taken for public; return which names are looked up."""
    names = {"inner.test": "127.0.0.1"}
    asked = []

    async def look_up(host, port):
        asked.append(host)
        if host == "public.test":
            return await system_addresses("127.0.0.1", port)
        return await public_addresses(names.get(host, host), port)

    monkeypatch.setattr("actors.sources.http.public_addresses", look_up)
    return asked


@pytest.mark.parametrize("host", ["127.0.0.1", "inner.test", "localhost"])
async def test_loopback_is_not_reached_by_its_number_or_a_name(server, directory, host):
    with pytest.raises(SourceError, match="loopback"):
        await fetch(f"{server.url}/a".replace("127.0.0.1", host), allow_private=False)
    assert server.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "inner.test", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"]
)
async def test_loopback_is_not_reached_by_a_redirect_however_it_is_written(server, directory, host):
    port = server.url.rsplit(":", 1)[1]
    server.answers.update({"/a": redirect(f"http://{host}:{port}/secret"), "/secret": ["secret"]})

    with pytest.raises(SourceError):
        await fetch(f"http://public.test:{port}/a", allow_private=False)
    assert [request.path for request in server.asked] == ["/a"]


async def test_loopback_is_not_reached_by_a_next_link(server, directory):
    port = server.url.rsplit(":", 1)[1]
    server.answers.update({"/a": {"results": [], "next": server.url + "/secret"}, "/secret": ["secret"]})

    with pytest.raises(SourceError, match="loopback"):
        await fetch(f"http://public.test:{port}/a", items="results", next="next", allow_private=False)
    assert [request.path for request in server.asked] == ["/a"]


async def test_a_name_is_resolved_once_for_many_fetches(server, directory):
    server.answers["/a"] = ["x"]
    port = server.url.rsplit(":", 1)[1]
    settings = HttpSettings(name="api", kind="http", url=f"http://public.test:{port}/a")
    source = settings.build()
    for _ in range(3):
        await source.fetch(Task("k"))
    await source.close()

    assert directory == ["public.test"]


async def test_an_answer_beyond_the_limit_is_cut_off(server):
    async def chunked(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 1000)
        return response

    server.answers["/a"] = chunked
    with pytest.raises(SourceError, match="longer than max_bytes = 5000"):
        await fetch(server.url + "/a", max_bytes=5000)


async def test_a_status_counts_though_its_explanation_is_longer_than_allowed(server):
    async def fail(request):
        return web.Response(status=500, body=b"x" * 10_000)

    server.answers["/a"] = fail
    with pytest.raises(SourceUnavailableError, match="answered 500"):
        await fetch(server.url + "/a", max_bytes=5000)


async def test_a_header_of_the_configuration_takes_the_place_of_ours(server):
    server.answers["/a"] = ["x"]
    await fetch(server.url + "/a", headers={"accept": "application/hal+json"})
    (request,) = server.asked
    assert request.headers.getall("Accept") == ["application/hal+json"]


async def test_a_compressed_answer_is_counted_as_it_unfolds(server):
    packed = gzip.compress(b"[" + b" " * 50_000_000 + b"]")

    async def bomb(request):
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    server.answers["/a"] = bomb
    assert len(packed) < 100_000
    with pytest.raises(SourceError, match="longer than max_bytes = 100000"):
        await fetch(server.url + "/a", max_bytes=100_000)


async def test_what_is_not_json_is_an_error(server):
    async def page(request):
        return web.Response(text="<html>hidden</html>", content_type="text/html")

    server.answers["/a"] = page
    with pytest.raises(SourceError, match="the answer is not JSON") as caught:
        await fetch(server.url + "/a")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("sent", [None, b"", b"[]"])
async def test_an_answer_that_breaks_off_is_tried_again_and_not_taken_for_whole(server, sent):
    async def break_off(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if sent is not None:
            await response.prepare(request)
            await response.write(sent)
        request.transport.abort()
        return response

    server.answers["/a"] = break_off
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        await fetch(server.url + "/a")


async def test_a_server_that_is_not_there_is_tried_again():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
            await fetch(f"http://127.0.0.1:{unused.getsockname()[1]}/a?token=hidden")
    assert "hidden" not in str(caught.value)


async def test_a_server_that_does_not_answer_is_given_up(server):
    released = asyncio.Event()

    async def silent(request):
        await asyncio.wait_for(released.wait(), DEADLINE_S)
        return web.Response()

    server.answers["/a"] = silent
    with pytest.raises(SourceUnavailableError, match=r"cannot be reached: no answer within 0\.2 s"):
        await fetch(server.url + "/a", timeout_s=0.2)
    released.set()


async def test_a_proxy_of_the_environment_is_not_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.answers["/a"] = ["x"]

    assert len(await fetch(server.url + "/a")) == 1


async def test_cookies_of_one_fetch_do_not_reach_the_next(server):
    async def set_cookie(request):
        response = web.json_response([])
        response.set_cookie("session", "1")
        return response

    server.answers["/a"] = set_cookie
    source = HttpSettings(name="api", kind="http", url=server.url + "/a", allow_private=True).build()
    await source.fetch(Task("k"))
    await source.fetch(Task("k"))
    await source.close()

    assert [request.headers.get("Cookie") for request in server.asked] == [None, None]
