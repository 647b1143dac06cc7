"""Nothing that an endpoint sends makes a dialect raise, and a stream is the same wherever its pieces end."""

from __future__ import annotations

import base64
import math
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.core.vectors import packed, unpacked
from actors.llm.dialects.dialect import ParsedAnswer
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.requests.head import request_headers
from actors.llm.translate import ErrorReport, Site, from_report
from simulators.dialects.dialect import ModelReply
from simulators.dialects.registry import dialect_at
from tests.unit.llm.dialects.conformance import NOW, PLAIN, SCORE, all_cases, dumped, places, with_value

ALL = all_cases()
FORMS = st.sampled_from([PLAIN, SCORE])
VECTOR = AnswerForm("vector", {}, 1, vector="vector")
RANKING = AnswerForm("ranking", {}, 1, ranking="relevance", is_list=True)
SITE = Site("main", "/path")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
DEEP: list = []
for _ in range(300):
    DEEP = [DEEP]
HEADER_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30) | st.sampled_from(
    [
        "1",
        "-1",
        "nan",
        "1e999",
        "2026-11-26T12:00:30Z",
        "0001-01-01T00:00:00+14:00",
        "Thu, 26 Nov 2026 12:00:30 GMT",
        "6m0s",
    ]
)

few = settings(max_examples=40)  # there are seven dialects
of_each_dialect = pytest.mark.parametrize("cases", ALL.values(), ids=ALL.keys())


def coded(data):
    return base64.b64encode(data).decode()


@st.composite
def changed(draw, document):
    """Return `document` with a value replaced or removed."""
    path = draw(st.sampled_from(list(places(document))))
    value = draw(JSON | st.just(DEEP))
    if not path:
        return value
    found = with_value(document, path, value)
    if draw(st.booleans()):
        inner = found
        for key in path[:-1]:
            inner = inner[key]
        if isinstance(inner, dict):
            del inner[path[-1]]
    return found


def check_answer(answer):
    assert isinstance(answer, ParsedAnswer)
    counts = answer.tokens
    assert all(count is None or count >= 0 for count in (counts.input, counts.output))
    assert min(counts.cached, counts.cache_write, counts.reasoning) >= 0
    if answer.error is not None:
        from_report(answer.error, hide=lambda text: text, site=SITE)


def read_stream(cases, pieces, form):
    reader = cases.make().reader()
    for piece in pieces:
        before = reader.streamed
        reader.feed(piece)
        assert reader.streamed >= before
    reader.close()
    answer = reader.answer(form)
    check_answer(answer)
    return reader.streamed, reader.is_done, reader.is_whole, reader.has_usage, reader.has_failed, answer


@of_each_dialect
@few
@given(body=st.binary(max_size=200) | JSON.map(dumped), form=FORMS | st.sampled_from([VECTOR, RANKING]))
def test_any_body_is_read(cases, body, form):
    check_answer(cases.make().read(form, body))


@few
@given(vector=JSON | st.lists(LEAVES | st.floats() | st.integers()) | st.binary().map(coded) | st.just(DEEP))
def test_any_vector_is_read(vector):
    answer = ALL["chat"].make().read(VECTOR, dumped({"data": [{"embedding": vector}]}))
    check_answer(answer)
    if not isinstance(answer.found, AnswerProblem):
        numbers = unpacked(answer.found["vector"])
        assert packed(numbers) == answer.found["vector"]
        assert all(map(math.isfinite, numbers))


@few
@given(
    results=st.lists(
        st.fixed_dictionaries({}, optional={"index": JSON | st.integers(0, 3), "relevance_score": JSON})
        | JSON,
        max_size=4,
    )
)
def test_any_ranking_is_read(results):
    answer = ALL["chat"].make().read(RANKING, dumped({"results": results}))
    check_answer(answer)
    if not isinstance(answer.found, AnswerProblem):
        assert len(answer.found["relevance"]) == len(results)
        assert all(map(math.isfinite, answer.found["relevance"]))


@of_each_dialect
@few
@given(data=st.data(), form=FORMS)
def test_a_changed_answer_is_read(cases, data, form):
    case = data.draw(st.sampled_from([case for case in cases.answers if not isinstance(case.body, bytes)]))
    body = dumped(data.draw(changed(data.draw(changed(case.body)))))
    check_answer(cases.make(case.settings).read(form, body))


@of_each_dialect
@few
@given(
    pieces=st.lists(
        st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: b"data: " + data + b"\n\n"),
        max_size=6,
    ),
    form=FORMS,
)
def test_any_stream_is_read(cases, pieces, form):
    read_stream(cases, pieces, form)


@of_each_dialect
@few
@given(data=st.data(), form=FORMS)
def test_a_changed_stream_is_read_and_is_the_same_wherever_its_pieces_end(cases, data, form):
    case = data.draw(st.sampled_from([case for case in cases.streams if case.events]))
    events = list(case.events)
    number = data.draw(st.integers(0, len(events) - 1))
    if data.draw(st.booleans()):
        events[number] = data.draw(changed(events[number]))
    wire = cases.encode(events)
    ends = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    pieces = [wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)]
    assert read_stream(cases, pieces, form) == read_stream(cases, [wire], form)


@of_each_dialect
@few
@given(
    data=st.data(),
    content=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    is_cut=st.booleans(),
)
def test_a_streamed_answer_says_what_a_whole_one_says(cases, data, content, is_cut):
    form = data.draw(FORMS)
    if form is SCORE:
        content = orjson.dumps({"x": data.draw(st.floats(0, 1, width=16))}).decode()
    structured = data.draw(st.sampled_from(["native", "tool"]))
    dialect = cases.make({"structured": structured, "base_url": "http://h"})
    path = urlsplit(dialect.url(stream=True)).path.removeprefix("/v1")
    simulated = dialect_at("POST", path) or dialect_at("POST", f"/v1{path}")
    body = dialect.prepare(form).body("Why?", None, stream=True)
    question = simulated.parse(path, request_headers(dialect), body)
    cached, reasoning = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 5)))
    reply = ModelReply("1", "m", 1, content, is_cut, 9, 6, cached, reasoning, has_usage=True)
    wire = b"".join(simulated.events(question, reply)) + simulated.end
    ends = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    pieces = [wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)]

    whole = dialect.read(form, simulated.completion(question, reply))
    *_, is_whole, has_usage, has_failed, streamed = read_stream(cases, pieces, form)

    assert streamed == whole
    assert (is_whole, has_usage, has_failed) == (True, True, False)
    assert (whole.tokens.input, whole.tokens.output, whole.tokens.cached) == (9, 6, cached)


@of_each_dialect
@few
@given(
    data=st.data(),
    status=st.integers(300, 599),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-amzn-errortype", "x-should-retry"]), HEADER_TEXTS
    ),
)
def test_any_error_is_read(cases, data, status, headers):
    case = data.draw(st.sampled_from([case for case in cases.errors if not isinstance(case.body, bytes)]))
    body = data.draw(st.binary(max_size=60) | JSON.map(dumped) | changed(case.body).map(dumped))
    report = cases.make().error(status, headers, body, NOW)
    assert isinstance(report, ErrorReport)
    from_report(report, hide=lambda text: text, site=SITE)


@of_each_dialect
@few
@given(data=st.data())
def test_any_rate_headers_are_read(cases, data):
    names = sorted({name for case in cases.rates for name in case.headers} | {"date"})
    headers = data.draw(st.dictionaries(st.sampled_from(names), HEADER_TEXTS))
    found = cases.make().rate_headers(headers)
    if found is not None:
        resets = (found.reset_requests_s, found.reset_tokens_s)
        assert all(reset is None or 0 <= reset <= 30 * 86400 for reset in resets)
