"""Converts JSON documents to bytes and back.

orjson is fast, but rejects texts with lone surrogates and integers of more than 64 bits. The standard library
writes documents with these, marked by a leading space: orjson would read such integers as floats.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

_MARK = b" "


class JsonCodec:
    """A codec for the journal's rules. NaN and infinities become null, since JSON cannot represent them."""

    @staticmethod
    def dumps(value: Any, /) -> bytes:
        """Return `value` as a JSON document. Raises TypeError if JSON cannot represent it."""
        try:
            return orjson.dumps(value)
        except TypeError:
            return _MARK + json.dumps(_finite(value), separators=(",", ":")).encode()

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Return the value of a JSON document. Raises ValueError if `data` is invalid."""
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
    # The standard library would convert numbers to texts, and two names could become equal.
    if not isinstance(name, str):
        raise TypeError(f"names in a JSON document must be strings, not {type(name).__name__}: {name!r}")
    return name
