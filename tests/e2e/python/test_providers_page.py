"""Each recipe of docs/providers.md works against a simulator of its provider.

The commands and configurations are read from the page. Only the host of the endpoint is replaced, and the
programs and secrets that they name are made up.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import typer
from ruamel.yaml import YAML
from yarl import URL

import headrace
from actors.llm.presets import presets
from cluster.commands.map import command as map_command
from simulators.ledger import LedgerWriter
from simulators.llm_model import LlmServerSettings
from simulators.llm_server import LlmServer
from simulators.serving import SimulatorServer

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "providers.md").read_text()
ROWS = [{"text": "It works."}, {"text": "It broke."}]
KEY = "key-canary-20af91"
ENV = {
    "OPENAI_API_KEY": KEY,
    "ANTHROPIC_API_KEY": KEY,
    "CO_API_KEY": KEY,
    "JINA_API_KEY": KEY,
    "VOYAGE_API_KEY": KEY,
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "GOOGLE_CLOUD_LOCATION": "europe-west1",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-of-aws",
}
VERTEX = "/v1/projects/my-project/locations/europe-west1/publishers/google"
CLAUDE, NOVA = "eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0", "us.amazon.nova-lite-v1%3A0"
BEARER = ("authorization", f"Bearer {KEY}")
# By heading and number of the recipe: the path of the request, members of its body, and a header.
RECIPES = {
    ("OpenAI", 0): ("/v1/chat/completions", {"response_format", "max_completion_tokens"}, BEARER),
    ("OpenAI, Responses API", 0): ("/v1/responses", {"text", "reasoning", "max_output_tokens"}, BEARER),
    ("Azure OpenAI", 0): (
        "/openai/v1/chat/completions",
        {"response_format", "max_completion_tokens"},
        ("api-key", KEY),
    ),
    ("Anthropic", 0): ("/v1/messages", {"output_config", "max_tokens"}, ("x-api-key", KEY)),
    ("Gemini", 0): (
        "/v1beta/models/gemini-2.5-flash:",
        {"generationConfig"},
        ("x-goog-api-key", KEY),
    ),
    ("Vertex AI", 0): (f"{VERTEX}/models/gemini-2.5-flash:", {"generationConfig"}, BEARER),
    ("Amazon Bedrock", 0): (
        f"/model/{CLAUDE}/converse",
        {"outputConfig"},
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/"),
    ),
    ("Amazon Bedrock", 1): (f"/model/{NOVA}/converse", {"toolConfig"}, BEARER),
    ("Groq", 0): ("/openai/v1/chat/completions", {"response_format", "max_completion_tokens"}, BEARER),
    ("Mistral", 0): ("/v1/chat/completions", {"response_format", "max_tokens"}, BEARER),
    ("Together", 0): ("/v1/chat/completions", {"response_format", "max_tokens"}, BEARER),
    ("OpenRouter", 0): ("/v1/chat/completions", {"response_format", "max_tokens"}, BEARER),
    ("DeepSeek", 0): ("/v1/chat/completions", {"response_format", "max_tokens"}, BEARER),
    ("Cohere", 0): ("/v2/rerank", {"model", "query", "documents"}, BEARER),
    ("Jina", 0): ("/v1/rerank", {"model", "query", "documents"}, BEARER),
    ("Voyage", 0): ("/v1/rerank", {"model", "query", "documents"}, BEARER),
    ("Voyage", 1): ("/v1/embeddings", {"model", "input", "output_dimension", "encoding_format"}, BEARER),
    ("Ollama", 0): (
        "/v1/chat/completions",
        {"response_format", "max_tokens"},
        ("authorization", "Bearer none"),
    ),
    ("vLLM", 0): (
        "/v1/chat/completions",
        {"response_format", "max_tokens"},
        ("authorization", "Bearer none"),
    ),
    ("SGLang", 0): (
        "/v1/chat/completions",
        {"response_format", "max_tokens"},
        ("authorization", "Bearer none"),
    ),
    ("A gateway of your own", 0): ("/v1/chat/completions", {"response_format", "max_tokens"}, BEARER),
    ("Several at once", 0): ("/v1/", set(), ("", "")),
}
# The simulator serves chat completions at /v1 only.
SIMULATED_AT = {"openrouter.ai": "/v1", "api.deepseek.com": "/v1"}
COLUMNS = {"mood": "good | bad"}
COLUMN = ["mood: good | bad"]


def recipes():
    """Return the blocks of the page by heading and number, each with its language."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        for number, block in enumerate(re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)):
            found[heading, number] = block
    return found


@asynccontextmanager
async def simulator():
    """Serve all dialects, and yield the URL, the ledger and the requests: path, query, headers, body."""
    requests = []
    with LedgerWriter(None) as ledger:
        server = LlmServer(LlmServerSettings(latency_s=0.001), ledger)

        async def handle(request):
            if request.method == "POST":
                headers = {name.lower(): value for name, value in request.headers.items()}
                body = orjson.loads(await request.read())
                requests.append((request.rel_url, headers, body))
            return await server.handle(request)

        serving = SimulatorServer(handle)
        listening = await asyncio.get_running_loop().create_server(serving, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", ledger, requests
        listening.close()
        await serving.shutdown(0.1)


def at(host, url):
    """Return `url` at the simulator."""
    found = URL(url)
    return host + SIMULATED_AT.get(found.host, found.path.rstrip("/"))


def base_url(model):
    """Return the URL of a model's preset, with the environment."""
    preset = presets()[model.partition(":")[0]]
    return os.path.expandvars(preset.base_url or "https://my-resource.openai.azure.com")


def arguments_of(script):
    """Return the arguments of `map` in a script, and set what it exports."""
    for name, value in re.findall(r"^export (\w+)=(.*)$", script, re.MULTILINE):
        os.environ[name] = KEY if "..." in value else value
    [line] = re.findall(r"^headrace map (.*)$", script, re.MULTILINE)
    command = typer.main.get_command(map_command.app)
    return command.make_context("map", shlex.split(line)).params


@pytest.fixture
def place(place, monkeypatch):
    """Return the working directory, with programs that print a token, and an environment without keys."""
    for name in [name for preset in presets().values() for name in (*preset.key_env, *preset.base_url_env)]:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", *re.findall(r"export (\w+)=", PAGE)):
        monkeypatch.setenv(name, "unset")  # restores it after the test
        monkeypatch.delenv(name)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    for name in ("gcloud", "my-login"):
        (place / name).write_text(f"#!/bin/sh\necho {KEY}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def test_every_recipe_is_tried():
    assert set(recipes()) == set(RECIPES)


@pytest.mark.parametrize(("heading", "number"), RECIPES)
async def test_the_recipe_works(place, heading, number):
    language, text = recipes()[heading, number]
    path, members, (header, value) = RECIPES[heading, number]
    options = {}
    async with simulator() as (host, ledger, requests):
        if language == "sh":
            given = arguments_of(text)
            assert (given["data"], given["column"]) in (("reviews.csv", COLUMN), ("reviews.csv", ()))
            prompt, model, embed = given["prompt"], given["model"], given["embed"]
            (place / "one.yaml").write_text("")
            options = {"model": model, "base_url": at(host, base_url(model))}
            options |= {"embed": embed, "params": {"dimensions": 256}} if embed else {}
        else:
            prompt = "Classify: {text}"
            document = YAML(typ="safe", pure=True).load(text)
            for endpoint in document["llm"]["endpoints"]:
                endpoint["base_url"] = at(host, endpoint.get("base_url") or base_url(endpoint["model"]))
            if "evaluate" in document:
                document["tasks"] = {
                    "kind": "inline",
                    "tasks": [{"key": row["text"], "params": row} for row in ROWS],
                }
            (place / "one.yaml").write_bytes(orjson.dumps(document))
            options = {"config": "one.yaml"}
        if path.endswith("/rerank"):
            run = await headrace.arun("one.yaml")
            made = [*run.items()]
        else:
            made = await headrace.amap(ROWS, prompt, None if "embed" in options else COLUMNS, **options)

    assert [row["_error"] for row in made] == [None] * len(ROWS)
    if path.endswith("/rerank"):
        assert [row["relevance"] for row in made] == [1.0, 0.5]
    elif "embed" in options:
        assert [len(row["embedding"]) for row in made] == [256, 256]
    else:
        assert all(row["mood"] in {"good", "bad"} for row in made)
    assert ledger.sums.billed == len(ROWS)
    for url, headers, body in requests:
        assert url.raw_path.startswith(path)
        assert members <= set(body)
        is_any = body.get("response_format") == {"type": "json_object"}
        assert is_any == (heading == "DeepSeek")
        assert headers.get(header, "").startswith(value)
        if heading == "A gateway of your own":
            assert (headers["x-team"], headers["x-cost-center"], url.query["tenant"]) == (
                "reviews",
                "none",
                "7",
            )
