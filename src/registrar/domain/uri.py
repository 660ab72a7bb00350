"""The grammar of RFC 3986 that redirect URIs and every other URL member share: parsed to be judged, never rewritten."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

_NOT_URI: Final = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARTS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9_\-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_\-]{1,63}(?<!-)")
# A host whose last label is a number is read as an IPv4 address by browsers, in any of a dozen spellings.
_NUMERIC_HOST: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
# The plain case: https to a DNS name, nothing unusual anywhere. A subset of what the rules admit, kept because it takes a
# fifth of the time; a property test holds it so.
_PLAIN_WEB: Final = re.compile(
    r"https://(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}(?:/[A-Za-z0-9_.~\-]+)*/?"
)
_PLAIN_LENGTH: Final = 200
_MAX_PORT: Final = 65535


class Parts(NamedTuple):
    """The components of an absolute URI as they stand in it; the scheme alone is in lower case (RFC 3986 §3.1)."""

    scheme: str
    authority: str | None
    path: str
    query: str
    fragment: str | None


def split(text: str) -> Parts | None:
    """The components of an absolute URI, or None where there is no scheme."""
    found = _PARTS.fullmatch(text)
    if found is None:
        return None
    return Parts(found[1].lower(), found[2], found[3], found[4] or "", found[5])


def is_absolute(text: str) -> bool:
    """Whether a text is an absolute URI (RFC 3986 §4.3), which has no fragment."""
    if "#" in text or odd_character(text) or bad_percent(text):
        return False
    parts = split(text)
    return parts is not None and bool(parts.authority or parts.path)


def is_plain_web(text: str) -> bool:
    """Whether a URL is so plain an https URL that no rule could object to it."""
    return len(text) <= _PLAIN_LENGTH and _PLAIN_WEB.fullmatch(text) is not None


def odd_character(text: str) -> str:
    """The first character that no URI may carry unencoded, as U+XXXX, or nothing (RFC 3986 §2)."""
    odd = _NOT_URI.search(text)
    return f"U+{ord(odd[0]):04X}" if odd else ""


def bad_percent(text: str) -> bool:
    """Whether a percent sign is not followed by two hexadecimal digits (RFC 3986 §2.1)."""
    return _BAD_PERCENT.search(text) is not None


def host_and_port(authority: str) -> tuple[str, str | None]:
    """The host in lower case and the port as written; an authority of another form gives a host that is none."""
    found = _AUTHORITY.fullmatch(authority)
    return (found[1].lower(), found[2]) if found else (authority, None)


def is_port(text: str) -> bool:
    """Whether a port is one that something can listen on."""
    return _PORT.fullmatch(text) is not None and 0 < int(text) <= _MAX_PORT


def is_host(host: str) -> bool:
    """Whether a lower-case host is a DNS name, a dotted IPv4 address or a bracketed IPv6 address (RFC 3986 §3.2.2)."""
    if host.startswith("["):
        if not host.endswith("]") or "%" in host:  # zones: RFC 6874, local only
            return False
        return _is_address(ipaddress.IPv6Address, host[1:-1])
    if _NUMERIC_HOST.fullmatch(host):
        return _is_address(ipaddress.IPv4Address, host)
    return _DNS_NAME.fullmatch(host) is not None


def _is_address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def host_of(text: str) -> str:
    """The host of a judged URL in lower case; empty where it has none."""
    parts = split(text)
    return host_and_port(parts.authority)[0] if parts and parts.authority else ""


def origin_of(text: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a judged URL, default ports filled in (RFC 6454 §4)."""
    parts = split(text)
    if parts is None:
        return ("", "", None)
    host, port = host_and_port(parts.authority or "")
    # A private-use scheme has an authority of its own making, in which nothing need be a port.
    number = int(port) if port and is_port(port) else {"https": 443, "http": 80}.get(parts.scheme)
    return (parts.scheme, host, number)
