"""Which answers are for whoever wrote the configuration, and which are about one request."""

from __future__ import annotations

import orjson
import pytest

from actors.core.errors import Blame, FailureKind
from tests.unit.llm.dialects.test_translate import translate


def test_a_misconfigured_endpoint_is_told_with_its_name_its_path_and_the_key_to_mend():
    failure, _ = translate(401, body=b'{"error": {"message": "Incorrect API key provided"}}')

    assert failure.message == (
        "endpoint main, POST /v1/chat/completions: HTTP 401: Incorrect API key provided "
        "(the key is rejected: check api_key of llm.endpoints.main)"
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (
            400,
            {"code": "unsupported_parameter", "param": "max_tokens", "message": "Use max_completion_tokens"},
        ),
        (400, {"code": "unsupported_value", "message": "temperature does not support 0.2"}),
        (400, {"message": "Unrecognized request argument supplied: response_format"}),
        (400, {"type": "invalid_request_error", "message": "The model `gpt-9` does not exist"}),
        (400, {"status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass a valid API key."}),
        (400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}),
        (400, {"code": "blocked_api_access", "message": "spend cap"}),
        (400, {"message": "max_tokens: Extra inputs are not permitted"}),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "type": "extra_forbidden"}]}),
        (429, {"type": "insufficient_quota"}),
        (429, {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}),
        (404, {"code": "model_not_found"}),
    ],
)
def test_what_every_other_request_would_be_answered_is_for_the_configuration(status, error):
    failure, refusal = translate(status, body=orjson.dumps({"error": error}))

    assert (failure.kind, failure.blame, refusal) == (FailureKind.MISCONFIGURED, Blame.CONFIG, None)
    assert "llm.endpoints.main" in failure.message


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "context_length_exceeded", "message": "maximum context length is 8192 tokens"}),
        (400, {"code": "content_filter", "message": "triggered Azure's content management policy"}),
        (400, {"message": "messages: text content blocks must be non-empty"}),
        (403, {"message": "Your chosen model requires moderation and your input was flagged"}),
        (403, {"message": "input is too long: context length exceeded"}),
        (413, {"type": "request_too_large"}),
        (422, {"message": "the output was not valid JSON"}),
    ],
)
def test_what_only_this_request_is_answered_is_for_its_task(status, error):
    failure, _ = translate(status, body=orjson.dumps({"error": error}))

    assert (failure.kind, failure.blame) == (FailureKind.PERMANENT, Blame.TASK)
