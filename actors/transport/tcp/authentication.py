"""How two ends of a connection prove to each other that they know one secret, before either reads on.

What comes after is unpickled, and unpickling runs whatever the sender likes. So each end answers a random
challenge of the other with a keyed hash (HMAC-SHA256); the secret itself never travels on the connection.
Pure: bytes in, bytes out; the challenges are arguments.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Protocol

CHALLENGE_BYTES = 32
GREETING = b"headrace link 2\n"  # tells a port that is somebody else's, and a version that is not ours

_PROOF_BYTES = 32
# Each end has a word of its own: else a stranger could send a proof back to the one who made it.
_CALLER, _CALLED = b"caller", b"called"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where an actor is to be met, and the secret of its present life. Only Ray carries this."""

    host: str
    port: int
    secret: bytes = field(repr=False)


class HandshakeError(Exception):
    """The other end is not who it has to be."""


class Handshake(Protocol):
    """One end's part: begin, then give it parts of `wants` bytes each until it wants no more."""

    wants: int

    def begin(self) -> bytes:
        """Return what this end says first."""
        ...

    def take(self, part: bytes) -> bytes:
        """Read `wants` bytes and return what to say to them. Raises `HandshakeError`."""
        ...


class CalledHandshake:
    """The part of the end that listens. `challenge` is random, and used once."""

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        self._secret = secret
        self._challenge = challenge
        self.wants = CHALLENGE_BYTES + _PROOF_BYTES

    def begin(self) -> bytes:
        """Greet and challenge."""
        return GREETING + self._challenge

    def take(self, part: bytes) -> bytes:
        """Check the caller's proof, and give one's own. Raises `HandshakeError`."""
        theirs, proof = part[:CHALLENGE_BYTES], part[CHALLENGE_BYTES:]
        if not hmac.compare_digest(proof, _proof(self._secret, _CALLER, self._challenge, theirs)):
            raise HandshakeError("the caller does not know this actor's secret")
        self.wants = 0
        return _proof(self._secret, _CALLED, self._challenge, theirs)


class CallerHandshake:
    """The part of the end that connects. `challenge` is random, and used once."""

    def __init__(self, secret: bytes, challenge: bytes) -> None:
        self._secret = secret
        self._challenge = challenge
        self._theirs = b""
        self.wants = len(GREETING) + CHALLENGE_BYTES

    def begin(self) -> bytes:
        """Say nothing: the end that listens begins."""
        return b""

    def take(self, part: bytes) -> bytes:
        """Answer the challenge, then check the proof that comes back. Raises `HandshakeError`."""
        if not self._theirs:
            if not part.startswith(GREETING):
                raise HandshakeError("something else listens there, or another version of Headrace")
            self._theirs = part[len(GREETING) :]
            self.wants = _PROOF_BYTES
            return self._challenge + _proof(self._secret, _CALLER, self._theirs, self._challenge)
        if not hmac.compare_digest(part, _proof(self._secret, _CALLED, self._theirs, self._challenge)):
            raise HandshakeError("whoever listens there does not know the actor's secret")
        self.wants = 0
        return b""


def _proof(secret: bytes, role: bytes, called: bytes, caller: bytes) -> bytes:
    return hmac.digest(secret, role + called + caller, "sha256")
