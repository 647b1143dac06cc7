"""The cases of the dialect `cohere`, whose chat completions are those of `chat` at another path."""

from __future__ import annotations

from dataclasses import replace

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Refusal
from tests.unit.llm.dialects import cases_chat
from tests.unit.llm.dialects.conformance import ErrorCase

CASES = replace(
    cases_chat.CASES,
    dialect="cohere",
    settings={"base_url": "https://api.cohere.com"},
    url="https://api.cohere.com/compatibility/v1/chat/completions",
    errors=[
        *cases_chat.CASES.errors,
        ErrorCase(
            "a rate",
            429,
            {"message": "You have exceeded the rate limit.", "id": "x"},
            FailureKind.REFUSED,
            Refusal.UNKNOWN,
        ),
        ErrorCase("a text that is too long", 400, {"message": "too many tokens"}, FailureKind.PERMANENT),
        ErrorCase("a key", 401, {"message": "invalid api token"}, FailureKind.MISCONFIGURED),
    ],
)
