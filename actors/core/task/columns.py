"""The column grammar: one line of text that names an output column, its type and its description.

    column := NAME ["?"] [":" type] ["=" description, to the end]
    type   := str | int | float | bool | date | json       (also string, integer, number, boolean, text)
            | a .. b                                       integers, or floats if a or b has a point
            | choice "|" choice { "|" choice }             case is kept
            | list[ type ]
            | { JSON }                                     the mapping form of ``evaluate.output``

Rule 1: The first ``:`` or ``=`` after the name decides what follows. Commas have no meaning.
Rule 2: ``?`` after the name permits null. It stands there because a choice may end in ``?``.
Rule 3: A choice with one of ``| = " [ ] { }`` is written as a JSON string.
Rule 4: ``0..1`` and ``-1..1`` are floats. As integers they would have two or three values.
Rule 5: An error about a likely slip suggests a column, and that column is valid.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.texts import cut

Spec = dict[str, Json]  # the mapping form of a field in ``evaluate.output``

MAX_CHARACTERS = 20_000
_MAX_NAME = 64
_MAX_LISTS = 8  # nested lists
_MOST_SHOWN = 200  # characters of a column in a message
_MAX_SLIP = 1_000  # characters: patterns of slips take long for long text
_WORDS: Mapping[str, Spec] = {
    "str": {"type": "string"},
    "string": {"type": "string"},
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "integer": {"type": "integer"},
    "float": {"type": "number"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "boolean": {"type": "boolean"},
    "date": {"type": "date"},
    "json": {"type": "string", "format": "json"},
}
_KNOWN = "str, int, float, bool, date, json, 1..5, a | b, list[str]"
_DEFAULTS: Mapping[str, Json] = {"max_length": 10_000, "max_items": 100, "nullable": False, "description": ""}
_FLOAT_RANGES = ((0, 1), (-1, 1))

_COLUMN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(?:(\?)\s*)?(?:([:=])(.*))?", re.DOTALL)
_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENED = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)  # to the end if the quote is not closed
_SPELLED_OUT = str.maketrans(
    {
        "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    }
)  # fmt: skip
_SPECIAL = re.compile(r'[|="\[\]{}]')


class ColumnError(ConfigError):
    """A column is written wrongly. `suggestion` is a valid column that was probably meant, or None."""

    def __init__(self, column: str, problem: str, suggestion: str | None = None) -> None:
        super().__init__(column, problem, suggestion)
        self.column = column
        self.problem = problem
        self.suggestion = suggestion

    def __str__(self) -> str:
        text = f"column {cut(self.column, _MOST_SHOWN)!r}: {self.problem}"
        return f"{text}; did you mean {self.suggestion!r}?" if self.suggestion else text


class _SlipError(Exception):
    """A type is written wrongly. The other fields are the parts of the column that was probably meant."""

    def __init__(
        self, problem: str, type_text: str = "", *, description: str = "", optional: bool = False
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.type_text = type_text
        self.description = description
        self.optional = optional


# ---- parsing ---------------------------------------------------------------------------------------------


def parse_columns(texts: Iterable[str]) -> dict[str, Spec]:
    """Return the columns by name, in order. Raises ColumnError, also for a name that occurs twice."""
    columns: dict[str, Spec] = {}
    for text in texts:
        name, spec = parse_column(text)
        if name in columns:
            raise ColumnError(text, f"the name {name!r} is taken by an earlier column")
        columns[name] = spec
    return columns


def parse_entry(key: str, text: str) -> tuple[str, Spec]:
    """Return the column of an entry of a mapping, such as ``score: 0..1 = how strong`` in YAML.

    Raises ColumnError.
    """
    return parse_column(f"{key} {text}" if text.lstrip().startswith("=") else f"{key}: {text}")


def parse_column(text: str) -> tuple[str, Spec]:
    """Return the name and the mapping form of a column. Raises ColumnError."""
    if len(text) > MAX_CHARACTERS:
        raise ColumnError(text, f"it has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
    found = _COLUMN.fullmatch(text.strip())
    if found is None:
        raise _misnamed(text)
    name, mark, sign, rest = found.groups()
    _check_name(text, name, rest if sign == ":" else None)
    spec: Spec = {"type": "string"}
    description = rest
    if sign == ":":
        type_text, description = _divided(rest)
        try:
            spec = _type(type_text)
        except _SlipError as slip:
            raise _explained(text, (name, mark or ""), description, slip) from None
    if description is not None and not description.strip():
        raise ColumnError(
            text, "there is no description after =", _valid(text.rstrip().removesuffix("=").rstrip())
        )
    return name, {
        **spec,
        **({"nullable": True} if mark else {}),
        **({"description": description.strip()} if description else {}),
    }


def _check_name(text: str, name: str, type_text: str | None) -> None:
    if name.startswith("_"):
        better = name.lstrip("_")
        fixed = better if type_text is None else f"{better}: {type_text.strip()}"
        raise ColumnError(text, "names that begin with _ are reserved", _valid(fixed))
    if len(name) > _MAX_NAME:
        raise ColumnError(text, f"the name has {len(name)} characters; the limit is {_MAX_NAME}")


def _divided(text: str) -> tuple[str, str | None]:
    """Return the type and the description of what follows the colon."""
    if text.lstrip().startswith("{"):
        start = len(text) - len(text.lstrip())
        try:
            _, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            end = len(text)
    else:
        blank = _OPENED.sub(lambda quoted: "_" * len(quoted[0]), text)
        end = blank.find("=") if "=" in blank else len(text)
    before, sign, after = text[end:].partition("=")
    return text[:end] + before, after if sign else None


def _type(text: str, lists: int = 0) -> Spec:
    """Return the mapping form of a type. Raises _SlipError."""
    text = text.strip()
    if not text:
        raise _SlipError(f"there is no type after the colon; types: {_KNOWN}", "str")
    if text in _WORDS:
        return dict(_WORDS[text])
    if found := _RANGE.fullmatch(text):
        return _range(found[1], found[2])
    if text.startswith("{"):
        return _mapping(text)
    if text.startswith("list[") and text.endswith("]"):
        return {"type": "array", "items": _items(text[5:-1], lists + 1)}
    pieces = _pieces(text)
    if len(pieces) == 1 and not _QUOTED.fullmatch(text):
        raise _slip(text)
    return {"type": "string", "choices": _choices(pieces)}


def _items(text: str, lists: int) -> Spec:
    if lists > _MAX_LISTS:
        raise _SlipError(f"lists are nested more than {_MAX_LISTS} times")
    try:
        return _type(text, lists)
    except _SlipError as slip:
        raise _SlipError(slip.problem, f"list[{slip.type_text}]" if slip.type_text else "") from None


def _range(low_text: str, high_text: str) -> Spec:
    low, high = float(low_text), float(high_text)
    if not math.isfinite(low) or not math.isfinite(high):
        raise _SlipError("a bound of the range is too large")
    if low > high:
        raise _SlipError(f"the range ends below its beginning, {low_text}", f"{high_text}..{low_text}")
    are_integers = _INTEGER.fullmatch(low_text) and _INTEGER.fullmatch(high_text)
    if are_integers and (low, high) not in _FLOAT_RANGES:
        return {"type": "integer", "min": int(low_text), "max": int(high_text)}
    return {"type": "number", "min": low, "max": high}


def _mapping(text: str) -> Spec:
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _SlipError(f"what begins with {{ must be JSON: {error}") from None
    if not isinstance(spec.get("type"), str):
        raise _SlipError('the mapping has no type; write {"type": "integer", "min": 0}')
    return dict(spec)


def _pieces(text: str) -> list[str]:
    blank = _OPENED.sub(lambda quoted: "_" * len(quoted[0]), text)
    ends = [*(at for at, character in enumerate(blank) if character == "|"), len(text)]
    return [
        text[start:end].strip() for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)
    ]


def _choices(pieces: Sequence[str]) -> list[Json]:
    """Return the choices. Raises _SlipError."""
    bare = [piece for piece in pieces if piece.lower() not in ("null", "none")]
    if len(pieces) > 1 and len(bare) == 1 and _is_type(bare[0]):
        raise _SlipError("a column that may be null has a ? after its name", bare[0], optional=True)
    if len(pieces) > 1 and all(map(_is_type, pieces)):
        quoted = " | ".join(map(json.dumps, pieces))
        raise _SlipError("a column has one type; quote choices that are named like types", quoted)
    made: dict[str, None] = {}
    for piece in pieces:
        choice = _choice(piece, pieces)
        if choice in made:
            kept = " | ".join(dict.fromkeys(pieces))
            raise _SlipError(f"the choice {choice!r} occurs twice", kept)
        made[choice] = None
    return [*made]


def _choice(piece: str, pieces: Sequence[str]) -> str:
    if _QUOTED.fullmatch(piece):
        try:
            return str(json.loads(piece))
        except ValueError:
            raise _SlipError(f"the choice {piece} is not a valid JSON string") from None
    if not piece:
        raise _SlipError("a choice is empty", " | ".join(filter(None, pieces)))
    if _SPECIAL.search(piece):
        quoted = " | ".join(json.dumps(each) if each == piece else each for each in pieces)
        raise _SlipError(f'write the choice {piece!r} as a JSON string, in ""', quoted)
    return piece


# ---- likely slips ----------------------------------------------------------------------------------------

_PROSE = frozenset({"a", "an", "the", "one", "in", "how", "what", "which", "whether", "if", "short", "list"})
_FLAGS = re.IGNORECASE | re.DOTALL
_OPTIONAL = re.compile(r"optional\[(.*)\]|(.*)\?", _FLAGS)
_LIST = re.compile(
    r"(?:list|array|sequence|tuple|set)\s*[\[(<](.*)[\])>]|\[(.*)\]|(\w+)\[\]|list|array", _FLAGS
)
_ENUM = re.compile(r"(?:enum|literal|choices?|one of)\s*:?\s*[\[({](.*)[\])}]", _FLAGS)
_OTHER_RANGE = re.compile(
    rf"(?:\w+\s*)?(?:[\[(]\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]"
    rf"|[\[(]?\s*({_NUMBER})\s*(?:-|\u2013|\u2026|to|\.\.+)\s*({_NUMBER})\s*[\])]?)"
)
_SEPARATOR = re.compile(r"\s*(?:[,;/]|\bor\b)+\s*")


def _slip(text: str) -> _SlipError:
    """Return the error about a type that is none, with what was probably meant."""
    looks = (_optional, _other_range, _list, _other_choices) if len(text) <= _MAX_SLIP else ()
    found = (look(text) for look in looks)
    slip = next(filter(None, found), None)
    if slip is not None:
        return slip
    if " " in text:
        return _SlipError("a description goes after =", description=text)
    near = difflib.get_close_matches(text.lower(), _WORDS, n=1, cutoff=0.6)
    return _SlipError(f"unknown type {cut(text, _MOST_SHOWN)!r}; types: {_KNOWN}", next(iter(near), ""))


def _optional(text: str) -> _SlipError | None:
    found = _OPTIONAL.fullmatch(text)
    inner = (found[1] or found[2] or "").strip() if found else ""
    if not _is_type(inner):
        return None
    return _SlipError("the ? of a column that may be null stands after its name", inner, optional=True)


def _other_range(text: str) -> _SlipError | None:
    found = _OTHER_RANGE.fullmatch(text)
    if found is None:
        return None
    return _SlipError("a range is written LOW..HIGH", f"{found[1] or found[3]}..{found[2] or found[4]}")


def _list(text: str) -> _SlipError | None:
    found = _LIST.fullmatch(text)
    if found is None:
        return None
    inner = (found[1] or found[2] or found[3] or "str").strip()
    inner = inner if _is_type(inner) else " | ".join(_separated(inner))
    return _SlipError("a list is written list[TYPE]", f"list[{inner}]")


def _other_choices(text: str) -> _SlipError | None:
    found = _ENUM.fullmatch(text)
    choices = _separated(found[1] if found else text)
    is_list = len(choices) > 1 and all(len(choice.split()) <= 2 for choice in choices)
    if found or (is_list and not _is_prose(text)):
        return _SlipError("separate choices with |", " | ".join(choices))
    return None


def _is_prose(text: str) -> bool:
    return text.split(maxsplit=1)[0].lower() in _PROSE


def _separated(text: str) -> list[str]:
    pieces = [piece.strip().strip("'\"") for piece in _SEPARATOR.split(text)]
    return [_chosen(piece) for piece in dict.fromkeys(filter(None, pieces))]


def _is_type(text: str) -> bool:
    """Return whether `text` is a type other than choices."""
    return text in _WORDS or _RANGE.fullmatch(text) is not None or (text.startswith("list[") and "]" in text)


def _explained(text: str, head: tuple[str, str], description: str | None, slip: _SlipError) -> ColumnError:
    if not (slip.type_text or slip.description):
        return ColumnError(text, slip.problem)
    name, mark = head
    column = name + (mark or ("?" if slip.optional else ""))
    column += f": {slip.type_text}" if slip.type_text else ""
    described = " ".join(filter(None, (slip.description.strip(), (description or "").strip())))
    return ColumnError(text, slip.problem, _valid(column + (f" = {described}" if described else "")))


def _misnamed(text: str) -> ColumnError:
    """Return the error about a column whose beginning is not a name."""
    stripped = text.strip()
    if not stripped:
        return ColumnError(text, "it is empty; write NAME, NAME: TYPE, or NAME: TYPE = DESCRIPTION")
    first, _, rest = stripped.partition(" ")
    if _COLUMN.fullmatch(first) and ":" not in first and (fixed := _valid(f"{first}: {rest.strip()}")):
        return ColumnError(text, "a colon stands between the name and the type", fixed)
    end = min((at for sign in ":=" if (at := stripped.find(sign)) >= 0), default=len(stripped))
    name = plain_name(stripped[:end])
    name = f"n_{name}" if name[:1].isdigit() else name
    problem = "a name has letters a to z, digits and _, and begins with a letter"
    return ColumnError(text, problem, _valid(f"{name}{stripped[end:]}"))


def plain_name(text: str) -> str:
    """Return `text` in the characters of a name. Letters beyond a to z are transliterated: ö becomes oe."""
    spelled_out = unicodedata.normalize("NFC", text).translate(_SPELLED_OUT)
    without_accents = "".join(
        each for each in unicodedata.normalize("NFKD", spelled_out) if not unicodedata.combining(each)
    )
    return re.sub(r"[^A-Za-z0-9]+", "_", without_accents).strip("_")


def _valid(column: str) -> str | None:
    """Return `column` if it is valid, so that no suggestion leads to another error."""
    try:
        parse_column(column)
    except (ColumnError, RecursionError):
        return None
    return column


# ---- writing ---------------------------------------------------------------------------------------------


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
    for word, known in _WORDS.items():
        if spec == known:
            return word
    match spec:
        case {"type": "string", "choices": [*choices], **other} if choices and not other:
            return _choices_text(choices)
        case {"type": "integer", "min": int(low), "max": int(high), **other} if not other:
            return None if (low, high) in _FLOAT_RANGES else f"{low}..{high}"
        case {"type": "number", "min": low, "max": high, **other} if not other:
            is_known = (low, high) in _FLOAT_RANGES
            return f"{low:g}..{high:g}" if is_known else f"{float(low)!r}..{float(high)!r}"
        case {"type": "array", "items": items, **other} if not other:
            inner = _type_text(items)
            return None if inner is None or inner.startswith("{") else f"list[{inner}]"
    return None


def _choices_text(choices: Sequence[str]) -> str:
    written = [_chosen(choice) for choice in choices]
    return " | ".join(
        map(json.dumps, choices) if len(choices) == 1 or all(map(_is_type, written)) else written
    )


def _chosen(choice: str) -> str:
    """Return a choice as the grammar takes it, in quotes where they are needed."""
    is_plain = choice == choice.strip() and choice and not _SPECIAL.search(choice)
    is_plain = is_plain and choice.lower() not in ("null", "none")
    return choice if is_plain else json.dumps(choice, ensure_ascii=False)
