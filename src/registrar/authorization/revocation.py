"""Token revocation (RFC 7009): a client says that it needs a token no more."""

from __future__ import annotations

from registrar.authorization import client_authentication, grant, tokens
from registrar.authorization.call import Call
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor
from registrar.service import access
from registrar.service.registry import Issuer, Registry


async def revoke(registry: Registry, issuer: Issuer, call: Call) -> None:
    """Revoke a token of the client that asks: an access token alone, a refresh token with everything under its grant.

    A token that is unknown, or dead already, is as revoked as it can be (RFC 7009 §2.2).

    Raises:
        ProtocolError: `invalid_client`; `unauthorized_client` for a token of another client.
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    client = await client_authentication.authenticate(registry, issuer, call, now)
    presented = call.required("token")
    if (found := await access.find(registry, issuer, presented, now)) is not None:
        _check_owner(client, found.token.client_id)
        await registry.store.change([found.ended()])
        return
    refresh = await tokens.find_refresh_token(registry, issuer, presented, now)
    if refresh is None:
        return
    _, token = refresh
    _check_owner(client, token.client_id)
    allowed = await grant.find(registry, issuer, token.grant_id, now)
    if allowed is not None:
        actor = Actor("client", "client_authentication", address=call.address)
        await grant.revoke(registry, allowed, actor, "its client revoked the refresh token", endpoint=call.endpoint)


def _check_owner(client: Client, client_id: str) -> None:
    if client.client_id != client_id:
        raise ProtocolError("unauthorized_client", "The token was issued to another client (RFC 7009 section 2.1).")
