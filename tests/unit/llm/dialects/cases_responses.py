"""The dialect `responses`: OpenAI's Responses API, by its reference and by the package openai 3.57.0."""

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
)

USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 21,
}
TOKENS = TokenCounts(12, 9, cached=8, cache_write=2, reasoning=4)
FORMAT = {
    "type": "json_schema",
    "name": "rating",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"x": {"type": "number", "minimum": 0.0, "maximum": 1.0}},
        "required": ["x"],
        "additionalProperties": False,
    },
}
USER = {"role": "user", "content": "Why?"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def asked(**more):
    return {"model": "m", "input": [USER], "max_output_tokens": 50, "store": False, **more}


def text(said='{"x": 0.5}'):
    return {"type": "output_text", "text": said, "annotations": []}


def message(*parts, **more):
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": list(parts), **more}


def answered(*output, status="completed", **more):
    items = list(output) or [REASONING, message(text())]
    return {"id": "resp_1", "object": "response", "status": status, "output": items, "usage": USAGE, **more}


def incomplete(reason, *output):
    return answered(*output, status="incomplete", incomplete_details={"reason": reason})


def failed(code, said="x"):
    return {"id": "resp_1", "status": "failed", "error": {"code": code, "message": said}, "output": []}


def error(**more):
    return {"error": {"message": "x", **more}}


def delta(said, kind="output_text"):
    return {"type": f"response.{kind}.delta", "delta": said, "output_index": 0}


def ended(response, kind="completed"):
    return {"type": f"response.{kind}", "response": response}


CREATED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}

CASES = DialectCases(
    dialect="responses",
    settings={"base_url": "https://api.openai.com/v1"},
    url="https://api.openai.com/v1/responses",
    headers={"authorization": "Bearer sk-test"},
    requests=[
        RequestCase("a structured answer", asked(text={"format": FORMAT}), SCORE),
        RequestCase(
            "a system prompt and a stream",
            asked(instructions="Be brief.", stream=True),
            form_of(instructions="Be brief."),
            stream=True,
        ),
        RequestCase(
            "parameters",
            asked(
                temperature=0,
                top_p=1,
                reasoning={"effort": "low", "summary": "auto"},
                text={"format": FORMAT, "verbosity": "low"},
                store=True,
            ),
            form_of({"x": {"type": "number", "min": 0, "max": 1}}, parameters={"reasoning_effort": "low"}),
            settings={
                "params": {
                    "temperature": 0,
                    "top_p": 1,
                    "reasoning": {"summary": "auto"},
                    "text": {"verbosity": "low"},
                    "store": True,
                }
            },
        ),
        RequestCase(
            "a correction",
            asked(
                input=[
                    USER,
                    {"role": "assistant", "content": "no"},
                    {
                        "role": "user",
                        "content": "Your answer did not fit: odd. Answer again, with only the text.",
                    },
                ]
            ),
            correction=Correction("no", "odd"),
        ),
    ],
    answers=[
        AnswerCase("structured", answered(), Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS)),
        AnswerCase(
            "plain, in parts, after a commentary",
            answered(message(text("I look."), phase="commentary"), message(text("Be"), text("cause."))),
            Expected({"text": "Because."}, content="Because.", tokens=TOKENS),
            PLAIN,
        ),
        AnswerCase(
            "cut",
            incomplete("max_output_tokens", message(text('{"x'))),
            Expected(problem="cut off", content='{"x', tokens=TOKENS),
        ),
        AnswerCase(
            "cut while it reasons",
            incomplete("max_output_tokens", REASONING),
            Expected(problem="cut off", tokens=TOKENS),
        ),
        AnswerCase(
            "filtered",
            incomplete("content_filter", message(text("x"))),
            Expected(problem="withheld the answer", tokens=TOKENS),
        ),
        AnswerCase(
            "refused",
            answered(message({"type": "refusal", "refusal": "No."})),
            Expected(problem="the model refused: No.", tokens=TOKENS),
        ),
        AnswerCase("no text", answered(REASONING), Expected(problem="not text", tokens=TOKENS)),
        AnswerCase(
            "failed for a rate",
            failed("rate_limit_exceeded", "Rate limit reached on tokens per min"),
            Expected(problem="tokens per min", kind=FailureKind.REFUSED, refusal=Refusal.TOKENS),
        ),
        AnswerCase("failed", failed("server_error"), Expected(problem="x", kind=FailureKind.TRANSIENT)),
        AnswerCase(
            "failed for its question",
            failed("invalid_prompt", "flagged"),
            Expected(problem="flagged", kind=FailureKind.PERMANENT),
        ),
        AnswerCase(
            "failed after it was billed",
            {**failed("server_error"), "usage": USAGE},
            Expected(problem="the response failed", tokens=TOKENS),
        ),
        AnswerCase("absurd usage", answered(usage={"input_tokens": -1}), Expected({"x": 0.5})),
    ],
    streams=[
        StreamCase(
            "structured",
            [CREATED, delta('{"x": '), delta("0.5}"), ended(answered())],
            Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS),
        ),
        StreamCase(
            "reasoning is no part of the answer",
            [
                CREATED,
                delta("hm", "reasoning_summary_text"),
                ended(answered(REASONING, message(text("Because.")))),
            ],
            Expected({"text": "Because."}, tokens=TOKENS),
            form=PLAIN,
        ),
        StreamCase(
            "cut",
            [delta('{"x'), ended(incomplete("max_output_tokens", message(text('{"x'))), "incomplete")],
            Expected(problem="cut off", tokens=TOKENS),
        ),
        StreamCase(
            "refused",
            [delta("No.", "refusal"), ended(answered(message({"type": "refusal", "refusal": "No."})))],
            Expected(problem="refused: No.", tokens=TOKENS),
        ),
        StreamCase(
            "failed before any text",
            [CREATED, ended(failed("rate_limit_exceeded"), "failed")],
            Expected(problem="x", kind=FailureKind.REFUSED, refusal=Refusal.UNKNOWN),
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "an error after text",
            [CREATED, delta('{"x'), {"type": "error", "code": "server_error", "message": "Internal"}],
            Expected(problem="Internal"),
            is_whole=False,
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "an error within an event",
            [{"type": "error", "error": {"code": "server_error", "message": "Internal"}}],
            Expected(problem="Internal", kind=FailureKind.TRANSIENT),
            is_whole=False,
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "broken off",
            [CREATED, delta('{"x')],
            Expected(problem="wanted one JSON object", content='{"x'),
            is_whole=False,
            has_usage=False,
        ),
    ],
    errors=[
        ErrorCase(
            "a rate",
            429,
            error(type="tokens", code="rate_limit_exceeded"),
            FailureKind.REFUSED,
            Refusal.TOKENS,
            2.0,
            {"retry-after": "2"},
        ),
        ErrorCase(
            "no money", 429, error(code="insufficient_quota"), FailureKind.MISCONFIGURED, says="credit"
        ),
        ErrorCase("overloaded", 503, error(), FailureKind.REFUSED, Refusal.OVERLOADED),
        ErrorCase("a defect", 500, error(), FailureKind.TRANSIENT),
        ErrorCase("a key", 401, error(code="invalid_api_key"), FailureKind.MISCONFIGURED, says="api_key"),
        ErrorCase(
            "a parameter",
            400,
            error(code="unsupported_parameter", param="temperature"),
            FailureKind.MISCONFIGURED,
            says="temperature",
        ),
        ErrorCase("too long", 400, error(code="context_length_exceeded"), FailureKind.PERMANENT),
    ],
    refused=["input", "instructions", "seed", "stop", "stop_sequences", "background"],
    rates=[
        RateCase(
            "both rates",
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "12ms",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateHeaders(60, 59, 0.012, None, 0, 360.0),
        ),
        RateCase("none", {"content-type": "application/json"}, None),
    ],
)
