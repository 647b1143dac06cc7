"""Prevents connections to private addresses (server-side request forgery).

Rule 1: A name is resolved once, and the checked addresses are used for the connection. If it were resolved
    again, the second answer could be another one (DNS rebinding).
Rule 2: All addresses of a name must be public. A private address among public ones is an attack or a mistake.
Rule 3: Addresses that embed another (IPv4-mapped, NAT64, 6to4, Teredo) are refused, whatever they embed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from aiohappyeyeballs import AddrInfoType
from yarl import URL

from actors.core.errors import SourceError
from actors.http1.dial import LookUp, system_addresses

_SETTING = "allow_private"  # of a source
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Listed explicitly, because `ipaddress.is_global` differs between Python releases.
_REFUSED: Final = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers (private)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "the host's (a cloud's metadata)"),
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
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")  # the only allocated part of IPv6 (RFC 4291, 2.4)


def refusal(address: str) -> str | None:
    """Return why `address` (a literal IP address) is not allowed, None if it is public."""
    ip = ipaddress.ip_address(address)
    for network, reason in _REFUSED:
        if ip.version == network.version and ip in network:
            return reason
    public = ip.is_global and (ip.version == 4 or ip in _GLOBAL_UNICAST)
    return None if public else "not public"


def check_url(url: URL, *, allow_private: bool, setting: str = _SETTING) -> None:
    """Check the scheme and the host of `url` without resolving a name. Raises `SourceError`.

    `setting` is the key of `allow_private`, for the error.

    A literal address is checked here. `public_addresses` checks the addresses of a name.
    """
    if url.scheme not in ("http", "https"):
        raise SourceError(f"only http and https are allowed, not {url.scheme or 'a URL without scheme'}")
    host = url.raw_host  # not `host`, which raises for a name that is no valid IDNA
    if not host:
        raise SourceError("a URL has no host")
    if url.user is not None or url.password is not None:
        raise SourceError(f"a URL of {host} contains credentials; put them in headers")
    if allow_private:
        return
    try:
        reason = refusal(host)
    except ValueError:
        return  # a name
    _raise_if(reason, host, setting)


async def public_addresses(
    host: str, port: int, look_up: LookUp = system_addresses, setting: str = _SETTING
) -> Sequence[AddrInfoType]:
    """Return all addresses of `host`. Raises OSError, and `SourceError` if one of them is not public."""
    found = await look_up(host, port)
    for *_, address in found:
        _raise_if(refusal(str(address[0])), host, setting)
    return found


def _raise_if(reason: str | None, host: str, setting: str) -> None:
    if reason is not None:
        raise SourceError(f"{host} has an address that is {reason}; set {setting}: true to reach it")
