"""The cases of the dialect `gemini`."""

from __future__ import annotations

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Refusal
from actors.core.messages.calls import Correction
from actors.core.messages.values import TokenCounts
from tests.unit.llm.dialects.conformance import (
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

# ---- requests --------------------------------------------------------------------------------------------

ASKED = [{"role": "user", "parts": [{"text": "Why?"}]}]
CHOICE = {"type": "string", "choices": ["a", "b"], "nullable": True}
TURNS = [
    *ASKED,
    {"role": "model", "parts": [{"text": '{"x": 7}'}]},
    {
        "role": "user",
        "parts": [{"text": "Your answer did not fit: too high. Answer again, with only JSON that fits."}],
    },
]


def schema(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def body(contents=ASKED, *, config=(), shape=None, **members):
    config = {"maxOutputTokens": 50, **dict(config)}
    if shape is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": shape}
    return {"contents": contents, "generationConfig": config, **members}


def parameter(name, parameters, config, model="gemini-3-flash"):
    form, settings = form_of(parameters=parameters), {"model": model}
    return RequestCase(f"{name} of {model}", body(config=config), form, settings=settings)


SCORED = schema(x={"type": "number", "minimum": 0.0, "maximum": 1.0})
NULLABLE = {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]}
REQUESTS = [
    RequestCase("plain text", body()),
    RequestCase(
        "instructions",
        body(systemInstruction={"parts": [{"text": "Be brief."}]}),
        form_of(instructions="Be brief."),
    ),
    RequestCase("JSON", body(shape=SCORED), SCORE),
    RequestCase("a stream", body(shape=SCORED), SCORE, stream=True),
    RequestCase("a correction", body(TURNS, shape=SCORED), SCORE, Correction('{"x": 7}', "too high")),
    RequestCase(
        "a choice that may be null has no null in its enum",
        body(shape=schema(c={"type": "array", "items": NULLABLE, "maxItems": 100})),
        form_of({"c": {"type": "array", "items": CHOICE}}),
    ),
    parameter(
        "common parameters",
        {"temperature": 0, "top_p": 0.5, "top_k": 3, "seed": 7, "stop": "a"},
        {"temperature": 0, "topP": 0.5, "topK": 3, "seed": 7, "stopSequences": ["a"]},
    ),
    parameter("texts that end an answer", {"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
    parameter("effort", {"reasoning_effort": "low"}, {"thinkingConfig": {"thinkingLevel": "LOW"}}),
    parameter(
        "effort", {"reasoning_effort": "low"}, {"thinkingConfig": {"thinkingBudget": 1024}}, "gemini-2.5-pro"
    ),
    parameter(
        "no effort",
        {"reasoning_effort": "none"},
        {"thinkingConfig": {"thinkingBudget": 0}},
        "gemini-2.5-flash",
    ),
    RequestCase(
        "parameters of a step extend those of the endpoint",
        body(config={"temperature": 1, "seed": 7, "topP": 0.1, "topK": 2}, serviceTier="flex"),
        form_of(parameters={"temperature": 1, "generationConfig": {"topK": 2}}),
        settings={"params": {"serviceTier": "flex", "seed": 7, "generationConfig": {"topP": 0.1, "topK": 1}}},
    ),
]

# ---- answers and streams ---------------------------------------------------------------------------------

USED = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
COUNTS = TokenCounts(10, 5)
GOOD = {"text": '{"x": 0.5}'}
THOUGHT = {"text": "Hm.", "thought": True}
FITS = Expected({"x": 0.5}, content='{"x": 0.5}', tokens=COUNTS)
BLOCKED_PROMPT = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USED}
BLOCKED = [
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"),
    *("NO_IMAGE", "ESCALATION", "MODEL_ARMOR", "PUP_LIMITED_DISABLED"),
]
FAULTS = ["MALFORMED_RESPONSE", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "A_LATER_ONE"]
LATE = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
IS_LATE = Expected(problem="overloaded", kind=FailureKind.REFUSED, refusal=Refusal.OVERLOADED)


def answer(*parts, reason="STOP", usage=USED):
    candidate = {"content": {"parts": [*parts], "role": "model"}, "finishReason": reason}
    return {"candidates": [candidate], "usageMetadata": usage}


def problem(text, tokens=COUNTS):
    return Expected(problem=text, tokens=tokens)


def counted(name, usage, tokens):
    return AnswerCase(name, answer(GOOD, usage=usage), Expected({"x": 0.5}, tokens=tokens))


ANSWERS = [
    AnswerCase("JSON", answer(GOOD), FITS),
    AnswerCase("thoughts", answer(THOUGHT, {"text": '{"x":'}, {"text": " 0.5}"}), FITS),
    AnswerCase("complete JSON at the bound", answer(GOOD, reason="MAX_TOKENS"), FITS),
    *(
        AnswerCase(
            f"cut, {reason}", answer({"text": '{"x"'}, reason=reason), problem("cut off at max_tokens, 50")
        )
        for reason in ("MAX_TOKENS", "CONTINUATION")
    ),
    AnswerCase(
        "thoughts alone",
        answer(THOUGHT, reason="MAX_TOKENS"),
        problem("cut off at max_tokens, 50, before it had any text"),
    ),
    AnswerCase("no text", answer(), problem("it stopped for STOP")),
    AnswerCase("a wrong value", answer({"text": '{"x": 7}'}), problem("wanted a number from 0 to 1, got 7")),
    *(AnswerCase(one, answer(GOOD, reason=one), problem(f"withheld the answer: {one}")) for one in BLOCKED),
    *(AnswerCase(one, answer(GOOD, reason=one), problem(f"failed to answer: {one}")) for one in FAULTS),
    AnswerCase(
        "a blocked prompt",
        BLOCKED_PROMPT,
        problem("refused the prompt: SAFETY"),
    ),
    counted(
        "thoughts are outside of the candidates",
        {**USED, "thoughtsTokenCount": 3, "totalTokenCount": 18},
        TokenCounts(10, 8, reasoning=3),
    ),
    counted("cached tokens", {**USED, "cachedContentTokenCount": 4}, TokenCounts(10, 5, cached=4)),
    counted("the input of tools", {**USED, "toolUsePromptTokenCount": 6}, TokenCounts(16, 5)),
    counted("a zero is left out", {"promptTokenCount": 10, "totalTokenCount": 10}, TokenCounts(10, 0)),
    counted(
        "only thoughts",
        {"promptTokenCount": 10, "thoughtsTokenCount": 7, "totalTokenCount": 17},
        TokenCounts(10, 7, reasoning=7),
    ),
    counted("half a usage", {"promptTokenCount": 10}, TokenCounts(10)),
    counted("absurd counts", {"promptTokenCount": -1, "candidatesTokenCount": True}, TokenCounts()),
    AnswerCase("an error in place of an answer", LATE, IS_LATE),
]

BEGUN = {"promptTokenCount": 10, "totalTokenCount": 10}
STREAMS = [
    StreamCase(
        "thoughts and parts",
        [
            answer(THOUGHT, reason=None, usage=BEGUN),
            answer({"text": '{"x": '}, reason=None, usage=BEGUN),
            answer({"text": "0.5}"}),
        ],
        FITS,
    ),
    StreamCase("a blocked prompt", [BLOCKED_PROMPT], problem("refused the prompt: SAFETY")),
    StreamCase(
        "a stream that breaks off",
        [answer({"text": '{"x"'}, reason=None)],
        problem("wanted one JSON object"),
        is_whole=False,
    ),
    StreamCase("an error at once", [LATE], IS_LATE, is_whole=False, has_usage=False, has_failed=True),
    StreamCase(
        "an error after a part leaves the request in doubt",
        [answer({"text": '{"x"'}, reason=None), LATE],
        Expected(problem="overloaded", is_completion=False),
        is_whole=False,
        has_failed=True,
    ),
    StreamCase(
        "an event that is not JSON",
        [answer(GOOD), b"<html>"],
        Expected(problem="not JSON: <html>", is_completion=False),
        has_failed=True,
    ),
]

# ---- errors ----------------------------------------------------------------------------------------------

MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def detail(kind, **members):
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **members}


def exceeded(*ids):
    return detail("QuotaFailure", violations=[{"quotaMetric": "m", "quotaId": each} for each in ids])


def wait(delay):
    return detail("RetryInfo", retryDelay=delay)


def error(status, name, *details, message="It failed."):
    return {"error": {"code": status, "message": message, "status": name, "details": [*details]}}


def quota(name, refusal, wait_s, *details, is_list=False):
    found = error(429, "RESOURCE_EXHAUSTED", *details)
    found = [found] if is_list else found
    return ErrorCase(name, 429, found, FailureKind.REFUSED, refusal, wait_s)


def wrong(name, status, code, message, says, *details):
    found = error(status, code, *details, message=message)
    return ErrorCase(name, status, found, FailureKind.MISCONFIGURED, says=says)


ERRORS = [
    quota("requests a minute", Refusal.REQUESTS, 31.0, exceeded(MINUTE), wait("31s")),
    quota("a list of one", Refusal.REQUESTS, 31.0, exceeded(MINUTE), wait("31s"), is_list=True),
    quota("a fraction", Refusal.TOKENS, 45.578569677, exceeded(TOKENS, MINUTE), wait("45.578569677s")),
    quota("a long wait", Refusal.TOKENS, 3600.0, exceeded(TOKENS), wait("999999s")),
    quota("a wait that is no text", Refusal.UNKNOWN, None, wait({"seconds": 3})),
    quota("no details", Refusal.UNKNOWN, None),
    wrong(
        "requests a day",
        429,
        "RESOURCE_EXHAUSTED",
        "",
        "midnight Pacific",
        exceeded(MINUTE, DAY),
        wait("31s"),
    ),
    wrong(
        "a wrong key",
        400,
        "INVALID_ARGUMENT",
        "",
        "check api_key",
        detail("ErrorInfo", reason="API_KEY_INVALID"),
    ),
    wrong("a region", 400, "FAILED_PRECONDITION", "Location is not supported.", "billing or a region"),
    wrong("an unknown member", 400, "INVALID_ARGUMENT", 'Unknown name "foo".', "check params"),
    wrong(
        "thoughts",
        400,
        "INVALID_ARGUMENT",
        "Thinking_config.thinking_budget is out of range.",
        "check params",
    ),
    wrong("an unknown model", 404, "NOT_FOUND", "models/m is not found.", "check base_url and model"),
    wrong("no permission", 403, "PERMISSION_DENIED", "Denied.", "check api_key and model"),
    ErrorCase(
        "too long",
        400,
        error(
            400, "INVALID_ARGUMENT", message="The input token count (1200000) exceeds the maximum (1048576)."
        ),
        FailureKind.PERMANENT,
    ),
    ErrorCase("internal", 500, error(500, "INTERNAL"), FailureKind.TRANSIENT),
    ErrorCase("overloaded", 503, error(503, "UNAVAILABLE"), FailureKind.REFUSED, Refusal.OVERLOADED),
    ErrorCase("a deadline", 504, error(504, "DEADLINE_EXCEEDED"), FailureKind.TRANSIENT),
]

CASES = DialectCases(
    dialect="gemini",
    settings={"base_url": "https://generativelanguage.googleapis.com/v1beta"},
    url="https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
    headers={"x-goog-api-key": "sk-test", "authorization": None},
    requests=REQUESTS,
    answers=ANSWERS,
    streams=STREAMS,
    errors=ERRORS,
    refused=["contents", "systemInstruction", "stop_sequences"],
    rates=[RateCase("there are none", {"content-type": "application/json"}, None)],
)
