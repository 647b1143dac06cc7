"""What the endpoints that speak `chat` say in place of an answer: each form of a refusal and of an error.

The bodies follow the documentation and the clients of the providers, read on 2026-11-30.
"""

from __future__ import annotations

import orjson
import pytest

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Refusal
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.translate import Site, from_report

PLAIN = AnswerForm("p", {}, 50)
SETTINGS = {"name": "main", "base_url": "http://h/v1", "model": "m"}
UNSUPPORTED = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "type": "invalid_request_error",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}
REFUSED, PERMANENT, TRANSIENT = FailureKind.REFUSED, FailureKind.PERMANENT, FailureKind.TRANSIENT
WRONG = FailureKind.MISCONFIGURED


def dialect(**settings):
    return ChatDialect(EndpointSettings(**SETTINGS, **settings))


def report(status, error, **headers):
    body = error if isinstance(error, bytes) else orjson.dumps(error)
    return dialect().error(status, headers, body, 0.0)


def failure(status, error, **headers):
    return from_report(report(status, error, **headers), hide=str, site=Site("main", "/v1/chat/completions"))


@pytest.mark.parametrize(
    ("status", "error", "kind", "refusal"),
    [
        # OpenAI
        (429, {"error": {"type": "tokens", "code": "rate_limit_exceeded"}}, REFUSED, Refusal.TOKENS),
        (429, {"error": {"code": "insufficient_quota"}}, WRONG, None),
        (429, {"error": {"code": "resource_unavailable"}}, REFUSED, Refusal.OVERLOADED),
        (429, {"error": {"message": "Resource Unavailable"}}, REFUSED, Refusal.OVERLOADED),
        (400, {"error": {"code": "context_length_exceeded", "param": "messages"}}, PERMANENT, None),
        (400, {"error": UNSUPPORTED}, WRONG, None),
        (503, {"error": {"message": "The server is overloaded"}}, REFUSED, Refusal.OVERLOADED),
        # Azure
        (400, {"error": {"code": "content_filter", "innererror": {"code": "x"}}}, PERMANENT, None),
        (404, {"error": {"code": "DeploymentNotFound"}}, WRONG, None),
        # Groq
        (498, {"error": {"code": "capacity_exceeded"}}, REFUSED, Refusal.OVERLOADED),
        (413, {"error": {"code": "rate_limit_exceeded", "message": "Request too large"}}, PERMANENT, None),
        (400, {"error": {"code": "blocked_api_access"}}, WRONG, None),
        (400, {"error": {"code": "json_validate_failed"}}, TRANSIENT, None),
        # Mistral
        (422, {"detail": [{"loc": ["body", "x"], "msg": "no", "type": "extra_forbidden"}]}, WRONG, None),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "no", "type": "value_error"}]}, PERMANENT, None),
        # Together
        (403, {"error": {"message": "must be less than the context length of the model"}}, PERMANENT, None),
        (402, {"error": {"message": "spend limit"}}, WRONG, None),
        # OpenRouter
        (
            403,
            {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"]}}},
            PERMANENT,
            None,
        ),
        (408, {"error": {"code": 408, "message": "timed out"}}, TRANSIENT, None),
        (502, {"error": {"code": 502, "message": "provider is down"}}, TRANSIENT, None),
        (503, {"error": {"code": 503, "message": "no provider"}}, REFUSED, Refusal.OVERLOADED),
        # DeepSeek
        (402, {"error": {"message": "Insufficient Balance"}}, WRONG, None),
        # vLLM, Ollama
        (
            400,
            {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large"}},
            PERMANENT,
            None,
        ),
        (404, {"error": "model 'x' not found"}, WRONG, None),
    ],
)
def test_a_refusal_is_told_from_an_error_that_does_not_pass(status, error, kind, refusal):
    found, why = failure(status, error)
    assert (found.kind, why) == (kind, refusal)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ({"error": UNSUPPORTED}, "set max_tokens_as: max_completion_tokens of llm.endpoints.main"),
        (
            {"error": {"code": "unsupported_value", "param": "temperature"}},
            "remove temperature from params of evaluate, or from params of llm.endpoints.main",
        ),
        ({"error": {"message": "Unsupported parameter: 'stop' is not supported"}}, "remove stop from params"),
        ({"error": {"code": "unsupported_value", "param": "messages[0].role"}}, "set system_as of llm"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "no", "type": "extra_forbidden"}]}, "remove seed from"),
        ({"error": {"code": "unsupported_value", "param": "stream"}}, "check params, output and max_tokens"),
        ({"error": {"code": "unsupported_parameter", "param": "a b; rm"}}, "check params, output and max"),
    ],
)
def test_a_parameter_that_is_not_accepted_is_named_with_the_place_to_correct(error, remedy):
    assert f"({remedy}" in failure(400, error)[0].message


@pytest.mark.parametrize(
    ("error", "status", "is_adapted"),
    [
        (UNSUPPORTED, 400, True),
        ({**UNSUPPORTED, "code": None, "param": None}, 400, True),
        ({"message": "Unsupported parameter: 'max_tokens'"}, 400, False),
        ({"param": "max_tokens", "code": "invalid_value", "message": "too large"}, 400, False),
        ({**UNSUPPORTED, "param": "temperature"}, 400, False),
        (UNSUPPORTED, 500, False),
    ],
)
def test_a_model_that_refuses_max_tokens_gets_max_completion_tokens(error, status, is_adapted):
    adaptation = dialect().adapted(report(status, {"error": error}))

    assert (adaptation is not None) == is_adapted
    if adaptation is not None:
        body = orjson.loads(adaptation.dialect.prepare(PLAIN).body("why?", None))
        assert (body["max_completion_tokens"], "max_tokens" in body) == (50, False)
        assert adaptation.setting == "max_tokens_as: max_completion_tokens"
        assert adaptation.dialect.adapted(report(status, {"error": error})) is None


# ---- with status 200 -------------------------------------------------------------------------------------

LATE = {"code": 502, "message": "Provider returned error"}


def chunk(**members):
    return b"data: " + orjson.dumps(members) + b"\n\n"


def read(document):
    return dialect().read(PLAIN, orjson.dumps(document))


def streamed(*chunks):
    reader = dialect().reader()
    for each in chunks:
        reader.feed(each)
    reader.close()
    return reader.answer(PLAIN)


@pytest.mark.parametrize(
    "answer",
    [
        read({"error": LATE}),
        read({"error": {**LATE, "code": "502"}}),
        read({"choices": [{"error": LATE, "finish_reason": "error", "message": {"content": ""}}]}),
        streamed(chunk(error=LATE, choices=[{"delta": {"content": ""}, "finish_reason": "error"}])),
        streamed(chunk(choices=[{"delta": {}, "error": LATE, "finish_reason": "error"}])),
        streamed(chunk(x_groq={"error": LATE}, choices=[])),
    ],
)
def test_an_error_under_status_200_is_the_error_that_it_names(answer):
    assert answer.error is not None
    assert (answer.error.status, answer.error.text) == (502, "Provider returned error")


@pytest.mark.parametrize(
    "answer",
    [
        read({"error": {"code": "x", "message": "?"}}),
        read({"error": {"code": 200, "message": "?"}}),
        read({"error": LATE, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        read({"choices": [{"finish_reason": "error", "message": {"content": "half"}}]}),
        streamed(chunk(choices=[{"delta": {"content": "half"}}]), chunk(error=LATE)),
    ],
)
def test_an_error_that_may_be_billed_is_an_unusable_answer(answer):
    assert answer.error is None
    assert isinstance(answer.found, AnswerProblem)


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("stop", True),
        ("eos", True),
        (None, True),
        (["odd"], True),
        ("length", False),
        ("model_length", False),
    ],
)
def test_the_reasons_why_a_model_stops_are_known(reason, values):
    answer = read({"choices": [{"message": {"content": "Fine."}, "finish_reason": reason}]})
    assert (answer.found == {"text": "Fine."}) is values


def test_the_usage_of_a_stream_of_groq_is_found():
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    choice = {"delta": {"content": "Hi"}, "finish_reason": "stop"}
    answer = streamed(chunk(choices=[choice], x_groq={"usage": usage}))
    assert (answer.tokens.input, answer.tokens.output) == (7, 3)


@pytest.mark.parametrize(
    ("status", "said", "is_adapted"),
    [
        (400, "This model does not support response format `json_schema`.", True),
        (400, "This response_format type is unavailable now", True),
        (422, "response_format: response_format.type `json_schema` is unavailable now", True),
        (
            400,
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported",
            True,
        ),
        (500, "This response_format type is unavailable now", False),
        (400, "Invalid schema for response_format 'rating': 'x' is missing", False),
    ],
)
def test_a_model_that_knows_no_schema_is_asked_for_any_json_and_told_the_fields(status, said, is_adapted):
    refused = report(status, {"error": {"message": said}})
    adaptation = dialect(describe_output=False).adapted(refused)
    assert (adaptation is not None) == is_adapted
    if adaptation is not None:
        assert adaptation.setting == "structured: json"
        assert adaptation.dialect.describes_output
        assert adaptation.dialect.adapted(refused) is None
