"""The URLs of Azure OpenAI: the API v1, and that of a version."""

from __future__ import annotations

import pytest

from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.requests.head import query_of, request_url

HOST = "https://res.openai.azure.com"
DATED = {"api-version": "2025-04-01-preview"}
CALL = f"{HOST}/openai/deployments/gpt%2F5/chat/completions?api-version=2025-04-01-preview"


@pytest.mark.parametrize(
    ("base_url", "query", "url", "models"),
    [
        (HOST, {}, f"{HOST}/openai/v1/chat/completions", f"{HOST}/openai/v1/models"),
        (f"{HOST}/openai/v1/", {}, f"{HOST}/openai/v1/chat/completions", f"{HOST}/openai/v1/models"),
        (
            f"{HOST}/openai/v1",
            {"api-version": "preview"},
            f"{HOST}/openai/v1/chat/completions?api-version=preview",
            f"{HOST}/openai/v1/models",
        ),
        (HOST, DATED, CALL, f"{HOST}/openai/models"),
        (f"{HOST}/openai", DATED, CALL, f"{HOST}/openai/models"),
        (f"{HOST}/openai/deployments/gpt%2F5", DATED, CALL, f"{HOST}/openai/models"),
        (f"{HOST}/openai/deployments/gpt%2F5/chat/completions", DATED, CALL, f"{HOST}/openai/models"),
    ],
)
def test_the_url_names_the_deployment_if_there_is_a_version(base_url, query, url, models):
    described = {"name": "e", "dialect": "azure", "base_url": base_url, "model": "gpt/5", "query": query}
    dialect = dialect_of(EndpointSettings.model_validate(described))
    assert str(request_url(dialect, stream=False)) == url
    assert dialect.models_url() == models
    assert query_of(dialect) == query
