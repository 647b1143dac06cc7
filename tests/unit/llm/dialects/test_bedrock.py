"""Where the dialect `bedrock` sends requests, what authorizes them, and damaged streams."""

from __future__ import annotations

import orjson
import pytest
from yarl import URL

from actors.core.messages.values import TokenCounts
from actors.llm.aws_credentials import AwsCredentials
from actors.llm.dialects.bedrock import BedrockDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.requests.head import request_headers, request_url
from actors.llm.translate import ErrorReport
from tests.unit.llm.dialects.cases_bedrock import BEGUN, CASES, METADATA, delta, encoded, stopped
from tests.unit.llm.dialects.conformance import SCORE

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/nova-pro"


def dialect(**settings):
    return BedrockDialect(
        EndpointSettings.model_validate({"name": "main", "base_url": "https://h", "model": "m", **settings})
    )


def test_the_id_of_a_model_is_encoded_as_a_signature_needs_it():
    path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fnova-pro"
    made = dialect(model=ARN, query={"a": "1"})

    assert request_url(made, stream=False) == URL(f"https://h{path}/converse?a=1", encoded=True)
    assert request_url(made, stream=True).raw_path == f"{path}/converse-stream"
    assert made.models_url() is None


def test_a_key_or_a_token_authorizes_requests_and_without_them_the_credentials_of_aws():
    token = {"credentials": {"kind": "command", "command": ["token"]}}

    assert isinstance(dialect().credentials, AwsCredentials)
    assert "Authorization" not in request_headers(dialect())
    assert dialect(api_key="bedrock-key").credentials is None
    assert request_headers(dialect(api_key="bedrock-key"))["Authorization"] == "Bearer bedrock-key"
    assert not isinstance(dialect(**token).credentials, AwsCredentials | None)


@pytest.mark.parametrize(
    ("settings", "is_described"),
    [
        ({"model": "qwen.qwen3-32b-v1:0"}, True),
        ({"model": "qwen.qwen3-32b-v1:0", "describe_output": False}, False),
        ({"model": "qwen.qwen3-32b-v1:0", "structured": "tool"}, True),
        ({"model": "meta.llama3-3-70b-instruct-v1:0"}, True),
        ({"model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}, False),
        ({"model": "amazon.nova-pro-v1:0"}, False),
    ],
)
def test_fields_are_stated_in_words_where_the_model_may_not_see_the_schema(settings, is_described):
    assert dialect(**settings).describes_output is is_described


CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("settings", "status", "said", "member"),
    [
        ({"model": CLAUDE}, 400, "output_config.format: Extra inputs are not permitted", "toolConfig"),
        ({"model": "qwen.a"}, 400, "This model doesn't support the outputConfig.textFormat field.", ""),
        ({"model": "qwen.a"}, 400, "This model doesn't support the outputConfig.effort field.", None),
        ({"model": CLAUDE, "structured": "tool"}, 400, "outputConfig.textFormat", None),
        ({"model": CLAUDE}, 500, "outputConfig.textFormat", None),
    ],
)
def test_a_model_that_refuses_the_format_is_asked_without_it(settings, status, said, member):
    adaptation = dialect(**settings).adapted(ErrorReport(status, said))

    if member is None:
        assert adaptation is None
    else:
        body = orjson.loads(adaptation.dialect.prepare(SCORE).body("Why?", None))
        assert {"messages", "inferenceConfig", *filter(None, [member])} == body.keys()
        assert adaptation.setting == "structured: tool"


def test_a_damaged_stream_is_a_problem_that_leaves_the_request_in_doubt():
    whole = encoded([BEGUN, delta(text='{"x": 0.5}'), stopped("end_turn"), METADATA])
    for place in (len(encoded([BEGUN])) + 9, len(whole) - 2):
        reader = CASES.make().reader()
        reader.feed(whole[:place] + b"\xff" + whole[place + 1 :])
        reader.close()
        answer = reader.answer(SCORE)

        assert reader.has_failed
        assert "a frame of the stream is damaged" in answer.found.text
        assert (answer.is_completion, answer.error, answer.tokens) == (False, None, TokenCounts())
        assert reader.size < 100


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"system": "x"}, "use system"),
        ({"max_tokens": 5}, "use max_tokens of the step"),
        ({"temperature": 0, "reasoning_effort": "low", "top_k": 4}, ""),
    ],
)
def test_a_parameter_that_headrace_sets_is_a_problem_with_a_remedy(params, said):
    problem = dialect().problem(params)
    assert (said in problem) if said else problem is None
