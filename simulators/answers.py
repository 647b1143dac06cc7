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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from simulators.chance import Draws

Json = Any
Schema = Mapping[str, Any]

_ID: Final = re.compile(r"^\[([^\]\s]+)\]", re.MULTILINE)
_BINDING: Final = frozenset({"enum", "const", "minLength", "maxLength", "pattern"})
_INDIRECT: Final = frozenset({"$ref", "anyOf", "oneOf"})
_ANYTHING: Final[Mapping[str, Any]] = {"type": "string"}  # what is drawn where anything fits
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
    asked = _Asked(Draws(seed, nonce), nonce, text)
    return _sentence(asked) if schema is None else _planned(orjson.dumps(schema))(asked)


def prose(*, seed: int, nonce: str) -> str:
    """Return an answer in words, as a model gives that forgot it was asked for JSON."""
    return f"Certainly! Here is my view. {_sentence(_Asked(Draws(seed, nonce), nonce, ''))}"


# ---- drawing: a schema is read once, and answered a hundred thousand times -------------------------------


class _Asked(NamedTuple):
    """What one answer is drawn from."""

    draws: Draws
    nonce: str
    text: str


_Draw = Callable[[_Asked], Json]  # may raise `SchemaError`


@functools.lru_cache(maxsize=64)
def _planned(schema: bytes) -> _Draw:
    root = orjson.loads(schema)
    return _plan(root, root, 0)


def _plan(schema: Any, root: Schema, depth: int) -> _Draw:
    """Return what draws a value of `schema`, in the order of the schema: the same schema draws the same.

    What is behind a reference or an alternative is looked at when it is drawn: it may lead back here.
    """
    if depth > _MAX_DEPTH:
        raise SchemaError(f"the schema nests deeper than {_MAX_DEPTH} levels")
    if isinstance(schema, dict) and schema.keys() & _INDIRECT:
        return _behind(schema, root, depth)
    return _direct(_plain(schema), root, depth)


def _direct(schema: Schema, root: Schema, depth: int) -> _Draw:  # noqa: PLR0911 - a table of types reads best
    if "const" in schema:
        return lambda _: schema["const"]
    if "enum" in schema:
        return lambda asked: asked.draws.choice(schema["enum"])
    match type_of(schema):
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "string":
            return _string(schema)
        case "integer":
            return _number(schema, whole=True)
        case "number":
            return _number(schema, whole=False)
        case "boolean":
            return lambda asked: asked.draws.number() < 0.5
        case "null":
            return lambda _: None
        case other:
            raise SchemaError(f"type {other!r} is not known")


def _behind(schema: Schema, root: Schema, depth: int) -> _Draw:
    plans: dict[int, _Draw] = {}  # by the identity of a part of `root`, which lives as long as this

    def draw(asked: _Asked) -> Json:
        found = resolve(schema, root, asked.draws)
        plan = plans.get(id(found))
        if plan is None:
            plan = plans[id(found)] = _direct(found, root, depth)
        return plan(asked)

    return draw


def _object(schema: Schema, root: Schema, depth: int) -> _Draw:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in properties]
    rest = schema.get("additionalProperties")
    if missing and rest is False:
        raise SchemaError(f"property {missing[0]!r} is required and not allowed")
    plans = [(name, _plan(inner, root, depth + 1)) for name, inner in properties.items()]
    unnamed = rest if isinstance(rest, dict) else _ANYTHING
    plans += [(name, _plan(unnamed, root, depth + 1)) for name in missing]
    return lambda asked: {name: plan(asked) for name, plan in plans}


def _array(schema: Schema, root: Schema, depth: int) -> _Draw:
    items = schema.get("items", _ANYTHING)
    least = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(least, 3)))
    unique = bool(schema.get("uniqueItems"))
    if most < least:
        raise SchemaError("minItems is more than maxItems")

    @functools.cache  # read when it is needed: a list that cites draws no items, and items may nest for ever
    def item_plan() -> _Draw:
        return _plan(items, root, depth + 1)

    def draw(asked: _Asked) -> list[Json]:
        n = asked.draws.integer(min(max(least, 1), most), most)
        ids = ids_in(asked.text) if _cites(resolve(items, root, asked.draws)) else []
        found: list[Json] = asked.draws.sample(ids, min(n, len(ids)))
        # A list that cites holds no other strings, but where the schema asks for more than there are ids.
        wanted = least if ids else n
        for _ in range(100 * wanted):
            if len(found) >= wanted:
                break
            item = item_plan()(asked)
            if not unique or item not in found:
                found.append(item)
        if len(found) < least:
            raise SchemaError("minItems asks for more different items than were found")
        return found

    return draw


def _cites(items: Schema) -> bool:
    return type_of(items) == "string" and not items.keys() & _BINDING


def _string(schema: Schema) -> _Draw:
    if "pattern" in schema:
        raise SchemaError("pattern is not understood")
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")

    def draw(asked: _Asked) -> str:
        text = _sentence(asked)
        if most is not None and len(text) > most:
            text = f"nonce:{asked.nonce}"[: int(most)]
        return text.ljust(least, ".")

    return draw


def _sentence(asked: _Asked) -> str:
    return f"{asked.draws.choice(_PHRASES)}. nonce:{asked.nonce}"


def _number(schema: Schema, *, whole: bool) -> _Draw:
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    lows = [bound for bound in (schema.get("minimum"), above) if bound is not None]
    highs = [bound for bound in (schema.get("maximum"), below) if bound is not None]
    span = 100 if whole else 1
    low = max(lows) if lows else min(0, min(highs) - span) if highs else 0
    high = min(highs) if highs else max(span, low + span)
    step = schema.get("multipleOf", 1 if whole else None)

    def first_that_fits(*candidates: float) -> float:
        for value in candidates:
            if low <= value <= high and value not in (above, below):
                return value
        raise SchemaError(f"no number lies from {low} to {high}")

    def anywhere(asked: _Asked) -> float:
        drawn = low + (high - low) * asked.draws.number()
        return first_that_fits(round(drawn, 3), drawn, (low + high) / 2)

    if step is None:
        return anywhere
    first, last = math.ceil(low / step), math.floor(high / step)
    first += first * step == above
    last -= last * step == below

    def stepwise(asked: _Asked) -> float:
        value = asked.draws.integer(first, last) * step
        return first_that_fits(int(value) if whole else value)

    return stepwise


def resolve(schema: Any, root: Schema, draws: Draws) -> Schema:
    """Return the plain schema behind references, alternatives and ``true``. Raises `SchemaError`."""
    for _ in range(_MAX_DEPTH):
        plain = _plain(schema)
        if "$ref" in plain:
            schema = _target(str(plain["$ref"]), root)
        elif alternatives := plain.get("anyOf") or plain.get("oneOf"):
            schema = draws.choice(alternatives)
        else:
            return plain
    raise SchemaError("references and alternatives lead to each other")


def _plain(schema: Any) -> Schema:
    if schema is True:
        return _ANYTHING
    if not isinstance(schema, dict):
        raise SchemaError(f"nothing fits the schema {schema!r}")
    return schema


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
