"""What a simulated model says: content that fits the JSON Schema it is given, or just does not. Pure.

Content depends on the seed and the messages alone, so the same question has the same answer in every run.
Every free string in it holds ``nonce:`` and a digest of the messages (`nonce_of`), so a checker can tell an
answer to this question from an answer to another. A list of strings cites ids that the prompt lists at the
beginnings of lines, as ``[some-id] text``.

The part of JSON Schema that is understood is that of strict structured output: types, ``enum``, ``const``,
bounds, ``anyOf``/``oneOf``, ``$ref`` within the document. What would be needed and is not understood
(``pattern``) is an error, not a guess.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from simulators.chance import Draws

Json = Any
Schema = Mapping[str, Any]

_ID: Final = re.compile(r"^\[([^\]\s]+)\]", re.MULTILINE)
_BINDING: Final = frozenset({"enum", "const", "minLength", "maxLength", "pattern"})
_BOUNDS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
_MAX_DEPTH: Final = 12
_PHRASES: Final = (
    "Clear strengths outweigh the gaps",
    "The evidence points both ways",
    "Several accounts agree on the main point",
    "Reliable so far, with one open question",
    "A recurring complaint deserves attention",
    "Better than its reputation suggests",
    "Too little is said to be sure",
    "The tone is positive throughout",
)


class SchemaError(ValueError):
    """The schema cannot be answered: it is contradictory, or asks for something that is not understood."""


def contents(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the text of each message; parts of a message that are no text count as nothing."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts.append("".join(str(part["text"]) for part in content if "text" in part))
    return texts


def nonce_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the 16 hexadecimal digits that every answer to `messages` carries after ``nonce:``."""
    return hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def ids_in(text: str) -> list[str]:
    """Return the ids that `text` lists, each once, in their order."""
    return list(dict.fromkeys(_ID.findall(text)))


def compose(schema: Schema | None, *, seed: int, nonce: str, text: str) -> Json:
    """Return an answer to the prompt `text`: a value that fits `schema`, or a sentence where there is none.

    Raises `SchemaError`.
    """
    model = _Model(Draws(seed, nonce), nonce, text, schema or {})
    return model.value(schema, 0) if schema is not None else model.sentence()


def prose(*, seed: int, nonce: str) -> str:
    """Return an answer in words, as a model gives that forgot it was asked for JSON."""
    return f"Certainly! Here is my view. {_Model(Draws(seed, nonce), nonce, '', {}).sentence()}"


class _Model:
    """Draws one answer. The order of draws is the order of the schema, so the same schema draws the same."""

    def __init__(self, draws: Draws, nonce: str, text: str, root: Schema) -> None:
        self._draws = draws
        self._nonce = nonce
        self._text = text
        self._root = root

    def sentence(self) -> str:
        return f"{self._draws.choice(_PHRASES)}. nonce:{self._nonce}"

    def value(self, schema: Any, depth: int) -> Json:  # noqa: C901, PLR0911 - a table of types reads best
        if depth > _MAX_DEPTH:
            raise SchemaError(f"the schema nests deeper than {_MAX_DEPTH} levels")
        schema = resolve(schema, self._root, self._draws)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._draws.choice(schema["enum"])
        match type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema)
            case "integer":
                return _number(schema, self._draws, whole=True)
            case "number":
                return _number(schema, self._draws, whole=False)
            case "boolean":
                return self._draws.number() < 0.5
            case "null":
                return None
            case other:
                raise SchemaError(f"type {other!r} is not known")

    def _object(self, schema: Schema, depth: int) -> dict[str, Json]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        missing = [name for name in required if name not in properties]
        found = {name: self.value(properties[name], depth + 1) for name in properties}
        if missing and schema.get("additionalProperties") is False:
            raise SchemaError(f"property {missing[0]!r} is required and not allowed")
        rest = schema.get("additionalProperties")
        for name in missing:
            found[name] = self.value(rest if isinstance(rest, dict) else {"type": "string"}, depth + 1)
        return found

    def _array(self, schema: Schema, depth: int) -> list[Json]:
        items = schema.get("items", {"type": "string"})
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 3)))
        if most < least:
            raise SchemaError("minItems is more than maxItems")
        n = self._draws.integer(min(max(least, 1), most), most)
        ids = ids_in(self._text) if self._cites(items) else []
        found: list[Json] = self._draws.sample(ids, min(n, len(ids)))
        # A list that cites holds no other strings, but where the schema asks for more than there are ids.
        wanted = least if ids else n
        for _ in range(100 * wanted):
            if len(found) >= wanted:
                break
            item = self.value(items, depth + 1)
            if not schema.get("uniqueItems") or item not in found:
                found.append(item)
        if len(found) < least:
            raise SchemaError("minItems asks for more different items than were found")
        return found

    def _cites(self, items: Any) -> bool:
        items = resolve(items, self._root, self._draws)
        return type_of(items) == "string" and not items.keys() & _BINDING

    def _string(self, schema: Schema) -> str:
        if "pattern" in schema:
            raise SchemaError("pattern is not understood")
        text = self.sentence()
        most = schema.get("maxLength")
        if most is not None and len(text) > most:
            text = f"nonce:{self._nonce}"[: int(most)]
        return text.ljust(int(schema.get("minLength", 0)), ".")


def resolve(schema: Any, root: Schema, draws: Draws) -> Schema:
    """Return the plain schema behind references, alternatives and ``true``. Raises `SchemaError`."""
    for _ in range(_MAX_DEPTH):
        if schema is True:
            return {"type": "string"}
        if not isinstance(schema, dict):
            raise SchemaError(f"nothing fits the schema {schema!r}")
        if "$ref" in schema:
            schema = _target(str(schema["$ref"]), root)
        elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
            schema = draws.choice(alternatives)
        else:
            return schema
    raise SchemaError("references and alternatives lead to each other")


def type_of(schema: Schema) -> str:
    """Return the type that a value of `schema` shall have; of several, the first."""
    named = schema.get("type")
    if isinstance(named, list):
        named = named[0]
    if named is not None:
        return str(named)
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _target(reference: str, root: Schema) -> Schema:
    if not reference.startswith("#"):
        raise SchemaError(f"reference {reference!r} leads out of the schema")
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise SchemaError(f"reference {reference!r} leads nowhere")
        found = found[name]
    return found  # type: ignore[no-any-return] # `resolve` checks what it is


def _number(schema: Schema, draws: Draws, *, whole: bool) -> float:
    range_ = _range(*[schema.get(bound) for bound in _BOUNDS], whole=whole)
    if range_.steps is None:
        drawn = range_.low + (range_.high - range_.low) * draws.number()
        candidates: tuple[float, ...] = (round(drawn, 3), drawn, (range_.low + range_.high) / 2)
    else:
        step, first, last = range_.steps
        value = draws.integer(first, last) * step
        candidates = (int(value) if whole else value,)
    for value in candidates:
        if range_.low <= value <= range_.high and value not in (range_.above, range_.below):
            return value
    raise SchemaError(f"no number lies from {range_.low} to {range_.high}")


class _Range(NamedTuple):
    """Where a number may lie, `above` and `below` excluded. `steps`: what it is a multiple of, and which."""

    low: float
    high: float
    above: float | None
    below: float | None
    steps: tuple[float, int, int] | None


@functools.lru_cache(maxsize=1024, typed=True)  # asked for by each answer, and the same in all of a run
def _range(
    least: float | None,
    above: float | None,
    most: float | None,
    below: float | None,
    step: float | None,
    *,
    whole: bool,
) -> _Range:
    lows = [bound for bound in (least, above) if bound is not None]
    highs = [bound for bound in (most, below) if bound is not None]
    span = 100 if whole else 1
    low = max(lows) if lows else min(0, min(highs) - span) if highs else 0
    high = min(highs) if highs else max(span, low + span)
    if step is None and whole:
        step = 1
    if step is None:
        return _Range(low, high, above, below, None)
    first, last = math.ceil(low / step), math.floor(high / step)
    first += first * step == above
    last -= last * step == below
    return _Range(low, high, above, below, (step, first, last))


# ---- answers that do not fit -----------------------------------------------------------------------------


def violate_type(value: Json) -> Json:
    """Return `value` with the first thing in it that can be wrong made a thing of another type."""
    if isinstance(value, dict) and value:
        name = next(iter(value))
        return {
            **value,
            name: 7 if isinstance(value[name], list | dict | str) else ["not what was asked for"],
        }
    return None if value is not None else 0


def violate_range(value: Json, schema: Schema) -> Json:
    """Return `value` with one number, choice or list out of bounds; of a wrong type where there are none."""
    changed = _out_of_range(value, schema, schema)
    return violate_type(value) if changed is None else changed


def _out_of_range(value: Json, schema: Schema, root: Schema) -> Json | None:  # noqa: PLR0911 - one return per bound
    if "$ref" in schema:
        schema = _target(str(schema["$ref"]), root)
    if "enum" in schema:
        return "none of the choices"
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if "maximum" in schema:
            return schema["maximum"] + 1
        return schema["minimum"] - 1 if "minimum" in schema else None
    if isinstance(value, list) and "maxItems" in schema:
        return [*value, *([value[0] if value else "one more"] * (int(schema["maxItems"]) + 1 - len(value)))]
    if isinstance(value, dict):
        for name, part in value.items():
            changed = _out_of_range(part, schema.get("properties", {}).get(name, {}), root)
            if changed is not None:
                return {**value, name: changed}
    return None
