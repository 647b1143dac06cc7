"""From the plain values of a file to a validated model, or to every problem at its line and column.

Rule 1: all problems of a file are reported together, in the order of the file.
Rule 2: values are checked strictly: ``true`` is not 1 and ``"5"`` is not 5. What ``${NAME}`` gives is the
exception, since an environment holds only text: it is read as whatever the key wants.
Rule 3: no problem shows a secret: neither the value of a secret key, nor of any environment variable.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from actors.core.censor import Censor
from actors.core.messages.values import Json
from cluster.config.file import Document, read
from cluster.config.problem import ConfigFileError, Mark, Problem, Steps, nearest
from cluster.config.secrets import SECRET_KEYS
from cluster.config.yaml import Node

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


def load_model(
    model: type[Model], path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]
) -> Model:
    """Return the `model` that the YAML file at `path` describes.

    `overrides` are ``a.b=value`` assignments, made in order, before the environment is read: an overridden
    reference need not be set. A list's entry is named by its index or its ``name``.
    Raises `ConfigFileError` with all problems.
    """
    return load_checked(model, path, overrides=overrides, env=env)[0]


def load_checked(
    model: type[Model], path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]
) -> tuple[Model, Document]:
    """Return what `load_model` returns, and the document that it was made of."""
    document = read(path, overrides, env)
    while True:
        try:
            made = model.model_validate_json(json.dumps(document.values), strict=True)
        except ValidationError as error:
            checker = _Checker(document, _schema(model))
            errors = [details for details in error.errors(include_url=False) if not checker.follows(details)]
            found = [checker.problem(details) for details in errors]
            mistyped = [
                where for (where, _), it in zip(found, errors, strict=True) if it["type"] in _MISTYPED
            ]
            if sum(map(document.retype, mistyped)):
                continue
        else:
            found = []
            if not document.problems:
                return made, document
        # What stands for an unset variable is not worth a second problem at the same place.
        shown = document.problems + [problem for where, problem in found if where not in document.broken]
        raise ConfigFileError(tuple(sorted(shown, key=lambda problem: (problem.line, problem.column))))


@functools.lru_cache(maxsize=8)
def _schema(model: type[BaseModel]) -> Json:
    # Generating it takes longer than reading and validating a file: it is made once, and only for problems.
    return model.model_json_schema()


class _Checker:
    """Translates what pydantic found into problems, walking the JSON Schema and the nodes side by side."""

    def __init__(self, document: Document, schema: Json) -> None:
        self._document = document
        self._schema = schema

    def problem(self, error: ErrorDetails) -> tuple[Steps, Problem]:
        """Return where in the values `error` lies, and the error for people."""
        path, node, mark, parent, here = self._locate(error["loc"])
        kind, context = error["type"], error.get("ctx", {})
        message, got, wanted, suggestion = error["msg"], node.describe() if node else None, None, None
        if kind == "missing":
            message, got = "required key is missing", None
        elif kind == "extra_forbidden":
            name, known = str(path[-1]), list(parent.get("properties", {}))
            message, got, suggestion = "unknown key", None, nearest(name, known)
            wanted = None if suggestion else f"one of {', '.join(known)}"
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            key, known = here["discriminator"]["propertyName"], list(here["discriminator"]["mapping"])
            tag = node.value.get(key) if node and isinstance(node.value, dict) else None
            message, got, wanted = "required key is missing", None, f"one of {', '.join(known)}"
            if tag:
                mark, message, got = tag.mark, "unknown kind", tag.describe()
                suggestion = nearest(str(context.get("tag")), known)
            path = (*path, key)
        elif kind == "json_invalid":  # of all that a file can hold, JSON lacks only half a surrogate pair
            message, got = "some text is not valid Unicode", None
        elif kind == "string_pattern_mismatch":
            message, wanted = "wrong form", f"text that matches {context['pattern']}"
            got = str(path[-1]) if error["loc"][-1] == "[key]" else got
        elif message.startswith("Input should be "):
            wanted = message.removeprefix("Input should be ")
            message, wanted = "wrong value", _WORDS.get(wanted, wanted)
            suggestion = nearest(str(error["input"]), here.get("enum", ()))
        message = self._document.censor(message.removeprefix("Value error, "))
        if here.get("format") == "password" or not SECRET_KEYS.isdisjoint(path):
            message = (
                message.replace(str(error["input"]), "...") if isinstance(error["input"], str) else message
            )
            got = None
        if got is not None:
            got = Censor()(got)  # a URL may hold a password
        return path, mark.problem(path, message, got=got, wanted=wanted, suggestion=suggestion)

    def follows(self, error: ErrorDetails) -> bool:
        """Tell whether `error` only follows from others: a list is short because its entries are unsound."""
        node = self._locate(error["loc"])[1]
        return error["type"] == "too_short" and node is not None and bool(node.value)

    def _locate(self, loc: Steps) -> tuple[Steps, Node | None, Mark, Json, Json]:
        # A location of pydantic also holds the tags of the unions it went through; a path has no such steps.
        path: Steps = ()
        node: Node | None = self._document.root
        mark = self._document.root.mark
        parent: Json = {}
        here = self._resolve(self._schema)
        for step in loc:
            tags = here.get("discriminator", {}).get("mapping", {})
            if step in tags:
                here = self._resolve({"$ref": tags[step]})
                continue
            value = node.value if node else None
            known = step in here.get("properties", {})
            if isinstance(value, list) and isinstance(step, int):
                node = value[step]
                mark = node.mark
            elif isinstance(value, dict) and step in value:
                # An unknown key is pointed at itself, a wrong value at the value.
                mark = value[str(step)].mark if known else node.key_marks[str(step)]  # type: ignore[union-attr]
                node = value[str(step)]
            elif known:
                node = None  # a key that is not there: the mark stays that of the mapping which lacks it
            else:
                continue  # a label that pydantic puts in, such as "[key]"
            path = (*path, step)
            parent, here = here, self._below(here, step)
        return path, node, mark, parent, here

    def _below(self, here: Json, step: str | int) -> Json:
        if isinstance(step, int):
            return self._resolve(here.get("items", {}))
        free = here.get("additionalProperties")
        patterns = [*here.get("patternProperties", {}).values(), free if isinstance(free, dict) else {}]
        return self._resolve(here.get("properties", {}).get(step, patterns[0]))

    def _resolve(self, schema: Json) -> Json:
        while True:
            if "$ref" in schema:
                schema = self._schema["$defs"][schema["$ref"].rpartition("/")[2]]
            elif (
                "anyOf" in schema
            ):  # T or null, or a short form and a long one: the structured one has the keys
                schema = max(
                    schema["anyOf"], key=lambda s: 2 * ("$ref" in s or "oneOf" in s) + ("items" in s)
                )
            else:
                return schema
