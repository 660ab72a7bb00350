"""Access and refresh tokens: what a client gets (RFC 6749 §5.1). The store knows them by their digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registrar.authorization import clients, resource, signing, subject
from registrar.authorization.grant import Grant
from registrar.authorization.sender import Binding
from registrar.domain import credentials
from registrar.domain.access_token import ACCESS_TOKEN, SCOPE, AccessToken
from registrar.domain.client import Client
from registrar.domain.credentials import TOKEN_BYTES
from registrar.domain.settings import Clients, Format
from registrar.service import access
from registrar.service.ports import Change, Item, Put
from registrar.service.registry import Issuer, Registry

REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 (a word of RFC 6749, not a secret)
"""What refresh tokens are called among the items of a store, as the grant type is; the key is the digest."""

JWT_ALGORITHM: Final = "RS256"
"""What every resource server can verify (RFC 9068 §2.1)."""
JWT_TYPE: Final = "at+jwt"

_ID_BYTES: Final = 16


class RefreshToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refresh token as the store holds it, under its digest. Its family is its grant."""

    client_id: str
    grant_id: str
    subject: str
    scope: tuple[str, ...]
    issued_at: int
    expires_at: int
    dpop_jkt: str = ""
    """Of a public client: the key that has to be proved with it (RFC 9449 §5)."""
    certificate_thumbprint: str = ""
    """Of a public client: the certificate that it has to come with (RFC 8705 §4)."""
    replaced_at: int = 0
    """When a newer one was issued for it; its next use is a theft, or a lost answer."""


class Issued(msgspec.Struct, frozen=True):
    """A token response, and the changes that make it true: it is answered once they are durable."""

    answer: dict[str, Any]
    changes: list[Change]
    token: AccessToken

    def __repr__(self) -> str:
        """Without the values."""
        return "Issued(...)"


_encode: Final = msgspec.json.Encoder().encode
_decode_refresh: Final = msgspec.json.Decoder(RefreshToken).decode


async def issue(
    registry: Registry,
    issuer: Issuer,
    client: Client,
    binding: Binding,
    now: int,
    *,
    scope: Sequence[str],
    resources: Sequence[str],
    grant: Grant | None = None,
) -> Issued:
    """An access token and its answer; nothing is stored yet.

    Args:
        registry: what every use case is given.
        issuer: whose tokens these are.
        client: who gets it.
        binding: the key or certificate that it is bound to.
        now: seconds since 1970.
        scope: what was granted, and asked for of it.
        resources: the resource indicators, granted and asked for.
        grant: what a person allowed; None for a client's own token.

    Raises:
        ProtocolError: `invalid_scope`; no scope means anything to the resources.
    """
    settings = issuer.settings.authorization
    audience = resource.audience(issuer, resources)
    token = AccessToken(
        token_id=registry.entropy(_ID_BYTES).hex(),
        client_id=client.client_id,
        grant_id=grant.grant_id if grant else "",
        subject=grant.authentication.subject if grant else "",
        scope=resource.meaningful(issuer, audience, scope) if settings.resources else tuple(scope),
        audience=audience,
        issued_at=now,
        expires_at=now + settings.access_token_lifetime,
        dpop_jkt=binding.dpop_jkt,
        certificate_thumbprint=binding.certificate_thumbprint,
        authorization_details=grant.authorization_details if grant else None,
    )
    value = await _value(registry, issuer, client, token, grant)
    answer: dict[str, Any] = {
        "access_token": value,
        "token_type": "DPoP" if token.dpop_jkt else "Bearer",
        "expires_in": settings.access_token_lifetime,
    }
    if token.scope:
        answer["scope"] = " ".join(token.scope)
    if token.authorization_details:
        answer["authorization_details"] = token.authorization_details
    return Issued(answer, [Put(_item(issuer, value, token))], token)


async def _value(registry: Registry, issuer: Issuer, client: Client, token: AccessToken, grant: Grant | None) -> str:
    """The token itself. One with `dcr` is never a statement to be read: it opens nothing but the registration here."""
    if issuer.settings.authorization.access_token_format is Format.OPAQUE or SCOPE in token.scope:
        return credentials.token(registry.entropy(TOKEN_BYTES))
    claims = {**await described(registry, issuer, client, token), **(_sign_in(grant) if grant else {})}
    return await signing.sign(registry, issuer, claims, JWT_ALGORITHM, JWT_TYPE)


async def described(registry: Registry, issuer: Issuer, client: Client, token: AccessToken) -> dict[str, Any]:
    """What an access token says to those whom it concerns (RFC 9068 §2.2, RFC 7662 §2.2).

    Raises:
        StoreUnavailable: the store does not answer.
    """
    person = token.subject and await subject.for_client(registry, issuer, client, token.subject)
    members: dict[str, Any] = {
        "iss": issuer.url,
        "sub": person or token.client_id,
        "aud": token.audience[0] if len(token.audience) == 1 else list(token.audience),
        "client_id": token.client_id,
        "scope": " ".join(token.scope),
        "iat": token.issued_at,
        "exp": token.expires_at,
        "jti": token.token_id,
        "cnf": confirmation(token),
        "authorization_details": token.authorization_details,
    }
    return {name: value for name, value in members.items() if value not in (None, "", {})}


def _sign_in(grant: Grant) -> dict[str, Any]:
    """RFC 9068 §2.2.1: how the person signed in."""
    how = grant.authentication
    members = {"auth_time": how.time, "acr": how.acr, "amr": list(how.amr)}
    return {name: value for name, value in members.items() if value}


def _item(issuer: Issuer, value: str, token: AccessToken) -> Item:
    return Item(
        issuer.name,
        ACCESS_TOKEN,
        access.key(value),
        _encode(token),
        client_id=token.client_id,
        owner=token.subject,
        expires_at=token.expires_at,
    )


def confirmation(token: AccessToken) -> dict[str, str]:
    """What a token is bound to, as others are told (RFC 7800 §3.1, RFC 9449 §6.1, RFC 8705 §3.1)."""
    members = {"jkt": token.dpop_jkt, "x5t#S256": token.certificate_thumbprint}
    return {name: value for name, value in members.items() if value}


# --- refresh tokens ---------------------------------------------------------------------------------------------------


def refreshable(issuer: Issuer, client: Client, scope: Sequence[str]) -> bool:
    """Whether a client gets a refresh token: it registered the grant, the operator wants it, and it is not for `dcr`."""
    if REFRESH_TOKEN not in client.metadata.get("grant_types", ()) or SCOPE in scope:
        return False
    return issuer.settings.authorization.refresh_tokens is Clients.ALL or not clients.is_public(client)


def rotates(issuer: Issuer, client: Client) -> bool:
    """Whether a refresh token is replaced at its use: a public client's always (RFC 9700 §4.14.2)."""
    return issuer.settings.authorization.refresh_token_rotation is Clients.ALL or clients.is_public(client)


def refresh_token(
    registry: Registry, issuer: Issuer, client: Client, binding: Binding, grant: Grant, now: int
) -> tuple[str, Put]:
    """A new refresh token, and the change that stores it."""
    value = credentials.token(registry.entropy(TOKEN_BYTES))
    public = clients.is_public(client)  # a confidential client proves itself by authenticating
    token = RefreshToken(
        client_id=client.client_id,
        grant_id=grant.grant_id,
        subject=grant.authentication.subject,
        scope=grant.scope,
        issued_at=now,
        expires_at=grant.expires_at,
        dpop_jkt=binding.dpop_jkt if public else "",
        certificate_thumbprint=binding.certificate_thumbprint if public else "",
    )
    return value, Put(_refresh_item(issuer, access.key(value), token, 1))


def replaced(issuer: Issuer, item: Item, token: RefreshToken, now: int) -> Put:
    """The change that marks a refresh token as used: of concurrent uses, one wins."""
    after = msgspec.structs.replace(token, replaced_at=now)
    return Put(_refresh_item(issuer, item.key, after, item.version + 1), expected=item.version)


async def find_refresh_token(
    registry: Registry, issuer: Issuer, presented: str, now: int
) -> tuple[Item, RefreshToken] | None:
    """A refresh token that was presented, replaced ones included, and the item that holds it.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, REFRESH_TOKEN, access.key(presented))
    return (item, _decode_refresh(item.body)) if item is not None and item.lives(now) else None


def _refresh_item(issuer: Issuer, key: str, token: RefreshToken, version: int) -> Item:
    return Item(
        issuer.name,
        REFRESH_TOKEN,
        key,
        _encode(token),
        version=version,
        client_id=token.client_id,
        owner=token.subject,
        expires_at=token.expires_at,
    )
