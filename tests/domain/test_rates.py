"""Rates as operators write them, and who an address counts as."""

from __future__ import annotations

import limits
import pytest

from registrar.domain.rates import of_address, read


@pytest.mark.parametrize(
    "text", ["60/minute", "1 per 2 hours", "60/minute; 1000/day", "5/10 seconds", "3/1 day", "10 per second"]
)
def test_the_notation_is_that_of_the_library(text: str) -> None:
    """What is read here means what the `limits` library reads in it."""
    theirs = [(one.amount, one.get_expiry()) for one in limits.parse_many(text)]
    assert [(rate.amount, rate.seconds) for rate in read(text)] == theirs


def test_no_rate_is_written_as_nothing() -> None:
    """An empty text limits nothing."""
    assert read("") == read("  ") == ()


@pytest.mark.parametrize("text", ["60", "0/minute", "-1/minute", "60/fortnight", "60/minute;", "/", "1e3/day", "٣/day"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """And the refusal tells what is accepted."""
    with pytest.raises(ValueError, match="60/minute"):
        read(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", False)),
        ("2001:db8:1:2:3::4", ("2001:db8:1:2::/64", False)),
        ("::ffff:192.0.2.7", ("192.0.2.7", False)),
        ("127.0.0.1", ("", False)),
        ("::1", ("", False)),
        ("::ffff:127.0.0.1", ("", False)),
        ("", ("", False)),
        ("testclient", ("", False)),
        ("160.79.106.9", ("160.79.104.0/21", True)),
    ],
)
def test_an_address_counts_as_whoever_has_it(address: str, expected: tuple[str, bool]) -> None:
    """IPv4 whole, IPv6 by the prefix of a subscriber, a shared network as one, and loopback as nobody."""
    assert of_address(address, 64, ("160.79.104.0/21", "2001:db8:ffff::/48")) == expected
