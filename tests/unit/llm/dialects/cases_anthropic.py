"""The dialect `anthropic`: the Messages API, by its reference and by the package anthropic 2.14.0."""

from __future__ import annotations

from actors.core.errors import FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from tests.unit.llm.dialects.conformance import (
    NOW_DATE,
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
    "input_tokens": 2,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 7,
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 4},
    "service_tier": "standard",
}
TOKENS = TokenCounts(12, 9, cached=7, cache_write=3, reasoning=4)
SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "number", "description": "at least 0; at most 1"}},
    "required": ["x"],
    "additionalProperties": False,
}
TOOL = {"name": "rating", "description": "Receives your answer.", "input_schema": SCHEMA}
CHOICE = {"type": "tool", "name": "rating", "disable_parallel_tool_use": True}
USER = {"role": "user", "content": "Why?"}
AGAIN = {"role": "user", "content": "Your answer did not fit: odd. Answer again, with only the text."}
EPHEMERAL = {"type": "ephemeral"}
ALL_KINDS = form_of({
    "kind": {"type": "string", "choices": ["a", "b"], "nullable": True},
    "note": {"type": "string", "nullable": True, "description": "why"},
    "tags": {"type": "array", "items": {"type": "integer", "min": 1}, "max_items": 3},
})  # fmt: skip
ALL_KINDS_SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b", None]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "why"},
        "tags": {
            "type": "array",
            "items": {"type": "integer", "description": "at least 1"},
            "description": "at most 3 items",
        },
    },
    "required": ["kind", "note", "tags"],
    "additionalProperties": False,
}


def asked(**more):
    return {"model": "m", "max_tokens": 50, "messages": [USER], **more}


def text(said='{"x": 0.5}'):
    return {"type": "text", "text": said}


def answered(*content, stop_reason="end_turn", **more):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": list(content) or [text()],
        "stop_reason": stop_reason,
        "usage": USAGE,
        **more,
    }


def failed(kind, message="x", **details):
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_1"}


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "usage": {**USAGE, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}


def begun(index=0, **block):
    return {
        "type": "content_block_start",
        "index": index,
        "content_block": block or {"type": "text", "text": ""},
    }


def delta(index=0, kind="text_delta", **more):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def ended(index=0):
    return {"type": "content_block_stop", "index": index}


def finished(reason="end_turn", **more):
    details = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": details}


CASES = DialectCases(
    dialect="anthropic",
    settings={"base_url": "https://api.anthropic.com"},
    url="https://api.anthropic.com/v1/messages",
    headers={"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "authorization": None},
    requests=[
        RequestCase(
            "a structured answer",
            asked(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
            SCORE,
        ),
        RequestCase(
            "every kind of field",
            asked(output_config={"format": {"type": "json_schema", "schema": ALL_KINDS_SCHEMA}}),
            ALL_KINDS,
        ),
        RequestCase(
            "a tool, because the settings say so",
            asked(tools=[TOOL], tool_choice=CHOICE),
            SCORE,
            settings={"structured": "tool"},
        ),
        RequestCase(
            "a tool, because the model knows no format",
            asked(model="claude-3-5-haiku-20241022", tools=[TOOL], tool_choice=CHOICE),
            SCORE,
            settings={"model": "claude-3-5-haiku-20241022"},
        ),
        RequestCase(
            "a tool that a model which thinks may call",
            asked(
                tools=[TOOL],
                tool_choice={"type": "auto", "disable_parallel_tool_use": True},
                thinking={"type": "adaptive"},
            ),
            SCORE,
            settings={"structured": "tool", "params": {"thinking": {"type": "adaptive"}}},
        ),
        RequestCase(
            "a system prompt and a stream",
            asked(system="Be brief.", stream=True),
            form_of(instructions="Be brief."),
            stream=True,
        ),
        RequestCase(
            "a cached system prompt",
            asked(system=[{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}]),
            form_of(instructions="Be brief."),
            settings={"params": {"cache_control": EPHEMERAL}},
        ),
        RequestCase(
            "a cache without a system prompt",
            asked(cache_control=EPHEMERAL),
            settings={"params": {"cache_control": EPHEMERAL}},
        ),
        RequestCase(
            "the common names of parameters",
            asked(
                temperature=0,
                top_p=1,
                top_k=5,
                stop_sequences=["\n"],
                output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
            ),
            form_of({"x": {"type": "number", "min": 0, "max": 1}}, parameters={"reasoning_effort": "low"}),
            settings={"params": {"temperature": 0, "top_p": 1, "top_k": 5, "stop": "\n"}},
        ),
        RequestCase(
            "a correction",
            asked(messages=[USER, {"role": "assistant", "content": "no"}, AGAIN]),
            correction=Correction("no", "odd"),
        ),
        RequestCase(
            "a correction of an answer without text",
            asked(messages=[USER, AGAIN]),
            correction=Correction(" \n", "odd"),
        ),
    ],
    answers=[
        AnswerCase("structured", answered(), Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS)),
        AnswerCase(
            "thinking and text in parts",
            answered({"type": "thinking", "thinking": "hm", "signature": "s"}, text("Be"), text("cause.")),
            Expected({"text": "Because."}, content="Because.", tokens=TOKENS),
            PLAIN,
        ),
        AnswerCase(
            "a call of the tool",
            answered(text("I rate."), {"type": "tool_use", "id": "t", "name": "rating", "input": {"x": 0.5}}),
            Expected({"x": 0.5}, content='{"x":0.5}', tokens=TOKENS),
        ),
        AnswerCase(
            "cut", answered(text('{"x'), stop_reason="max_tokens"), Expected(problem="cut off", tokens=TOKENS)
        ),
        AnswerCase(
            "the context window is full",
            answered(text("Be"), stop_reason="model_context_window_exceeded"),
            Expected(problem="cut off at the context window", tokens=TOKENS),
            PLAIN,
        ),
        AnswerCase(
            "refused",
            answered(
                text("I"), stop_reason="refusal", stop_details={"category": "bio", "explanation": "No."}
            ),
            Expected(problem="the model refused: No.", tokens=TOKENS),
        ),
        AnswerCase(
            "nothing but thoughts",
            answered({"type": "thinking", "thinking": "hm"}, stop_reason="max_tokens"),
            Expected(problem="cut off", tokens=TOKENS),
        ),
        AnswerCase(
            "caches by their time to live",
            answered(
                usage={
                    "input_tokens": 2,
                    "output_tokens": 9,
                    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                }
            ),
            Expected({"x": 0.5}, tokens=TokenCounts(9, 9, cache_write=7, cache_write_hour=4)),
        ),
        AnswerCase("absurd usage", answered(usage={"input_tokens": -1}), Expected({"x": 0.5})),
        AnswerCase(
            "an error with status 200",
            failed("overloaded_error", "Overloaded"),
            Expected(problem="Overloaded", kind=FailureKind.REFUSED, refusal=Refusal.OVERLOADED),
        ),
    ],
    streams=[
        StreamCase(
            "structured",
            [
                START,
                begun(),
                PING,
                delta(text='{"x": '),
                delta(text="0.5}"),
                ended(),
                finished(),
                STOP,
            ],
            Expected({"x": 0.5}, content='{"x": 0.5}', tokens=TOKENS),
        ),
        StreamCase(
            "thoughts are no part of the answer",
            [
                START,
                begun(type="thinking", thinking=""),
                delta(kind="thinking_delta", thinking="hm"),
                delta(kind="signature_delta", signature="s"),
                ended(),
                begun(1),
                delta(1, text="Because."),
                ended(1),
                finished(),
                STOP,
            ],
            Expected({"text": "Because."}, tokens=TOKENS),
            streamed=10,
            form=PLAIN,
        ),
        StreamCase(
            "a call of the tool",
            [
                START,
                begun(type="tool_use", id="t", name="rating", input={}),
                delta(kind="input_json_delta", partial_json=""),
                delta(kind="input_json_delta", partial_json='{"x": 0'),
                delta(kind="input_json_delta", partial_json=".5}"),
                ended(),
                finished("tool_use"),
                STOP,
            ],
            Expected({"x": 0.5}, content='{"x":0.5}', tokens=TOKENS),
        ),
        StreamCase(
            "a call of the tool that is cut",
            [
                START,
                begun(type="tool_use", id="t", name="rating", input={}),
                delta(kind="input_json_delta", partial_json='{"x": 0'),
                finished("max_tokens"),
                STOP,
            ],
            Expected(problem="cut off", content='{"x": 0', tokens=TOKENS),
        ),
        StreamCase(
            "refused",
            [START, finished("refusal", stop_details={"explanation": "No."}), STOP],
            Expected(problem="refused: No.", tokens=TOKENS),
        ),
        StreamCase(
            "an error before any text",
            [START, PING, failed("overloaded_error", "Overloaded")],
            Expected(problem="Overloaded", kind=FailureKind.REFUSED, refusal=Refusal.OVERLOADED),
            is_whole=False,
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "an error after text, which is billed",
            [START, begun(), delta(text="Be"), failed("api_error", "Internal")],
            Expected(problem="Internal", tokens=TokenCounts(12, None, cached=7, cache_write=3)),
            is_whole=False,
            has_usage=False,
            has_failed=True,
        ),
        StreamCase(
            "broken off",
            [START, begun(), delta(text='{"x')],
            Expected(problem="wanted one JSON object", tokens=TokenCounts(12, None, cached=7, cache_write=3)),
            is_whole=False,
            has_usage=False,
        ),
    ],
    errors=[
        ErrorCase(
            "a rate",
            429,
            failed("rate_limit_error", "This would exceed the rate limit of 30,000 input tokens per minute"),
            FailureKind.REFUSED,
            Refusal.TOKENS,
            7.0,
            {"retry-after": "7"},
        ),
        ErrorCase(
            "a rate that grows too fast",
            429,
            failed("rate_limit_error", error_code="ramp_limit_exceeded"),
            FailureKind.REFUSED,
            Refusal.UNKNOWN,
        ),
        ErrorCase(
            "the limit of a contract",
            429,
            failed("rate_limit_error", error_code="contract_spend_limit_reached"),
            FailureKind.MISCONFIGURED,
            says="credit",
        ),
        ErrorCase(
            "an enforced limit",
            429,
            failed("rate_limit_error", error_code="enforced_spend_limit_reached"),
            FailureKind.MISCONFIGURED,
            says="credit",
        ),
        ErrorCase(
            "the account's own limit",
            400,
            failed("invalid_request_error", "You have reached your specified API usage limits."),
            FailureKind.MISCONFIGURED,
            says="credit",
        ),
        ErrorCase("no money", 402, failed("billing_error"), FailureKind.MISCONFIGURED, says="credit"),
        ErrorCase("overloaded", 529, failed("overloaded_error"), FailureKind.REFUSED, Refusal.OVERLOADED),
        ErrorCase("a defect", 500, failed("api_error"), FailureKind.TRANSIENT),
        ErrorCase("a time-out", 504, failed("timeout_error"), FailureKind.TRANSIENT),
        ErrorCase("a key", 401, failed("authentication_error"), FailureKind.MISCONFIGURED, says="api_key"),
        ErrorCase("a permission", 403, failed("permission_error"), FailureKind.MISCONFIGURED),
        ErrorCase(
            "a model", 404, failed("not_found_error", "model: m"), FailureKind.MISCONFIGURED, says="model"
        ),
        ErrorCase(
            "a parameter",
            400,
            failed("invalid_request_error", "temp: Extra inputs are not permitted"),
            FailureKind.MISCONFIGURED,
        ),
        ErrorCase(
            "too long", 400, failed("invalid_request_error", "prompt is too long"), FailureKind.PERMANENT
        ),
        ErrorCase("too large", 413, failed("request_too_large"), FailureKind.PERMANENT),
    ],
    refused=["messages", "system", "seed", "tool_choice"],
    rates=[
        RateCase(
            "both rates",
            {
                "date": NOW_DATE,
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-26T12:00:02Z",
                "anthropic-ratelimit-tokens-limit": "40000",
                "anthropic-ratelimit-tokens-remaining": "39000",
                "anthropic-ratelimit-tokens-reset": "2026-11-26T13:00:30.5+01:00",
            },
            RateHeaders(50, 49, 2.0, 40000, 39000, 30.5),
        ),
        RateCase(
            "input tokens alone, a reset without a date",
            {
                "anthropic-ratelimit-input-tokens-limit": "40000",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-26T12:00:30Z",
            },
            RateHeaders(limit_tokens=40000, remaining_tokens=0),
        ),
        RateCase(
            "none", {"date": NOW_DATE, "anthropic-ratelimit-tokens-reset": "2026-11-26T12:00:30Z"}, None
        ),
    ],
)
