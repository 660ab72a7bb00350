"""Wrapping anew: what lies under older key-encryption keys is brought under the newest, beside servers that go on.

Three kinds of things lie under these keys: the data keys of clients whose secrets the server has to read, the private
halves of signing keys, and the secret of pairwise identifiers. Nonces of DPoP do too, for minutes, and are not looked after.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from registrar.domain.client import Client
from registrar.domain.credentials import NONCE_BYTES, Unreadable, Wrapped, context
from registrar.service.leases import EVERYWHERE
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery, Conflict, Item, NotFound, Put, SigningKey
from registrar.service.registry import Registry

PAIRWISE_SECRET: Final = "pairwise_secret"  # noqa: S105 (a word, not a secret)
"""An item under a key-encryption key: kind and key are the same, and so is what it is sealed for."""
_ITEMS: Final = (PAIRWISE_SECRET,)
PLACE: Final = "rewrapping"
"""Where a rewrapping that was broken off goes on: an item of no issuer."""
_PAGE: Final = 200
_ATTEMPTS: Final = 100

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Wrapped).decode


class Found(NamedTuple):
    """What lies under the key-encryption keys."""

    by_label: Counter[str]
    """How much lies under each, by its label in hexadecimal."""
    changed: int = 0
    """How much of it was wrapped anew."""
    unreadable: int = 0
    """How much lies under a key that is in no file any more, or was altered."""


async def counted(registry: Registry, tell: Callable[[int], None] = lambda _: None) -> Found:
    """How much lies under each key, of every client and every issuer there is.

    Args:
        registry: what every use case is given.
        tell: is told how many clients were looked at, after each page.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found: Counter[str] = Counter()
    after, issuers = ("", ""), dict.fromkeys([*registry.issuers, EVERYWHERE])
    while page := await registry.store.clients(ClientQuery(), after=after, limit=_PAGE):
        found.update(held.key.hex() for one in page if (held := one.credentials.data_key) is not None)
        issuers |= dict.fromkeys(one.issuer for one in page)
        after = (page[-1].issuer, page[-1].client_id)
        tell(len(page))
    for issuer in issuers:
        found.update(key.private.key.hex() for key in await registry.store.keys(issuer))
        for kind in _ITEMS:
            if item := await registry.store.item(issuer, kind, kind):
                found[_decode(item.body).key.hex()] += 1
    return Found(found)


async def rewrap(registry: Registry, operator: Operator, tell: Callable[[int], None] = lambda _: None) -> Found:
    """Wrap everything under the newest key that lies under another; what was broken off goes on where it was.

    A client that changes meanwhile is looked at again, so that nobody's change is lost.

    Args:
        registry: what every use case is given.
        operator: who does it.
        tell: is told how many clients were looked at, after each page.

    Raises:
        StoreUnavailable: the store does not answer; what was wrapped anew by then stays.
    """
    newest = registry.keys.labels[0]
    changed: Counter[str] = Counter()
    unreadable = 0
    after, issuers = await _place(registry, newest), dict.fromkeys([*registry.issuers, EVERYWHERE])
    while page := await registry.store.clients(ClientQuery(), after=after, limit=_PAGE):
        outcomes = await asyncio.gather(*(_client(registry, one, newest) for one in page))
        for one, done in zip(page, outcomes, strict=True):
            issuers[one.issuer] = None
            changed[one.issuer] += done is True
            unreadable += done is None
        after = (page[-1].issuer, page[-1].client_id)
        place = Item(EVERYWHERE, PLACE, PLACE, _encode([newest.hex(), *after]))
        await registry.store.change([Put(place)])
        tell(len(page))
    for issuer in issuers:
        for key in await registry.store.keys(issuer):
            done = await _key(registry, key, newest, operator)
            changed[issuer] += done is True
            unreadable += done is None
        for kind in _ITEMS:
            done = await _item(registry, issuer, kind, newest)
            changed[issuer] += done is True
            unreadable += done is None
    for issuer, count in changed.items():
        if count and issuer in registry.issuers:
            detail = {"count": count, "kid": newest.hex()}
            event = registry.audit.event(
                "issuer.rewrapped", issuer, operator.actor(), endpoint=operator.door, detail=detail
            )
            await registry.store.record(event)
    # The next one begins at the beginning: what a server had under way meanwhile may lie under an older key.
    await registry.store.change([Put(Item(EVERYWHERE, PLACE, PLACE, _encode([newest.hex(), "", ""])))])
    return Found(Counter(), changed.total(), unreadable)


async def _place(registry: Registry, newest: bytes) -> tuple[str, str]:
    item = await registry.store.item(EVERYWHERE, PLACE, PLACE)
    if item is None:
        return "", ""
    label, issuer, client_id = msgspec.json.decode(item.body, type=tuple[str, str, str])
    return (issuer, client_id) if label == newest.hex() else ("", "")


async def _client(registry: Registry, client: Client, newest: bytes) -> bool | None:
    """Whether a client's data key was wrapped anew; None where it cannot be."""
    seen: Client | None = client
    for _ in range(_ATTEMPTS):
        held = seen.credentials.data_key if seen is not None else None
        if seen is None or held is None or held.key == newest:
            return False
        wrapped = _anew(registry, held, context(seen.issuer, seen.client_id, "data_key", 0))
        if wrapped is None:
            return None
        credentials = msgspec.structs.replace(seen.credentials, data_key=wrapped)
        after = msgspec.structs.replace(seen, version=seen.version + 1, credentials=credentials)
        try:
            await registry.store.update(after, [], expected=seen.version)
        except Conflict:
            seen = await registry.store.find(client.issuer, client.client_id)
            continue
        return True
    return None


async def _key(registry: Registry, key: SigningKey, newest: bytes, operator: Operator) -> bool | None:
    if key.private.key == newest:
        return False
    wrapped = _anew(registry, key.private, context(key.issuer, key.kid, "signing_key", 0))
    if wrapped is None:
        return None
    detail = {"kid": key.kid, "algorithm": key.algorithm}
    event = registry.audit.event(
        "issuer.key_rewrapped", key.issuer, operator.actor(), endpoint=operator.door, detail=detail
    )
    try:
        await registry.store.rewrap_key(msgspec.structs.replace(key, private=wrapped), event)
    except NotFound:
        return False  # it was removed meanwhile
    return True


async def _item(registry: Registry, issuer: str, kind: str, newest: bytes) -> bool | None:
    item = await registry.store.item(issuer, kind, kind)
    if item is None or (held := _decode(item.body)).key == newest:
        return False
    wrapped = _anew(registry, held, context(issuer, "", kind, 0))
    if wrapped is None:
        return None
    after = msgspec.structs.replace(item, body=_encode(wrapped), version=item.version + 1)
    try:
        await registry.store.change([Put(after, item.version)])
    except Conflict:
        return False  # another command was first
    return True


def _anew(registry: Registry, held: Wrapped, associated: bytes) -> Wrapped | None:
    try:
        value = registry.keys.unwrap(held, associated)
    except Unreadable:
        return None
    return registry.keys.wrap(registry.entropy(NONCE_BYTES), value, associated)
