"""Signing as the issuer (RFC 7515): ID tokens, answers and reports; and knowing again what it signed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registrar.authorization import client_keys, clients, encryption
from registrar.domain import jws
from registrar.domain.client import Client
from registrar.domain.credentials import Unreadable
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import Malformed, Refused, VerifiedJWS
from registrar.domain.server_metadata import MAC, OWN_SIGNING, UNSIGNED
from registrar.service import issuance, keys
from registrar.service.registry import Issuer, Registry

_encode: Final = msgspec.json.Encoder().encode


async def sign(registry: Registry, issuer: Issuer, claims: Mapping[str, Any], algorithm: str, typ: str) -> str:
    """Claims as a compact JWS under the issuer's own key.

    Args:
        registry: what every use case is given.
        issuer: who signs.
        claims: what is signed, complete.
        algorithm: of `OWN_SIGNING`.
        typ: what it is, so that it is never taken for something else (RFC 8725 §3.11).

    Raises:
        ProtocolError: `server_error`; the issuer has no key, or cannot open it.
        StoreUnavailable: the store does not answer.
    """
    try:
        kid, key = await keys.signer(registry, issuer, algorithm)
    except (KeyError, Unreadable):
        raise ProtocolError("server_error", f"This issuer has no key for {algorithm}; its operator can tell.") from None
    return _serialized({"alg": algorithm, "kid": kid, "typ": typ}, claims, key)


async def secured(
    registry: Registry,
    issuer: Issuer,
    client: Client,
    claims: Mapping[str, Any],
    what: str,
    typ: str,
    *,
    algorithm: str = "",
) -> str:
    """Claims as a client registered to have them: signed, and encrypted where it registered that (RFC 7519 §5.2).

    Args:
        registry: what every use case is given.
        issuer: who signs.
        client: for whom.
        claims: what is signed, complete.
        what: `id_token`, `userinfo`, `introspection` or `authorization`: the members that say how.
        typ: what it is.
        algorithm: how it is signed, whatever the client registered.

    Raises:
        ProtocolError: `server_error` or `invalid_request`; there is no key to sign or to encrypt with.
        StoreUnavailable: the store does not answer.
    """
    chosen = algorithm or client.metadata.get(f"{what}_signed_response_alg", "RS256")
    signed = await _signed(registry, issuer, client, claims, chosen, typ)
    if f"{what}_encrypted_response_alg" not in client.metadata:
        return signed
    return await encryption.encrypt_for(registry, issuer, client, signed.encode(), what)


async def _signed(
    registry: Registry, issuer: Issuer, client: Client, claims: Mapping[str, Any], algorithm: str, typ: str
) -> str:
    if algorithm in OWN_SIGNING:
        return await sign(registry, issuer, claims, algorithm, typ)
    from joserfc.jwk import OctKey

    if algorithm == UNSIGNED:
        return _serialized({"alg": UNSIGNED, "typ": typ}, claims, None)
    try:
        secret = issuance.readable_secret(registry, issuer, client)
    except Unreadable:
        raise ProtocolError(
            "invalid_request", f"The secret that {algorithm} needs has ended; the registration has a newer one."
        ) from None
    return _serialized({"alg": algorithm, "typ": typ}, claims, OctKey.import_key(secret.encode()))


async def verify_own(registry: Registry, issuer: Issuer, compact: str) -> VerifiedJWS | None:
    """A JWS that this issuer made, expired ones too; None for anything else (OpenID Connect Core §3.1.2.1).

    One under a client's secret is known by the client that it is for.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    try:
        unverified = jws.read(compact)
        if unverified.claims.get("iss") != issuer.url:
            return None
        if unverified.algorithm not in MAC:
            return jws.verify(unverified, await keys.known(registry, issuer), OWN_SIGNING)
        client = await clients.find(registry, issuer, audience(unverified.claims))
        if client is None:
            return None
        return jws.verify(unverified, client_keys.secret(registry, issuer, client, unverified.kid), MAC)
    except (Malformed, Refused):
        return None


def audience(claims: Mapping[str, Any]) -> str:
    """The one client that something is for; empty where that is not one (RFC 7519 §4.1.3)."""
    value = claims.get("aud")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else ""


def _serialized(header: Mapping[str, Any], claims: Mapping[str, Any], key: Any) -> str:
    from joserfc.jws import JWSRegistry

    # Which algorithm is right was decided by what is offered and registered; the library answers by its name.
    model = JWSRegistry.algorithms[header["alg"]]
    if key is not None:
        model.check_key(key)
    signed = b".".join((_base64url(_encode(header)), _base64url(_encode(claims))))
    return b".".join((signed, _base64url(model.sign(signed, key)))).decode("ascii")


def _base64url(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")
