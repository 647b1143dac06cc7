"""Expands the model of an endpoint, such as ``openai:gpt-5-mini``, into the keys of its preset.

Rule 1: Keys that the user gives win over those of the preset.
Rule 2: The document receives the keys before references are expanded, so that a stored configuration holds
    ``${OPENAI_API_KEY}`` and not the key. It names the preset, so that it is not expanded a second time.
Rule 3: A name with a colon at an explicit ``base_url`` stays as it is unless its prefix is known: some
    servers have models such as ``llama3:8b``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.llm.presets import Preset, prefixed, presets
from cluster.config.paths import KeyPath, value_at
from cluster.config.problem import nearest
from cluster.config.yaml import ParsedYaml, Quoted

# The tag of a model of Ollama. `mistral:7b` is one of its models, and no model of the provider Mistral.
_TAG = re.compile(r"(latest|instruct|text|\d+(\.\d+)?[bm])\b", re.IGNORECASE)
_UNUSED_URL = "http://localhost"


class UnknownPresetError(ConfigError):
    """No preset has this prefix. The message has the nearest one, or all."""


def preset_of(model: str, *, has_url: bool) -> tuple[Preset, str] | None:
    """Return the preset that the prefix of `model` names, and the rest of the name; None without a prefix.

    `has_url`: whether the user says where the model is served. Raises `UnknownPresetError`.
    """
    prefix, colon, name = model.partition(":")
    if not (colon and name):
        return None
    preset = presets().get(prefix)
    if preset is not None and not (has_url and _TAG.match(name)):
        return preset, name
    if has_url:
        return None
    if _TAG.match(name):
        hint = f"did you mean ollama:{model}?"
    elif named := prefixed(name):
        hint = f"did you mean {named}?"
    elif near := nearest(prefix, presets()):
        hint = f"did you mean {near}:{name}?"
    else:
        hint = f"known: {', '.join(presets())}"
    raise UnknownPresetError(f"unknown provider {prefix!r}: {hint}")


def expand(parsed: ParsedYaml, env: Mapping[str, str]) -> None:
    """Add to each endpoint in `parsed` the keys of its preset, and to its problems an unknown prefix."""
    endpoints = value_at(parsed.value, ("llm", "endpoints"))
    for index, endpoint in enumerate(endpoints if isinstance(endpoints, list) else ()):
        if isinstance(endpoint, dict) and isinstance(endpoint.get("model"), str):
            _expand(parsed, ("llm", "endpoints", index), endpoint, env)


def _expand(parsed: ParsedYaml, path: KeyPath, endpoint: dict[str, Json], env: Mapping[str, str]) -> None:
    found = _preset(parsed, path, endpoint)
    if found is None:
        if "base_url" not in endpoint and (near := prefixed(endpoint["model"])):
            place = (*path, "base_url")
            message = f"required key is missing; or did you mean model: {near}?"
            parsed.problems.append(parsed.position(place).problem(place, message))
        return
    preset, model = found
    position = parsed.position((*path, "model"))
    endpoint["model"] = Quoted(model)
    for key, value in preset.endpoint_keys(model, env).items():
        is_needed = key != "api_key" or "credentials" not in endpoint
        if key not in endpoint and is_needed:
            endpoint[key] = _written(value)
            parsed.replace((*path, key), position)


def _preset(parsed: ParsedYaml, path: KeyPath, endpoint: dict[str, Json]) -> tuple[Preset, str] | None:
    model, named = endpoint["model"], endpoint.get("preset")
    prefix, _, name = model.partition(":")
    is_prefixed = bool(name) and prefix in presets() and not _TAG.match(name)
    if isinstance(named, str) and named in presets():
        if not is_prefixed or prefix == named:
            return presets()[named], name if prefix == named and name else model
        place = (*path, "model")
        message = f"{prefix} is another provider than preset, which is {named}; remove one"
        problem = parsed.position(place).problem(place, message, got=model)
    elif isinstance(named, str):
        place = (*path, "preset")
        wanted = f"one of {', '.join(presets())}"
        near = nearest(named, presets())
        problem = parsed.position(place).problem(
            place, "unknown preset", got=named, wanted=None if near else wanted, suggestion=near
        )
    else:
        try:
            return preset_of(model, has_url="base_url" in endpoint)
        except UnknownPresetError as error:
            place = (*path, "model")
            problem = parsed.position(place).problem(place, f"{error}; or give base_url")
    parsed.problems.append(problem)
    endpoint.setdefault("base_url", _UNUSED_URL)  # its absence is no second problem
    return None


def _written(value: Json) -> Json:
    """Return `value` as `ParsedYaml` holds it: scalars are text."""
    if isinstance(value, Mapping):
        return {name: _written(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    return Quoted(value) if isinstance(value, str) else str(value).lower()
