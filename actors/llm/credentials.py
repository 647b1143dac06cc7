"""The interface of credentials that expire or that sign each request. An API key needs none of this.

An endpoint whose dialect has credentials awaits their headers before it sends a request. An API key is part
of the head that is prepared once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from actors.core.errors import Blame, Failure, FailureKind, HeadraceError


class Credentials(Protocol):
    """Authorizes requests. An instance belongs to one endpoint of one client, and to its event loop."""

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers that authorize one request. They are secret.

        url: exactly as it is sent, since a signature covers it.

        Called for each request, so it must not block the event loop: what reads files or connects runs on a
        thread. Concurrent calls share one renewal. Raises `CredentialsError`, or
        `CredentialsUnavailableError` if a later call may succeed. The caller bounds the time.
        """
        ...

    def secrets(self) -> tuple[str, ...]:
        """Return what errors must not quote."""
        ...

    def reject(self, headers: Mapping[str, str]) -> None:
        """Renew for the next request: an endpoint refused a request with `headers` (401).

        Nothing is to be done if they are of earlier credentials: an answer may arrive after the renewal.
        """
        ...


class CredentialsError(HeadraceError):
    """No request can be authorized until somebody acts. The message says what, where and the remedy."""

    blame = Blame.CONFIG

    def failure(self) -> Failure:
        """Return this error as a value that can travel."""
        return Failure(FailureKind.MISCONFIGURED, self.blame, str(self))


class CredentialsUnavailableError(HeadraceError):
    """A request cannot be authorized for now: what gives out the credentials does not answer."""

    blame = Blame.ENDPOINT
    retry = True
