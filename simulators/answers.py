"""The content of simulated answers: values that fit a JSON Schema, or miss it on purpose. Pure.

Content depends on the seed and the messages alone, so a question has the same answer in every run. Every free
string in it contains ``nonce:`` and a digest of the messages (`nonce_of`), by which a checker recognizes the
answer to a question. A list of strings cites ids that the prompt lists at the beginnings of lines, as
``[some-id] text``.

The supported part of JSON Schema is that of strict structured output: types, ``enum``, ``const``, bounds,
``anyOf``/``oneOf``, ``$ref`` within the document. ``pattern`` is an error.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from simulators.chance import Draws

Json = Any
Schema = Mapping[str, Any]

_LENGTH: Final = re.compile(r"at most (\d+) characters")
_LEAST: Final = re.compile(r"at least (-?[\d.]+(?:e[+-]?\d+)?)")
_MOST: Final = re.compile(r"at most (-?[\d.]+(?:e[+-]?\d+)?)(?! characters)")
_ID: Final = re.compile(r"^\[([^\]\s]+)\]", re.MULTILINE)
_BINDING: Final = frozenset({"enum", "const", "minLength", "maxLength", "pattern"})
_ANYTHING: Final[Schema] = {"type": "string"}  # drawn for a schema that everything fits
_MAX_DEPTH: Final = 12
_USUAL_ITEMS: Final = 6  # a model does not fill a list of at most 100 items
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
    """No answer is possible: the schema contradicts itself or uses an unsupported keyword."""


def contents(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the text of each message. Parts that are not text are skipped."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts.append("".join(str(part["text"]) for part in content if "text" in part))
    return texts


def nonce_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the 16 hexadecimal digits that every answer to `messages` has after ``nonce:``."""
    return hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def ids_in(text: str) -> list[str]:
    """Return the ids that `text` lists, each once, in order."""
    return list(dict.fromkeys(_ID.findall(text)))


def compose(schema: Schema | None, *, seed: int, nonce: str, text: str) -> Json:
    """Return an answer to the prompt `text`: a value that fits `schema`, or a sentence if that is None.

    Raises `SchemaError`.
    """
    sketch = _Sketch(Draws(seed, nonce), nonce, text, schema or {})
    return _sentence(sketch) if schema is None else _value(schema, sketch, 0)


def prose(*, seed: int, nonce: str) -> str:
    """Return prose, as a model does that ignores the response format."""
    return f"Certainly! Here is my view. {_sentence(_Sketch(Draws(seed, nonce), nonce, '', {}))}"


# ---- answers that fit ------------------------------------------------------------------------------------


class _Sketch(NamedTuple):
    """The inputs of one answer. `root` is the document that references point into."""

    draws: Draws
    nonce: str
    text: str
    root: Schema


def _value(schema: Any, sketch: _Sketch, depth: int) -> Json:  # noqa: PLR0911 - a table of types
    if depth > _MAX_DEPTH:
        raise SchemaError(f"the schema nests deeper than {_MAX_DEPTH} levels")
    plain = resolve(schema, sketch.root, sketch.draws)
    if choices := [plain["const"]] if "const" in plain else plain.get("enum"):
        return sketch.draws.choice(choices)
    match type_of(plain):
        case "object":
            return _object(plain, sketch, depth)
        case "array":
            return _array(plain, sketch, depth)
        case "string":
            return _string(plain, sketch)
        case "integer":
            return _number(plain, sketch.draws, whole=True)
        case "number":
            return _number(plain, sketch.draws, whole=False)
        case "boolean":
            return sketch.draws.number() < 0.5
        case "null":
            return None
        case other:
            raise SchemaError(f"type {other!r} is not known")


def _object(schema: Schema, sketch: _Sketch, depth: int) -> Json:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in properties]
    rest = schema.get("additionalProperties")
    if missing and rest is False:
        raise SchemaError(f"property {missing[0]!r} is required and not allowed")
    unnamed = dict.fromkeys(missing, rest if isinstance(rest, dict) else _ANYTHING)
    return {name: _value(inner, sketch, depth + 1) for name, inner in {**properties, **unnamed}.items()}


def _array(schema: Schema, sketch: _Sketch, depth: int) -> list[Json]:
    items = schema.get("items", _ANYTHING)
    least = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(least, 3)))
    if most < least:
        raise SchemaError("minItems is more than maxItems")
    n = sketch.draws.integer(min(max(least, 1), most), min(most, max(least, _USUAL_ITEMS)))
    ids = ids_in(sketch.text) if _cites(resolve(items, sketch.root, sketch.draws)) else []
    found: list[Json] = sketch.draws.sample(ids, min(n, len(ids)))
    # A list that cites has other strings only if the schema requires more items than there are ids.
    wanted = least if ids else n
    for _ in range(100 * wanted):
        if len(found) >= wanted:
            break
        item = _value(items, sketch, depth + 1)
        if item not in found or not schema.get("uniqueItems"):
            found.append(item)
    if len(found) < least:
        raise SchemaError("minItems asks for more different items than were found")
    return found


def _cites(items: Schema) -> bool:
    return type_of(items) == "string" and not items.keys() & _BINDING


def _string(schema: Schema, sketch: _Sketch) -> str:
    if "pattern" in schema:
        raise SchemaError("pattern is not supported")
    told = str(
        schema.get("description", "")
    )  # strict modes take no formats and lengths: models read them here
    if schema.get("format") == "date" or "YYYY-MM-DD" in told:
        year, month, day = (sketch.draws.integer(*span) for span in ((2000, 2026), (1, 12), (1, 28)))
        return f"{year}-{month:02}-{day:02}"
    if "a JSON value" in told:
        return orjson.dumps({"note": _sentence(sketch)}).decode()
    text, length = _sentence(sketch), _LENGTH.search(told)
    most = schema.get("maxLength", None if length is None else int(length[1]))
    if most is not None and len(text) > most:
        text = f"nonce:{sketch.nonce}"[: int(most)]
    return text.ljust(int(schema.get("minLength", 0)), ".")


def _sentence(sketch: _Sketch) -> str:
    return f"{sketch.draws.choice(_PHRASES)}. nonce:{sketch.nonce}"


def _number(schema: Schema, draws: Draws, *, whole: bool) -> float:
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    lows = [bound for bound in (schema.get("minimum"), above) if bound is not None]
    highs = [bound for bound in (schema.get("maximum"), below) if bound is not None]
    span = 100 if whole else 1
    low = max(lows) if lows else min(0, min(highs) - span) if highs else 0
    high = min(highs) if highs else max(span, low + span)
    step = schema.get("multipleOf", 1 if whole else None)
    if step is None:
        drawn = low + (high - low) * draws.number()
        candidates = [round(drawn, 3), drawn, (low + high) / 2]
    else:
        first, last = math.ceil(low / step), math.floor(high / step)
        first += first * step == above
        last -= last * step == below
        value = draws.integer(first, last) * step
        candidates = [int(value) if whole else value]
    for value in candidates:
        if low <= value <= high and value not in (above, below):
            return value
    raise SchemaError(f"no number lies from {low} to {high}")


def with_stated_bounds(schema: Schema) -> Schema:
    """Return `schema` with the bounds that its descriptions state, as a model reads them there."""
    found, told = dict(schema), str(schema.get("description", ""))
    if "properties" in schema:
        found["properties"] = {name: with_stated_bounds(each) for name, each in schema["properties"].items()}
    if "items" in schema:
        found["items"] = with_stated_bounds(schema["items"])
    if "anyOf" in schema:
        found["anyOf"] = [with_stated_bounds({"description": told, **each}) for each in schema["anyOf"]]
    kind, least, most = schema.get("type"), _LEAST.search(told), _MOST.search(told)
    if kind in ("number", "integer"):
        found |= {"minimum": float(least[1])} if least else {}
        found |= {"maximum": float(most[1])} if most else {}
    elif kind == "array" and most:
        found["maxItems"] = int(most[1])
    return found


def resolve(schema: Any, root: Schema, draws: Draws) -> Schema:
    """Return the plain schema behind references, alternatives and ``true``. Raises `SchemaError`."""
    for _ in range(_MAX_DEPTH):
        if schema is True:
            return _ANYTHING
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
    """Return the type of the values of `schema`; the first if there are several."""
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


# ---- answers that do not fit -----------------------------------------------------------------------------


def violate_type(value: Json) -> Json:
    """Return `value` with its first member, or the value itself, changed to another type."""
    if isinstance(value, dict) and value:
        name = next(iter(value))
        wrong = 7 if isinstance(value[name], list | dict | str) else ["not what was asked for"]
        return {**value, name: wrong}
    return None if value is not None else 0


def violate_range(value: Json, schema: Schema) -> Json:
    """Return `value` with one number, choice or list out of bounds, or of a wrong type if it has none."""
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
