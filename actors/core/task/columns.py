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

import json
import math
import re
from collections.abc import Iterable, Sequence

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.column_slips import SlipError, slip_of
from actors.core.task.column_words import (
    FLOAT_RANGES,
    KNOWN_TYPES,
    MOST_SHOWN,
    RANGE,
    SPECIAL,
    TYPE_WORDS,
    Spec,
    is_type_word,
    plain_name,
)
from actors.core.texts import cut

MAX_CHARACTERS = 20_000
_MAX_NAME = 64
_MAX_LISTS = 8  # nested lists

_COLUMN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*(?:(\?)\s*)?(?:([:=])(.*))?", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENED = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)  # to the end if the quote is not closed


class ColumnError(ConfigError):
    """A column is written wrongly. `suggestion` is a valid column that was probably meant, or None."""

    def __init__(self, column: str, problem: str, suggestion: str | None = None) -> None:
        super().__init__(column, problem, suggestion)
        self.column = column
        self.problem = problem
        self.suggestion = suggestion

    def __str__(self) -> str:
        text = f"column {cut(self.column, MOST_SHOWN)!r}: {self.problem}"
        return f"{text}; did you mean {self.suggestion!r}?" if self.suggestion else text


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
        except SlipError as slip:
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
    """Return the mapping form of a type. Raises SlipError."""
    text = text.strip()
    if not text:
        raise SlipError(f"there is no type after the colon; types: {KNOWN_TYPES}", "str")
    if text in TYPE_WORDS:
        return dict(TYPE_WORDS[text])
    if found := RANGE.fullmatch(text):
        return _range(found[1], found[2])
    if text.startswith("{"):
        return _mapping(text)
    if text.startswith("list[") and text.endswith("]"):
        return {"type": "array", "items": _items(text[5:-1], lists + 1)}
    pieces = _pieces(text)
    if len(pieces) == 1 and not _QUOTED.fullmatch(text):
        raise slip_of(text)
    return {"type": "string", "choices": _choices(pieces)}


def _items(text: str, lists: int) -> Spec:
    if lists > _MAX_LISTS:
        raise SlipError(f"lists are nested more than {_MAX_LISTS} times")
    try:
        return _type(text, lists)
    except SlipError as slip:
        raise SlipError(slip.problem, f"list[{slip.type_text}]" if slip.type_text else "") from None


def _range(low_text: str, high_text: str) -> Spec:
    low, high = float(low_text), float(high_text)
    if not math.isfinite(low) or not math.isfinite(high):
        raise SlipError("a bound of the range is too large")
    if low > high:
        raise SlipError(f"the range ends below its beginning, {low_text}", f"{high_text}..{low_text}")
    are_integers = _INTEGER.fullmatch(low_text) and _INTEGER.fullmatch(high_text)
    if are_integers and (low, high) not in FLOAT_RANGES:
        return {"type": "integer", "min": int(low_text), "max": int(high_text)}
    return {"type": "number", "min": low, "max": high}


def _mapping(text: str) -> Spec:
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SlipError(f"what begins with {{ must be JSON: {error}") from None
    if not isinstance(spec.get("type"), str):
        raise SlipError('the mapping has no type; write {"type": "integer", "min": 0}')
    return dict(spec)


def _pieces(text: str) -> list[str]:
    blank = _OPENED.sub(lambda quoted: "_" * len(quoted[0]), text)
    ends = [*(at for at, character in enumerate(blank) if character == "|"), len(text)]
    return [
        text[start:end].strip() for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)
    ]


def _choices(pieces: Sequence[str]) -> list[Json]:
    """Return the choices. Raises SlipError."""
    bare = [piece for piece in pieces if piece.lower() not in ("null", "none")]
    if len(pieces) > 1 and len(bare) == 1 and is_type_word(bare[0]):
        raise SlipError("a column that may be null has a ? after its name", bare[0], optional=True)
    if len(pieces) > 1 and all(map(is_type_word, pieces)):
        quoted = " | ".join(map(json.dumps, pieces))
        raise SlipError("a column has one type; quote choices that are named like types", quoted)
    made: dict[str, None] = {}
    for piece in pieces:
        choice = _choice(piece, pieces)
        if choice in made:
            kept = " | ".join(dict.fromkeys(pieces))
            raise SlipError(f"the choice {choice!r} occurs twice", kept)
        made[choice] = None
    return [*made]


def _choice(piece: str, pieces: Sequence[str]) -> str:
    if _QUOTED.fullmatch(piece):
        try:
            return str(json.loads(piece))
        except ValueError:
            raise SlipError(f"the choice {piece} is not a valid JSON string") from None
    if not piece:
        raise SlipError("a choice is empty", " | ".join(filter(None, pieces)))
    if SPECIAL.search(piece):
        quoted = " | ".join(json.dumps(each) if each == piece else each for each in pieces)
        raise SlipError(f'write the choice {piece!r} as a JSON string, in ""', quoted)
    return piece


# ---- errors ----------------------------------------------------------------------------------------------


def _explained(text: str, head: tuple[str, str], description: str | None, slip: SlipError) -> ColumnError:
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


def _valid(column: str) -> str | None:
    """Return `column` if it is valid, so that no suggestion leads to another error."""
    try:
        parse_column(column)
    except (ColumnError, RecursionError):
        return None
    return column
