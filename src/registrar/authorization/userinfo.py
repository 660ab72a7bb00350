"""UserInfo (OpenID Connect Core §5.3): what a person let a client know, for the access token that they allowed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from registrar.authorization import encryption, grant, people, resource, signing, subject
from registrar.authorization.sender import Binding
from registrar.domain import claims
from registrar.domain.claims import OPENID
from registrar.domain.client import Client
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import BearerError
from registrar.service import access
from registrar.service.registry import Issuer, Registry

JSON: Final = "application/json"
JWT: Final = "application/jwt"

_encode: Final = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """An answer: its media type and its bytes."""

    media_type: str
    body: bytes


async def answer(registry: Registry, issuer: Issuer, presented: PresentedToken | None, binding: Binding) -> Told:
    """What a token lets its client know (§5.3.2): plain, or signed and encrypted as the client registered.

    Args:
        registry: what every use case is given.
        issuer: whose endpoint it is.
        presented: the access token.
        binding: the key or certificate that the request proved.

    Raises:
        BearerError: `token_required`, `invalid_token` or `insufficient_scope`.
        ProtocolError: the client has no key to encrypt with.
        StoreUnavailable: the store does not answer.
    """
    if presented is None:
        raise BearerError("token_required", "UserInfo is told for an access token.", realm="userinfo")
    now = registry.clock() // 1000
    found = await access.find(registry, issuer, presented, now)
    if found is None:
        raise BearerError("invalid_token", "The access token is unknown, expired or revoked.", realm="userinfo")
    token, client = found.token, found.client
    if set(token.audience).isdisjoint({issuer.url, *resource.audience(issuer, ())}):
        raise BearerError("invalid_token", "The access token is for another resource.", realm="userinfo")
    if (token.dpop_jkt and token.dpop_jkt != binding.dpop_jkt) or (
        token.certificate_thumbprint and token.certificate_thumbprint != binding.certificate_thumbprint
    ):
        raise BearerError("invalid_token", "The access token is bound to a key that was not proved.", realm="userinfo")
    allowed = await grant.find(registry, issuer, token.grant_id, now) if token.grant_id else None
    if allowed is None or OPENID not in token.scope:
        raise BearerError(
            "insufficient_scope", "The access token is not one of OpenID Connect.", scope=OPENID, realm="userinfo"
        )
    known = await people.claims(registry, issuer, token.subject)
    told = claims.of_scopes(token.scope, known) | claims.requested(allowed.claims, "userinfo", known)
    told["sub"] = await subject.for_client(registry, issuer, client, token.subject)
    return await _secured(registry, issuer, client, told)


async def _secured(registry: Registry, issuer: Issuer, client: Client, told: dict[str, Any]) -> Told:
    if "userinfo_signed_response_alg" in client.metadata:
        addressed = {"iss": issuer.url, "aud": client.client_id, **told}
        return Told(JWT, (await signing.secured(registry, issuer, client, addressed, "userinfo", "JWT")).encode())
    body = _encode(told)
    if "userinfo_encrypted_response_alg" not in client.metadata:
        return Told(JSON, body)
    encrypted = await encryption.encrypt_for(registry, issuer, client, body, "userinfo", nested=False)
    return Told(JWT, encrypted.encode())
