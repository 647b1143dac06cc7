"""One connection: where an answer ends, what is no answer, and when it may serve the next request."""

from __future__ import annotations

import gzip

import pytest

from actors.http1.exchange import BrokenOffError, GarbledError, TooLargeError
from tests.unit.support.wire import REQUEST, Wire, answer

CHUNKED = {"Transfer_Encoding": "chunked"}


def body_of(exchange):
    assert exchange.ended.result() is None
    return bytes(exchange.body)


async def test_an_answer_is_there_with_its_status_headers_and_body_and_the_connection_is_free():
    wire = Wire()
    exchange = wire.ask()
    assert (wire.written, exchange.sent, exchange.ended.done()) == ([REQUEST], True, False)
    assert (exchange.status, exchange.headers, exchange.media_type) == (0, {}, "")
    wire.comes(answer(b"yes", 201, Content_Type="Text/Plain; charset=utf-8", X_Left="7"))
    assert (exchange.status, body_of(exchange), exchange.media_type) == (201, b"yes", "text/plain")
    assert exchange.headers["x-left"] == "7"
    assert wire.free == [wire.connection]


async def test_one_request_after_another_gets_its_own_answer():
    wire = Wire()
    for number in range(3):
        exchange = wire.ask()
        wire.comes(answer(b"%d" % number, X_Number=str(number)))
        assert (body_of(exchange), exchange.headers["x-number"]) == (b"%d" % number, str(number))


async def test_of_equal_headers_the_first_counts_and_trailers_count_for_nothing():
    wire = Wire()
    exchange = wire.ask()
    head = b"HTTP/1.1 200 OK\r\nRetry-After: 1\r\nRetry-After: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.comes(head + b"3\r\nyes\r\n0\r\nX-Late: 1\r\n\r\n")
    assert body_of(exchange) == b"yes"
    assert (exchange.headers["retry-after"], "x-late" in exchange.headers) == ("1", False)
    assert wire.free


async def test_interim_answers_are_passed_over():
    wire = Wire()
    exchange = wire.ask()
    wire.comes(
        b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"yes")
    )
    assert (exchange.status, body_of(exchange), "link" in exchange.headers) == (200, b"yes", False)
    assert wire.free


async def test_an_answer_without_length_ends_with_its_connection():
    wire = Wire()
    exchange = wire.ask()
    wire.comes(answer(b"so far", Connection="close"), b" so good")
    assert not exchange.ended.done()
    wire.ends()
    assert body_of(exchange) == b"so far so good"
    assert (wire.free, wire.lost) == ([], [wire.connection])


@pytest.mark.parametrize(
    ("come", "said"),
    [
        ([], "before a response arrived"),
        ([b"HTTP/1.1 200 OK\r\n"], "before a response arrived"),
        ([answer(b"whole")[:-2]], "broke off after 3 bytes"),
        ([answer(b"5\r\nwhole\r\n", **CHUNKED)], "broke off after 5 bytes"),
        ([answer(gzip.compress(b"whole" * 99)[:-1], Content_Encoding="gzip")], "after 495 bytes: its comp"),
        ([answer(gzip.compress(b"whole")[:10], Content_Encoding="gzip")], "after 0 bytes: its comp"),
    ],
)
async def test_an_answer_that_breaks_off_says_how_far_it_came(come, said):
    wire = Wire()
    exchange = wire.ask()
    wire.comes(*come)
    if not exchange.ended.done():
        wire.ends()
    with pytest.raises(BrokenOffError, match=said):
        exchange.ended.result()
    assert wire.free == []


async def test_a_reset_is_no_end_even_of_an_answer_that_ends_with_its_connection():
    wire = Wire()
    exchange = wire.ask()
    wire.comes(answer(b"so far", Connection="close"))
    wire.ends(ConnectionResetError("reset by peer"))
    with pytest.raises(BrokenOffError, match="6 bytes: ConnectionResetError: reset by peer"):
        exchange.ended.result()


@pytest.mark.parametrize(
    "come",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nyes",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: x\r\n" * 10_000,
        answer(b"yes", Content_Encoding="br"),
        answer(b"not packed", Content_Encoding="gzip"),
        answer(b"x\r\n", **CHUNKED),
    ],
)
async def test_what_is_no_answer_ends_the_exchange_and_the_connection(come):
    wire = Wire()
    exchange = wire.ask()
    wire.comes(come)
    with pytest.raises(GarbledError):
        exchange.ended.result()
    assert (wire.aborted, wire.free) == (True, [])


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"0\r\n", b"X-Long: x\r\n" * 900), (b"0\r\nX-Long: ", b"x" * 10_000), (b"1;", b"x" * 10_000)],
    ids=["many trailers", "a long trailer", "a long chunk extension"],
)
async def test_bytes_of_a_chunked_answer_outside_of_its_body_are_bounded(begin, piece):
    wire = Wire()
    exchange = wire.ask()
    wire.comes(answer(b"3\r\nyes\r\n" + begin, **CHUNKED), *[piece] * 6)
    assert not exchange.ended.done()
    wire.comes(piece)
    with pytest.raises(GarbledError, match="larger than 65536 bytes"):
        exchange.ended.result()
    assert (wire.aborted, wire.free) == (True, [])


async def test_the_parts_of_a_chunked_answer_outside_of_its_body_may_add_up():
    wire = Wire()
    exchange = wire.ask()
    wire.comes(answer(b"", **CHUNKED), *[b"1;" + b"x" * 10_000 + b"\r\n", b"y\r\n"] * 10, b"0\r\n\r\n")
    assert body_of(exchange) == b"y" * 10
    assert wire.free


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_beyond_its_bound_is_cut_there_also_one_that_unpacks_to_it(packed):
    wire = Wire(bound=1000)
    exchange = wire.ask()
    body = b"x" * 10_000_000
    wire.comes(answer(gzip.compress(body), Content_Encoding="gzip") if packed else answer(body)[:70_000])
    with pytest.raises(TooLargeError, match="larger than 1000 bytes") as caught:
        exchange.ended.result()
    assert caught.value.size == (None if packed else 10_000_000)
    assert (len(exchange.body), wire.aborted) == (1000, True)


@pytest.mark.parametrize(
    ("sent", "headers"),
    [
        (b"x" * 1000, {}),
        (b"3e8\r\n%b\r\n0\r\n\r\n" % (b"x" * 1000), CHUNKED),
        (gzip.compress(b"x" * 1000), {"Content_Encoding": "gzip"}),
    ],
    ids=["with a length", "in chunks", "packed"],
)
async def test_a_body_of_just_its_bound_is_whole(sent, headers):
    wire = Wire(bound=1000)
    exchange = wire.ask()
    wire.comes(answer(sent, **headers))
    assert body_of(exchange) == b"x" * 1000


async def test_a_packed_answer_is_unpacked_as_it_comes():
    wire = Wire()
    exchange = wire.ask()
    packed = answer(gzip.compress(b"whole" * 99), Content_Encoding="gzip")
    wire.comes(*(packed[at : at + 1] for at in range(len(packed))))
    assert body_of(exchange) == b"whole" * 99


async def test_a_head_that_speaks_of_packing_may_come_without_a_body():
    wire = Wire()
    exchange = wire.ask()
    wire.comes(answer(b"", 404, Content_Encoding="gzip"))
    assert (exchange.status, body_of(exchange)) == (404, b"")


@pytest.mark.parametrize(
    "come",
    [
        answer(b"yes", Content_Length="3", Connection="close"),
        answer(b"yes") + b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nyes",
    ],
)
async def test_a_connection_that_will_close_or_says_more_than_was_asked_serves_no_other(come):
    wire = Wire()
    exchange = wire.ask()
    wire.comes(come)
    assert body_of(exchange) == b"yes"
    assert (wire.closed, wire.free) == (True, [])


async def test_a_request_that_is_answered_before_it_is_sent_leaves_a_connection_for_no_other():
    wire = Wire()
    exchange = wire.ask()
    wire.unsent = 10
    wire.comes(answer(b"too large", 413))
    assert body_of(exchange) == b"too large"
    assert (wire.closed, wire.free) == (True, [])


@pytest.mark.parametrize("asked", [0, 1])
async def test_what_nobody_asked_for_closes_the_connection(asked):
    wire = Wire()
    for _ in range(asked):
        wire.ask()
        wire.comes(answer(b"yes"))
    assert not wire.aborted
    wire.comes(answer(b"yes"))
    assert wire.aborted


async def test_the_heads_of_several_answers_are_each_bounded_by_themselves():
    wire = Wire()
    for _ in range(4):
        exchange = wire.ask()
        head = answer(b"yes", X_Long="x" * 30_000)
        wire.comes(head[:-100], head[-100:])
        assert body_of(exchange) == b"yes"


async def test_nothing_is_sent_over_a_connection_that_closes():
    wire = Wire()
    wire.close()
    exchange = wire.ask()
    assert isinstance(exchange.ended.exception(), BrokenOffError)
    assert (exchange.sent, wire.written) == (False, [])


async def test_who_hangs_up_closes_the_connection_but_not_under_the_next_request():
    wire = Wire()
    first = wire.ask()
    wire.comes(answer(b"yes"))
    second = wire.ask()
    wire.connection.drop(first)
    assert not wire.aborted
    wire.connection.drop(second)
    assert wire.aborted
    wire.ends()
    assert not second.ended.done()


async def test_a_sink_is_given_the_body_and_ends_the_wait_when_it_has_enough():
    wire, seen = Wire(), []

    def sink(piece):
        seen.append(piece)
        return piece == b"done"

    exchange = wire.ask(lambda head: sink if head.status == 200 else None)
    wire.comes(answer(b"4\r\nhalf\r\n", **CHUNKED))
    assert not exchange.ended.done()
    wire.comes(b"4\r\ndone\r\n")
    assert exchange.ended.result() is None
    assert wire.free == []  # the rest is still to come
    wire.comes(b"4\r\nmore\r\n0\r\n\r\n")
    assert (seen, bytes(exchange.body)) == ([b"half", b"done"], b"")
    assert wire.free == [wire.connection]


async def test_a_sink_is_not_handed_more_at_once_than_an_answer_may_have():
    wire, seen = Wire(bound=1000), []
    exchange = wire.ask(lambda head: lambda piece: seen.append(len(piece)) or False)
    wire.comes(answer(gzip.compress(b"x" * 10_000_000), Content_Encoding="gzip"))
    with pytest.raises(TooLargeError, match="larger than 1000 bytes"):
        exchange.ended.result()
    assert seen == [1001]


async def test_a_sink_that_fails_ends_its_exchange_with_its_own_error():
    def sink(piece):
        raise ZeroDivisionError("a defect")

    wire = Wire()
    exchange = wire.ask(lambda head: sink)
    wire.comes(answer(b"yes"))
    with pytest.raises(ZeroDivisionError, match="a defect"):
        exchange.ended.result()
    assert wire.aborted
