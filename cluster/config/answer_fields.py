"""Brings every way to write `output` of a step to one: a mapping of names to field definitions.

Accepted are field definitions, columns in the grammar of `actors.core.task.columns`, ``module:Model`` and
``{json_schema: ...}`` with a file or a schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import InitErrorDetails

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.columns import ColumnError, parse_entry
from actors.llm.fields import FieldSpec
from actors.llm.json_schema import JsonSchemaError, fields_of_path, fields_of_schema
from actors.runtime.user_modules import IMPORT_PATH
from cluster.config.base import FieldName, problem_at, raise_all

_MAX_SCHEMA_BYTES = 1 << 20
# The context in which a configuration from a store is validated: no module is imported and no file opened.
STORED = "stored"
_Path: TypeAlias = tuple[str | int, ...]


class JsonSchemaOutput(BaseModel):
    """The fields of an answer, as a JSON Schema."""

    model_config = ConfigDict(extra="forbid")

    json_schema: Annotated[
        str | dict[str, Json],
        Field(description="a file with a JSON Schema, or the schema; its root is an object"),
    ]


def _expanded(value: Any, info: ValidationInfo) -> Any:
    """Return the mapping form of `output`. Raises with the place of every problem."""
    is_named = isinstance(value, str) or (isinstance(value, Mapping) and set(value) == {"json_schema"})
    if is_named and info.context == STORED:
        raise ValueError("a stored configuration names a module or a file, which is not opened")
    if isinstance(value, str):
        if not re.fullmatch(IMPORT_PATH, value):
            raise ValueError(
                "output must be a mapping of fields, or the import path of a model: module:Model"
            )
        return _explained(fields_of_path, value)
    if isinstance(value, Mapping) and set(value) == {"json_schema"}:
        return _explained(_fields_of_json_schema, value["json_schema"])
    if not isinstance(value, Mapping):
        return value
    problems: list[InitErrorDetails] = []
    fields = _entries(value, problems, ())
    raise_all(problems)
    return _tupled(fields)


def _explained(make: Callable[[Any], dict[str, Any]], value: Any) -> Any:
    try:
        return _tupled(make(value))
    except JsonSchemaError as error:
        raise_all([problem_at(f"{error.what}: {problem}") for problem in error.problems])
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _entries(value: Mapping[Any, Any], problems: list[InitErrorDetails], at: _Path) -> dict[Any, Any]:
    """Return the fields of a mapping, which stands at `at`. Adds the place of every problem to `problems`."""
    fields: dict[Any, Any] = {}
    for key, entry in value.items():
        name, spec = key, entry
        if isinstance(entry, str):
            name, spec = _column(str(key), entry, problems, (*at, key))
        elif not isinstance(entry, Mapping | BaseModel):
            problem = "a field is a mapping, or text such as 1..5 = how good"
            if entry is None:
                problem += "; YAML ends an entry at a comma within { }: separate choices with |"
            problems.append(problem_at(problem, *at, key))
        if name in fields:
            problems.append(problem_at(f"the name {name!r} is taken by an earlier field", *at, key))
        fields[name] = _nested(spec, problems, (*at, key))
    return fields


def _nested(spec: Any, problems: list[InitErrorDetails], at: _Path) -> Any:
    """Return a field definition whose items and fields are field definitions too."""
    if not isinstance(spec, Mapping):
        return spec
    inner: dict[str, Any] = {}
    items, fields = spec.get("items"), spec.get("fields")
    if isinstance(items, str):
        _, items = _column("items", items, problems, (*at, "items"))
    if items is not None:
        inner["items"] = _nested(items, problems, (*at, "items"))
    if isinstance(fields, Mapping):
        inner["fields"] = _entries(fields, problems, (*at, "fields"))
    return {**spec, **inner}


def _column(key: str, text: str, problems: list[InitErrorDetails], at: _Path) -> tuple[str, Any]:
    try:
        return parse_entry(key, text)
    except ColumnError as error:
        meant = f"; did you mean {error.suggestion}?" if error.suggestion else ""
        problems.append(problem_at(f"{error.problem}{meant}", *at))
        return key, text


def _fields_of_json_schema(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return fields_of_schema(given)
    if not isinstance(given, str):
        raise ConfigError("json_schema must be a file or a mapping")
    path = Path(given)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SCHEMA_BYTES + 1)
        if len(data) > _MAX_SCHEMA_BYTES:
            raise ConfigError(f"{path} has more than {_MAX_SCHEMA_BYTES:,} bytes")
        schema = json.loads(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"{path} is not a JSON Schema: its root must be a mapping")
    return fields_of_schema(schema, str(path))


def _tupled(value: Any) -> Any:
    # Strict mode accepts only tuples from a validator.
    match value:
        case Mapping():
            return {key: _tupled(entry) for key, entry in value.items()}
        case list():
            return tuple(map(_tupled, value))
    return value


Output = Annotated[
    Annotated[dict[FieldName, FieldSpec], Field(min_length=1, max_length=100)],
    BeforeValidator(
        _expanded,
        json_schema_input_type=Annotated[str, Field(pattern=IMPORT_PATH)]
        | JsonSchemaOutput
        | Annotated[
            dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\??$")], FieldSpec | str],
            Field(min_length=1, max_length=100),
        ],
    ),
]
