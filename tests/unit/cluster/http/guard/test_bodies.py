"""Bodies are read in bounded memory."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from cluster.http.guard.bodies import JSON, LINES, lines, media_type, whole
from cluster.http.guard.problems import ApiProblem


class Body:
    """A request whose body comes in `parts`; it counts how many were asked for."""

    def __init__(self, *parts: bytes, cut: bool = False, **headers: str) -> None:
        self.asked = 0
        self._messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        self._messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b""})
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self._receive)

    async def _receive(self):
        self.asked += 1
        return self._messages.pop(0)


async def lines_of(body, most=1000, most_line=20):
    return [
        (number, line.status if isinstance(line, ApiProblem) else line)
        async for number, line in lines(body.request, most, most_line)
    ]


async def status_of(awaitable):
    with pytest.raises(ApiProblem) as caught:
        await awaitable
    return caught.value.status


@pytest.mark.parametrize("headers", [{}, {"content_length": "3"}])
async def test_a_body_comes_whole(headers):
    assert await whole(Body(b"ab", b"", b"c", **headers).request, 3, 60.0) == b"abc"


async def test_a_body_that_is_announced_as_too_large_is_not_read():
    body = Body(b"abcd", content_length="4")
    assert await status_of(whole(body.request, 3, 60.0)) == 413
    assert body.asked == 0


async def test_a_body_that_turns_out_too_large_is_read_no_further():
    body = Body(b"ab", b"cd", b"ef")
    assert await status_of(whole(body.request, 3, 60.0)) == 413
    assert body.asked == 2


@pytest.mark.parametrize("most", [3, 1000])
async def test_the_error_of_a_refused_body_does_not_keep_what_was_read(most):
    piece = bytes(bytearray(b"ab"))  # an object of its own: the interpreter may share constants
    body = Body(piece, b"cd", cut=True)
    with pytest.raises(ApiProblem) as caught:
        await whole(body.request, most, 60.0)
    del body
    assert not any(piece in held for held in gc.get_referrers(piece) if isinstance(held, list)), caught


async def test_a_body_that_is_cut_off_is_refused():
    assert await status_of(whole(Body(b"ab", cut=True).request, 3, 60.0)) == 400


async def test_lines_come_numbered_and_empty_ones_only_count():
    assert await lines_of(Body(b"a\n\nb", b"b\r\n", b" \nc")) == [(1, b"a"), (3, b"bb\r"), (5, b"c")]


async def test_a_line_that_is_too_long_is_told_in_its_place_and_not_kept():
    body = Body(b"a\n" + b"x" * 15, b"x" * 15, b"x" * 15, b"\nb\n" + b"y" * 30)
    assert await lines_of(body) == [(1, b"a"), (2, 413), (3, b"b"), (4, 413)]


async def test_a_line_of_just_its_bound_is_taken_however_it_comes():
    line = b"x" * 20
    for parts in ((line,), (line, b"\n"), (line[:9], line[9:], b"\n" + line)):
        assert {each for _, each in await lines_of(Body(*parts))} == {line}


async def test_lines_end_where_there_are_too_many():
    assert await status_of(lines_of(Body(b"a\n", b"b\n", b"c\n"), most=5)) == 413


@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")), max_size=6), st.data())
async def test_lines_are_the_same_however_they_are_cut(entries, data):
    told = b"\n".join(entries)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=5)))
    parts = [told[a:b] for a, b in zip([0, *cuts], [*cuts, len(told)], strict=True)]
    expected = [(number, line) for number, line in enumerate(entries, 1) if line.strip()]
    assert await lines_of(Body(*parts)) == expected


@pytest.mark.parametrize(
    "given_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_is_taken_in_utf_8(given_type):
    assert media_type(Body(content_type=given_type).request, JSON) == JSON


def test_lines_have_several_names():
    assert media_type(Body(content_type="application/jsonl").request, JSON, LINES) == LINES


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_type": "text/plain"},
        {"content_type": "application/json; charset=latin-1"},
        {"content_type": "application/json", "content_encoding": "gzip"},
    ],
)
def test_other_media_types_are_refused(headers):
    with pytest.raises(ApiProblem) as caught:
        media_type(Body(**headers).request, JSON)
    assert caught.value.status == 415
