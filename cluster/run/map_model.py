"""Finds the endpoint that `map` asks, by the name of a model.

sim                    the simulated model: free, its answers mean nothing
openai:NAME            OPENAI_BASE_URL or https://api.openai.com/v1, with the key OPENAI_API_KEY
NAME with a base URL   any OpenAI-compatible server, with the key HEADRACE_API_KEY or OPENAI_API_KEY
NAME with a section    the endpoint NAME of the section `llm` of a configuration, or the one with this model
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.core.errors import ConfigError
from cluster.config.problem import nearest

SIMULATED = "sim"
_KEYS = ("HEADRACE_API_KEY", "OPENAI_API_KEY")
_OPENAI_URL = "https://api.openai.com/v1"
_PROVIDERS = ("openai",)
_WAYS = (
    "-m sim (a simulated model: free, its answers mean nothing), -m openai:NAME, -m NAME --base-url URL, or "
    "--config FILE with a section `llm`"
)

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The arguments that choose a model. `section` is the section `llm` of a configuration."""

    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    section: Mapping[str, Any] | None = None


def endpoint_of(choice: ModelChoice, env: Mapping[str, str]) -> tuple[Section, str | None]:
    """Return the section `llm`, and the name of the endpoint to ask, None for all.

    Raises `ConfigError` if no model, or an unknown one, is named.
    """
    model, url, key = choice.model, choice.base_url, choice.api_key_env
    if key is not None and not env.get(key):
        raise ConfigError(f"--api-key-env {key}: this environment variable is not set")
    if model is None:
        return _without_model(choice), None
    section = choice.section or {}
    kept = {name: value for name, value in section.items() if name not in ("endpoints", "simulator")}
    if url is not None:
        return {**kept, "endpoints": [_endpoint(model, url, key, env)]}, None
    if model == SIMULATED:
        return {**kept, "simulator": dict(section.get("simulator") or {})}, None
    provider, _, name = model.partition(":")
    if provider in _PROVIDERS and name:
        url = env.get("OPENAI_BASE_URL") or _OPENAI_URL
        return {**kept, "endpoints": [_endpoint(name, url, key or _openai_key(model, env), env)]}, None
    if section.get("endpoints"):
        return dict(section), _of_section(model, section["endpoints"])
    raise ConfigError(f"-m {model}: {_unknown(provider, name)}")


def _without_model(choice: ModelChoice) -> Section:
    if choice.base_url is not None:
        raise ConfigError(f"--base-url {choice.base_url} needs the name of a model: -m NAME")
    if choice.section is None:
        raise ConfigError(f"no model is named; give {_WAYS}")
    return dict(choice.section)


def _unknown(provider: str, name: str) -> str:
    if name:
        near = nearest(provider, _PROVIDERS)
        hint = f"did you mean {near}:{name}?" if near else f"known: {', '.join(_PROVIDERS)}"
        return f"unknown provider {provider!r}: {hint}; or give --base-url URL"
    if nearest(provider, (SIMULATED, "simulator", "simulated")):
        return "unknown model; did you mean -m sim?"
    return f"nothing says where this model is served; write -m openai:{provider}, or give --base-url URL"


def _openai_key(model: str, env: Mapping[str, str]) -> str:
    if not env.get("OPENAI_API_KEY"):
        raise ConfigError(f"-m {model}: the environment variable OPENAI_API_KEY is not set")
    return "OPENAI_API_KEY"


def _endpoint(model: str, base_url: str, key: str | None, env: Mapping[str, str]) -> Section:
    name = key or next((each for each in _KEYS if env.get(each)), None)
    made = {"name": "main", "base_url": base_url, "model": model}
    return {**made, "api_key": f"${{{name}}}"} if name else made


def _of_section(model: str, endpoints: list[Mapping[str, Any]]) -> str:
    for member in ("name", "model"):
        for endpoint in endpoints:
            if endpoint.get(member) == model:
                return str(endpoint.get("name"))
    known = [str(endpoint.get("name")) for endpoint in endpoints]
    near = nearest(model, known)
    hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
    raise ConfigError(f"-m {model}: the configuration has no such endpoint; {hint}")
