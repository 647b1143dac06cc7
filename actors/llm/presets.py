"""The providers that Headrace knows. `presets.yaml` holds what is known of each, with its source and date."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.core.messages.values import Json

_FILE = Path(__file__).with_name("presets.yaml")
_NO_KEY = "none"
_REFERENCE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule:
    """Keys of an endpoint for the models whose name matches `match`."""

    match: str
    keys: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider: its URLs, keys and models. `presets.yaml` describes the members."""

    name: str
    source: str
    date: str
    dialect: str
    base_url: str | None = None
    base_url_env: tuple[str, ...] = ()
    regions: Mapping[str, Any] = field(default_factory=dict)
    names: str | None = None
    key_env: tuple[str, ...]
    needs_key: bool = True
    query_env: Mapping[str, str] = field(default_factory=dict)
    prices: str | None = None
    keys: Mapping[str, Json] = field(default_factory=dict)
    models: tuple[ModelRule, ...] = ()

    def endpoint_keys(self, model: str, env: Mapping[str, str]) -> dict[str, Json]:
        """Return the keys of an endpoint for `model`. Keys and URLs in `env` are references, ``${NAME}``."""
        made: dict[str, Json] = {
            "preset": self.name,
            "dialect": self.dialect,
            "base_url": self._base_url(env),
            "api_key": self._api_key(env),
        }
        query = {name: f"${{{variable}}}" for name, variable in self.query_env.items() if env.get(variable)}
        if query:
            made["query"] = query
        made |= self.keys
        for rule in self.models:
            if re.match(rule.match, model):
                made |= rule.keys
        return made

    def missing_key(self, env: Mapping[str, str]) -> str | None:
        """Return the environment variable of the key if a key is needed and none is set."""
        is_set = any(env.get(name) for name in self.key_env)
        return None if is_set or not self.needs_key else self.key_env[0]

    def _base_url(self, env: Mapping[str, str]) -> str:
        name = _first_set(self.base_url_env, env)
        region = env.get(self.regions.get("variable", ""))
        if name is None and region in self.regions.get("urls", {}):
            return _filled(self.regions["urls"][region], env)
        if name is None and self.base_url is not None:
            return _filled(self.base_url, env)
        return f"${{{name or self.base_url_env[0]}}}"

    def _api_key(self, env: Mapping[str, str]) -> str:
        name = _first_set(self.key_env, env) or self.key_env[0]
        return f"${{{name}}}" if self.needs_key else f"${{{name}:-{_NO_KEY}}}"


@functools.cache
def presets() -> Mapping[str, Preset]:
    """Return all presets by their names, which are the prefixes of models."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - loading it takes longer than most commands

    document = YAML(typ="safe", pure=True).load(_FILE)
    return {name: _preset(name, members) for name, members in document.items()}


def prefixed(model: str) -> str | None:
    """Return `model` with the prefix of the provider whose models have such names, None if none is known."""
    for preset in presets().values():
        if preset.names is not None and re.match(preset.names, model):
            return f"{preset.name}:{model}"
    return None


def _preset(name: str, members: Mapping[str, Any]) -> Preset:
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in members.items()
    }
    given["date"] = str(given["date"])
    given["models"] = tuple(ModelRule(**rule) for rule in given.get("models", ()))
    return Preset(name=name, **given)


def _filled(url: str, env: Mapping[str, str]) -> str:
    """Return `url` with regions and projects, which are no secrets. References of unset variables stay."""
    return _REFERENCE.sub(lambda found: env.get(found[1]) or found[0], url)


def _first_set(names: tuple[str, ...], env: Mapping[str, str]) -> str | None:
    return next((name for name in names if env.get(name)), None)
