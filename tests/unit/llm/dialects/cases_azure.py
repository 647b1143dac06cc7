"""The cases of the dialect `azure`: what it has beside those of `chat`."""

from __future__ import annotations

from dataclasses import replace

from actors.core.errors import FailureKind
from actors.core.messages.attempts import RateHeaders, Refusal
from tests.unit.llm.dialects import cases_chat
from tests.unit.llm.dialects.cases_chat import TOKENS, USER, answered, delta, failed
from tests.unit.llm.dialects.conformance import (
    AnswerCase,
    ErrorCase,
    Expected,
    RateCase,
    RequestCase,
    StreamCase,
)

PASSED = {"hate": {"filtered": False, "severity": "safe"}}
BLOCKED = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
EXCEEDED = "Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your tier."

CASES = replace(
    cases_chat.CASES,
    dialect="azure",
    settings={"base_url": "https://res.openai.azure.com"},
    url="https://res.openai.azure.com/openai/v1/chat/completions",
    headers={"api-key": "sk-test", "authorization": None},
    requests=[
        *cases_chat.CASES.requests,
        RequestCase("a deployment", {"model": "m", "messages": [USER], "max_tokens": 50}),
        RequestCase(
            "a deployment of a reasoning model",
            {"model": "m", "messages": [USER], "max_completion_tokens": 50},
            settings={"max_tokens_as": "max_completion_tokens"},
        ),
    ],
    answers=[
        *cases_chat.CASES.answers,
        AnswerCase(
            "an answer with the results of filters",
            {**answered(), "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": PASSED}]},
            Expected({"x": 0.5}, tokens=TOKENS),
        ),
        AnswerCase(
            "a filtered answer",
            answered(content=None, finish_reason="content_filter"),
            Expected(problem="content filter", tokens=TOKENS),
        ),
    ],
    streams=[
        *cases_chat.CASES.streams,
        StreamCase(
            "the results of filters come first",
            [
                {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
                delta("stop", content='{"x": 0.5}'),
                cases_chat.USED,
            ],
            Expected({"x": 0.5}, tokens=TOKENS),
        ),
    ],
    errors=[
        *cases_chat.CASES.errors,
        ErrorCase(
            "a filtered prompt",
            400,
            failed(
                code="content_filter",
                message=BLOCKED,
                param="prompt",
                innererror={"code": "ResponsibleAIPolicyViolation"},
            ),
            FailureKind.PERMANENT,
            says="content management policy",
        ),
        ErrorCase(
            "a rate",
            429,
            failed(code="429", message=EXCEEDED),
            FailureKind.REFUSED,
            Refusal.TOKENS,
            0.25,
            {"retry-after-ms": "250", "retry-after": "1"},
        ),
        ErrorCase("no deployment", 404, failed(code="DeploymentNotFound"), FailureKind.MISCONFIGURED),
        ErrorCase("a key", 401, failed(code="401"), FailureKind.MISCONFIGURED, says="check api_key"),
    ],
    refused=["messages", "n"],
    rates=[
        RateCase(
            "times in seconds",
            {"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "30"},
            RateHeaders(remaining_tokens=9, reset_tokens_s=30.0),
        ),
        RateCase("no time", {"x-ratelimit-reset-tokens": "-1"}, None),
    ],
)
