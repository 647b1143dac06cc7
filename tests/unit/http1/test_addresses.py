"""Addresses: what is public, and that what was checked is what is connected to."""

from __future__ import annotations

import socket

import pytest
from yarl import URL

from actors.core.errors import SourceError
from actors.http1.addresses import check_url, public_addresses, refusal


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
        ("http://user:pw@h/x", "contains credentials"),
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


def names(*addresses):
    """Return a look-up that knows what it is told."""

    async def look_up(host, port):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return look_up


async def test_a_name_is_answered_with_the_addresses_that_were_checked():
    found = await public_addresses("h", 80, names("8.8.8.8", "1.1.1.1"))

    assert [address for *_, address in found] == [("8.8.8.8", 80), ("1.1.1.1", 80)]


@pytest.mark.parametrize("private", ["10.0.0.1", "fe80::1%1"])
async def test_one_private_address_among_public_ones_refuses_the_name(private):
    with pytest.raises(SourceError, match=r"h has an address that is .*; set allow_private"):
        await public_addresses("h", 80, names("8.8.8.8", private))
