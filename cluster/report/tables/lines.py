"""Encodes rows as lines: JSON for programs, comma-separated values for spreadsheets.

CSV is that of RFC 4180: UTF-8 without a byte order mark, CRLF after each row, a header. A text is always
quoted, a number never, and null is an empty cell without quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import orjson

from actors.core.messages.values import Json
from cluster.report.tables.columns import Row
from cluster.report.tables.value_types import json_text

# A spreadsheet reads a cell that begins with one of these as a formula; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# White space, quotes and semicolons before such a character. A spreadsheet that separates cells at semicolons
# or tabs begins a new cell or row there.
_BEFORE_FORMULA = re.compile('(?<![\\s";])[\\s";]++(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_SEPARATORS = frozenset("\t\r\n;")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Control characters, line separators, marks of the writing direction, and the byte order mark.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_CONTROLS_IN_JSON = re.compile(  # the same in UTF-8, without those that JSON escapes itself
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf"
)


def json_line(row: Row) -> bytes:
    """Return a row as a line of JSON. Raises `ValueError` or `TypeError` for text that is not Unicode."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # perhaps an integer beyond 64 bits
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def printable_json(line: bytes) -> bytes:
    """Return a JSON line with escapes for characters that a terminal obeys. It decodes to the same text."""
    return _CONTROLS_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def csv_row(cells: Iterable[Json], separator: str = ",") -> bytes:
    """Return a row of CSV. Raises `ValueError` for text that is not Unicode.

    An apostrophe precedes text that a spreadsheet would read as a formula, also within a cell at each place
    where a spreadsheet that separates cells at semicolons or tabs would begin a new one. Text that is a
    number stays. Control characters are written as escapes. Lists and objects are JSON.
    """
    return (separator.join(map(_cell, cells)) + "\r\n").encode()


def _cell(value: Json) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _quoted(_inert(value))
        case _:
            text = printable_json(json_text(value).encode()).decode()
            return _quoted(_without_formulas(text))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _inert(text: str) -> str:
    text = _without_formulas(_CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text))
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _without_formulas(text: str) -> str:
    return _BEFORE_FORMULA.sub(
        lambda found: found[0] if _SEPARATORS.isdisjoint(found[0]) else f"{found[0]}'", text
    )
