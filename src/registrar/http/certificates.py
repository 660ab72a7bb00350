"""The certificate that a client presents: on the connection itself, or in what a trusted proxy says (RFC 9440)."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from registrar.domain import certificate
from registrar.domain.certificate import CHAIN, Certificate, Unreadable
from registrar.domain.errors import ProtocolError
from registrar.http.wire import Scope

OF_CONNECTION: Final = "registrar.client_certificate"
"""The key in the scope for the DER of the certificate of the connection's own TLS handshake."""

HEADER: Final = "registrar.client_certificate_header"
"""The key in the scope for the name of the header that is believed; absent where the peer is no trusted proxy."""

STANDARD: Final = b"client-cert"
"""The header of RFC 9440 §2.2. Another one is read as nginx writes `$ssl_client_escaped_cert`: PEM, percent-encoded."""

_CHAIN: Final = b"client-cert-chain"
_OCTETS: Final = re.compile(rb":([A-Za-z0-9+/]*={0,2}):")
_PEM: Final = re.compile(rb"\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*", re.ASCII)


def presented(scope: Scope) -> Certificate | None:
    """The client's certificate, if it presented one.

    The handshake has verified that of the connection. What a proxy hands on is verified as the proxy was told to.

    Raises:
        ProtocolError: `invalid_request`, for a header that is repeated or holds no certificate.
    """
    header = scope.get(HEADER)
    der = scope.get(OF_CONNECTION) if header is None else _handed_on(scope, header)
    if der is None:
        return None
    try:
        return _read(der)
    except Unreadable as problem:
        raise ProtocolError("invalid_request", f"The client certificate cannot be used: {problem}.") from None


_read: Final = functools.lru_cache(maxsize=256)(certificate.read)


def chain(scope: Scope) -> tuple[bytes, ...]:
    """The certificates above the client's, in DER, as a trusted proxy hands them on (RFC 9440 §2.3); empty for none.

    Raises:
        ProtocolError: `invalid_request`, for a header that is repeated, malformed, or comes without a certificate.
    """
    if scope.get(HEADER) != STANDARD:
        return ()
    value = _once(scope, _CHAIN)
    if value is None:
        return ()
    if _once(scope, STANDARD) is None:
        raise ProtocolError("invalid_request", "The header client-cert-chain comes without client-cert.")
    members = value.split(b",")
    if len(members) > CHAIN:
        raise ProtocolError("invalid_request", f"The header client-cert-chain has more than {CHAIN} certificates.")
    return tuple(_octets(member.strip(b" \t"), _CHAIN) for member in members)


def _handed_on(scope: Scope, header: bytes) -> bytes | None:
    if header == STANDARD:
        chain(scope)  # nothing of what is wrong with it is passed over
    value = _once(scope, header)
    if value is None:
        return None
    if header == STANDARD:
        return _octets(value, header)
    return _from_pem(value, header) if value else None  # proxies leave it empty for a client without a certificate


def _once(scope: Scope, header: bytes) -> bytes | None:
    values = [value for name, value in scope["headers"] if name == header]
    if len(values) > 1:
        raise ProtocolError("invalid_request", f"The header {header.decode('ascii')} is repeated.")
    return values[0] if values else None


def _octets(value: bytes, header: bytes) -> bytes:
    """A byte sequence (RFC 9651 §3.3.5), without parameters: RFC 9440 has none."""
    found = _OCTETS.fullmatch(value)
    if found is None or not found[1]:
        raise _malformed(header, "a certificate in base64 between colons")
    return _decoded(found[1], header, "a certificate in base64 between colons")


def _from_pem(value: bytes, header: bytes) -> bytes:
    found = _PEM.fullmatch(unquote_to_bytes(value))
    if found is None:
        raise _malformed(header, "one certificate in PEM, percent-encoded")
    return _decoded(b"".join(found[1].split()), header, "one certificate in PEM, percent-encoded")


def _decoded(text: bytes, header: bytes, wanted: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _malformed(header, wanted) from None


def _malformed(header: bytes, wanted: str) -> ProtocolError:
    return ProtocolError("invalid_request", f"The header {header.decode('ascii')} does not hold {wanted}.")
