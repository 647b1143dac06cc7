"""Hostile and oversized data ends one fetch with a clear error, and never fills the memory."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from actors.core.errors import Blame, SourceBoundError, SourceError
from actors.core.messages.tasks import Task
from actors.sources import http, records
from actors.sources.http import HttpSettings, HttpSource
from actors.sources.records import MAX_DEPTH
from tests.unit.support.scripted_origin import ScriptedOrigin, gzipped

MIB = 2**20
GZIP = {"content-encoding": "gzip"}
PUBLIC = "https://93.184.215.14/{key}"


class Fetcher:
    """Fetches from an origin that gives certain answers. `peak` is the memory that took, in bytes."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.peak = 0

    async def __call__(self, *answers, **options):
        self.monkeypatch.setattr(http, "Origin", ScriptedOrigin(*answers))
        source = HttpSource(HttpSettings(name="api", kind="http", url=PUBLIC, **options))
        tracemalloc.start()
        try:
            return await source.fetch(Task("k"))
        finally:
            self.peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


@pytest.fixture
def fetch(monkeypatch):
    return Fetcher(monkeypatch)


def page(number: int, items) -> bytes:
    return orjson.dumps({"results": items, "next": f"/{number}"})


async def test_many_pages_that_unpack_to_far_more_than_they_are_on_the_wire_fail_one_fetch(fetch):
    """Fifteen such pages, 649 kB on the wire, ended a source for the rest of a run."""
    pages = [(200, GZIP, gzipped(page(number, ["x" * 1_000_000] * 9))) for number in range(15)]
    with pytest.raises(SourceBoundError) as caught:
        await fetch(*pages, items="results", next="next")
    assert "more than max_fetch_bytes = 16,777,216; request fewer items, or raise" in str(caught.value)
    assert "sources.api.max_fetch_bytes" in str(caught.value)
    assert caught.value.failure().blame is Blame.LIMIT
    assert fetch.peak < 200 * MIB  # the parser alone takes eight times a page


async def test_more_items_than_the_configuration_allows_fail_the_fetch(fetch):
    """340,000 items of one page were taken."""
    with pytest.raises(SourceBoundError, match=r"max_items = 10,000 items; .*sources\.api\.max_items"):
        await fetch((200, {}, b"[" + b",".join([b'{"a":1}'] * 340_000) + b"]"))


async def test_an_item_that_is_too_large_does_not_take_the_others_with_it(fetch):
    small, large = await fetch((200, {}, orjson.dumps(["a", "b" * 3 * MIB])))
    assert (small.text, small.error) == ("a", None)
    assert "more than max_item_bytes = 2,097,152" in large.error.message


async def test_a_page_that_unpacks_beyond_its_bound_names_the_key(fetch):
    with pytest.raises(SourceBoundError, match=r"max_bytes = 10485760; .*raise sources\.api\.max_bytes"):
        await fetch((200, GZIP, gzipped(b" " * (60 * MIB))))
    assert fetch.peak < 50 * MIB


async def test_what_follows_the_end_of_compressed_data_is_not_kept(fetch):
    packed = gzipped(b'["a"]') + b"\0" * (30 * MIB)
    assert [item.text for item in await fetch((200, GZIP, packed))] == ["a"]
    assert fetch.peak < 5 * MIB


@pytest.mark.parametrize("value", [b"[]", b"{}", b'{"a":0}'])
async def test_a_page_of_very_many_values_is_refused_before_it_is_read(fetch, value, monkeypatch):
    monkeypatch.setattr(records, "MAX_VALUES", 50_000)
    with pytest.raises(SourceBoundError, match="more than 50,000 values"):
        await fetch((200, {}, b"[" + b",".join([value] * 50_001) + b"]"))
    assert fetch.peak < 3 * MIB


async def test_commas_within_texts_are_no_values(fetch):
    (item,) = await fetch((200, {}, orjson.dumps([", [{" * 400_000])))
    assert item.error is None


async def test_a_byte_order_mark_before_an_answer_means_nothing(fetch):
    assert [item.text for item in await fetch((200, {}, b'\xef\xbb\xbf["a"]'))] == ["a"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1e999]", "not JSON"),
        (b"[1" + b"0" * 5000 + b"]", "not JSON"),
        (b'["\\ud800"]', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'[{"a":' + b"[" * 500 + b"]" * 500 + b"}]", f"item 0: nested more than {MAX_DEPTH} levels"),
        (b"[[]]", "item 0 is list"),
        (b"\0", "not JSON"),
        (b"", "not JSON"),
    ],
)
async def test_what_no_item_can_be_made_of_is_an_error_of_the_source(fetch, body, words):
    with pytest.raises(SourceError, match=words):
        await fetch((200, {}, body))


async def test_a_nul_in_a_text_is_kept(fetch):
    (item,) = await fetch((200, {}, b'["a\\u0000b"]'))
    assert item.text == "a\0b"


async def test_integers_of_any_length_are_kept_exactly(fetch):
    """Ids of 25 digits became floats, and two of them one."""
    first, second, small = await fetch(
        (200, {}, b'[{"id":1234567890123456789012345},{"id":1234567890123456789012346},{"id":7,"n":1.5}]')
    )
    assert [item.id for item in (first, second)] == [
        "api:1234567890123456789012345",
        "api:1234567890123456789012346",
    ]
    assert (small.id, small.fields) == ("api:7", {"n": 1.5})


async def test_a_long_integer_in_a_deep_document_is_an_error_and_no_defect(fetch):
    with pytest.raises(SourceError, match=r"not JSON|nested more than"):
        await fetch((200, {}, b'[{"a":' + b"[" * 1000 + b"1" * 30 + b"]" * 1000 + b"}]"))
