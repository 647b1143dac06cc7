"""Bounds the requests that are open in one replica: by kind, and by caller.

Rule 1: streams and batches last for minutes: one caller could hold every place. Each kind has its own number
    of places, and a tenant or an address gets half of them at most. Any other request also lasts while its
    body arrives slowly: a tenant gets half of those places, or an address if no tenant is known.
Rule 2: health checks are not counted: they have to answer when everything else is full.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Scope

from cluster.http.guard import limits
from cluster.http.guard.problems import ApiProblem

BATCHES = "/v1/batches"
PROBES = frozenset({"/healthz", "/readyz", "/-/healthz"})  # the last one is HAProxy's check of a replica


def path_of(scope: Scope) -> str:
    """Return the path of a request below Serve's `root_path`, by which the application finds the route."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    below = path.removeprefix(root)
    return below if below != path and below[:1] in ("", "/") else path


def lasts(path: str) -> bool:
    """Return whether a request to this path may last for minutes."""
    return path == BATCHES or (path.startswith("/v1/") and path.endswith("/events"))


class OpenRequests:
    """Counts the open requests of one kind: `most` in all, half of them for one holder.

    A holder that has its half should try again after `again_s`.
    """

    def __init__(self, what: str, most: int, again_s: float) -> None:
        self._what = what
        self._most = most
        self._most_each = most // 2
        self._again_s = again_s
        self._held: Counter[str] = Counter()
        self._total = 0

    @contextmanager
    def held(self, holders: Sequence[str]) -> Iterator[None]:
        """Hold a place. Raises `ApiProblem`: 429 if a holder has half of the places, 503 if all are held."""
        if any(self._held[holder] >= self._most_each for holder in holders):
            text = (
                f"you have {self._most_each:,} {self._what} open here, as many as one caller may; end some, "
                "or try again later"
            )
            raise ApiProblem(429, "too-many-open", text, retry_after_s=self._again_s)
        if self._total >= self._most:
            text = f"as many {self._what} are open here as may be; try again later"
            raise ApiProblem(503, "busy", text, retry_after_s=limits.BUSY_S)
        self._total += 1
        self._held.update(holders)
        try:
            yield
        finally:
            self._total -= 1
            for holder in holders:
                self._held[holder] -= 1
                if not self._held[holder]:
                    del self._held[holder]  # otherwise the entry of every address would stay


class Occupancy:
    """The open requests of one replica."""

    def __init__(self) -> None:
        self._streams = OpenRequests("event streams", limits.STREAMS, limits.OPEN_S)
        self._batches = OpenRequests("batches", limits.BATCHES, limits.OPEN_S)
        self._others = OpenRequests("requests", limits.REQUESTS, limits.BUSY_S)

    @contextmanager
    def held(self, scope: Scope, tenant: str | None) -> Iterator[None]:
        """Hold a place for a request of `tenant`, None if its address is open to everybody."""
        path = path_of(scope)
        if path in PROBES:
            yield
            return
        address = f"address {address_of(scope)}"
        if lasts(path):
            places = self._batches if path == BATCHES else self._streams
            holders = [f"tenant {tenant}", address]
        else:
            places = self._others
            holders = [address if tenant is None else f"tenant {tenant}"]
        with places.held(holders):
            yield


def address_of(scope: Scope) -> str:
    """Return the caller's address: as a proxy on this machine reports it, else that of the connection."""
    client = scope.get("client")
    peer = str(client[0]) if client else ""
    told = Headers(scope=scope).getlist("x-forwarded-for")
    try:
        if told and (not peer or ipaddress.ip_address(peer).is_loopback):
            return str(ipaddress.ip_address(told[-1].rpartition(",")[2].strip()))
    except ValueError:
        pass
    return peer
