"""Computes a digest of tasks, which identifies an input.

Rule: The digest does not depend on the order of the tasks. Its memory does not grow with their number.
"""

from __future__ import annotations

import json
from hashlib import blake2b

import orjson

from actors.core.messages.values import Json
from actors.journal.stores.codec import JsonCodec

DIGEST_BYTES = 16


class InputDigest:
    """The number of tasks, and a digest of their keys and params."""

    def __init__(self) -> None:
        self.count = 0
        self._total = 0

    def add(self, digest: bytes) -> None:
        """Add a task by the digest of its key and params."""
        self.count += 1
        self._total += int.from_bytes(digest, "big")

    def hex(self) -> str:
        """Return the digest of all tasks so far."""
        return f"{self._total % (1 << 8 * DIGEST_BYTES):0{2 * DIGEST_BYTES}x}"

    def stored(self) -> dict[str, Json]:
        """Return the JSON object that is stored with a run."""
        return {"tasks": self.count, "digest": self.hex()}


def digest_of(value: Json) -> bytes:
    """Return the digest of a JSON document."""
    return digest_of_bytes(canonical(value))


def digest_of_bytes(document: bytes) -> bytes:
    """Return the digest of a document in its canonical form."""
    return blake2b(document, digest_size=DIGEST_BYTES).digest()


def canonical(value: Json) -> bytes:
    """Return the same bytes for all documents that a store would hold in the same form."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lone surrogates, and integers beyond 64 bits
        return json.dumps(JsonCodec.loads(JsonCodec.dumps(value)), sort_keys=True).encode()
