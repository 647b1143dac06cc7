"""The words of the column grammar: types, ranges, quoted choices, and the characters of names."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping

from actors.core.messages.values import Json

Spec = dict[str, Json]  # the mapping form of a field in ``evaluate.output``

MOST_SHOWN = 200  # characters of a column in a message
TYPE_WORDS: Mapping[str, Spec] = {
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
KNOWN_TYPES = "str, int, float, bool, date, json, 1..5, a | b, list[str]"
FLOAT_RANGES = ((0, 1), (-1, 1))
NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})")
_SPELLED_OUT = str.maketrans(
    {
        "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    }
)  # fmt: skip
SPECIAL = re.compile(r'[|="\[\]{}]')


def is_type_word(text: str) -> bool:
    """Return whether `text` is a type other than choices."""
    return (
        text in TYPE_WORDS or RANGE.fullmatch(text) is not None or (text.startswith("list[") and "]" in text)
    )


def plain_name(text: str) -> str:
    """Return `text` in the characters of a name. Letters beyond a to z are transliterated: ö becomes oe."""
    spelled_out = unicodedata.normalize("NFC", text).translate(_SPELLED_OUT)
    without_accents = "".join(
        each for each in unicodedata.normalize("NFKD", spelled_out) if not unicodedata.combining(each)
    )
    return re.sub(r"[^A-Za-z0-9]+", "_", without_accents).strip("_")


def choice_text(choice: str) -> str:
    """Return a choice as the grammar takes it, in quotes where they are needed."""
    is_plain = choice == choice.strip() and choice and not SPECIAL.search(choice)
    is_plain = is_plain and choice.lower() not in ("null", "none")
    return choice if is_plain else json.dumps(choice, ensure_ascii=False)
