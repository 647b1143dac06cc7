"""The dialect `chat`: OpenAI's chat completions, and what providers that speak it do otherwise."""

from __future__ import annotations

from actors.core.errors import FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from tests.unit.llm.dialects.conformance import (
    PLAIN,
    SCORE,
    AnswerCase,
    DialectCases,
    ErrorCase,
    Expected,
    RateCase,
    RequestCase,
    StreamCase,
    form_of,
    server_sent,
)

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
TOKENS = TokenCounts(12, 9, cached=8, cache_write=2, reasoning=4)
FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "rating",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"x": {"type": "number", "minimum": 0.0, "maximum": 1.0}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
}


def answered(content='{"x": 0.5}', finish_reason="stop", **message):
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": finish_reason}
    return {"id": "1", "choices": [choice], "usage": USAGE}


def delta(finish_reason=None, **parts):
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}]}


def failed(**error):
    return {"error": error}


USED_HERE = {"usage": USAGE}
USED = {"choices": [], "usage": USAGE}
USER = {"role": "user", "content": "Why?"}

CASES = DialectCases(
    dialect="chat",
    settings={"base_url": "https://api.openai.com/v1/chat/completions"},
    url="https://api.openai.com/v1/chat/completions",
    headers={"authorization": "Bearer sk-test"},
    requests=[
        RequestCase(
            "a structured answer",
            {"model": "m", "messages": [USER], "max_tokens": 50, "response_format": FORMAT},
            SCORE,
        ),
        RequestCase(
            "a structured answer of a model that knows no schema",
            {"model": "m", "messages": [USER], "max_tokens": 50, "response_format": {"type": "json_object"}},
            SCORE,
            settings={"structured": "json"},
        ),
        RequestCase(
            "a system message and a stream",
            {
                "model": "m",
                "messages": [{"role": "system", "content": "Be brief."}, USER],
                "max_tokens": 50,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            form_of(instructions="Be brief."),
            stream=True,
        ),
        RequestCase(
            "a correction",
            {
                "model": "m",
                "messages": [
                    USER,
                    {"role": "assistant", "content": "no"},
                    {
                        "role": "user",
                        "content": "Your answer did not fit: odd. Answer again, with only the text.",
                    },
                ],
                "max_tokens": 50,
            },
            correction=Correction("no", "odd"),
        ),
    ],
    answers=[
        AnswerCase("structured", answered(), Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS)),
        AnswerCase("plain", answered("Because."), Expected({"text": "Because."}, tokens=TOKENS), PLAIN),
        AnswerCase("cut", answered('{"x": 0.', "length"), Expected(problem="cut off", tokens=TOKENS)),
        AnswerCase("cut text", answered("Be", "length"), Expected(problem="cut off", tokens=TOKENS), PLAIN),
        AnswerCase(
            "cut before any text",
            answered("", "length"),
            Expected(problem="cut off at max_tokens, 50, before it had any text", tokens=TOKENS),
        ),
        AnswerCase(
            "cut before any content",
            answered(None, "length"),
            Expected(problem="cut off at max_tokens, 50, before it had any text", tokens=TOKENS),
        ),
        AnswerCase(
            "refused",
            answered(None, refusal="No."),
            Expected(problem="the model refused: No.", tokens=TOKENS),
        ),
        AnswerCase(
            "filtered",
            answered("x", "content_filter"),
            Expected(problem="withheld the answer", tokens=TOKENS),
        ),
        AnswerCase(
            "an error in place of choices",
            failed(message="no provider", code=502),
            Expected(problem="no provider", kind=FailureKind.TRANSIENT),
        ),
        AnswerCase(
            "reasoning as SGLang counts it",
            {**answered(), "usage": {"prompt_tokens": 12, "completion_tokens": 9, "reasoning_tokens": 4}},
            Expected({"x": 0.5}, tokens=TokenCounts(12, 9, reasoning=4)),
        ),
        AnswerCase("absurd usage", {**answered(), "usage": {"prompt_tokens": -1}}, Expected({"x": 0.5})),
    ],
    streams=[
        StreamCase(
            "structured",
            [
                delta(role="assistant", content=""),
                delta(content='{"x": '),
                delta("stop", content="0.5}"),
                USED,
            ],
            Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS),
        ),
        StreamCase(
            "reasoning is no part of the answer",
            [delta(reasoning_content="hm"), delta("stop", content="Because."), USED],
            Expected({"text": "Because."}, tokens=TOKENS),
            streamed=10,
            form=PLAIN,
        ),
        StreamCase("cut", [delta("length", content='{"x'), USED], Expected(problem="cut off", tokens=TOKENS)),
        StreamCase(
            "refused",
            [delta(refusal="No"), delta("stop", refusal=", sorry"), USED],
            Expected(problem="refused: No, sorry", tokens=TOKENS),
        ),
        StreamCase(
            "usage in every chunk",
            [
                {**delta(content='{"x": '), "usage": {"completion_tokens": 1}},
                {**delta("stop", content="0.5}"), **USED_HERE},
            ],
            Expected({"x": 0.5}, tokens=TOKENS),
        ),
        StreamCase(
            "an error",
            [delta(content='{"x'), failed(message="overloaded")],
            Expected(problem="overloaded"),
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "an event that is not JSON",
            [delta(content='{"x'), b"<html>"],
            Expected(problem="not JSON: <html>"),
            has_usage=False,
            has_failed=True,
        ),
        StreamCase("no usage", [delta("stop", content='{"x": 0.5}')], Expected({"x": 0.5}), has_usage=False),
        StreamCase("broken off", [], Expected(problem="without choices"), is_whole=False, has_usage=False),
    ],
    errors=[
        ErrorCase(
            "a rate",
            429,
            failed(type="tokens", code="rate_limit_exceeded", message="slow down"),
            FailureKind.REFUSED,
            Refusal.TOKENS,
            1.5,
            {"retry-after-ms": "1500", "retry-after": "9"},
        ),
        ErrorCase("a rate without times", 429, b"", FailureKind.REFUSED, Refusal.UNKNOWN),
        ErrorCase(
            "no money", 429, failed(code="insufficient_quota"), FailureKind.MISCONFIGURED, says="credit"
        ),
        ErrorCase("overloaded", 503, failed(message="x"), FailureKind.REFUSED, Refusal.OVERLOADED),
        ErrorCase("a defect", 500, failed(message="x"), FailureKind.TRANSIENT),
        ErrorCase("a key", 401, failed(message="x"), FailureKind.MISCONFIGURED, says="check api_key"),
        ErrorCase(
            "a parameter",
            400,
            failed(code="unsupported_parameter", param="max_tokens", message="x"),
            FailureKind.MISCONFIGURED,
            says="set max_tokens_as",
        ),
        ErrorCase("too long", 400, failed(code="context_length_exceeded"), FailureKind.PERMANENT),
    ],
    refused=["messages", "response_format", "stream"],
    rates=[
        RateCase(
            "both rates",
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "12ms",
                "x-ratelimit-limit-tokens": "1000",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateHeaders(60, 59, 0.012, 1000, 0, 360.0),
        ),
        RateCase("none", {"content-type": "application/json"}, None),
    ],
    encode=lambda events: server_sent([*events, b"[DONE]"] if events else []),
)
