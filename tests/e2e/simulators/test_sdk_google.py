"""Google's own client understands the simulated endpoint."""

from __future__ import annotations

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from pydantic import BaseModel, Field

from simulators.answers import nonce_of
from simulators.dialects.embeddings import vector_of
from simulators.files import TOKENS

# Google's client derives a class from one of aiohttp, which warns of that.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

ASKED = {"model": "gemini-3-flash", "contents": "hello"}
NONCE = f"nonce:{nonce_of([{'role': 'user', 'content': 'hello'}])}"
FILES = {"image/png": b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256)), "application/pdf": b"%PDF-1.7\n"}


class Rating(BaseModel):
    score: float = Field(ge=0, le=1)
    note: str


@pytest.fixture
async def models_of():
    clients = []

    def make(one, **more):
        options = types.HttpOptions(base_url=one.base, retry_options=types.HttpRetryOptions(attempts=1))
        keys = more or {"api_key": "test", "vertexai": False}
        clients.append(genai.Client(**keys, http_options=options).aio)
        return clients[-1].models

    yield make
    for client in clients:
        await client.aclose()


async def test_an_answer_has_text_and_usage(start_llm_here, models_of):
    one = await start_llm_here("--cached-share", "0.5", "--reasoning-tokens", "9")
    config = types.GenerateContentConfig(system_instruction="Be brief, please.", max_output_tokens=300)

    answer = await models_of(one).generate_content(**ASKED, config=config)

    (entry,) = (await one.ledger()).entries
    usage = answer.usage_metadata
    assert "nonce:" in answer.text
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (entry.input_tokens, 3)
    assert usage.thoughts_token_count == entry.reasoning_tokens == 9
    assert usage.candidates_token_count + usage.thoughts_token_count == entry.output_tokens
    assert usage.total_token_count == entry.input_tokens + entry.output_tokens


@pytest.mark.parametrize("name", ["response_schema", "response_json_schema"])
async def test_an_answer_fits_the_schema_that_the_client_made(start_llm_here, models_of, name):
    one = await start_llm_here()
    schema = Rating if name == "response_schema" else Rating.model_json_schema()
    config = types.GenerateContentConfig(response_mime_type="application/json", **{name: schema})

    answer = await models_of(one).generate_content(**ASKED, config=config)

    assert Rating.model_validate_json(answer.text)


async def test_a_stream_amounts_to_the_same_answer_with_its_usage(start_llm_here, models_of):
    one = await start_llm_here()
    models = models_of(one)
    whole = await models.generate_content(**ASKED)

    parts = [part async for part in await models.generate_content_stream(**ASKED)]

    assert "".join(part.text or "" for part in parts) == whole.text
    assert NONCE in whole.text
    assert len(parts) > 2
    assert parts[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert parts[-1].usage_metadata.candidates_token_count == (await one.ledger()).entries[1].output_tokens


async def test_a_refusal_is_the_exception_of_a_used_up_quota(start_llm_here, models_of):
    one = await start_llm_here("--requests-per-minute", "1")
    models = models_of(one)
    await models.generate_content(**ASKED)

    with pytest.raises(errors.ClientError) as refused:
        await models.generate_content(**ASKED)

    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    quota, wait = refused.value.details["error"]["details"]
    assert "PerMinute" in quota["violations"][0]["quotaId"]
    assert wait["retryDelay"].endswith("s")


async def test_an_image_and_a_document_count_as_input(start_llm_here, models_of):
    one = await start_llm_here()
    parts = [types.Part.from_bytes(data=data, mime_type=kind) for kind, data in FILES.items()]

    answer = await models_of(one).generate_content(model="gemini-3-flash", contents=[*parts, "hello"])

    (entry,) = (await one.ledger()).entries
    assert answer.usage_metadata.prompt_token_count == entry.input_tokens == 2 * TOKENS + 2


async def test_texts_have_vectors_and_their_tokens(start_llm_here, models_of):
    one = await start_llm_here()
    config = types.EmbedContentConfig(output_dimensionality=8)

    answer = await models_of(one).embed_content(
        model="gemini-embedding-001", contents=["hello", "other"], config=config
    )

    assert [each.values for each in answer.embeddings] == [vector_of("hello", 8), vector_of("other", 8)]
    (entry,) = (await one.ledger()).entries
    assert (answer.usage_metadata.prompt_token_count, entry.output_tokens) == (entry.input_tokens, 0)


@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-001"])
async def test_a_project_has_a_method_for_each_kind_of_model(start_llm_here, models_of, model):
    one = await start_llm_here()
    project = {"vertexai": True, "project": "p", "location": "europe-west1"}
    models = models_of(one, **project, credentials=Credentials("token"))

    answer = await models.embed_content(
        model=model, contents="hello", config=types.EmbedContentConfig(output_dimensionality=8)
    )

    (found,) = answer.embeddings
    (entry,) = (await one.ledger()).entries
    assert (found.values, found.statistics.token_count) == (vector_of("hello", 8), entry.input_tokens)
