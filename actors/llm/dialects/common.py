"""The parameters that every dialect translates, and objects of a body that parameters extend."""

from __future__ import annotations

from collections.abc import Mapping

from actors.core.messages.values import Json


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
