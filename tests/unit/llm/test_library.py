"""A dialect whose requests a library sends: its outcomes are those of requests by HTTP."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, FailureKind
from actors.core.messages.attempts import Attempt, RateHeaders
from actors.core.messages.values import Usage
from actors.llm.dialects.chat import ChatDialect
from actors.llm.dialects.dialect import LibraryAnswer
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm
from actors.llm.http_endpoint import HttpEndpoint

KEY = "sk-canary-7719ab"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}


class Library:
    """Returns or raises `outcome`; None: it never answers."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.sent = []
        self.is_closed = False

    async def send(self, body, idempotency_key):
        self.sent.append((orjson.loads(body), idempotency_key))
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def close(self):
        self.is_closed = True


def endpoint(library, **more):
    class Dialect(ChatDialect):
        uses_library = True

        def client(self):
            return library

    keys = {
        "name": "tail",
        "base_url": "http://a.test",
        "model": "m",
        "api_key": KEY,
        "max_answer_bytes": 1024,
    }
    form = AnswerForm("text", {}, 50)
    return HttpEndpoint(Dialect(EndpointSettings.model_validate(keys | more)), {"text": form})


def completion(text):
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return orjson.dumps({"choices": [choice], "usage": USAGE})


ATTEMPT = Attempt(1, "call", "tail", "text", "Why?", 1, "idem-1", 60.0, stream=True)


@pytest.mark.parametrize(
    ("text", "asks_for", "is_final"), [("So it", "wanted a shorter one", False), ("", "", True)]
)
async def test_a_cut_answer_tells_the_model_to_be_short_and_the_user_what_to_raise(text, asks_for, is_final):
    choice = {"message": {"content": text}, "finish_reason": "length"}
    made = endpoint(Library(LibraryAnswer(200, orjson.dumps({"choices": [choice], "usage": USAGE}), {})))

    ended = await made.attempt(ATTEMPT, 10.0)

    assert "cut off at max_tokens, 50" in ended.error.message
    assert ended.error.message.endswith("raise max_tokens (--max-tokens, or evaluate.max_tokens)")
    assert ended.is_final is is_final
    assert asks_for in (ended.correction.problem if ended.correction else "")


async def test_an_answer_has_values_usage_and_rates_and_is_not_streamed():
    library = Library(LibraryAnswer(200, completion("So."), {"x-ratelimit-remaining-requests": "5"}))
    made = endpoint(library)

    ended = await made.attempt(ATTEMPT, 10.0)
    await made.close()

    assert (ended.values, ended.usage) == ({"text": "So."}, Usage(1000, 500))
    assert ended.headers == RateHeaders(remaining_requests=5)
    [(body, key)] = library.sent
    assert (body["messages"][-1]["content"], key) == ("Why?", "idem-1")
    assert "stream" not in body
    assert library.is_closed


@pytest.mark.parametrize(
    ("outcome", "kind", "blame", "said"),
    [
        (LibraryAnswer(429, b"{}", {"retry-after": "3"}), FailureKind.REFUSED, Blame.ENDPOINT, "429"),
        (LibraryAnswer(401, b"{}"), FailureKind.MISCONFIGURED, Blame.CONFIG, "check api_key"),
        (LibraryAnswer(500, KEY.encode()), FailureKind.TRANSIENT, Blame.ENDPOINT, "***"),
        (LibraryAnswer(200, b"<html>"), FailureKind.IN_DOUBT, Blame.ENDPOINT, "HTML"),
        (
            LibraryAnswer(200, completion("x" * 2000)),
            FailureKind.UNUSABLE,
            Blame.ENDPOINT,
            "larger than 1024",
        ),
        (ConnectionResetError(f"by {KEY}"), FailureKind.IN_DOUBT, Blame.ENDPOINT, "***"),
        (TimeoutError(), FailureKind.IN_DOUBT, Blame.ENDPOINT, "TimeoutError"),
        (None, FailureKind.IN_DOUBT, Blame.ENDPOINT, "no answer within 0.01 s"),
        (ValueError(f"a defect with {KEY}"), FailureKind.PERMANENT, Blame.UNKNOWN, "***"),
    ],
)
async def test_what_goes_wrong_is_classified_like_the_errors_of_http(outcome, kind, blame, said):
    ended = await endpoint(Library(outcome)).attempt(ATTEMPT, 0.01 if outcome is None else 10.0)

    assert (ended.error.kind, ended.error.blame) == (kind, blame)
    assert said in ended.error.message
    assert KEY not in repr(ended)
    assert ended.sent


async def test_a_rejected_token_names_the_setting_that_gave_it():
    made = endpoint(Library(LibraryAnswer(401, b"{}")), credentials={"kind": "command", "command": ["token"]})
    ended = await made.attempt(ATTEMPT, 10.0)
    assert "the key is rejected: check credentials of llm.endpoints.tail" in ended.error.message


async def test_a_request_without_time_left_is_not_sent():
    library = Library(None)
    ended = await endpoint(library).attempt(replace(ATTEMPT, expires_in_s=0.0), 10.0)
    assert (ended.error.kind, ended.sent, library.sent) == (FailureKind.DEADLINE, False, [])
