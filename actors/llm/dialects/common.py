"""The parameters that every dialect translates or refuses, and objects of a body that parameters extend."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from actors.core.messages.values import Json

_STREAMS = "Headrace streams an answer where it learns from that"
# Members of the usual bodies that Headrace sets, by whatever name the format has, each with the remedy.
RESERVED: Final[Mapping[str, str]] = {
    "messages": "use prompt and system",
    "system": "use system of the step, or of the endpoint",
    "max_tokens": "use max_tokens of the step",
    "max_output_tokens": "use max_tokens of the step",
    "response_format": "use output",
    "n": "a call has one answer",
    "stream": _STREAMS,
    "stream_options": _STREAMS,
}
# Some servers ignore parameters that they do not know. Short names are too much like other ones.
_OFTEN_MISSPELT = ("temperature", "reasoning_effort", "frequency_penalty", "presence_penalty")
_ALIKE = 0.85
_NUMBER, _INTEGER = ("a number", int, float), ("a whole number", int)
_TYPES: Mapping[str, tuple[Any, ...]] = {  # of the parameters that every dialect translates
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _INTEGER,
    "seed": _INTEGER,
    "stop": ("a text or a list of texts", str, list),
    "reasoning_effort": ("a text", str),
}


def value_problem(name: str, value: Json) -> str | None:
    """Return why no endpoint takes the parameter `name` with `value`; None if one may."""
    kinds = _TYPES.get(name)
    if kinds and value is not None and (isinstance(value, bool) or not isinstance(value, kinds[1:])):
        return f"the parameter {name!r} must be {kinds[0]}"
    near = get_close_matches(name, _OFTEN_MISSPELT, 1, _ALIKE)
    if near and name not in _OFTEN_MISSPELT:
        return f"unknown parameter {name!r}: did you mean {near[0]}?"
    return None


def renamed(parameters: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    """Return the parameters that `names` has, under its names."""
    return {names[name]: value for name, value in parameters.items() if name in names}


def stop_list(stop: Json) -> Json:
    """Return the texts that end an answer as a list: a single one may be given without a list."""
    return [stop] if isinstance(stop, str) else stop


def merged(base: Mapping[str, Json], more: Mapping[str, Json]) -> dict[str, Json]:
    """Return `base` with the members of `more`. An object in both has the members of both."""
    result = dict(base)
    for name, value in more.items():
        old = result.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[name] = merged(old, value) if both else value  # type: ignore[arg-type] # both are objects
    return result
