"""What an HTTP source makes of statuses, and where it does not go."""

from __future__ import annotations

import threading

import pytest

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.http1.addresses import refusal
from actors.sources import http, records
from actors.sources.http import HttpSettings, HttpSource
from tests.unit.support.scripted_origin import ScriptedOrigin

PUBLIC = "https://93.184.215.14"


@pytest.fixture
def fetch(monkeypatch):
    """Fetch from an origin that gives these answers; the origin is `fetch.origin`."""

    async def run(*answers, **options):
        run.origin = ScriptedOrigin(*answers)
        monkeypatch.setattr(http, "Origin", run.origin)
        settings = {"name": "api", "kind": "http", "url": f"{PUBLIC}/{{key}}", **options}
        return list(await HttpSource(HttpSettings(**settings)).fetch(Task("k")))

    return run


@pytest.mark.parametrize("status", [404, 410])
async def test_a_missing_answer_is_an_error_unless_it_is_configured_to_be_empty(fetch, status):
    """A path that was mistyped looked like a source without data, for every task."""
    with pytest.raises(
        SourceError, match=rf"answered {status}; .* set sources\.api\.missing to empty"
    ) as caught:
        await fetch((status, {}, b""))
    assert not caught.value.retry
    assert await fetch((status, {}, b""), missing="empty") == []


async def test_no_content_is_no_error(fetch):
    assert await fetch((204, {}, b"")) == []


async def test_answers_are_read_beside_the_event_loop(fetch, monkeypatch):
    readers = []

    def to_record(value, **options):
        readers.append(threading.get_ident())
        return records.to_record(value, **options)

    monkeypatch.setattr(http, "to_record", to_record)
    assert [item.text for item in await fetch((200, {}, b'["a", "b"]'))] == ["a", "b"]
    assert len(readers) == 2
    assert threading.get_ident() not in readers


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.1/x",
        "http://10.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[fe80::1%25eth0]/x",
        "http://169.254.169.254/latest/meta-data",
        "http://168.63.129.16/machine?comp=goalstate",
        "//192.168.0.1/x",
    ],
)
async def test_a_redirect_and_a_next_link_to_a_private_address_are_refused(fetch, to):
    with pytest.raises(SourceError, match="allow_private"):
        await fetch((302, {"location": to}, b""))
    assert len(fetch.origin.asked) == 1
    with pytest.raises(SourceError, match="allow_private"):
        await fetch((200, {}, b'{"next": "%s"}' % to.encode()), items="", next="next")
    assert len(fetch.origin.asked) == 1


@pytest.mark.parametrize(
    "to",
    ["http://", "http:", "//", "http://[::1", "http://h:99999/", "http://a b/", "\x00", "http://\ud800/",
     "x\r\ny",
     "http://user:pw@93.184.215.14/", "javascript:x", "http://" + "a" * 300 + "/", "http://xn--\x7f/"],
)  # fmt: skip
async def test_a_redirect_to_what_is_no_url_is_an_error_of_the_source(fetch, to):
    with pytest.raises(SourceError) as caught:
        await fetch(*[(302, {"location": to}, b"")] * 7)
    assert "pw@" not in str(caught.value)


@pytest.mark.parametrize("address", ["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "169.254.169.254"])
def test_no_address_at_which_clouds_keep_credentials_is_public(address):
    assert refusal(address) is not None
