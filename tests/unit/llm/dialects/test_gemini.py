"""Where the dialect `gemini` sends requests, and which parameters it refuses."""

from __future__ import annotations

import pytest

from actors.llm.dialects.gemini import GeminiDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.requests.head import request_headers, request_url

GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
PROJECT = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu"
PUBLISHED = "/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-pro"


def dialect(base_url=GOOGLE, model="gemini-3-flash"):
    return GeminiDialect(EndpointSettings(name="main", base_url=base_url, model=model, api_key="key"))


@pytest.mark.parametrize(
    ("base_url", "model", "path", "key"),
    [
        (GOOGLE, "gemini-3-flash", "/v1beta/models/gemini-3-flash", "x-goog-api-key"),
        (GOOGLE, "tunedModels/mine-1", "/v1beta/tunedModels/mine-1", "x-goog-api-key"),
        (PROJECT, "gemini-2.5-pro", PUBLISHED, "Authorization"),
        (f"{PROJECT}/publishers/google", "gemini-2.5-pro", PUBLISHED, "Authorization"),
        (PROJECT, "endpoints/123", "/v1/projects/p/locations/eu/endpoints/123", "Authorization"),
    ],
)
def test_the_url_names_the_model_and_the_key_is_in_the_header_of_the_service(base_url, model, path, key):
    made = dialect(base_url, model)

    assert request_url(made, stream=False).raw_path == f"{path}:generateContent"
    assert request_url(made, stream=True).raw_path_qs == f"{path}:streamGenerateContent?alt=sse"
    assert "key" in request_headers(made)[key]
    assert (made.models_url() is None) == (base_url != GOOGLE)


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("gemini-3-flash", {"systemInstruction": {}}, "use system"),
        ("gemini-3-flash", {"reasoning_effort": "none"}, "one of minimal, low, medium, high, xhigh"),
        ("gemini-2.5-pro", {"reasoning_effort": "max"}, "one of none, minimal, low, medium, high"),
        ("gemini-3-flash", {"reasoning_effort": "low", "labels": {}}, ""),
    ],
)
def test_a_parameter_that_cannot_be_sent_is_a_problem_with_a_remedy(model, params, said):
    problem = dialect(model=model).problem(params)

    assert (said in problem) if said else problem is None
