"""Addresses: what is public, and that what was checked is what is connected to."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver
from yarl import URL

from actors.core.errors import SourceError
from actors.sources.addresses import PublicResolver, check_url, refusal


class Names(AbstractResolver):
    """A resolver that knows what it is told."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self.addresses
        ]

    async def close(self):
        self.closed = True


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_a_public_address_may_be_reached(address):
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("fd00::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%1", "link-local"),
        ("100.64.0.1", "private"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 - nothing binds it here
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("198.18.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001::1", "Teredo"),
        ("4000::1", "not public"),
    ],
)
def test_an_address_that_is_not_public_is_refused_with_its_reason(address, reason):
    assert reason in (refusal(address) or "")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://h/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:pw@h/x", "holds credentials"),
        ("http://127.0.0.1/x", "loopback"),
        ("http://[::1]/x", "loopback"),
        ("http://[::ffff:10.0.0.1]/x", "IPv4-mapped"),
    ],
)
def test_a_url_is_refused_by_its_scheme_its_credentials_or_its_address(url, message):
    with pytest.raises(SourceError, match=message) as caught:
        check_url(URL(url), allow_private=False)
    assert "pw" not in str(caught.value)


def test_a_private_address_may_be_allowed_but_no_other_scheme():
    check_url(URL("http://127.0.0.1:1/x"), allow_private=True)
    with pytest.raises(SourceError, match="only http and https"):
        check_url(URL("gopher://127.0.0.1/x"), allow_private=True)


async def test_a_name_is_answered_with_the_addresses_that_were_checked():
    resolver = PublicResolver(allow_private=False, inner=Names("8.8.8.8", "1.1.1.1"))

    assert [result["host"] for result in await resolver.resolve("h", 80)] == ["8.8.8.8", "1.1.1.1"]


async def test_one_private_address_among_public_ones_refuses_the_name():
    resolver = PublicResolver(allow_private=False, inner=Names("8.8.8.8", "10.0.0.1"))

    with pytest.raises(SourceError, match="h is at an address that is private; allow_private"):
        await resolver.resolve("h", 80)


async def test_a_name_may_lead_to_private_addresses_where_that_is_allowed():
    resolver = PublicResolver(allow_private=True, inner=Names("10.0.0.1"))

    assert [result["host"] for result in await resolver.resolve("h")] == ["10.0.0.1"]


async def test_closing_closes_the_resolver_below():
    inner = Names()
    await PublicResolver(allow_private=False, inner=inner).close()

    assert inner.closed
