"""Writes a column of the grammar for a mapping form of a field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from actors.core.messages.values import Json
from actors.core.task.column_words import FLOAT_RANGES, TYPE_WORDS, Spec, choice_text, is_type_word

_DEFAULTS: Mapping[str, Json] = {"max_length": 10_000, "max_items": 100, "nullable": False, "description": ""}


def spelled(name: str, spec: Mapping[str, Any]) -> str:
    """Return the column of a mapping form. `parse_column` returns the same form without its defaults."""
    given = _without_defaults(spec)
    described = str(given.pop("description", "")).strip()
    head = f"{name}?" if given.pop("nullable", False) else name
    written = _type_text(given)
    if written is None:
        head = f"{head}: {json.dumps(given, ensure_ascii=False)}"
    elif written != "str" or not described:
        head = f"{head}: {written}"
    return f"{head} = {described}" if described else head


def _without_defaults(spec: Mapping[str, Any]) -> Spec:
    given = {key: value for key, value in spec.items() if value is not None and value != _DEFAULTS.get(key)}
    if isinstance(given.get("items"), Mapping):
        given["items"] = _without_defaults(given["items"])
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


def _type_text(spec: Mapping[str, Any]) -> str | None:
    """Return the type in the grammar, None if only the JSON form can express it."""
    for word, known in TYPE_WORDS.items():
        if spec == known:
            return word
    match spec:
        case {"type": "string", "choices": [*choices], **other} if choices and not other:
            return _choices_text(choices)
        case {"type": "integer", "min": int(low), "max": int(high), **other} if not other:
            return None if (low, high) in FLOAT_RANGES else f"{low}..{high}"
        case {"type": "number", "min": low, "max": high, **other} if not other:
            is_known = (low, high) in FLOAT_RANGES
            return f"{low:g}..{high:g}" if is_known else f"{float(low)!r}..{float(high)!r}"
        case {"type": "array", "items": items, **other} if not other:
            inner = _type_text(items)
            return None if inner is None or inner.startswith("{") else f"list[{inner}]"
    return None


def _choices_text(choices: Sequence[str]) -> str:
    written = [choice_text(choice) for choice in choices]
    return " | ".join(
        map(json.dumps, choices) if len(choices) == 1 or all(map(is_type_word, written)) else written
    )
