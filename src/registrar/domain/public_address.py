"""Which addresses are the public Internet's: what a server may be made to connect to by a stranger.

Written out rather than left to `ipaddress.is_global`, whose tables change with the patch release of Python and count
multicast, site-local and translated addresses as global.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_IPv4: Final = ipaddress.IPv4Network
_IPv6: Final = ipaddress.IPv6Network

# The special-purpose registries of IANA (RFC 6890), and the multicast and reserved blocks.
_NOT_PUBLIC_4: Final = tuple(
    map(
        _IPv4,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        ),
    )
)
_UNICAST_6: Final = _IPv6("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(_IPv6, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20"))
)
_TRANSLATED: Final = _IPv6("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether a numeric address can be nothing but a host of the public Internet; False for what is no address.

    An IPv4 address inside an IPv6 one is judged as itself where it is mapped (RFC 4291 §2.5.5) or translated by the
    well-known prefix (RFC 6052), through which IPv6-only networks reach all of IPv4. 6to4 and Teredo are refused.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inside = address.ipv4_mapped
        if address in _TRANSLATED:
            inside = ipaddress.IPv4Address(address.packed[-4:])
        if inside is None:
            return address in _UNICAST_6 and not any(address in block for block in _NOT_PUBLIC_6)
        address = inside
    return not any(address in block for block in _NOT_PUBLIC_4)
