"""Requests to Bedrock are signed as they are sent, and its binary streams are answers like others."""

from __future__ import annotations

import re
from types import SimpleNamespace

import orjson
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec.structs import replace

from actors.core.errors import FailureKind
from tests.e2e.support.scripted_server import ask, attempt, open_endpoint

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BEDROCK = {"dialect": "bedrock", "model": MODEL, "api_key": "none"}
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - of the documentation of AWS
ANSWER = orjson.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": '{"x": 0.5}'}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
    }
)


@pytest.fixture(autouse=True)
def keys_of_the_environment(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def signed_again(request, body):
    """Return the authorization of `request`, as the server received it, by botocore for the same time."""
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", SECRET), "bedrock", "eu-west-1")
    url = f"http://{request.headers['Host']}{request.raw_path}"
    again = AWSRequest("POST", url, data=body)
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    again.headers["X-Amz-Date"] = request.headers["X-Amz-Date"]
    signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return re.sub(r"Signature=.*", f"Signature={signature}", request.headers["Authorization"])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_signature_is_that_of_the_bytes_on_the_wire(server, stream):
    seen = SimpleNamespace()

    async def respond(request):
        seen.request, seen.body = request, await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    server.behaviour = respond
    async with open_endpoint(server.url, **BEDROCK, query={"a": "1 2"}) as endpoint:
        made = attempt(prompt="Grüße, {x}?")
        ended = await endpoint.attempt(replace(made, stream=stream), 60.0)

    assert ended.values == {"x": 0.5}
    assert MODEL.replace(":", "%3A") in seen.request.raw_path
    assert seen.request.raw_path.partition("?")[0].endswith("/converse-stream" if stream else "/converse")
    assert seen.request.headers["Authorization"] == signed_again(seen.request, seen.body)


async def test_keys_that_have_expired_are_found_again_for_the_next_request(server, monkeypatch):
    async with open_endpoint(server.url, **BEDROCK) as endpoint:
        server.answer(
            b'{"message": "The security token included in the request is expired"}',
            403,
            x_amzn_ErrorType="ExpiredTokenException:http://internal",
        )
        failed = await ask(endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEWER")
        server.answer(ANSWER)
        ended = await ask(endpoint)

    assert failed.error.kind is FailureKind.MISCONFIGURED
    assert "log in again" in failed.error.message
    assert ended.values == {"x": 0.5}
    assert "AKIDNEWER" in server.requests[1][1]["Authorization"]


@pytest.mark.parametrize("structured", ["native", "tool"])
async def test_a_streamed_answer_is_that_which_is_not_streamed(start_llm_here, structured):
    one = await start_llm_here("--cached-share", "0.5")
    async with open_endpoint(one.base, **BEDROCK, structured=structured) as endpoint:
        whole = await ask(endpoint, number=1)
        streamed = await endpoint.attempt(replace(attempt(number=2), stream=True), 60.0)

    assert streamed.values == whole.values is not None
    assert streamed.streamed > 0
    first, second = (await one.ledger()).entries
    assert streamed.usage.tokens == second.input_tokens + second.output_tokens
    assert first.billed == second.billed == 1
