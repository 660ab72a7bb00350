"""Rates: how often something may happen, as operators write it, and whose share a request takes."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

ACCEPTED: Final = "such as 60/minute, or 60/minute;1000/day"
_REMEMBERED: Final = 4_096
"""Addresses of which it is remembered whose they are: to read one takes longer than to count it."""
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE: Final = re.compile(r"([1-9][0-9]{0,9}) ?(?:/|per) ?(?:([1-9][0-9]{0,3}) ?)?(second|minute|hour|day)s?")


class Rate(NamedTuple):
    """So many in so many seconds, from the first of them on."""

    amount: int
    seconds: int
    text: str


def read(text: str) -> tuple[Rate, ...]:
    """The rates of a text, in the notation of the `limits` library; none for an empty one.

    Raises:
        ValueError: saying what is accepted.
    """
    rates = []
    for part in text.split(";") if text.strip() else ():
        found = _RATE.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"{part.strip() or 'nothing'} is no rate; a rate is {ACCEPTED}")
        seconds = int(found[2] or 1) * _UNITS[found[3]]
        rates.append(Rate(int(found[1]), seconds, part.strip()))
    return tuple(rates)


@lru_cache(_REMEMBERED)
def of_address(address: str, prefix: int, shared: tuple[str, ...] = ()) -> tuple[str, bool]:
    """Who an address counts as, and whether that is a network that many share.

    Args:
        address: as the request came from.
        prefix: bits of an IPv6 address that tell one subscriber from another.
        shared: networks that many share.

    Returns:
        Empty for loopback, and for what is no address: nobody's share is taken.
    """
    try:
        one = ip_address(address)
    except ValueError:
        return "", False
    if one.version == 6 and (mapped := one.ipv4_mapped) is not None:  # noqa: PLR2004 (the version)
        one = mapped
    if one.is_loopback:
        return "", False
    for network in shared:
        if one in ip_network(network):
            return network, True
    if one.version == 4:  # noqa: PLR2004 (the version)
        return str(one), False
    return str(ip_network((int(one), prefix), strict=False)), False
