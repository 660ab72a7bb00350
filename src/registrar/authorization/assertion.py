"""Client assertions (RFC 7523 §2.2, OpenID Connect Core §9): a client proves itself with a statement that it signs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from registrar.authorization import client_keys, replay
from registrar.authorization.call import Parameters
from registrar.domain import jws, server_metadata
from registrar.domain.client import Client
from registrar.domain.jws import Malformed, Refused, UnverifiedJWS, VerifiedJWS
from registrar.domain.server_metadata import ENDPOINTS, OFFERED, SYMMETRIC
from registrar.service.key_sets import KeysUnavailable
from registrar.service.registry import Issuer, Registry

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SKEW: Final = 10
"""Seconds that a client's clock may be ahead (FAPI 2.0 §5.3.2.1)."""
LIFETIME: Final = 3_600
"""Seconds that an assertion may be valid at the most: its identifier is remembered for as long."""
_LONGEST_ID: Final = 512


class NotProved(Exception):  # noqa: N818 (what happened to the client)
    """An assertion that does not prove its client, and why."""


def read(given: Parameters) -> UnverifiedJWS:
    """The assertion of a request.

    Raises:
        NotProved: it is missing, of another type, or no JWS.
    """
    if given.get("client_assertion_type") != TYPE:
        raise NotProved(f"client_assertion_type is not {TYPE}.")
    try:
        return jws.read(given.get("client_assertion", ""))
    except Malformed as problem:
        raise NotProved(f"client_assertion cannot be read: {problem}.") from None


async def verify(registry: Registry, issuer: Issuer, client: Client, unverified: UnverifiedJWS, now: int) -> None:
    """Hold an assertion to be the client's own, for this server, of this moment, and never used before.

    Raises:
        NotProved: saying why not.
        StoreUnavailable: the store does not answer.
    """
    verified = await _verified(registry, issuer, client, unverified)
    claims = verified.claims
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise NotProved("iss and sub of the assertion are not both the client_id.")
    if problem := _audience(issuer, claims) or jws.check_times(claims, now, skew=SKEW, max_lifetime=LIFETIME):
        raise NotProved(f"The assertion is refused: {problem}.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID:
        raise NotProved("The assertion has no jti, which makes it usable once (RFC 7523 section 3).")
    until = int(claims["exp"]) + SKEW
    if not await replay.first_use(registry, issuer, "assertion", client.client_id, jti, until=until, now=now):
        raise NotProved("The assertion was used before; each request needs a new one.")


async def _verified(registry: Registry, issuer: Issuer, client: Client, unverified: UnverifiedJWS) -> VerifiedJWS:
    symmetric = client.metadata.get("token_endpoint_auth_method") == "client_secret_jwt"
    try:
        if symmetric:
            keys = client_keys.secret(registry, issuer, client, unverified.kid)
        else:
            keys = await client_keys.public(registry, client, unverified.kid)
        return jws.verify(unverified, keys, _algorithms(client, symmetric=symmetric))
    except Refused as problem:
        raise NotProved(f"The assertion is refused: {problem}.") from None
    except KeysUnavailable as problem:
        raise NotProved(f"The assertion cannot be verified: {problem.reason}.") from None


def _algorithms(client: Client, *, symmetric: bool) -> Collection[str]:
    """The registered one, or all that the method has (OpenID Connect Registration §2)."""
    if registered := client.metadata.get("token_endpoint_auth_signing_alg"):
        return (registered,)
    offered = OFFERED["token_endpoint_auth_signing_alg_values_supported"]
    return tuple(one for one in offered if (one in SYMMETRIC) is symmetric)


def _audience(issuer: Issuer, claims: dict[str, Any]) -> str | None:
    """One audience, the issuer as it is written: an assertion for several servers can be replayed among them."""
    if issuer.settings.authorization.assertion_for_token_endpoint:
        endpoint = server_metadata.endpoint_url(issuer.url, ENDPOINTS["token_endpoint"])
        return jws.check_audience(claims, (issuer.url, endpoint))
    return None if claims.get("aud") == issuer.url else f"its aud is not the issuer, {issuer.url}, as one string"
