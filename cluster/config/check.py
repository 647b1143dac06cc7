"""Validates the plain values of a file, and gives every problem its line and column.

Rule 1: all problems of a file are reported together, in the order of the file.
Rule 2: validation is strict: ``true`` is not 1 and ``"5"`` is not 5. The value of ``${NAME}`` is the
exception, since an environment holds only text: it is read as the type of the key.
Rule 3: no problem shows a secret: neither the value of a secret key, nor of any environment variable.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from actors.core.censor import Censor
from actors.core.messages.values import Json
from cluster.config.base import NOT_HERE
from cluster.config.file import Document, read
from cluster.config.paths import KeyPath, value_at
from cluster.config.problem import ConfigFileError, ConfigProblem, nearest
from cluster.config.secrets import SECRET_KEYS
from cluster.config.yaml import ParsedYaml, described

Model = TypeVar("Model", bound=BaseModel)

_MISTYPED = frozenset({"int_type", "float_type", "bool_type"})
_WORDS = {
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
}


def load_checked(
    model: type[Model],
    path: Path,
    *,
    overrides: Sequence[str] = (),
    env: Mapping[str, str],
    extended: Callable[[Document], type[Model]] | None = None,
) -> tuple[Model, Document]:
    """Return the `model` that the YAML file at `path` describes, and the document that `read` makes of it.

    `extended` returns the model to check instead, and may add problems to the document. Raises
    `ConfigFileError` with all problems.
    """
    document = read(path, overrides, env)
    model = model if extended is None else extended(document)
    while True:
        found: list[tuple[KeyPath, ConfigProblem]] = []
        try:
            made = model.model_validate_json(json.dumps(document.values), strict=True)
        except ValidationError as error:
            errors = [each for each in error.errors(include_url=False) if not _follows(each)]
            found = [_problem(document, _schema(model), each) for each in errors]
            mistyped = [
                place for (place, _), each in zip(found, errors, strict=True) if each["type"] in _MISTYPED
            ]
            if sum(map(document.retype, mistyped)):
                continue
        # The text in place of an unset variable causes no second problem at the same path.
        known = {problem.path for problem in document.problems}
        shown = document.problems + [problem for _, problem in found if problem.path not in known]
        if not shown:
            return made, document
        raise ConfigFileError(tuple(sorted(shown, key=lambda problem: (problem.line, problem.column))))


def _follows(error: ErrorDetails) -> bool:
    """Tell whether `error` only follows from others: a list is short because its entries are invalid."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _problem(document: Document, schema: Json, error: ErrorDetails) -> tuple[KeyPath, ConfigProblem]:
    """Return the path of `error`, and the error in words for people."""
    parsed = document.parsed
    path, here, around = _located(parsed.value, schema, error["loc"])
    kind, context, message = error["type"], error.get("ctx", {}), error["msg"]
    got, wanted, suggestion = None if kind == NOT_HERE else _shown(parsed, path), None, None
    position = parsed.position(path)
    if kind == "missing":
        message = "required key is missing"
    elif kind == "extra_forbidden":
        known = [key for each in around for key in each.get("properties", ())]
        message, got, suggestion = "unknown key", None, nearest(str(path[-1]), known)
        wanted = None if suggestion else f"one of {', '.join(known)}"
        position = parsed.key_position(path)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        union = next(each["discriminator"] for each in here if "discriminator" in each)
        path, known = (*path, union["propertyName"]), list(union["mapping"])
        message, got, wanted = "required key is missing", None, f"one of {', '.join(known)}"
        if kind == "union_tag_invalid":
            message, got = "unknown kind", _shown(parsed, path)
            suggestion = nearest(context["tag"], known)
        position = parsed.position(path)
    elif kind == "json_invalid":  # of all that a file can hold, JSON lacks only half a surrogate pair
        message, got = "some text is not valid Unicode", None
    elif kind == "string_pattern_mismatch":
        message, wanted = "wrong form", f"text that matches {context['pattern']}"
        if error["loc"][-1] == "[key]":
            got, position = str(path[-1]), parsed.key_position(path)
    elif message.startswith("Input should be "):
        wanted = message.removeprefix("Input should be ")
        message, wanted = "wrong value", _WORDS.get(wanted, wanted)
        suggestion = nearest(str(error["input"]), re.findall("'(.*?)'", context.get("expected", "")))
    message = document.censor(message.removeprefix("Value error, "))
    if not SECRET_KEYS.isdisjoint(path) or any(each.get("format") == "password" for each in here):
        message = message.replace(error["input"], "...") if isinstance(error["input"], str) else message
        got = None
    return path, position.problem(path, message, got=got, wanted=wanted, suggestion=suggestion)


def _shown(parsed: ParsedYaml, path: KeyPath) -> str | None:
    value = value_at(parsed.value, path)
    return None if value is None else Censor()(described(value))  # a URL may hold a password


# ---- places in the values and the schema -----------------------------------------------------------------


def _located(values: Json, root: Json, loc: KeyPath) -> tuple[KeyPath, list[Json], list[Json]]:
    """Return the path of pydantic's `loc`, the schemas of the value there, and those of the value around it.

    `loc` also holds the tags of unions, and labels such as "[key]". A path has no such steps.
    """
    path: KeyPath = ()
    here = around = list(_variants(root, root))
    for step in loc:
        tags = [tag for each in here if (tag := each.get("discriminator", {}).get("mapping", {}).get(step))]
        below = [{"$ref": tag} for tag in tags] or [each for one in here for each in _below(one, step)]
        if not tags:
            child = value_at(values, (step,))
            if child is None and (isinstance(step, int) or not below):
                continue  # a label
            path, values, around = (*path, step), child, here
        here = [variant for schema in below for variant in _variants(schema, root)]
    return path, here, around


def _below(schema: Json, step: str | int) -> Iterator[Json]:
    if isinstance(step, int):
        found = [schema.get("items")]
    elif step in schema.get("properties", {}):
        found = [schema["properties"][step]]
    else:
        found = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    yield from (each for each in found if isinstance(each, dict))


def _variants(schema: Json, root: Json) -> Iterator[Json]:
    """Yield the schemas that `schema` stands for: the target of a reference, the alternatives of a choice."""
    if "$ref" in schema:
        yield from _variants(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema or ("oneOf" in schema and "discriminator" not in schema):
        for each in schema.get("anyOf") or schema["oneOf"]:
            yield from _variants(each, root)
    else:
        yield schema


@functools.lru_cache(maxsize=8)
def _schema(model: type[BaseModel]) -> Json:
    # It takes longer to make than a file to read and validate. It is made only for problems, and once.
    return model.model_json_schema()
