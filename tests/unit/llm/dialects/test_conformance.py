"""Every dialect sends and reads what its provider documents. The cases are data: see `conformance`."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from actors.core.errors import FailureKind
from actors.llm.dialects.common import RESERVED
from actors.llm.dialects.registry import dialect_names
from actors.llm.forms import AnswerProblem
from actors.llm.requests.head import request_headers, request_url
from actors.llm.translate import ErrorReport, Site, from_report
from tests.unit.llm.dialects.conformance import NOW, PLAIN, SCORE, all_cases, dumped, places, slug, with_value

ALL = all_cases()
MALFORMED = (
    b"",
    b"  ",
    b"<html>",
    b"[]",
    b"[1]",
    b"7",
    b"null",
    b'"x"',
    b"{}",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"a":',
)
SITE = Site("main", "/path")


def each(name):
    found = [(cases, case) for cases in ALL.values() for case in getattr(cases, name)]
    return pytest.mark.parametrize(
        ("cases", "case"), found, ids=[slug(f"{cases.dialect} {case.name}") for cases, case in found]
    )


of_each_dialect = pytest.mark.parametrize("cases", ALL.values(), ids=ALL.keys())


def failure_of(report):
    return from_report(report, hide=lambda text: text, site=SITE)


def check(answer, expected):
    if expected.kind is not None:
        assert answer.error is not None
        failure, refusal = failure_of(answer.error)
        assert (failure.kind, refusal) == (expected.kind, expected.refusal)
        assert expected.problem in failure.message
        return
    assert answer.error is None
    if expected.values is None:
        assert isinstance(answer.found, AnswerProblem)
        assert expected.problem, "a case without values names the problem"
        assert expected.problem in answer.found.text
    else:
        assert answer.found == expected.values
    assert (answer.tokens, answer.is_completion) == (expected.tokens, expected.is_completion)
    if expected.content is not None:
        assert answer.content == expected.content


def test_every_built_in_dialect_has_cases():
    assert set(ALL) == set(dialect_names())


# ---- requests --------------------------------------------------------------------------------------------


@of_each_dialect
def test_the_url_and_the_headers_are_those_of_the_provider(cases):
    dialect = cases.make()
    headers = {name.lower(): value for name, value in request_headers(dialect).items()}
    assert str(request_url(dialect, stream=False)) == cases.url
    assert {name: headers.get(name) for name in cases.headers} == dict(cases.headers)


@each("requests")
def test_a_body_asks_the_question(cases, case):
    form = cases.make(case.settings).prepare(case.form)
    assert orjson.loads(form.body("Why?", case.correction, stream=case.stream)) == case.body


@of_each_dialect
def test_half_an_emoji_in_a_prompt_does_not_fail_the_call(cases):
    assert b"half ?" in cases.make().prepare(PLAIN).body("half \ud83d", None)


@of_each_dialect
def test_a_parameter_that_cannot_be_sent_is_refused_with_its_name(cases):
    problems = [cases.make().problem({"temperature": 0, name: 1}) for name in cases.refused]
    assert [name in (problem or "") for name, problem in zip(cases.refused, problems, strict=True)] == [
        True
    ] * len(problems)


# ---- answers ---------------------------------------------------------------------------------------------


@each("answers")
def test_an_answer_is_read(cases, case):
    dialect = cases.make(case.settings)
    dialect.prepare(case.form)
    check(dialect.read(case.form, case.bytes()), case.expected)


@of_each_dialect
@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:8]))
def test_a_body_that_no_model_wrote_is_no_completion(cases, body):
    answer = cases.make().read(SCORE, body)
    assert isinstance(answer.found, AnswerProblem)
    assert not answer.is_completion


# ---- streams ---------------------------------------------------------------------------------------------


def read_stream(cases, case, size):
    reader = cases.make(case.settings).reader()
    wire = cases.encode(case.events)
    for start in range(0, len(wire), size):
        reader.feed(wire[start : start + size])
    reader.close()
    return reader


@each("streams")
def test_a_stream_amounts_to_an_answer_wherever_its_pieces_end(cases, case):
    for size in (1, 7, 1 << 20):
        reader = read_stream(cases, case, size)
        check(reader.answer(case.form), case.expected)
        assert (reader.is_whole, reader.has_usage, reader.has_failed) == (
            case.is_whole,
            case.has_usage,
            case.has_failed,
        )
        assert case.streamed in (None, reader.streamed)


@of_each_dialect
def test_no_parameter_replaces_what_headrace_sets(cases):
    dialect = cases.make()
    for name, remedy in RESERVED.items():
        assert remedy in (dialect.problem({name: 1}) or ""), name


@of_each_dialect
def test_an_answer_is_complete_before_its_connection_ends(cases):
    reader = cases.make().reader()
    reader.feed(cases.encode(cases.streams[0].events))
    assert reader.is_done or (reader.is_whole and reader.has_usage)


@of_each_dialect
def test_an_event_without_an_end_is_counted_in_the_size(cases):
    reader = cases.make().reader()
    wire = cases.encode(cases.streams[0].events)
    reader.feed(wire[:20] + b"x" * 100_000)
    assert reader.size > 50_000 or reader.has_failed


def test_a_response_at_the_end_of_a_stream_is_counted_in_place_of_its_deltas():
    cases = ALL["responses"]
    reader = cases.make().reader()
    reader.feed(cases.encode([{"type": "response.output_text.delta", "delta": "x" * 5_000}]))
    assert reader.size == 5_000
    parts = [{"type": "output_text", "text": "y" * 10_000}] * 2
    output = [{"type": "reasoning", "encrypted_content": "x" * 20_000}, {"type": "message", "content": parts}]
    reader.feed(cases.encode([{"type": "response.completed", "response": {"output": output}}]))
    assert reader.size == 20_000


def with_each_value_replaced(cases, streams, value):
    """Yield each case, its events up to one with `value` in a place, and the rest; equal events once."""
    seen = []
    for case in streams:
        for number, event in enumerate(case.events):
            if isinstance(event, bytes) or event in seen:
                continue
            seen.append(event)
            for path in places(event):
                begun = [*case.events[:number], with_value(event, path, value)]
                yield case, begun, case.events[number + 1 :]


@of_each_dialect
def test_a_stream_keeps_no_large_value_in_place_of_one_that_it_reads(cases):
    large = [[]] * 5_000  # takes 320 KB
    tracemalloc.start()
    try:
        for case, begun, _ in with_each_value_replaced(cases, cases.streams, large):
            wire, reader = cases.encode(begun), cases.make(case.settings).reader()
            before = tracemalloc.get_traced_memory()[0]
            reader.feed(wire)
            kept = tracemalloc.get_traced_memory()[0] - before
            assert kept < 100_000, case.name
    finally:
        tracemalloc.stop()


@of_each_dialect
def test_patterns_search_only_the_start_of_a_long_error(cases):
    for text in ("exceed" * 10_000, "not support" * 10_000, "é" * 60_000):
        error = {"type": "invalid_request_error", "code": text, "param": text, "message": text}
        for body in (dumped(error), dumped({"error": error}), text.encode()):
            report = cases.make().error(400, {"x-amzn-errortype": text}, body, NOW)
            assert max(map(len, (report.text, report.param, *report.codes))) <= 4_001
            assert report.text.startswith(text[:4_000])
    failed = [case for case in cases.streams if case.has_failed]
    for case, begun, rest in with_each_value_replaced(cases, failed, "exceed" * 10_000):
        reader = cases.make(case.settings).reader()
        reader.feed(cases.encode([*begun, *rest]))
        report = reader.answer(case.form).error or ErrorReport(500)
        assert max(map(len, (report.text, report.param, *report.codes))) <= 4_001


@of_each_dialect
def test_cases_cover_what_every_provider_does(cases):
    answers = [case.expected for case in cases.answers]
    assert any(one.values and one.tokens.cached for one in answers), "usage with cached tokens"
    assert any("cut off" in one.problem for one in answers), "truncation"
    assert any("refused" in one.problem or "withheld" in one.problem for one in answers), "refusal to answer"
    assert any(case.form.fields for case in cases.requests), "structured answers"
    assert any(case.correction for case in cases.requests), "a correction"
    assert any(not case.is_whole for case in cases.streams), "a stream that breaks off"
    assert any(case.has_failed for case in cases.streams), "an error in a stream"
    kinds = {case.kind for case in cases.errors}
    assert kinds >= {
        FailureKind.REFUSED,
        FailureKind.TRANSIENT,
        FailureKind.PERMANENT,
        FailureKind.MISCONFIGURED,
    }


# ---- errors and rates ------------------------------------------------------------------------------------


@each("errors")
def test_an_error_is_classified(cases, case):
    report = cases.make().error(case.status, case.headers, case.bytes(), NOW)
    failure, refusal = failure_of(report)
    assert (failure.kind, refusal, failure.retry_after_s) == (case.kind, case.refusal, case.retry_after_s)
    assert case.says in failure.message


@each("rates")
def test_rates_are_read_from_headers(cases, case):
    assert cases.make().rate_headers(case.headers) == case.expected
