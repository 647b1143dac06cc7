"""Schemas for providers whose strict mode accepts fewer keywords than JSON Schema has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.core.messages.values import Json

# Keywords that Anthropic's strict mode rejects, in the words that the description of the field then has. An
# answer is checked against the field in any case.
_IN_WORDS = {"minimum": "at least {}", "maximum": "at most {}", "maxItems": "at most {} items"}


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Json]:
    """Return the schema of a field with its bounds stated in the description, and null as an alternative.

    Source: the transformation in the package anthropic 2.14.0, which its clients apply to every schema.
    """
    kinds = schema.get("type")
    hints = [schema["description"]] if "description" in schema else []
    plain: dict[str, Json] = {}
    for keyword, value in schema.items():
        if keyword in _IN_WORDS:
            hints.append(_IN_WORDS[keyword].format(f"{value:.15g}"))
        elif keyword == "properties":
            plain[keyword] = {name: strict_schema(inner) for name, inner in value.items()}
        elif keyword == "items":
            plain[keyword] = strict_schema(value)
        elif keyword != "description":
            plain[keyword] = value
    if "enum" in plain:
        del plain["type"]  # the values say it
    elif isinstance(kinds, list):
        some = [{**plain, "type": kind} if kind != "null" else {"type": kind} for kind in kinds]
        plain = {"anyOf": some}
    return {**plain, "description": "; ".join(hints)} if hints else plain


def unions(schema: Mapping[str, Any]) -> int:
    """Return the number of unions (`anyOf`) in a strict schema, which providers limit."""
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    if "items" in schema:
        inner.append(schema["items"])
    return ("anyOf" in schema) + sum(map(unions, inner))
