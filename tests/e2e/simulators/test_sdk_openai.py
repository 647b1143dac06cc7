"""OpenAI's own client understands the simulated endpoint: chat completions and responses."""

from __future__ import annotations

import base64

import openai
import pytest
from pydantic import BaseModel, Field

from simulators.answers import nonce_of
from simulators.dialects.embeddings import vector_of
from simulators.files import TOKENS

MESSAGES = [{"role": "user", "content": "hello"}]
NONCE = f"nonce:{nonce_of(MESSAGES)}"
FILES = {"image/png": b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256)), "application/pdf": b"%PDF-1.7\n"}


class Rating(BaseModel):
    score: float = Field(ge=0, le=1)
    note: str | None


@pytest.fixture
async def client_of():
    clients = []

    def make(one):
        clients.append(openai.AsyncOpenAI(api_key="sk-test", base_url=f"{one.base}/v1", max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def ask(client, kind, **more):
    if kind == "chat":
        return await client.chat.completions.create(model="m", messages=MESSAGES, **more)
    return await client.responses.create(model="m", input=MESSAGES, **more)


def usage_of(answer):
    """Return input, cached, output and reasoning tokens of an answer in either form."""
    usage = answer.usage
    if answer.object == "response":
        cached, reasoning = usage.input_tokens_details, usage.output_tokens_details
        return usage.input_tokens, cached.cached_tokens, usage.output_tokens, reasoning.reasoning_tokens
    cached, reasoning = usage.prompt_tokens_details, usage.completion_tokens_details
    return usage.prompt_tokens, cached.cached_tokens, usage.completion_tokens, reasoning.reasoning_tokens


both = pytest.mark.parametrize("kind", ["chat", "responses"])


@both
async def test_an_answer_has_text_and_the_usage_of_the_ledger(start_llm_here, client_of, kind):
    one = await start_llm_here("--cached-share", "0.5", "--reasoning-tokens", "9")
    answer = await ask(client_of(one), kind)
    text = answer.output_text if kind == "responses" else answer.choices[0].message.content
    assert NONCE in text
    (entry,) = (await one.ledger()).entries
    recorded = entry.input_tokens, entry.cached_tokens, entry.output_tokens, entry.reasoning_tokens
    assert usage_of(answer) == recorded
    assert recorded[1] == 1


@both
async def test_an_answer_fits_the_schema_that_the_client_made(start_llm_here, client_of, kind):
    client = client_of(await start_llm_here())
    if kind == "chat":
        found = await client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Rating)
        assert isinstance(found.choices[0].message.parsed, Rating)
    else:
        found = await client.responses.parse(model="m", input=MESSAGES, text_format=Rating)
        assert isinstance(found.output_parsed, Rating)


async def test_a_streamed_completion_ends_with_its_usage(start_llm_here, client_of):
    one = await start_llm_here()
    stream = await ask(client_of(one), "chat", stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert NONCE in text
    assert chunks[-1].usage.completion_tokens == (await one.ledger()).entries[0].output_tokens


async def test_a_streamed_response_ends_with_the_whole_response(start_llm_here, client_of):
    one = await start_llm_here()
    async with client_of(one).responses.stream(model="m", input=MESSAGES) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == final.output_text
    assert NONCE in deltas
    assert final.usage.output_tokens == (await one.ledger()).entries[0].output_tokens


@both
async def test_a_refusal_is_the_exception_of_a_rate_limit(start_llm_here, client_of, kind):
    one = await start_llm_here("--requests-per-minute", "1")
    client = client_of(one)
    await ask(client, kind)
    with pytest.raises(openai.RateLimitError) as refused:
        await ask(client, kind)
    assert refused.value.type == "requests"
    headers = refused.value.response.headers
    assert 0 < int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-limit-requests"] == "1"


async def test_a_response_that_is_cut_is_incomplete(start_llm_here, client_of):
    one = await start_llm_here(faults=[{"kind": "length", "rate": 1}])
    answer = await ask(client_of(one), "responses")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_equal_texts_have_equal_vectors_in_both_encodings(start_llm_here, client_of):
    one = await start_llm_here()
    embed = client_of(one).embeddings.create
    plain = await embed(model="m", input=["hello", "other"], dimensions=8, encoding_format="float")
    coded = await embed(model="m", input="hello", dimensions=8)  # the client asks for base64 and decodes it
    first, other = (each.embedding for each in plain.data)
    assert first == vector_of("hello", 8) != other
    assert coded.data[0].embedding == pytest.approx(first, rel=1e-6)
    entries = (await one.ledger()).entries
    assert [(each.input_tokens, each.output_tokens) for each in entries] == [(3, 0), (2, 0)]
    assert plain.usage.prompt_tokens == 3


@both
async def test_an_image_and_a_document_count_as_input(start_llm_here, client_of, kind):
    one = await start_llm_here()
    client = client_of(one)
    png, pdf = (f"data:{kind};base64,{base64.b64encode(data).decode()}" for kind, data in FILES.items())
    if kind == "chat":
        parts = [
            {"type": "image_url", "image_url": {"url": png}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
            {"type": "text", "text": "hello"},
        ]
        content = [{"role": "user", "content": parts}]
        answer = await client.chat.completions.create(model="m", messages=content)
    else:
        parts = [
            {"type": "input_image", "image_url": png, "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
            {"type": "input_text", "text": "hello"},
        ]
        answer = await client.responses.create(model="m", input=[{"role": "user", "content": parts}])
    (entry,) = (await one.ledger()).entries
    usage = answer.usage.prompt_tokens if kind == "chat" else answer.usage.input_tokens
    assert usage == entry.input_tokens == 2 * TOKENS + 2
