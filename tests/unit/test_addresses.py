"""By what the connections of one address are counted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sanic.headers import fwd_normalize_address

from app.auth.addresses import limited_address

IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address).filter(lambda address: address.ipv4_mapped is None)


@pytest.mark.parametrize("text", ["203.0.113.7", "10.0.0.1", "192.168.1.1", "0.0.0.0", "255.255.255.255"])
def test_an_ipv4_address_counts_by_itself(text: str) -> None:
    assert limited_address(text) == text


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:DB8::", "2001:db8::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_address_counts_with_its_neighbours_of_one_64(text: str, counted: str) -> None:
    assert limited_address(text) == counted


@given(IPV6, IPV6)
def test_ipv6_addresses_count_together_just_when_their_first_64_bits_are_the_same(
    one: IPv6Address, other: IPv6Address
) -> None:
    neighbour = IPv6Address(int(one) >> 64 << 64 | int(other) & (1 << 64) - 1)
    assume(not any(address.is_loopback or address.ipv4_mapped for address in (one, other, neighbour)))
    assert limited_address(str(one)) == limited_address(str(neighbour)) is not None
    together = limited_address(str(one)) == limited_address(str(other))
    assert together is (int(one) >> 64 == int(other) >> 64)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_counts_the_same_when_ipv6_carries_it(address: IPv4Address) -> None:
    assert limited_address(f"::ffff:{address}") == limited_address(str(address))
    assert limited_address(f"::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}") == limited_address(
        str(address)
    )


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.8.7.6", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"]
)
def test_the_machine_itself_is_not_limited(text: str) -> None:
    assert limited_address(text) is None


@pytest.mark.parametrize(
    "text", ["unknown", "_hidden", "203.0.113", "203.0.113.010", "203.0.113.7, 10.0.0.1", "2001:db8::1::"]
)
def test_what_is_no_address_counts_by_its_text(text: str) -> None:
    assert limited_address(text) == text


def test_no_address_at_all_is_not_limited() -> None:
    assert limited_address(" ") is None


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("[2001:db8:1:2::3]:443", "2001:db8:1:2::/64"),
        (" 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1:80", None),
    ],
)
def test_a_port_counts_for_nothing(text: str, counted: str | None) -> None:
    assert limited_address(text) == counted


def test_an_ipv6_client_behind_a_proxy_is_limited_as_one_without() -> None:
    """Sanic puts what the proxy forwards into brackets."""
    forwarded = fwd_normalize_address("2001:db8::1")
    assert forwarded != "2001:db8::1"
    assert limited_address(forwarded) == "2001:db8::/64"
