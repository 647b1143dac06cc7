"""Any bytes, as a file or as an HTTP answer, are read or refused, in memory that has a bound."""

from __future__ import annotations

import asyncio
import tracemalloc

import orjson
import pyarrow.parquet  # noqa: F401 - else the first Parquet file would pay for loading it
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.core.errors import SourceError
from actors.core.messages.tasks import Task
from actors.sources import http
from actors.sources.base import SourceSettings
from actors.sources.files.formats import Blob, FileReading, read_records
from actors.sources.http import HttpSettings, HttpSource
from actors.sources.items import make_items, measured
from tests.unit.support.scripted_origin import ScriptedOrigin, gzipped

BOUND = 4096
MOST_MEMORY = 64 * BOUND + 2_000_000  # of Python; what a parser keeps for itself does not grow with the input
WIRE = SourceSettings(name="wire", max_items=20, max_item_bytes=1000, max_fetch_bytes=BOUND)
READING = FileReading("utf-8", WIRE.max_item_bytes, WIRE.max_fetch_bytes)
NAMES = ["n.txt", "n.json", "n.jsonl", "n.csv", "n.parquet", "n"]

PIECES = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"1e999",
     b'"\\ud800"', b"null", b"NaN", b"PAR1", b'{"text":"a"}', b"a,b\n", b"[" * 500, b'{"a":' * 300,
     b"x" * 3000, b"9" * 5000]
)  # fmt: skip
BYTES = st.binary(max_size=300) | st.lists(PIECES, max_size=40).map(b"".join)
REPEATED = st.tuples(PIECES, st.integers(1, 20_000)).map(lambda it: (it[0] * it[1])[:200_000])


def is_bounded(items) -> bool:
    """Tell whether `items` keep the bounds, and can be written down."""
    orjson.dumps([(item.id, item.text, item.fields, item.error and item.error.message) for item in items])
    return len(items) <= WIRE.max_items and measured(items, WIRE) <= BOUND + 1024 * len(items)


def measured_peak(work):
    """Return what `work` returns, None where the source refuses; and how much memory that took."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    except SourceError as error:
        str(error).encode()
        return None, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(max_examples=200)
@given(st.sampled_from(NAMES), BYTES | REPEATED)
@example("n.json", b'[{"a":' + b"[" * 500 + b"]" * 500 + b"}]")
@example("n.csv", b'a\n"' + b"x\n" * 50_000)
@example("n.jsonl", b'{"text":"' + b"x" * 100_000 + b'"}\n{"text":"b"}')
def test_any_bytes_as_a_file_are_items_or_an_error(name, data):
    items, peak = measured_peak(lambda: make_items(WIRE, read_records(Blob(name, data), READING)))
    assert items is None or is_bounded(items)
    assert peak < MOST_MEMORY + 20 * len(data)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-encoding": st.sampled_from(["gzip", "deflate", "identity", "", "br"]),
        "location": st.text(max_size=30) | st.sampled_from(["/b", "//h", "http://127.0.0.1/"]),
        "retry-after": st.text(max_size=20) | st.sampled_from(["1e999", "-5", "9" * 400]),
    },
)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 301, 302, 404, 429, 500, 599, 700])
BODY = BYTES | REPEATED | BYTES.map(gzipped) | REPEATED.map(lambda data: gzipped(data * 50))


@settings(max_examples=200)
@given(st.lists(st.tuples(STATUS, HEADERS, BODY), min_size=6, max_size=6))
def test_any_bytes_as_an_answer_are_items_or_an_error(answers):
    async def fetch():
        source = HttpSource(
            HttpSettings(
                name="wire",
                kind="http",
                url="https://93.184.215.14/{key}",
                max_items=WIRE.max_items,
                max_item_bytes=WIRE.max_item_bytes,
                max_fetch_bytes=BOUND,
                max_bytes=10 * BOUND,
                max_pages=3,
            )
        )
        return await source.fetch(Task("k"))

    before, http.Origin = http.Origin, ScriptedOrigin(*answers, *answers)
    try:
        items, peak = measured_peak(lambda: asyncio.run(fetch()))
    finally:
        http.Origin = before
    assert items is None or is_bounded(items)
    assert peak < MOST_MEMORY + 200 * 10 * BOUND
