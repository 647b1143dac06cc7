"""The cases of the dialect `bedrock`."""

from __future__ import annotations

import json

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from simulators.dialects.bedrock import frame
from tests.unit.llm.dialects.conformance import (
    SCORE,
    AnswerCase,
    DialectCases,
    ErrorCase,
    Expected,
    RateCase,
    RequestCase,
    StreamCase,
    dumped,
    form_of,
)

# ---- requests --------------------------------------------------------------------------------------------

ASKED = [{"role": "user", "content": [{"text": "Why?"}]}]
TOLD = "Your answer did not fit: too high. Answer again, with only JSON that fits."
TURNS = [
    *ASKED,
    {"role": "assistant", "content": [{"text": '{"x": 7}'}]},
    {"role": "user", "content": [{"text": TOLD}]},
]
BOUNDED = {
    "type": "object",
    "properties": {"x": {"type": "number", "minimum": 0.0, "maximum": 1.0}},
    "required": ["x"],
    "additionalProperties": False,
}
# The bounds are in words, since a schema with them is rejected. Its text has no spaces, as orjson writes it.
STRICT = {**BOUNDED, "properties": {"x": {"type": "number", "description": "at least 0; at most 1"}}}
TEXT = json.dumps(STRICT, separators=(",", ":"))
NATIVE = {
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": TEXT, "name": "rating"}},
        }
    }
}
TOOLS = [{"toolSpec": {"name": "rating", "inputSchema": {"json": BOUNDED}}}]
FORCED = {"toolConfig": {"tools": TOOLS, "toolChoice": {"tool": {"name": "rating"}}}}
TOOL = {"structured": "tool"}


def body(messages=ASKED, *, config=(), **members):
    return {"messages": messages, "inferenceConfig": {"maxTokens": 50, **dict(config)}, **members}


REQUESTS = [
    RequestCase("plain text", body()),
    RequestCase("instructions", body(system=[{"text": "Be brief."}]), form_of(instructions="Be brief.")),
    RequestCase("JSON", body(**NATIVE), SCORE),
    RequestCase("a stream", body(**NATIVE), SCORE, stream=True),
    RequestCase("JSON by a tool", body(**FORCED), SCORE, settings=TOOL),
    RequestCase(
        "a model that knows only tools",
        body(**FORCED),
        SCORE,
        settings={"model": "eu.anthropic.claude-3-5-sonnet-20241022-v2:0"},
    ),
    RequestCase(
        "a model that knows neither the format nor a choice of tools",
        body(),
        SCORE,
        settings={"model": "meta.llama3-3-70b-instruct-v1:0"},
    ),
    RequestCase(
        "a model that thinks cannot be forced",
        body(
            toolConfig={"tools": TOOLS, "toolChoice": {"auto": {}}},
            additionalModelRequestFields={"thinking": {"type": "adaptive"}},
        ),
        SCORE,
        settings={**TOOL, "params": {"thinking": {"type": "adaptive"}}},
    ),
    RequestCase("a correction", body(TURNS, **NATIVE), SCORE, Correction('{"x": 7}', "too high")),
    RequestCase(
        "a correction of a blank answer",
        body([{"role": "user", "content": [{"text": "Why?"}, {"text": TOLD}]}], **NATIVE),
        SCORE,
        Correction(" ", "too high"),
    ),
    RequestCase(
        "common parameters",
        body(
            config={"temperature": 0, "topP": 0.5, "stopSequences": ["a"]},
            additionalModelRequestFields={"top_k": 3, "seed": 7},
            outputConfig={"effort": "low"},
        ),
        form_of(
            parameters={
                "temperature": 0,
                "top_p": 0.5,
                "top_k": 3,
                "seed": 7,
                "stop": "a",
                "reasoning_effort": "low",
            }
        ),
    ),
    RequestCase(
        "parameters of a step extend those of the endpoint",
        body(
            config={"temperature": 1},
            serviceTier={"type": "flex"},
            additionalModelRequestFields={"a": 1, "b": 2},
        ),
        form_of(parameters={"temperature": 1, "b": 2}),
        settings={"params": {"serviceTier": {"type": "flex"}, "additionalModelRequestFields": {"a": 1}}},
    ),
]

# ---- answers and streams ---------------------------------------------------------------------------------

USED = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
COUNTS = TokenCounts(10, 5)
GOOD = {"text": '{"x": 0.5}'}
FITS = Expected({"x": 0.5}, content='{"x": 0.5}', tokens=COUNTS)
BY_TOOL = Expected({"x": 0.5}, content='{"x":0.5}', tokens=COUNTS)
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}


def answer(*blocks, reason="end_turn", usage=USED):
    message = {"role": "assistant", "content": [*blocks]}
    return {"output": {"message": message}, "stopReason": reason, "usage": usage}


def called(value):
    return {"toolUse": {"toolUseId": "1", "name": "rating", "input": value}}


def problem(text, tokens=COUNTS):
    return Expected(problem=text, tokens=tokens)


ANSWERS = [
    AnswerCase("JSON", answer(GOOD), FITS),
    AnswerCase("thoughts", answer(THOUGHT, {"text": '{"x":'}, {"text": " 0.5}"}), FITS),
    AnswerCase("a tool", answer({"text": "I call it."}, called({"x": 0.5}), reason="tool_use"), BY_TOOL),
    AnswerCase("a text that ends it", answer(GOOD, reason="stop_sequence"), FITS),
    AnswerCase("complete JSON at the bound", answer(GOOD, reason="max_tokens"), FITS),
    AnswerCase("cut", answer({"text": '{"x"'}, reason="max_tokens"), problem("cut off at max_tokens, 50")),
    AnswerCase(
        "cut at the context",
        answer({"text": '{"x"'}, reason="model_context_window_exceeded"),
        problem("cut off at the context window"),
    ),
    AnswerCase("no text", answer(THOUGHT), problem("it stopped for end_turn")),
    AnswerCase("a wrong value", answer(called({"x": 7})), problem("wanted a number from 0 to 1, got 7")),
    *(
        AnswerCase(one, answer(GOOD, reason=one), problem(f"withheld the answer: {one}"))
        for one in ("guardrail_intervened", "content_filtered")
    ),
    *(
        AnswerCase(one, answer(GOOD, reason=one), problem(f"failed to answer: {one}"))
        for one in ("malformed_model_output", "malformed_tool_use", "a_later_one")
    ),
    AnswerCase(
        "cached tokens are outside of the input",
        answer(GOOD, usage={**USED, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 3}),
        Expected({"x": 0.5}, tokens=TokenCounts(17, 5, cached=4, cache_write=3)),
    ),
    AnswerCase(
        "caches by their time to live",
        answer(
            GOOD,
            usage={
                **USED,
                "cacheWriteInputTokens": 3,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 2}, {"ttl": "1h", "inputTokens": 1}, 7],
            },
        ),
        Expected({"x": 0.5}, tokens=TokenCounts(13, 5, cache_write=3, cache_write_hour=1)),
    ),
    AnswerCase("no usage", answer(GOOD, usage=None), Expected({"x": 0.5})),
]


def delta(index=0, **parts):
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": parts}}


def stopped(reason):
    return {"messageStop": {"stopReason": reason}}


def raised(name, message):
    return {":exception": name, "message": message}


def encoded(events):
    """Return events, each an object of a name and its payload, as frames."""
    return b"".join(map(_frame, events))


def _frame(event):
    if isinstance(event, dict) and isinstance(event.get(":exception"), str):
        headers = {":exception-type": event[":exception"], ":message-type": "exception"}
        return frame({name: value[:100] for name, value in headers.items()}, dumped(event))
    match [*event.items()] if isinstance(event, dict) else []:
        case [(str(name), payload)]:
            return frame({":event-type": name[:60], ":message-type": "event"}, dumped(payload))
    return frame({":message-type": "event"}, dumped(event))


BEGUN = {"messageStart": {"role": "assistant"}}
METADATA = {"metadata": {"usage": USED, "metrics": {"latencyMs": 1}}}
THROTTLED = raised("throttlingException", "Too many tokens, please wait.")
IS_THROTTLED = Expected(problem="Too many tokens", kind=FailureKind.REFUSED, refusal=Refusal.TOKENS)
STREAMS = [
    StreamCase(
        "thoughts and parts",
        [
            BEGUN,
            delta(reasoningContent={"text": "Hm."}),
            delta(1, text='{"x": '),
            delta(1, text="0.5}"),
            {"contentBlockStop": {"contentBlockIndex": 1}},
            stopped("end_turn"),
            METADATA,
        ],
        FITS,
    ),
    StreamCase(
        "a tool",
        [
            BEGUN,
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"name": "rating"}}}},
            delta(toolUse={"input": '{"x"'}),
            delta(toolUse={"input": ":0.5}"}),
            delta(1, toolUse={"input": "{}"}),
            stopped("tool_use"),
            METADATA,
        ],
        BY_TOOL,
    ),
    StreamCase(
        "a stream that breaks off",
        [BEGUN, delta(text='{"x"')],
        problem("wanted one JSON object", TokenCounts()),
        is_whole=False,
        has_usage=False,
    ),
    StreamCase(
        "an exception at once",
        [BEGUN, THROTTLED],
        IS_THROTTLED,
        is_whole=False,
        has_usage=False,
        has_failed=True,
    ),
    StreamCase(
        "an exception after a part leaves the request in doubt",
        [BEGUN, delta(text='{"x"'), raised("modelStreamErrorException", "It broke.")],
        Expected(problem="modelStreamErrorException: It broke.", is_completion=False),
        is_whole=False,
        has_usage=False,
        has_failed=True,
    ),
]

# ---- errors ----------------------------------------------------------------------------------------------


def error(status, name, message, kind, refusal=None, *, says=""):
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/"}
    return ErrorCase(
        f"{name} {message}", status, {"message": message}, kind, refusal, headers=headers, says=says
    )


REFUSED, WRONG = FailureKind.REFUSED, FailureKind.MISCONFIGURED
ERRORS = [
    error(429, "ThrottlingException", "Too many tokens, please wait.", REFUSED, Refusal.TOKENS),
    error(429, "ThrottlingException", "Too many requests, please wait.", REFUSED, Refusal.REQUESTS),
    error(429, "ThrottlingException", "Rate exceeded", REFUSED, Refusal.UNKNOWN),
    error(429, "ThrottlingException", "Too many tokens per day.", WRONG, says="until AWS renews it"),
    error(429, "ModelNotReadyException", "It is loading.", REFUSED, Refusal.OVERLOADED),
    error(503, "ServiceUnavailableException", "Bedrock is busy.", REFUSED, Refusal.OVERLOADED),
    error(500, "InternalServerException", "It failed.", FailureKind.TRANSIENT),
    error(408, "ModelTimeoutException", "It took too long.", FailureKind.TRANSIENT),
    error(424, "ModelErrorException", "The model failed.", FailureKind.TRANSIENT),
    error(400, "ServiceQuotaExceededException", "Too much.", WRONG, says="Service Quotas"),
    error(400, "ValidationException", "The provided model identifier is invalid.", WRONG, says="model"),
    error(
        400, "ValidationException", "This model doesn't support the toolConfig field.", WRONG, says="params"
    ),
    error(
        400,
        "ValidationException",
        "The maximum tokens you requested exceeds the model limit of 4096.",
        WRONG,
        says="max_tokens",
    ),
    error(400, "ValidationException", "Input is too long for requested model.", FailureKind.PERMANENT),
    error(400, "ValidationException", "max_tokens exceeds the context limit.", FailureKind.PERMANENT),
    error(
        403, "AccessDeniedException", "You don't have access to the model.", WRONG, says="access to models"
    ),
    error(403, "ExpiredTokenException", "The security token is expired.", WRONG, says="log in again"),
    error(403, "InvalidSignatureException", "Signature expired.", WRONG, says="the clock"),
    error(403, "UnrecognizedClientException", "The token is invalid.", WRONG, says="does not know"),
    error(404, "ResourceNotFoundException", "Could not resolve it.", WRONG, says="check base_url and model"),
]

CASES = DialectCases(
    dialect="bedrock",
    settings={
        "base_url": "https://bedrock-runtime.us-east-1.amazonaws.com",
        "model": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    },
    url="https://bedrock-runtime.us-east-1.amazonaws.com/model/"
    "anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
    headers={"authorization": "Bearer sk-test"},
    requests=REQUESTS,
    answers=ANSWERS,
    streams=STREAMS,
    errors=ERRORS,
    refused=["messages", "system"],
    rates=[RateCase("there are none", {"content-type": "application/json"}, None)],
    encode=encoded,
)
