"""Anthropic's own client understands the simulated endpoint."""

from __future__ import annotations

import base64

import anthropic
import pytest
from pydantic import BaseModel, Field

from simulators.answers import nonce_of
from simulators.files import TOKENS

ASKED = {"model": "m", "max_tokens": 300, "messages": [{"role": "user", "content": "hello"}]}
NONCE = f"nonce:{nonce_of(ASKED['messages'])}"
FILES = {"image/png": b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256)), "application/pdf": b"%PDF-1.7\n"}


class Rating(BaseModel):
    score: float = Field(ge=0, le=1)
    note: str | None


@pytest.fixture
async def client_of():
    clients = []

    def make(one):
        clients.append(anthropic.AsyncAnthropic(api_key="sk-test", base_url=one.base, max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def test_a_message_has_text_and_usage(start_llm_here, client_of):
    one = await start_llm_here("--cached-share", "0.5", "--reasoning-tokens", "9")
    message = await client_of(one).messages.create(**ASKED, system="Be brief, please.")
    (entry,) = (await one.ledger()).entries
    assert message.content[0].type == "text"
    assert "nonce:" in message.content[0].text
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert usage.cache_read_input_tokens == entry.cached_tokens == 3
    assert usage.input_tokens + usage.cache_read_input_tokens == entry.input_tokens
    assert usage.output_tokens == entry.output_tokens
    assert usage.output_tokens_details.thinking_tokens == entry.reasoning_tokens == 9


async def test_a_message_fits_the_schema_that_the_client_made(start_llm_here, client_of):
    one = await start_llm_here()
    message = await client_of(one).messages.parse(**ASKED, output_format=Rating)
    assert isinstance(message.parsed_output, Rating)


async def test_a_tool_is_called_with_the_answer(start_llm_here, client_of):
    one = await start_llm_here()
    tool = {"name": "rate", "input_schema": Rating.model_json_schema()}
    message = await client_of(one).messages.create(
        **ASKED, tools=[tool], tool_choice={"type": "tool", "name": "rate"}
    )
    assert message.stop_reason == "tool_use"
    assert Rating.model_validate(message.content[0].input)


async def test_a_stream_amounts_to_the_same_message(start_llm_here, client_of):
    one = await start_llm_here()
    client = client_of(one)
    whole = await client.messages.create(**ASKED)
    async with client.messages.stream(**ASKED) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        streamed = await stream.get_final_message()
    assert text == streamed.content[0].text == whole.content[0].text
    assert NONCE in text
    assert streamed.usage.output_tokens == (await one.ledger()).entries[1].output_tokens


async def test_a_refusal_is_the_exception_of_a_rate_limit(start_llm_here, client_of):
    one = await start_llm_here("--requests-per-minute", "1", faults=[])
    client = client_of(one)
    await client.messages.create(**ASKED)
    with pytest.raises(anthropic.RateLimitError) as refused:
        await client.messages.create(**ASKED)
    assert refused.value.body["error"]["type"] == "rate_limit_error"
    headers = refused.value.response.headers
    assert 0 < int(headers["retry-after"]) <= 60
    assert headers["anthropic-ratelimit-requests-limit"] == "1"


async def test_an_overloaded_endpoint_is_an_exception_of_its_own(start_llm_here, client_of):
    one = await start_llm_here(faults=[{"kind": "status", "rate": 1, "status": 529}])
    with pytest.raises(anthropic.InternalServerError) as refused:
        await client_of(one).messages.create(**ASKED)
    assert (refused.value.status_code, refused.value.body["error"]["type"]) == (529, "overloaded_error")


async def test_an_image_and_a_document_count_as_input(start_llm_here, client_of):
    one = await start_llm_here()
    source = {
        kind: {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}
        for kind, data in FILES.items()
    }
    content = [
        {"type": "image", "source": source["image/png"]},
        {"type": "document", "source": source["application/pdf"]},
        {"type": "text", "text": "hello"},
    ]
    message = await client_of(one).messages.create(
        model="m", max_tokens=300, messages=[{"role": "user", "content": content}]
    )
    (entry,) = (await one.ledger()).entries
    assert message.usage.input_tokens == entry.input_tokens == 2 * TOKENS + 2
