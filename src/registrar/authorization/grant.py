"""A grant: what a person allowed a client, under which everything that is issued lives and dies."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.authorization.request import Authentication
from registrar.domain import access_token
from registrar.domain.events import Actor
from registrar.service.ports import Drop, DropAll, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = access_token.GRANT
"""What grants are called among the items of a store; the key is the grant's identifier."""

_ID_BYTES: Final = 16


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person allowed. Codes, refresh and access tokens name their grant and are worth nothing without it."""

    issuer: str
    grant_id: str
    client_id: str
    authentication: Authentication
    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    nonce: str | None = None
    claims: dict[str, Any] | None = None
    authorization_details: list[dict[str, Any]] | None = None
    created_at: int = 0
    expires_at: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Grant).decode


def new_id(registry: Registry) -> str:
    """An identifier for a grant: the time, which keeps the store's index growing at one end, and random bits."""
    return f"{registry.clock():011x}{registry.entropy(_ID_BYTES).hex()}"


def stored(grant: Grant) -> Put:
    """The change that keeps a grant."""
    item = Item(
        grant.issuer,
        KIND,
        grant.grant_id,
        _encode(grant),
        client_id=grant.client_id,
        owner=grant.authentication.subject,
        expires_at=grant.expires_at,
    )
    return Put(item)


async def find(registry: Registry, issuer: Issuer, grant_id: str, now: int) -> Grant | None:
    """A grant that lives.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, grant_id)
    return _decode(item.body) if item is not None and item.lives(now) else None


async def of_person(registry: Registry, issuer: Issuer, subject: str, now: int, *, after: str = "") -> list[Grant]:
    """The grants of a person, a page at a time, in the order in which they were made.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = await registry.store.items(issuer.name, KIND, owner=subject, after=after)
    return [_decode(item.body) for item in found if item.lives(now)]


async def revoke(registry: Registry, grant: Grant, actor: Actor, reason: str, *, endpoint: str = "") -> None:
    """End a grant: every code and token under it is worth nothing from now on.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    event = registry.audit.event(
        "grant.revoked", grant.issuer, actor, endpoint=endpoint, client_id=grant.client_id, detail={"reason": reason}
    )
    await registry.store.change([Drop(grant.issuer, KIND, grant.grant_id)], [event])


async def revoke_all(
    registry: Registry, issuer: Issuer, actor: Actor, reason: str, *, client_id: str, subject: str, endpoint: str = ""
) -> None:
    """End everything that a person allowed a client, codes on their way included.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    event = registry.audit.event(
        "grant.revoked", issuer.name, actor, endpoint=endpoint, client_id=client_id, detail={"reason": reason}
    )
    await registry.store.change([DropAll(issuer.name, client_id, subject)], [event])
