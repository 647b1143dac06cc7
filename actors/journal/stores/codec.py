"""JSON documents to bytes and back, fast, and whatever texts and numbers are in them.

orjson does it, but for texts with lone surrogates and integers of more than 64 bits, which it refuses. Those
go through the standard library and are marked by a leading blank: orjson would read such integers as floats.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

_MARK = b" "


class JsonCodec:
    """A codec for the journal's rules. What is not finite becomes null, as JSON has no word for it."""

    @staticmethod
    def dumps(value: Any, /) -> bytes:
        """Return `value` as a JSON document. Raises TypeError where it is none."""
        try:
            return orjson.dumps(value)
        except TypeError:
            return _MARK + json.dumps(_finite(value), separators=(",", ":")).encode()

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Return the value of a JSON document. Raises ValueError where `data` is none."""
        return json.loads(data) if data.startswith(_MARK) else orjson.loads(data)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_text(name): _finite(each) for name, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


def _text(name: Any) -> str:
    # The standard library would make a text of a number, and two names could become one.
    if not isinstance(name, str):
        raise TypeError(f"names in a JSON document are texts, not {type(name).__name__}: {name!r}")
    return name
