"""Likely slips in the type of a column: each is explained, with the type that was probably meant."""

from __future__ import annotations

import difflib
import re

from actors.core.task.column_words import (
    KNOWN_TYPES,
    MOST_SHOWN,
    NUMBER,
    TYPE_WORDS,
    choice_text,
    is_type_word,
)
from actors.core.texts import cut

_MAX_SLIP = 1_000  # characters: patterns of slips take long for long text
_PROSE = frozenset({"a", "an", "the", "one", "in", "how", "what", "which", "whether", "if", "short", "list"})
_FLAGS = re.IGNORECASE | re.DOTALL
_OPTIONAL = re.compile(r"optional\[(.*)\]|(.*)\?", _FLAGS)
_LIST = re.compile(
    r"(?:list|array|sequence|tuple|set)\s*[\[(<](.*)[\])>]|\[(.*)\]|(\w+)\[\]|list|array", _FLAGS
)
_ENUM = re.compile(r"(?:enum|literal|choices?|one of)\s*:?\s*[\[({](.*)[\])}]", _FLAGS)
_OTHER_RANGE = re.compile(
    rf"(?:\w+\s*)?(?:[\[(]\s*({NUMBER})\s*,\s*({NUMBER})\s*[\])]"
    rf"|[\[(]?\s*({NUMBER})\s*(?:-|\u2013|\u2026|to|\.\.+)\s*({NUMBER})\s*[\])]?)"
)
_SEPARATOR = re.compile(r"\s*(?:[,;/]|\bor\b)+\s*")


class SlipError(Exception):
    """A type is written wrongly. The other fields are the parts of the column that was probably meant."""

    def __init__(
        self, problem: str, type_text: str = "", *, description: str = "", optional: bool = False
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.type_text = type_text
        self.description = description
        self.optional = optional


def slip_of(text: str) -> SlipError:
    """Return the error about a type that is none, with what was probably meant."""
    looks = (_optional, _other_range, _list, _other_choices) if len(text) <= _MAX_SLIP else ()
    found = (look(text) for look in looks)
    slip = next(filter(None, found), None)
    if slip is not None:
        return slip
    if " " in text:
        return SlipError("a description goes after =", description=text)
    near = difflib.get_close_matches(text.lower(), TYPE_WORDS, n=1, cutoff=0.6)
    return SlipError(f"unknown type {cut(text, MOST_SHOWN)!r}; types: {KNOWN_TYPES}", next(iter(near), ""))


def _optional(text: str) -> SlipError | None:
    found = _OPTIONAL.fullmatch(text)
    inner = (found[1] or found[2] or "").strip() if found else ""
    if not is_type_word(inner):
        return None
    return SlipError("the ? of a column that may be null stands after its name", inner, optional=True)


def _other_range(text: str) -> SlipError | None:
    found = _OTHER_RANGE.fullmatch(text)
    if found is None:
        return None
    return SlipError("a range is written LOW..HIGH", f"{found[1] or found[3]}..{found[2] or found[4]}")


def _list(text: str) -> SlipError | None:
    found = _LIST.fullmatch(text)
    if found is None:
        return None
    inner = (found[1] or found[2] or found[3] or "str").strip()
    inner = inner if is_type_word(inner) else " | ".join(_separated(inner))
    return SlipError("a list is written list[TYPE]", f"list[{inner}]")


def _other_choices(text: str) -> SlipError | None:
    found = _ENUM.fullmatch(text)
    choices = _separated(found[1] if found else text)
    is_list = len(choices) > 1 and all(len(choice.split()) <= 2 for choice in choices)
    if found or (is_list and not _is_prose(text)):
        return SlipError("separate choices with |", " | ".join(choices))
    return None


def _is_prose(text: str) -> bool:
    return text.split(maxsplit=1)[0].lower() in _PROSE


def _separated(text: str) -> list[str]:
    pieces = [piece.strip().strip("'\"") for piece in _SEPARATOR.split(text)]
    return [choice_text(piece) for piece in dict.fromkeys(filter(None, pieces))]
