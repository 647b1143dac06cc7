"""Converts a JSON Schema, or a Python type that has one, to the fields of an answer.

Rule 1: A keyword that cannot be checked is an error, with its place. An answer that the schema forbids would
    otherwise be accepted.
Rule 2: Every field is required. A property that may be left out is always asked for; it may be null only if
    the schema says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.column_words import Spec
from actors.runtime.user_modules import imported

_MAX_DEPTH = 20
_MAX_SPECS = 2000
_ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "example"),
        *("examples", "deprecated", "readOnly", "writeOnly"),
    }
)
# For each type: its keywords, and the keyword of a field that has the same meaning.
_KEYWORDS: Mapping[str, Mapping[str, str]] = {
    "string": {"maxLength": "max_length"},
    "integer": {"minimum": "min", "maximum": "max"},
    "number": {"minimum": "min", "maximum": "max"},
    "boolean": {},
    "array": {"items": "", "maxItems": "max_items"},
    "object": {"properties": "", "required": "", "additionalProperties": ""},
}


class JsonSchemaError(ConfigError):
    """A JSON Schema cannot become fields. The message has a line for each problem."""

    def __init__(self, what: str, problems: tuple[str, ...]) -> None:
        super().__init__(what, problems)
        self.what = what
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{self.what}: {problem}" for problem in self.problems)


def fields_of_type(made: Any) -> dict[str, Spec]:
    """Return the fields of a pydantic model, a dataclass or a TypedDict. Raises `JsonSchemaError`."""
    what = getattr(made, "__name__", str(made))
    try:
        schema = TypeAdapter(made).json_schema(mode="validation")
    except Exception as error:  # the type may have code of the user
        raise JsonSchemaError(what, (f"it has no JSON Schema: {str(error).splitlines()[0]}",)) from error
    return fields_of_schema(schema, what)


def fields_of_path(path: str) -> dict[str, Spec]:
    """Return the fields of the type at ``package.module:Name``. Raises `ConfigError`. Runs the module."""
    return fields_of_type(imported(path))


def fields_of_schema(schema: Mapping[str, Json], what: str = "json_schema") -> dict[str, Spec]:
    """Return the fields of a JSON Schema, whose root must be an object. Raises `JsonSchemaError`."""
    conversion = _SchemaConversion(schema)
    try:
        root = conversion.field(schema, "")
    except RecursionError:
        raise JsonSchemaError(what, ("the schema is too deep",)) from None
    if not conversion.problems and root.get("type") != "object":
        conversion.problems.append(
            f"the root must be an object with properties, not {root['type']}: put it into a property"
        )
    if not conversion.problems and root.get("nullable"):
        conversion.problems.append("the root must not be null")
    if conversion.problems:
        raise JsonSchemaError(what, tuple(conversion.problems))
    fields: dict[str, Spec] = root["fields"]
    return fields


class _SchemaConversion:
    """One conversion, with the problems found so far."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self.problems: list[str] = []
        self._root = root
        self._open: list[str] = []  # references that are being followed
        self._specs = 0

    def field(self, schema: Json, place: str) -> Spec:
        """Return the field of `schema`, which stands at `place`."""
        self._specs += 1
        if self._specs > _MAX_SPECS or place.count(".") > _MAX_DEPTH:
            return self._problem(place, "the schema is too large or too deep")
        if not isinstance(schema, Mapping):
            return self._problem(place, "a schema must be a mapping")
        if "$ref" in schema:
            return self._referred(schema, place)
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                return self._alternative(schema, keyword, place)
        spec = self._plain(schema, place)
        described = schema.get("description")
        return {**spec, "description": described} if isinstance(described, str) and described else spec

    def _problem(self, place: str, text: str) -> Spec:
        self.problems.append(f"{place.removeprefix('.')}: {text}" if place else text)
        return {"type": "string"}

    def _referred(self, schema: Mapping[str, Json], place: str) -> Spec:
        ref = str(schema["$ref"])
        if ref in self._open:
            return self._problem(place, f"{ref} contains itself: an answer needs a fixed depth")
        target: Json = self._root
        for step in ref.removeprefix("#/").split("/"):
            target = (
                target.get(step.replace("~1", "/").replace("~0", "~"))
                if isinstance(target, Mapping)
                else None
            )
        if not ref.startswith("#/") or target is None:
            return self._problem(place, f"{ref} is not in this schema")
        self._open.append(ref)
        spec = self.field(target, place)
        self._open.pop()
        described = schema.get("description")
        return {**spec, "description": described} if described else spec

    def _alternative(self, schema: Mapping[str, Json], keyword: str, place: str) -> Spec:
        entries = schema[keyword] if isinstance(schema[keyword], list) else []
        some = [entry for entry in entries if entry != {"type": "null"}]
        if len(some) != 1 or (keyword == "allOf" and len(entries) != 1):
            return self._problem(
                place, f"{keyword} of {len(some)} types: a field has one type, and may be null beside it"
            )
        around = {key: value for key, value in schema.items() if key != keyword}
        spec = self.field({**around, **some[0]} if isinstance(some[0], Mapping) else some[0], place)
        return {**spec, "nullable": True} if len(some) < len(entries) else spec

    def _plain(self, schema: Mapping[str, Json], place: str) -> Spec:
        kinds = schema.get("type")
        kinds = list(kinds) if isinstance(kinds, list) else [kinds]
        nullable = {"nullable": True} if "null" in kinds and len(kinds) > 1 else {}
        some = [kind for kind in kinds if kind != "null" or len(kinds) == 1]
        if "enum" in schema or "const" in schema:
            return {**self._choices(schema, place), **nullable}
        kind = some[0] if len(some) == 1 else None
        if kind == "string" and schema.get("format") == "date":
            self._check_keywords({**schema, "format": None}, {"format": ""}, place)
            return {"type": "date", **nullable}
        if kind not in _KEYWORDS:
            return self._problem(place, f"type {kinds[0] if len(kinds) == 1 else kinds} cannot be a field")
        return {**self._of_kind(str(kind), schema, place), **nullable}

    def _of_kind(self, kind: str, schema: Mapping[str, Json], place: str) -> Spec:
        known = _KEYWORDS[kind]
        spec: Spec = {"type": kind}
        limits = _inclusive(schema) if kind == "integer" else schema
        self._check_keywords(limits, known, place)
        for keyword, name in known.items():
            if name and limits.get(keyword) is not None:
                value = limits[keyword]
                spec[name] = int(value) if kind != "number" and value == int(value) else value
        if kind == "array":
            if "items" not in schema:
                return self._problem(place, "an array needs items")
            spec["items"] = self.field(schema["items"], f"{place}.items")
        if kind == "object":
            properties = schema.get("properties")
            if not isinstance(properties, Mapping) or not properties:
                return self._problem(place, "an object needs properties: an answer has fixed names")
            if schema.get("additionalProperties") not in (None, False, True):
                self._problem(place, "additionalProperties cannot be asked for: an answer has fixed names")
            spec["fields"] = {
                name: self.field(below, f"{place}.{name}") for name, below in properties.items()
            }
        return spec

    def _choices(self, schema: Mapping[str, Json], place: str) -> Spec:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        choices = [value for value in values if value is not None] if isinstance(values, list) else []
        self._check_keywords(schema, {"enum": "", "const": ""}, place)
        if not choices or not all(isinstance(choice, str) for choice in choices):
            return self._problem(place, "choices must be strings")
        nullable = {"nullable": True} if len(choices) < len(values) else {}
        return {"type": "string", "choices": list(dict.fromkeys(choices)), **nullable}

    def _check_keywords(self, schema: Mapping[str, Json], known: Mapping[str, str], place: str) -> None:
        for keyword in schema:
            if keyword not in known and keyword not in _ANNOTATIONS and keyword != "type":
                self._problem(place, f"{keyword} cannot be checked; remove it, or say it in the description")


def _inclusive(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the schema of an integer with inclusive bounds."""
    changed = dict(schema)
    for exclusive, inclusive, step in (
        ("exclusiveMinimum", "minimum", 1),
        ("exclusiveMaximum", "maximum", -1),
    ):
        bound = changed.get(exclusive)
        if isinstance(bound, int) and not isinstance(bound, bool):
            del changed[exclusive]
            known = changed.get(inclusive, bound + step)
            changed[inclusive] = max(known, bound + step) if step > 0 else min(known, bound + step)
    return changed
