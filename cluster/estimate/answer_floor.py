"""The fewest tokens of an answer: those of the shortest document that the schema of its form allows."""

from __future__ import annotations

import orjson

from actors.core.messages.values import Json

_MOST_BYTES = 6  # of a token, averaged over a short JSON document: quotes and braces have tokens of their own
_FEWEST = {"string": 2, "array": 2, "boolean": 4, "null": 4}  # bytes, by type


def fewest_tokens(response_format: bytes | None) -> int:
    """Return the fewest tokens of an answer in this format, as it stands in a request; 1 for plain text."""
    if response_format is None:
        return 1
    return max(1, _fewest_bytes(orjson.loads(response_format)["json_schema"]["schema"]) // _MOST_BYTES)


def _fewest_bytes(schema: Json) -> int:
    """Return the bytes of the shortest JSON value of a schema. An unknown kind counts as one digit."""
    if "enum" in schema:
        return min(len(orjson.dumps(choice)) for choice in schema["enum"])
    kinds = schema.get("type")
    others = [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else schema.get("anyOf")
    if others:
        return min(map(_fewest_bytes, others))
    return _FEWEST.get(kinds, 1) if kinds != "object" else _fewest_bytes_of_object(schema)


def _fewest_bytes_of_object(schema: Json) -> int:
    properties = schema.get("properties", {})
    needed = [name for name in schema.get("required", ()) if name in properties]
    members = [len(orjson.dumps(name)) + 1 + _fewest_bytes(properties[name]) for name in needed]
    return 2 + sum(members) + max(0, len(members) - 1)
