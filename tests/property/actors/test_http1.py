"""However the bytes of an answer are cut, and whatever bytes come."""

from __future__ import annotations

import asyncio
import gzip
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.http1.exchange import Http1Error
from tests.unit.support.wire import Wire, answer

BODY = b'{"x": 0.5}' * 20
CHUNKED = {"Transfer_Encoding": "chunked"}
ANSWERS = (
    answer(BODY, X_Left="7"),
    answer(
        b"64\r\n" + BODY[:100] + b"\r\n64;a=b\r\n" + BODY[100:] + b"\r\n0\r\n\r\n",
        Transfer_Encoding="chunked",
    ),
    answer(gzip.compress(BODY), Content_Encoding="gzip"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(BODY),
)


def cut(data, at):
    edges = [0, *sorted(at), len(data)]
    return [data[low:high] for low, high in pairwise(edges) if low < high]


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 300), max_size=20))
def test_an_answer_is_the_same_however_it_is_cut(whole, at):
    async def read():
        wire = Wire()
        exchange = wire.ask()
        wire.comes(*cut(whole, [min(each, len(whole)) for each in at]))
        assert exchange.ended.result() is None
        assert (exchange.status, bytes(exchange.body)) == (200, BODY)
        assert wire.free == [wire.connection]

    asyncio.run(read())


@given(
    st.sampled_from(ANSWERS),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=8)), max_size=4),
    st.integers(0, 300),
    st.booleans(),
)
def test_whatever_comes_ends_the_exchange_once_and_nothing_else(whole, changes, end, is_reset):
    async def read():
        data = bytearray(whole)
        for at, other in changes:
            data[at : at + len(other)] = other
        wire = Wire(bound=150)
        exchange = wire.ask()
        wire.comes(*cut(bytes(data), [min(end, len(data))]))
        if not wire.is_closing():
            wire.ends(ConnectionResetError() if is_reset else None)
        if exchange.ended.done():
            error = exchange.ended.exception()
            assert error is None or isinstance(error, Http1Error)
            assert len(exchange.body) <= 150
        else:
            assert wire.is_closing()

    asyncio.run(read())
