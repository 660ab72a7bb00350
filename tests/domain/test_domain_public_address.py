"""Which addresses the server may be made to connect to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain.public_address import is_public

NOT_PUBLIC = """
0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.1 192.0.0.9 192.0.2.1 192.88.99.1 192.168.0.1 192.175.48.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
64:ff9b:1::1 100::1 2001::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 2620:4f:8000::1 3ffe::1 3fff::1
4000::1 5f00::1 fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1
localhost 127.1 0x7f000001 2130706433 010.0.0.1
"""


@pytest.mark.parametrize("text", ["", *NOT_PUBLIC.split()])
def test_what_is_no_public_address(text: str) -> None:
    """Private, loopback, link-local, shared, multicast, documentation, reserved and translated addresses, and words."""
    assert not is_public(text)


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111", "2a00::1"]
)
def test_what_is_a_public_address(text: str) -> None:
    """Hosts of the Internet, as they are and behind the well-known prefix."""
    assert is_public(text)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_special(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Our list is never wider than the one of the standard library."""
    inside = address
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address
        if address in ipaddress.ip_network("64:ff9b::/96"):
            inside = ipaddress.IPv4Address(address.packed[-4:])
    if is_public(str(address)):
        assert inside.is_global
        assert not inside.is_multicast
