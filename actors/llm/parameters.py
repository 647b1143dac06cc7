"""Checks the parameters of a step: members that it adds to the body of its requests."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from actors.core.messages.values import Json

_STREAMED = "Headrace streams an answer where it learns from that"
_RESERVED = {  # members that Headrace sets, each with the remedy
    "model": "set the model of the endpoint",
    "messages": "use prompt and system",
    "response_format": "use output",
    "max_tokens": "use max_tokens of the step",
    "n": "a call has one answer",
    "stream": _STREAMED,
    "stream_options": _STREAMED,
}


def parameter_problem(parameters: Mapping[str, Json]) -> str | None:
    """Return why `parameters` cannot be members of a request's body, with the remedy; None if they can."""
    for name in parameters:
        if name in _RESERVED:
            return f"params must not contain {name!r}, which Headrace sets: {_RESERVED[name]}"
    try:
        orjson.dumps(dict(parameters))
    except TypeError as error:
        return f"params must be JSON: {error}"
    return None
