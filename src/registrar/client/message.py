"""HTTP messages as values, and the two judgements that all of them share: is this address safe, is this body JSON?"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from registrar.client.errors import ProtocolError, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names of this machine at which plain http is tolerated: what is sent there does not leave it.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

# Only RFC 3986's own characters, so that every parser that meets the address reads the same host in it.
_URI: Final = re.compile(r"https?://[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_BEARER: Final = re.compile(r"[\x21-\x7e]+")
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent. Headers and body may hold credentials and stay out of its repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that came. Header names are in lower case; body and headers stay out of its repr."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    body: bytes = field(default=b"", repr=False)


def json_request(
    method: str, url: str, *, token: str | None = None, members: Mapping[str, Any] | None = None
) -> Request:
    """A request that asks for JSON, and carries `members` and a bearer token (RFC 6750 §2.1) when there are any.

    Raises:
        RequestInvalid: The token cannot stand in a header, or the members are not JSON.
    """
    # An answer is bounded while it is read; a compressed one would be bounded only after it has been inflated.
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "registrar-client"}
    if token is not None:
        if not _BEARER.fullmatch(token):
            raise RequestInvalid("the bearer token is empty or has characters that a header cannot carry")
        headers["authorization"] = f"Bearer {token}"
    if members is None:
        return Request(method, url, headers)
    headers["content-type"] = "application/json"
    try:
        body = json.dumps(members, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestInvalid("the client metadata cannot be written as JSON") from error
    return Request(method, url, headers, body)


def read_object(response: Response) -> dict[str, Any]:
    """The answer's body as one JSON object; a member that comes twice is a fault, never a choice.

    Raises:
        ProtocolError: It is not one.
    """
    try:
        document = json.loads(
            response.body.decode("utf-8-sig"), object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        # Without the cause: a decoder's error keeps the document, which may hold a secret, and tracebacks show it.
        raise ProtocolError(f"the body of a {response.status} answer is not JSON", response.status) from None
    if not isinstance(document, dict):
        raise ProtocolError(f"the body of a {response.status} answer is not a JSON object", response.status)
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member comes twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def url_fault(url: object) -> str | None:
    """Why nothing may be sent to this address, or None: absolute https, or http on this machine (RFC 7591 §5)."""
    if not isinstance(url, str) or not _URI.fullmatch(url):
        return "not an absolute https URL without fragment"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port cannot be read"
    if not parts.hostname or port == 0:
        return "its host or port cannot be read"
    if "@" in parts.netloc:
        return "it carries user information"
    if {".", ".."} & set(parts.path.split("/")):
        return "it has dot segments, which a client would rewrite"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return "plain http is for this machine only"
    return None


def origin(url: str) -> tuple[str, str | None, int]:
    """Scheme, host and port, comparable (RFC 6454 §4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def shown(text: object, limit: int = _SHOWN) -> str | None:
    """Text that a server sent, fit for a terminal: printable and short; None for what is not text."""
    if not isinstance(text, str) or not text:
        return None
    return "".join(letter if letter.isprintable() else " " for letter in text[:limit])
