"""Access tokens at their use: found by their digest, and only while everything that they rest on lives."""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.domain import credentials
from registrar.domain.access_token import ACCESS_TOKEN, GRANT, AccessToken
from registrar.domain.client import Client
from registrar.service import clients
from registrar.service.ports import Drop, Item
from registrar.service.registry import Issuer, Registry

_decode: Final = msgspec.json.Decoder(AccessToken).decode


class Found(msgspec.Struct, frozen=True):
    """An access token that is valid at this moment, the client that it was issued to, and the item that holds it."""

    token: AccessToken
    client: Client
    item: Item

    def ended(self) -> Drop:
        """The change that ends it, however often that is said."""
        return Drop(self.item.issuer, ACCESS_TOKEN, self.item.key)

    def spent(self) -> Drop:
        """The change that uses it up: of concurrent callers, one succeeds."""
        return Drop(self.item.issuer, ACCESS_TOKEN, self.item.key, expected=self.item.version)


def key(value: str) -> str:
    """What the store knows a code, token or other secret by: its digest in hexadecimal."""
    return credentials.digest(value).hex()


async def find(registry: Registry, issuer: Issuer, presented: str, now: int) -> Found | None:
    """An access token that was presented, if it is valid: it lives, its grant lives, and its client may do things.

    Whether it came with the proof that it is bound to, and whether its audience is the caller's, is the caller's to see.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, ACCESS_TOKEN, key(presented))
    if item is None or not item.lives(now):
        return None
    token = _decode(item.body)
    if token.grant_id:
        grant = await registry.store.item(issuer.name, GRANT, token.grant_id)
        if grant is None or not grant.lives(now):
            return None
    client = await clients.find(registry, issuer, token.client_id)
    if client is None or not client.in_reach:
        return None
    return Found(token, client, item)
