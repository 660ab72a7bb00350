"""Introspection answers as JWTs (RFC 9701): signed, and encrypted, as the resource server registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from registrar.authorization import signing
from registrar.domain.client import Client
from registrar.service.registry import Issuer, Registry

MEDIA_TYPE: Final = "application/token-introspection+jwt"
"""What a resource server asks for in Accept, and gets as Content-Type (RFC 9701 §4, §5)."""


def wanted(client: Client, accept: str) -> bool:
    """Whether a resource server gets a JWT: it asks for one, or registered how it is signed (RFC 9701 §4, §6)."""
    return MEDIA_TYPE in accept or "introspection_signed_response_alg" in client.metadata


async def make(registry: Registry, issuer: Issuer, client: Client, answer: Mapping[str, Any], now: int) -> str:
    """An introspection answer as a JWT for the resource server that asked (RFC 9701 §5).

    Args:
        registry: what every use case is given.
        issuer: who answers.
        client: the resource server.
        answer: what it would get as JSON (RFC 7662 §2.2).
        now: seconds since 1970.

    Raises:
        ProtocolError: there is no key to sign or to encrypt with.
        StoreUnavailable: the store does not answer.
    """
    claims = {"iss": issuer.url, "aud": client.client_id, "iat": now, "token_introspection": dict(answer)}
    return await signing.secured(registry, issuer, client, claims, "introspection", "token-introspection+jwt")
