"""Where the http source goes: redirects, next links, private addresses, and who sees the headers."""

from __future__ import annotations

import pytest
from aiohttp import web

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.http1.addresses import public_addresses
from actors.http1.dial import system_addresses
from actors.sources.http import HttpSettings
from tests.e2e.source_http.conftest import fetch, redirect


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
