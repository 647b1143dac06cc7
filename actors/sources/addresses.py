"""Which hosts may be reached: a name is resolved once, and the addresses checked are those connected to.

Rule 1: what is checked is what is used. A name that is resolved for the check and again for the connection
can answer twice differently (DNS rebinding).
Rule 2: all addresses of a name must be public. One private address among public ones is an attack or a
mistake, never a choice.
Rule 3: addresses that wrap another (IPv4-mapped, NAT64, 6to4, Teredo) are refused whatever they wrap.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from actors.core.errors import SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# By name, because what `ipaddress` calls global differs between Python's releases.
_REFUSED: Final = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers (private)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "a relay's"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "behind NAT64"),
        ("64:ff9b:1::/48", "behind NAT64"),
        ("100::/64", "reserved"),
        ("2001::/32", "a tunnel's (Teredo)"),
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "a tunnel's (6to4)"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out (RFC 4291, 2.4)


def refusal(address: str) -> str | None:
    """Return why `address` (a literal IP address) may not be reached, None where it is public."""
    ip = ipaddress.ip_address(address)
    for network, reason in _REFUSED:
        if ip.version == network.version and ip in network:
            return reason
    public = ip.is_global and (ip.version == 4 or ip in _GLOBAL_UNICAST)
    return None if public else "not public"


def check_url(url: URL, *, allow_private: bool) -> None:
    """Check scheme and host of `url`, as far as that goes without resolving a name.

    Raises `SourceError`. Literal addresses are checked here because aiohttp asks no resolver about them.
    """
    if url.scheme not in ("http", "https"):
        raise SourceError(f"only http and https may be reached, not {url.scheme or 'a URL without scheme'}")
    host = url.host
    if not host:
        raise SourceError("a URL has no host")
    if url.user is not None or url.password is not None:
        raise SourceError(f"a URL of {host} holds credentials; they belong in headers")
    if allow_private:
        return
    try:
        reason = refusal(host)
    except ValueError:
        return  # a name: `PublicResolver` checks what it stands for
    _raise_if(reason, host)


class PublicResolver(AbstractResolver):
    """Resolves names for a connector, and raises `SourceError` for those that lead to refused addresses.

    Give it to a connector that caches (``ttl_dns_cache``): nothing between here and the connection resolves
    again. `inner` does the resolving; the default is aiohttp's.
    """

    def __init__(self, *, allow_private: bool, inner: AbstractResolver | None = None) -> None:
        self._allow_private = allow_private
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return all addresses of `host`. Raises OSError where the name does not resolve."""
        results = await self._inner.resolve(host, port, family)
        for result in () if self._allow_private else results:
            _raise_if(refusal(result["host"]), host)
        return results

    async def close(self) -> None:
        """Close the resolver below."""
        await self._inner.close()


def _raise_if(reason: str | None, host: str) -> None:
    if reason is not None:
        raise SourceError(
            f"{host} is at an address that is {reason}; allow_private: true would let this source reach it"
        )
