"""Authenticates callers: by bearer tokens, or as processes of this machine if no token is configured.

Rule 1: only digests of tokens are kept, so that no token can appear in a log or in Ray's state.
Rule 2: a comparison takes as long for a wrong token as for a right one.
Rule 3: without a token the API accepts requests of this machine only: on loopback addresses and under names
    of loopback. So neither another host nor a web page with a name that resolves to this machine gets in. The
    headers that a browser adds identify a page of another origin, which is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.core.errors import ConfigError
from cluster.http.guard.problems import ApiProblem
from cluster.http.guard.tenants import Space

TOKEN_VARIABLE = "HEADRACE_API_TOKEN"  # noqa: S105 - the variable's name, not a token
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_NAMED = re.compile(r"([A-Za-z0-9_.-]{1,64})=(.*[^=].*)")  # a text that ends in = is a single token in base64
_ORIGIN = re.compile(r"https?://([^/?#@\s]+)")
_OWN_SITES = frozenset({"same-origin", "none"})  # "none": typed into the address bar
_LEAST = 8  # characters of a token
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="headrace"'}


def digests(tokens: str | None) -> dict[str, str]:
    """Return the digests of ``TOKEN`` or ``name=TOKEN,name2=TOKEN2``, by name; a single token has name "".

    Raises `ConfigError`, which does not contain the token, if a token cannot be used.
    """
    found: dict[str, str] = {}
    for position, entry in enumerate((tokens or "").split(",") if (tokens or "").strip() else (), 1):
        named = _NAMED.fullmatch(entry.strip())
        name, token = named.groups() if named else ("", entry.strip())
        if len(token) < _LEAST or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(
                f"{TOKEN_VARIABLE}: entry {position} is no token: give at least {_LEAST} printable "
                "characters, alone or as name=token, several by commas"
            )
        if name in found:
            raise ConfigError(f"{TOKEN_VARIABLE}: entry {position} has a name that was given before")
        found[name] = digest(token)
    return found


def digest(token: str) -> str:
    """Return the digest of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates callers. `tokens` maps names to digests; if it is empty, only this machine has access."""

    tokens: Mapping[str, str]

    def admit(
        self,
        authorization: str | None,
        host: str | None,
        server: str | None,
        *,
        origins: Sequence[str] = (),
        fetch_sites: Sequence[str] = (),
    ) -> str:
        """Return the caller's name.

        `server` is the address at which the connection was accepted, None if it is not known; the others are
        headers: Authorization, Host, Origin and Sec-Fetch-Site. Raises `ApiProblem`: 401 or 403.
        """
        if not self.tokens:
            _require_local(host, server)
            _require_own_page(host, origins, fetch_sites)
            return ""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiProblem(
                401,
                "unauthorized",
                "a bearer token is needed: Authorization: Bearer TOKEN",
                headers=_CHALLENGE,
            )
        given, known = digest(token.strip()), None
        for name, kept in self.tokens.items():
            if hmac.compare_digest(given, kept):
                known = name
        if known is None:
            raise ApiProblem(401, "unauthorized", "the bearer token is not known here", headers=_CHALLENGE)
        return known

    def space(self, tenant: str) -> Space:
        """Return the name space of a caller: one of its own if there are several callers."""
        return Space(tenant, is_own=len(self.tokens) > 1)


def is_loopback(host: str | None) -> bool:
    """Return whether an address or name to listen at can be reached from this machine only."""
    try:
        return host is not None and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def refuse_to_serve_strangers(tokens: Mapping[str, str], host: str | None) -> None:
    """Raise `ConfigError` if no token is configured and Serve listens at a `host` beyond this machine.

    None is a host that is not known.
    """
    if not tokens and not is_loopback(host):
        where = host or "an address that is not known"
        raise ConfigError(
            f"Serve listens at {where}, beyond this machine, and {TOKEN_VARIABLE} is not set: set it, "
            "or have http_options.host be 127.0.0.1"
        )


def refuse_unbounded_heads(host: str, *, haproxy: bool) -> None:
    """Raise `ConfigError` if Serve's own proxy would listen at a `host` beyond this machine.

    It reads address and headers of a request whatever their size, before any code of ours runs.
    """
    if not haproxy and not is_loopback(host):
        raise ConfigError(
            f"Serve's own proxy would listen at {host}, beyond this machine, and does not bound the address "
            "and the headers of a request: any client could fill the memory. Listen at 127.0.0.1 behind a "
            "reverse proxy, or set http.haproxy: true and close ports 30000-31000 to other machines"
        )


def _require_local(host: str | None, server: str | None) -> None:
    if not is_loopback(server):
        text = "this service listens beyond its own machine and has no token: set HEADRACE_API_TOKEN for it"
        raise ApiProblem(403, "no-token", text)
    if host is None or _name_of(host) not in _LOCAL_NAMES:
        text = "without a token this service answers to localhost only: set HEADRACE_API_TOKEN for it"
        raise ApiProblem(403, "no-token", text)


def _require_own_page(host: str | None, origins: Sequence[str], fetch_sites: Sequence[str]) -> None:
    """Refuse a request that a browser sends for a page of another origin: browsers reach loopback, too."""
    foreign = [origin for origin in origins if _place_of(origin) != _place_of(f"http://{host}")]
    sites = {site.strip().lower() for site in fetch_sites}
    if foreign or not sites <= _OWN_SITES:
        text = (
            "without a token this service answers to its own pages and to programs, not to another web page: "
            f"set {TOKEN_VARIABLE} for it, or send no Origin and no Sec-Fetch-Site"
        )
        raise ApiProblem(403, "foreign-origin", text)


def _place_of(origin: str) -> str | None:
    """Return host and port of an origin, None for an origin without them, such as ``null``."""
    named = _ORIGIN.fullmatch(origin.strip().lower())
    return None if named is None else named[1].removesuffix(":80").removesuffix(":443")


def _name_of(host: str) -> str:
    bare = host.strip().lower()
    return bare[: bare.index("]") + 1] if bare.startswith("[") and "]" in bare else bare.partition(":")[0]
