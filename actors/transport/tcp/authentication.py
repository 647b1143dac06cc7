"""Mutual authentication of the two ends of a connection by a shared secret.

Messages after the handshake are unpickled, and unpickling can run arbitrary code of the sender. So each end
first answers a random challenge of the other with an HMAC-SHA256. The secret itself is never sent over the
connection. Pure: bytes in, bytes out; the challenges are arguments.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Protocol

CHALLENGE_BYTES = 32
GREETING = b"headrace link 2\n"  # identifies the protocol and its version

_PROOF_BYTES = 32
# Each proof contains the role of its sender. Otherwise an attacker could send a proof back to its author.
_CALLER, _CALLED = b"caller", b"called"


@dataclass(frozen=True, slots=True)
class Location:
    """Where an actor listens, and the secret of its current epoch. Only Ray transfers it."""

    host: str
    port: int
    secret: bytes = field(repr=False)


class HandshakeError(Exception):
    """The other end failed to authenticate, or does not speak this protocol."""


class Handshake(Protocol):
    """The handshake of one end: send `begin()`, then pass `wants` bytes to `take` until `wants` is 0."""

    wants: int

    def begin(self) -> bytes:
        """Return the bytes that this end sends first."""
        ...

    def take(self, part: bytes) -> bytes:
        """Process `wants` bytes and return the bytes to send. Raises `HandshakeError`."""
        ...


class CalledHandshake:
    """The handshake of the end that listens. `challenge` must be random and used once."""

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        self._secret = secret
        self._challenge = challenge
        self.wants = CHALLENGE_BYTES + _PROOF_BYTES

    def begin(self) -> bytes:
        """Return the greeting and the challenge."""
        return GREETING + self._challenge

    def take(self, part: bytes) -> bytes:
        """Verify the caller's proof and return the own one. Raises `HandshakeError`."""
        theirs, proof = part[:CHALLENGE_BYTES], part[CHALLENGE_BYTES:]
        if not hmac.compare_digest(proof, _proof(self._secret, _CALLER, self._challenge, theirs)):
            raise HandshakeError("the caller does not know this actor's secret")
        self.wants = 0
        return _proof(self._secret, _CALLED, self._challenge, theirs)


class CallerHandshake:
    """The handshake of the end that connects. `challenge` must be random and used once."""

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        self._secret = secret
        self._challenge = challenge
        self._theirs = b""
        self.wants = len(GREETING) + CHALLENGE_BYTES

    def begin(self) -> bytes:
        """Return nothing: the end that listens sends first."""
        return b""

    def take(self, part: bytes) -> bytes:
        """Answer the challenge, then verify the proof of the other end. Raises `HandshakeError`."""
        if not self._theirs:
            if not part.startswith(GREETING):
                raise HandshakeError("another program, or another version of Headrace, listens on this port")
            self._theirs = part[len(GREETING) :]
            self.wants = _PROOF_BYTES
            return self._challenge + _proof(self._secret, _CALLER, self._theirs, self._challenge)
        if not hmac.compare_digest(part, _proof(self._secret, _CALLED, self._theirs, self._challenge)):
            raise HandshakeError("the program that listens on this port does not know the actor's secret")
        self.wants = 0
        return b""


def _proof(secret: bytes, role: bytes, called: bytes, caller: bytes) -> bytes:
    return hmac.digest(secret, role + called + caller, "sha256")
