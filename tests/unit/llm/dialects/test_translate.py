"""What statuses, headers, silences and the bodies of answers mean; and which settings an endpoint takes."""

import aiohttp
import orjson
import pytest
from multidict import CIMultiDict
from pydantic import SecretStr, TypeAdapter, ValidationError

from actors.core.censor import Censor
from actors.core.errors import Blame, FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.values import TokenCounts, Usage
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings, PriceSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.translate import (
    Site,
    duration_s,
    from_connection_error,
    from_report,
    from_timeout,
    from_unusable,
    rate_headers,
    read_error,
)

NOON = 1_795_694_400.0  # Thursday, 26 November 2026, 12:00:00 GMT
SCORE = AnswerForm("f", TypeAdapter(dict[str, FieldSpec]).validate_python({"x": {"type": "number"}}), 50)
PLAIN = AnswerForm("p", {}, 50)


def nothing_to_hide(text):
    return text


def translate(status, headers=None, body=b"", hide=nothing_to_hide):
    site = Site("main", "/v1/chat/completions")
    report = read_error(status, CIMultiDict(headers or {}), body, NOON)
    return from_report(report, hide=hide, site=site)


def read_completion(form, body):
    dialect = ChatDialect(EndpointSettings(name="main", base_url="https://h/v1", model="m"))
    return dialect.read(form, body)


# ---- statuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "kind", "blame"),
    [
        ([429, 503, 529], FailureKind.REFUSED, Blame.ENDPOINT),
        ([408, 409, 425, 500, 502, 504, 507, 520, 599], FailureKind.TRANSIENT, Blame.ENDPOINT),
        ([524], FailureKind.IN_DOUBT, Blame.ENDPOINT),
        ([400, 413, 422], FailureKind.PERMANENT, Blame.TASK),
        ([401, 402, 403, 404, 405, 415], FailureKind.MISCONFIGURED, Blame.CONFIG),
        ([301, 302, 304, 307], FailureKind.MISCONFIGURED, Blame.CONFIG),
        ([406, 410, 418, 499, 501, 505], FailureKind.PERMANENT, Blame.ENDPOINT),
    ],
)
def test_each_status_has_one_meaning(statuses, kind, blame):
    failures = [translate(status)[0] for status in statuses]

    assert {(failure.kind, failure.blame) for failure in failures} == {(kind, blame)}
    assert all(f"HTTP {status}" in f.message for status, f in zip(statuses, failures, strict=True))


@pytest.mark.parametrize(
    ("status", "error", "refusal"),
    [
        (429, {"type": "tokens", "message": "slow down"}, Refusal.TOKENS),
        (429, {"type": "requests"}, Refusal.REQUESTS),
        (429, {"message": "on tokens per min (TPM): Limit 40000, Requested 1500"}, Refusal.TOKENS),
        (429, {"message": "Rate limit reached on requests per min (RPM)"}, Refusal.REQUESTS),
        (429, {"code": "concurrency_limit", "message": "too many"}, Refusal.CONCURRENCY),
        (429, {"message": "Too many concurrent requests per key"}, Refusal.CONCURRENCY),
        (429, {"message": "The engine is currently overloaded"}, Refusal.OVERLOADED),
        (429, {"message": "Too many requests"}, Refusal.UNKNOWN),
        (429, {"type": 7, "code": None}, Refusal.UNKNOWN),
        (503, {"message": "on tokens per min"}, Refusal.OVERLOADED),
        (529, {}, Refusal.OVERLOADED),
        (500, {"type": "tokens"}, None),
        (400, {"type": "tokens"}, None),
    ],
)
def test_a_refusal_is_classified_by_what_the_endpoint_says(status, error, refusal):
    assert translate(status, body=orjson.dumps({"error": error}))[1] is refusal


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "a reason"}}',
        b'{"error": "a reason"}',
        b'[{"error": {"message": "a reason"}}]',
        b'{"message": "a reason"}',
        b'{"detail": "a reason"}',
        b"a\n  reason\n",
    ],
)
def test_the_endpoints_own_words_are_found_in_the_shapes_that_occur(body):
    assert translate(418, body=body)[0].message == "HTTP 418: a reason"


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b"[1]", b"7", b"null", b'{"error": {"message": 7}}']
)
def test_a_body_in_no_known_shape_does_not_hide_the_status(body):
    assert translate(500, body=body)[0].message.startswith("HTTP 500")


def test_an_account_without_money_is_not_waited_for():
    body = orjson.dumps({"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}})

    failure, refusal = translate(429, {"retry-after": "1"}, body)

    assert (failure.kind, failure.blame, refusal) == (FailureKind.MISCONFIGURED, Blame.CONFIG, None)


def test_foreign_text_is_hidden_before_it_is_cut():
    key = "sk-0123456789abcdef"
    body = ("x" * 790 + key).encode()

    failure, _ = translate(500, body=body, hide=lambda text: text.replace(key, "***"))

    assert failure.message == "HTTP 500: " + "x" * 790 + "***"
    assert len(translate(500, body=b"y" * 9999)[0].message) < 820
    token = "eyJ0" * 600  # is shown at its start, and ends far behind what is shown
    assert (
        "eyJ0"
        not in translate(500, body=b"x" * 790 + token.encode(), hide=Censor([(token, "***")]))[0].message
    )
    for spaces in range(3_990, 4_000):  # a key that is cut may be shown if only spaces come before it
        body = (" " * spaces + key).encode()
        assert "sk-012" not in translate(500, body=body, hide=Censor([(key, "***")]))[0].message
    assert "***" in from_unusable(f"got {key}", hide=lambda text: text.replace(key, "***")).message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "Thu, 26 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Retry-After-Ms": "-1", "Retry-After": "9"}, 9.0),
        ({"Retry-After-Ms": "nan"}, None),
        ({"Retry-After-Ms": "1e12"}, 3600.0),
    ],
)
def test_the_endpoints_wish_to_be_left_alone_is_read_in_every_notation(headers, seconds):
    assert translate(429, headers)[0].retry_after_s == seconds
    assert translate(502, headers)[0].retry_after_s == seconds
    assert translate(400, headers)[0].retry_after_s is None


# ---- silences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expired", "kind"),
    [
        (True, False, FailureKind.IN_DOUBT),
        (True, True, FailureKind.IN_DOUBT),
        (False, False, FailureKind.TRANSIENT),
        (False, True, FailureKind.DEADLINE),
    ],
)
def test_a_time_out_is_in_doubt_only_once_the_request_was_sent(sent, expired, kind):
    assert from_timeout(1.0, sent=sent, expired=expired).kind is kind


def test_a_broken_connection_is_in_doubt_only_once_the_request_was_sent():
    error = aiohttp.ServerDisconnectedError()

    assert from_connection_error(error, sent=True, hide=nothing_to_hide).kind is FailureKind.IN_DOUBT
    assert from_connection_error(error, sent=False, hide=nothing_to_hide).kind is FailureKind.TRANSIENT


# ---- headers ---------------------------------------------------------------------------------------------


def test_rate_headers_are_read_where_there_are_any():
    said = {
        "X-RateLimit-Limit-Requests": "5000",
        "X-RateLimit-Remaining-Requests": "4999",
        "X-RateLimit-Reset-Requests": "12ms",
        "X-RateLimit-Limit-Tokens": "160000",
        "X-RateLimit-Remaining-Tokens": "0",
        "X-RateLimit-Reset-Tokens": "6m0s",
    }

    assert rate_headers(CIMultiDict(said)) == RateHeaders(5000, 4999, 0.012, 160000, 0, 360.0)
    assert rate_headers(CIMultiDict({"x-ratelimit-remaining-tokens": "7"})) == RateHeaders(remaining_tokens=7)
    assert rate_headers(CIMultiDict({"content-type": "text/html", "retry-after": "1"})) is None


@pytest.mark.parametrize("garbage", ["-1", "", "many", "nan", "inf", "1e999"])
def test_a_rate_header_that_cannot_be_read_says_nothing(garbage):
    said = {"x-ratelimit-limit-requests": garbage, "x-ratelimit-reset-requests": garbage}

    assert rate_headers(CIMultiDict(said)) == RateHeaders()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("6m0s", 360.0),
        ("1.5s", 1.5),
        ("200ms", 0.2),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("12", 12.0),
        ("0s", 0.0),
        (" 7.66s ", 7.66),
        ("-1", None),
        ("", None),
        ("s", None),
        ("1s2m", None),
        ("1795694400000", None),
        ("2026-11-26T12:00:00Z", None),
        (None, None),
    ],
)
def test_durations_are_read_in_the_notations_of_rate_headers(value, seconds):
    assert duration_s(value) == (None if seconds is None else pytest.approx(seconds))


# ---- answers ---------------------------------------------------------------------------------------------


def completion(content='{"x": 0.5}', finish_reason="stop", usage=None, **message):
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": finish_reason}
    document = {"choices": [choice], "usage": usage or {"prompt_tokens": 12, "completion_tokens": 3}}
    return orjson.dumps(document)


def test_a_fitting_answer_gives_values_and_what_it_took():
    read = read_completion(SCORE, completion())

    assert (read.found, read.tokens.input, read.tokens.output) == ({"x": 0.5}, 12, 3)


@pytest.mark.parametrize(
    ("body", "said", "content"),
    [
        (completion("half"), "wanted one JSON object", "half"),
        (completion('{"x": "a"}'), 'the field "x"', '{"x": "a"}'),
        (completion('{"x": 0.', "length"), "cut off at max_tokens, 50", '{"x": 0.'),
        (completion('{"x": 1}', "content_filter"), "content filter", None),
        (completion(None, refusal="I will not."), "the model refused: I will not.", None),
        (completion(None), "null, not text; it stopped for stop", None),
        (completion([{"type": "text", "text": "{}"}]), "a list, not text", None),
        (b'{"choices": []}', "without choices", None),
        (b'{"choices": [7]}', "without choices", None),
        (b'{"choices": [{"message": null}]}', "without choices", None),
        (b'{"error": {"message": "no GPU left"}}', "no GPU left", None),
        (b"[]", "a list", None),
        (b"true", "a boolean", None),
        (b"", "with nothing", None),
        (b" \n", "with nothing", None),
        (b"<!DOCTYPE html><p>Bad gateway", "HTML", None),
        (completion()[:-9], "not JSON", None),
        (b"\xff\x00", "not JSON", None),
    ],
)
def test_each_way_of_being_unusable_says_which_it_is(body, said, content):
    read = read_completion(SCORE, body)

    assert isinstance(read.found, AnswerProblem)
    assert said in read.found.text
    assert len(read.found.text) < 400
    assert read.content == content


@pytest.mark.parametrize(
    ("body", "is_completion"),
    [
        (b"<!DOCTYPE html><p>Log in to the network", False),
        (b"", False),
        (b"[]", False),
        (b'{"detail": "maintenance"}', False),
        (b'{"choices": []}', False),
        (completion()[:-9], False),
        (completion("half"), True),
        (completion(None), True),
        (b'{"usage": {"prompt_tokens": 9, "completion_tokens": 0}}', True),
    ],
)
def test_a_body_without_choices_and_usage_is_no_completion(body, is_completion):
    assert read_completion(SCORE, body).is_completion is is_completion


def test_an_answer_that_reached_its_last_token_counts_when_nothing_of_it_is_missing():
    assert read_completion(SCORE, completion(finish_reason="length")).found == {"x": 0.5}
    assert isinstance(read_completion(PLAIN, completion("A finding that", "length")).found, AnswerProblem)


def test_usage_counts_though_the_answer_is_unusable():
    read = read_completion(SCORE, completion("rubbish"))

    assert (read.tokens.input, read.tokens.output) == (12, 3)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        [],
        {},
        {"prompt_tokens": -1, "completion_tokens": "3"},
        {"prompt_tokens": 10**9, "completion_tokens": 10**18},
        {"prompt_tokens": True, "completion_tokens": 3.0},
    ],
)
def test_usage_that_makes_no_sense_is_unknown_and_not_zero(usage):
    body = orjson.dumps({"choices": [{"message": {"content": '{"x": 1}'}}], "usage": usage})

    read = read_completion(SCORE, body)

    assert read.found == {"x": 1.0}
    assert (read.tokens.input, read.tokens.output) == (None, None)


# ---- settings --------------------------------------------------------------------------------------------


def settings(**changes):
    return EndpointSettings.model_validate(
        {"name": "main", "base_url": "http://127.0.0.1:1/v1", "model": "sim", **changes}
    )


def test_the_url_may_end_before_the_path_of_chat_completions_or_with_it():
    for base_url in ("https://h/v1", "https://h/v1/", "https://h/v1/chat/completions"):
        dialect = ChatDialect(settings(base_url=base_url))
        assert dialect.url(stream=False) == "https://h/v1/chat/completions"
        assert dialect.models_url() == "https://h/v1/models"


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "127.0.0.1:8001/v1"},
        {"base_url": "ftp://h/v1"},
        {"base_url": "http:///v1"},
        {"base_url": "http://user:hush@h/v1"},
        {"base_url": "http://hush@h/v1"},
        {"base_url": "http://h/v1?key=hush"},
        {"base_url": "http://h:99999/v1"},
        {"api_key": "hush\n"},
        {"api_key": ""},
        {"api_key": ["hush"]},
        {"max_in_flight": 0},
        {"requests_per_minute": 0},
        {"tokens_per_minute": float("inf")},
        {"price": {"input_usd_per_mtok": -1}},
        {"prize": {}},
    ],
)
def test_wrong_settings_are_refused_without_quoting_a_secret(wrong):
    with pytest.raises(ValidationError) as refused:
        settings(**wrong)
    assert "hush" not in str(refused.value)


def test_the_key_is_not_shown():
    shown = settings(api_key=SecretStr("sk-hush"))

    assert "hush" not in repr(shown) + shown.model_dump_json()


def test_a_count_of_a_rate_is_clamped():
    said = {"x-ratelimit-limit-tokens": "1e300"}

    assert rate_headers(CIMultiDict(said)) == RateHeaders(limit_tokens=10**12)


def test_a_price_is_for_a_million_tokens():
    price = PriceSettings(input_usd_per_mtok=2.0, output_usd_per_mtok=8.0)

    assert price.price().usage(TokenCounts(500_000, 250_000)) == Usage(500_000, 250_000, 3.0)
