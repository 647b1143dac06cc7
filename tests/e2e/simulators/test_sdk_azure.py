"""OpenAI's own client of Azure understands the simulated endpoint, and Headrace asks it by both URLs."""

from __future__ import annotations

import openai
import pytest
from pydantic import BaseModel, Field

from tests.e2e.support.scripted_server import ask, open_endpoint

ASKED = {"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}]}


class AzureRating(BaseModel):
    score: float = Field(ge=0, le=1)


def client_of(one):
    return openai.AsyncAzureOpenAI(
        azure_endpoint=one.base, api_version="2025-04-01-preview", api_key="sk-test", max_retries=0
    )


async def test_a_deployment_answers_plainly_by_schema_and_in_a_stream(start_llm_here):
    one = await start_llm_here()
    async with client_of(one) as client:
        plain = await client.chat.completions.create(**ASKED)
        parsed = await client.chat.completions.parse(**ASKED, response_format=AzureRating)
        chunks = [chunk async for chunk in await client.chat.completions.create(**ASKED, stream=True)]
    assert plain.usage.completion_tokens
    assert isinstance(parsed.choices[0].message.parsed, AzureRating)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def test_a_refusal_is_a_rate_limit(start_llm_here):
    one = await start_llm_here("--requests-per-minute", "1", "--burst-s", "60")
    async with client_of(one) as client:
        await client.chat.completions.create(**ASKED)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**ASKED)


@pytest.mark.parametrize("query", [{}, {"api-version": "2025-04-01-preview"}])
async def test_headrace_asks_by_both_urls(start_llm_here, query):
    one = await start_llm_here()
    async with open_endpoint(one.base, dialect="azure", query=query) as endpoint:
        assert (await ask(endpoint)).values
