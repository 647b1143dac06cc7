"""Finds the endpoint that `map` asks, by the name of a model.

sim                    the simulated model: free, its answers mean nothing
PROVIDER:NAME          the preset PROVIDER, such as openai, with its key, such as OPENAI_API_KEY
NAME with a base URL   any server that speaks chat completions; key: HEADRACE_API_KEY or OPENAI_API_KEY
NAME with a section    the endpoint NAME of the section `llm` of a configuration, or the one with this model
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.core.errors import ConfigError
from cluster.config.problem import nearest

if TYPE_CHECKING:
    from actors.llm.presets import Preset

SIMULATED = "sim"
_KEYS = ("HEADRACE_API_KEY", "OPENAI_API_KEY")
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
    if url is None and model == SIMULATED:
        return {**kept, "simulator": dict(section.get("simulator") or {})}, None
    listed = section.get("endpoints") or []
    if url is None and (known := _of_section(model, listed)):
        return dict(section), known
    if url is None and listed and ":" not in model:
        raise ConfigError(f"-m {model}: the configuration has no such endpoint; {_names(model, listed)}")
    return {**kept, "endpoints": [_endpoint(choice, model, env)]}, None


def _without_model(choice: ModelChoice) -> Section:
    if choice.base_url is not None:
        raise ConfigError(f"--base-url {choice.base_url} needs the name of a model: -m NAME")
    if choice.section is None:
        raise ConfigError(f"no model is named; give {_WAYS}")
    return dict(choice.section)


def _preset(choice: ModelChoice, model: str) -> Preset | None:
    """Return the preset that the prefix of `model` names. Raises `ConfigError` for an unknown one."""
    if ":" not in model:
        return None
    from cluster.config.presets import UnknownPresetError, preset_of  # noqa: PLC0415 - loads ruamel.yaml

    try:
        found = preset_of(model, has_url=choice.base_url is not None)
    except UnknownPresetError as error:
        raise ConfigError(f"-m {model}: {error}; or give --base-url URL") from error
    return None if found is None else found[0]


def _endpoint(choice: ModelChoice, model: str, env: Mapping[str, str]) -> Section:
    url, key = choice.base_url, choice.api_key_env
    made = {"name": "main", "model": model}
    preset = _preset(choice, model)
    if preset is None and url is None:
        raise ConfigError(f"-m {model}: {_unplaced(model)}")
    if preset is not None and key is None and (name := preset.missing_key(env)):
        raise ConfigError(f"-m {model}: the environment variable {name} is not set")
    if preset is None and key is None:
        key = next((each for each in _KEYS if env.get(each)), None)
    if url is not None:
        made["base_url"] = url
    return {**made, "api_key": f"${{{key}}}"} if key else made


def _unplaced(model: str) -> str:
    if nearest(model, (SIMULATED, "simulator", "simulated")):
        return "unknown model; did you mean -m sim?"
    from actors.llm.presets import prefixed, presets  # noqa: PLC0415 - loads ruamel.yaml

    prefix, _, name = model.partition("/")
    named = prefixed(name) or (f"{prefix}:{name}" if name and prefix in presets() else None)
    named = named or prefixed(model) or f"openai:{model}"
    return f"nothing says where this model is served; write -m {named}, or give --base-url URL"


def _of_section(model: str, endpoints: Sequence[Mapping[str, Any]]) -> str | None:
    for member in ("name", "model"):
        for endpoint in endpoints:
            if endpoint.get(member) == model:
                return str(endpoint.get("name"))
    return None


def _names(model: str, endpoints: Sequence[Mapping[str, Any]]) -> str:
    known = [str(endpoint.get("name")) for endpoint in endpoints]
    near = nearest(model, known)
    return f"did you mean {near}?" if near else f"known: {', '.join(known)}"
