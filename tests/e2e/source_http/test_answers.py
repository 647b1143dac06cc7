"""What the http source makes of a server's answers: paging, refusals, limits, and what breaks off."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest
from aiohttp import web

from actors.core.errors import SourceError, SourceUnavailableError
from actors.core.messages.tasks import Item
from tests.e2e.source_http.conftest import DEADLINE_S, fetch, status


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
        SourceError, match="no items at 'results': there is no 'results'; the names are: items, total"
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

    with pytest.raises(SourceError, match="leads back"):
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
async def test_a_task_that_the_server_does_not_know_has_no_items_if_configured(server, code):
    server.answers["/v1/k"] = status(code)

    assert await fetch(server.url + "/v1/{key}", missing="empty") == ()


async def test_a_later_page_that_is_missing_is_an_error(server):
    server.answers.update({"/a": {"results": [], "next": "/b"}, "/b": status(404)})

    with pytest.raises(SourceError, match="the page that the previous one links to"):
        await fetch(server.url + "/a", items="results", next="next", missing="empty")
    server.answers["/a"] = {"results": [], "next": "/b"}
    with pytest.raises(SourceError, match="answered 404"):
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


async def test_an_answer_beyond_the_limit_is_cut_off(server):
    async def chunked(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x" * 1000)
        return response

    server.answers["/a"] = chunked
    with pytest.raises(SourceError, match="larger than max_bytes = 5000"):
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
    with pytest.raises(SourceError, match="larger than max_bytes = 100000"):
        await fetch(server.url + "/a", max_bytes=100_000)


async def test_what_is_not_json_is_an_error(server):
    async def page(request):
        return web.Response(text="<html>hidden</html>", content_type="text/html")

    server.answers["/a"] = page
    with pytest.raises(SourceError, match="the response is not JSON") as caught:
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
