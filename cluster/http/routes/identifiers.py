"""Task keys and cursors as texts that are safe in an address.

A key of plain characters is its own identifier; the identifier of any other is ``~`` and its base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from cluster.http.guard.problems import ApiProblem, Fault

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)
_LONGEST = 4 * 512 * 4 // 3 + 8  # four bytes for each of 512 characters, in base64
LONGEST_CURSOR = 64  # characters
_CHECKSUM, _NUMBER = 8, 8  # bytes of a cursor
_LARGEST = 2**63 - 1


def id_of(key: str) -> str:
    """Return the identifier of a task key."""
    return key if _PLAIN.fullmatch(key) else "~" + _encoded(key.encode())


def key_of(identifier: str) -> str | None:
    """Return the task key of an identifier, None if the text is not an identifier."""
    if _PLAIN.fullmatch(identifier):
        return identifier
    if not identifier.startswith("~") or len(identifier) > _LONGEST:
        return None
    try:
        key = _decoded(identifier[1:]).decode()
    except (binascii.Error, ValueError):
        return None
    return key if key and id_of(key) == identifier else None


def cursor_of(scope: str, after: int) -> str:
    """Return a cursor that continues after `after`, valid for the list that `scope` names."""
    body = after.to_bytes(_NUMBER, "big")
    return _encoded(_checksum(scope, body) + body)


def after_of(scope: str, cursor: str) -> int:
    """Return the number after which a cursor continues. Raises `ApiProblem` 400 for any other text.

    The checksum distinguishes lists. It is not a signature: a caller that forges a cursor gets a page of the
    same list.
    """
    try:
        data = _decoded(cursor) if len(cursor) <= LONGEST_CURSOR else b""
    except (binascii.Error, ValueError):
        data = b""
    body = data[_CHECKSUM:]
    after = int.from_bytes(body, "big")
    if len(body) != _NUMBER or data[:_CHECKSUM] != _checksum(scope, body) or after > _LARGEST:
        fault = Fault(
            "?cursor", "not a cursor of this list: take `next` of its last page, with the same state"
        )
        raise ApiProblem(400, "invalid", "the cursor cannot be used", (fault,))
    return after


def _checksum(scope: str, body: bytes) -> bytes:
    return hashlib.sha256(scope.encode() + b"\0" + body).digest()[:_CHECKSUM]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
