"""What trusted proxies say about a request: who sent it, and whether TLS ended at them.

A header says what its sender wants it to say. So these are believed where the peer of the connection itself is one of
the configured proxies, and from nobody else.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from registrar.domain.settings import Server
from registrar.http import certificates
from registrar.http.wire import Headers, Scope

PROXIED: Final = "registrar.proxied"
"""Stands in the scope of a request that a trusted proxy handed on."""
_REMEMBERED: Final = 1_024


class Proxies:
    """The proxies that are believed.

    Args:
        settings: `trusted_proxies` and `client_certificate_header` count here.
    """

    def __init__(self, settings: Server) -> None:
        self._networks = tuple(map(ip_network, settings.trusted_proxies))
        self._certificate_header = settings.client_certificate_header.lower().encode("ascii")
        self._known: set[str] = set()

    def resolved(self, scope: Scope) -> Scope:
        """The request as the first of the trusted proxies received it; as it is, where its peer is none of them.

        What a certificate says is read where it is asked for, so that a bad one is refused, and recorded, there.
        """
        peer = scope.get("client")
        if peer is None or not self._trusts(peer[0]):
            return scope
        headers = scope["headers"]
        # From here on the header alone is read: the proxy's own certificate on this connection is not the client's.
        return {
            **scope,
            "client": (self._caller(headers, peer[0]), 0),
            "scheme": _scheme(headers, scope.get("scheme", "http")),
            certificates.HEADER: self._certificate_header,
            PROXIED: True,
        }

    def _trusts(self, peer: str) -> bool:
        """Whether an address is a proxy's, remembered for those that are: there are few of them."""
        if peer in self._known:
            return True
        address = _address(peer)
        if address is None or not self._holds(address):
            return False
        if len(self._known) < _REMEMBERED:
            self._known.add(peer)
        return True

    def _holds(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def _caller(self, headers: Headers, peer: str) -> str:
        """The right-most address that is not a proxy's: each trusted proxy has added the one that it was called from.

        What stands left of it is the caller's own word. What is no address says nothing, and the last one known counts.
        """
        caller = peer
        forwarded = b",".join([value for name, value in headers if name == b"x-forwarded-for"])
        for entry in reversed(forwarded.decode("ascii", "replace").split(",")):
            address = _address(entry.strip())
            if address is None:
                return caller
            caller = str(address)
            if not self._holds(address):
                return caller
        return caller


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, as proxies write it: bare, with a port, or IPv6 in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener for both families gives IPv4 addresses in this form (RFC 4291 §2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


def _scheme(headers: Headers, own: str) -> str:
    """`https` where the proxy says so, once and alone; of several values the first may be the caller's."""
    said = [value for name, value in headers if name == b"x-forwarded-proto"]
    if not said:
        return own
    return "https" if said == [b"https"] else "http"
