"""Token introspection (RFC 7662): what a token is worth at this moment, to whom it concerns."""

from __future__ import annotations

from typing import Any, Final

from registrar.authorization import client_authentication, clients, grant, resource, tokens
from registrar.authorization.call import Call
from registrar.domain.access_token import AccessToken
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service import access
from registrar.service.registry import Issuer, Registry

INACTIVE: Final = {"active": False}
"""All that is said of a token that is not valid, or is none of the caller's business (RFC 7662 §2.2)."""


async def answer(registry: Registry, issuer: Issuer, call: Call) -> tuple[Client, dict[str, Any]]:
    """The client that asks, and what it is told of a token.

    A client is told of its own tokens, and a resource server of those that are for it.

    Raises:
        ProtocolError: `invalid_client`, `unauthorized_client` for a public client, or what authentication refuses.
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    caller = await client_authentication.authenticate(registry, issuer, call, now)
    if clients.is_public(caller):
        raise ProtocolError(
            "unauthorized_client", "Introspection is for clients that authenticate (RFC 7662 section 2.1)."
        )
    if noted := registry.last_use.note(issuer.name, caller.client_id, now):
        await registry.store.change(noted)  # a resource server may do nothing else for years
    presented = call.required("token")
    found = await access.find(registry, issuer, presented, now)
    if found is None:
        return caller, await _refresh_token(registry, issuer, caller, presented, now)
    if not _concerns(issuer, caller, found.token):
        return caller, INACTIVE
    members = await tokens.described(registry, issuer, found.client, found.token)
    return caller, {"active": True, "token_type": "DPoP" if found.token.dpop_jkt else "Bearer", **members}


def _concerns(issuer: Issuer, caller: Client, token: AccessToken) -> bool:
    return token.client_id == caller.client_id or resource.serves(issuer, caller.client_id, token.audience)


async def _refresh_token(
    registry: Registry, issuer: Issuer, caller: Client, presented: str, now: int
) -> dict[str, Any]:
    """A refresh token, to its own client alone: no resource server has any business with one."""
    found = await tokens.find_refresh_token(registry, issuer, presented, now)
    if found is None:
        return INACTIVE
    _, token = found
    allowed = await grant.find(registry, issuer, token.grant_id, now)
    if token.client_id != caller.client_id or token.replaced_at or allowed is None:
        return INACTIVE
    return {
        "active": True,
        "iss": issuer.url,
        "client_id": token.client_id,
        "scope": " ".join(token.scope),
        "iat": token.issued_at,
        "exp": token.expires_at,
    }
