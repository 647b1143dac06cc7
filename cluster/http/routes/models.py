"""The body of a request, validated, and described for the OpenAPI document.

Rule: a caller names a task and gives it values. No address, path, query or import can come from a request.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from actors.core.messages.values import Json, Priority
from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem, Fault

_KEY_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+$"
Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=limits.KEY_CHARACTERS,
        pattern=_KEY_PATTERN,
        description="names the task; no control characters; without one, a key is made",
        examples=["review-1"],
    ),
]


class TaskRequest(BaseModel):
    """One task."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    key: Key | None = None
    params: Annotated[
        dict[str, Any], Field(description="your own values, usable in templates by name", max_length=1000)
    ] = Field(default_factory=dict)
    priority: Annotated[
        Literal["interactive", "batch"] | None,
        Field(description="single tasks: interactive, which goes first"),
    ] = None
    deadline_s: Annotated[
        float | None,
        Field(gt=0, le=limits.DEADLINE_S, description="seconds from acceptance to the end; else configured"),
    ] = None

    @field_validator("params")
    @classmethod
    def _params_are_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if _depth(value) > limits.PARAMS_DEPTH:
            raise ValueError(f"nested deeper than {limits.PARAMS_DEPTH}")
        if len(orjson.dumps(value)) > limits.PARAMS_BYTES:
            raise ValueError(f"larger than {limits.PARAMS_BYTES:,} bytes")
        return value

    @classmethod
    def checked(cls, value: Json) -> Self:
        """Return the request in a JSON document. Raises `ApiProblem` 422, with every fault."""
        if not isinstance(value, dict):
            raise ApiProblem(422, "invalid", "the body is not a task", (Fault("", "must be an object"),))
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise invalid(error) from error

    def digest(self) -> str:
        """Return a digest that distinguishes this request from others."""
        return hashlib.sha256(orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def ranked(self, default: Priority) -> Priority:
        """Return the requested priority, else `default`."""
        return default if self.priority is None else Priority[self.priority.upper()]


def invalid(error: ValidationError) -> ApiProblem:
    """Return the errors of pydantic as a problem, with every fault."""
    faults = tuple(
        Fault("/" + "/".join(_escaped(str(step)) for step in each["loc"]), each["msg"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:100]
    )
    return ApiProblem(422, "invalid", "the body does not fit; see errors", faults)


def parsed(data: bytes) -> Json:
    """Return a JSON document. Raises `ApiProblem` 400 for other text, lone surrogates and NaN included."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApiProblem(400, "not-json", f"not valid JSON at {place}: {error.msg}") from error


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")[:200]


def _depth(value: Json) -> int:
    """Return how deep a document is nested, without recursion: depth is what it protects from."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return deepest - 1
