"""The client of AWS understands the simulated endpoint."""

from __future__ import annotations

import asyncio
import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel, Field

from simulators.answers import nonce_of
from simulators.dialects.embeddings import vector_of
from simulators.files import TOKENS

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ASKED = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
NONCE = f"nonce:{nonce_of([{'role': 'user', 'content': 'hello'}])}"
FILES = {"image/png": b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256)), "application/pdf": b"%PDF-1.7\n"}


class Rating(BaseModel):
    score: float = Field(ge=0, le=1)
    note: str


SCHEMA = Rating.model_json_schema()


@pytest.fixture
def client_of():
    def make(one):
        return boto3.client(
            "bedrock-runtime",
            endpoint_url=one.base,
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",  # noqa: S106 - a dummy
            config=Config(retries={"total_max_attempts": 1}),
        )

    return make


async def test_an_answer_has_text_and_usage(start_llm_here, client_of):
    one = await start_llm_here("--cached-share", "0.5")
    more = {"system": [{"text": "Be brief, please."}], "inferenceConfig": {"maxTokens": 300}}

    answer = await asyncio.to_thread(client_of(one).converse, **ASKED, **more)

    (entry,) = (await one.ledger()).entries
    usage = answer["usage"]
    assert "nonce:" in answer["output"]["message"]["content"][0]["text"]
    assert answer["stopReason"] == "end_turn"
    assert usage["cacheReadInputTokens"] == entry.cached_tokens == 3
    assert usage["inputTokens"] + usage["cacheReadInputTokens"] == entry.input_tokens
    assert usage["outputTokens"] == entry.output_tokens


async def test_an_answer_fits_a_schema_as_text_and_as_the_input_of_a_tool(start_llm_here, client_of):
    client = client_of(await start_llm_here())
    native = {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "rate"}}
    text_format = {"type": "json_schema", "structure": native}
    tools = {
        "tools": [{"toolSpec": {"name": "rate", "inputSchema": {"json": SCHEMA}}}],
        "toolChoice": {"tool": {"name": "rate"}},
    }

    by_text = await asyncio.to_thread(client.converse, **ASKED, outputConfig={"textFormat": text_format})
    by_tool = await asyncio.to_thread(client.converse, **ASKED, toolConfig=tools)

    [text], [called] = (answer["output"]["message"]["content"] for answer in (by_text, by_tool))
    assert Rating.model_validate_json(text["text"]) == Rating.model_validate(called["toolUse"]["input"])
    assert by_tool["stopReason"] == "tool_use"


async def test_a_stream_amounts_to_the_same_answer_with_its_usage(start_llm_here, client_of):
    one = await start_llm_here()
    client = client_of(one)
    whole = await asyncio.to_thread(client.converse, **ASKED)

    events = await asyncio.to_thread(lambda: list(client.converse_stream(**ASKED)["stream"]))

    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    text = "".join(delta["text"] for delta in deltas)
    assert text == whole["output"]["message"]["content"][0]["text"]
    assert NONCE in text
    assert events[-1]["metadata"]["usage"]["outputTokens"] == (await one.ledger()).entries[1].output_tokens


async def test_a_refusal_is_the_exception_of_throttling(start_llm_here, client_of):
    client = client_of(await start_llm_here("--requests-per-minute", "1"))
    await asyncio.to_thread(client.converse, **ASKED)

    with pytest.raises(client.exceptions.ThrottlingException) as refused:
        await asyncio.to_thread(client.converse, **ASKED)

    assert isinstance(refused.value, ClientError)
    assert refused.value.response["Error"]["Message"].startswith("Too many requests")


async def test_an_image_and_a_document_count_as_input(start_llm_here, client_of):
    one = await start_llm_here()
    client = client_of(one)

    def content(name):
        return [
            {"image": {"format": "png", "source": {"bytes": FILES["image/png"]}}},
            {"document": {"name": name, "format": "pdf", "source": {"bytes": FILES["application/pdf"]}}},
            {"text": "hello"},
        ]

    def ask(name):
        return client.converse(modelId=MODEL, messages=[{"role": "user", "content": content(name)}])

    answer = await asyncio.to_thread(ask, "document 1")
    with pytest.raises(client.exceptions.ValidationException, match=r"a\.pdf"):
        await asyncio.to_thread(ask, "a.pdf")

    entry = (await one.ledger()).entries[0]
    assert answer["usage"]["inputTokens"] == entry.input_tokens == 2 * TOKENS + 2


async def test_a_text_has_a_vector_of_titan(start_llm_here, client_of):
    one = await start_llm_here()
    body = json.dumps({"inputText": "hello", "dimensions": 256})

    asked = {"modelId": "amazon.titan-embed-text-v2:0", "body": body}
    answer = await asyncio.to_thread(client_of(one).invoke_model, **asked)

    (entry,) = (await one.ledger()).entries
    assert json.loads(answer["body"].read()) == {
        "embedding": vector_of("hello", 256),
        "inputTextTokenCount": entry.input_tokens,
    }
