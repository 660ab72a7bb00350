"""Checkpoints of the audit: batches get their places in the log, and its root is signed, once for all processes.

The keys that sign are of no issuer and are never removed, so that what was signed once can be verified for ever.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec

from registrar.domain import chain, checkpoint, merkle
from registrar.domain.checkpoint import ALGORITHM, TYPE, Checkpoint, Signed
from registrar.domain.credentials import Unreadable
from registrar.domain.events import Actor
from registrar.service import keys, leases
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import Change, Conflict, Item, Place, Put, StoreUnavailable
from registrar.service.registry import Registry

KIND: Final = "checkpoint"
"""Items that are checkpoints, by their size; and the head of the log."""
_HEAD: Final = "head"
_ACTOR: Final = Actor("operator", "local")
_PAGE: Final = 500

log = logging.getLogger("registrar")


class Head(msgspec.Struct, frozen=True):
    """How far the log is: what a root needs of it, and nothing of what was in it."""

    log: str
    size: int = 0
    peaks: tuple[bytes, ...] = ()
    signed: Signed | None = None
    """The last checkpoint."""


_decode: Final = msgspec.json.Decoder(Head).decode
_encode: Final = msgspec.json.Encoder(order="sorted").encode


async def make(registry: Registry) -> Signed | None:
    """Put into the log what is not in it yet, and sign it; the newest checkpoint, or None where nothing can be signed.

    Whatever was committed before the call is covered. Where another process does the same, its checkpoint is as good.

    Raises:
        StoreUnavailable: the store does not answer.
        Unreadable: the key-encryption key of the signing key is missing.
    """
    if not registry.keys:
        return None
    await ensure_key(registry)
    while True:
        head, version = await _head(registry)
        batches = await registry.store.batches(unplaced=True, limit=_PAGE)
        if not batches and head.signed is not None:
            return head.signed
        growing = merkle.Growing(head.size, head.peaks)
        changes: list[Change] = []
        for one in batches:
            growing.append(chain.entry(one))
            changes.append(Place(one.writer, one.number, growing.size))
        now = registry.clock() // 1000
        said = Checkpoint(head.log, growing.size, checkpoint.text(growing.root), now)
        made = checkpoint.signed(await sign(registry, said))
        after = Head(head.log, growing.size, tuple(growing.peaks), made)
        changes.append(Put(Item(EVERYWHERE, KIND, _HEAD, _encode(after), version + 1), version, now))
        changes.append(Put(Item(EVERYWHERE, KIND, _key(growing.size), _encode(made))))
        try:
            await registry.store.change(changes)
        except Conflict:
            continue  # another process was first, and may have left something


async def latest(registry: Registry) -> Signed | None:
    """The newest checkpoint; None where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return (await _head(registry))[0].signed


async def every(registry: Registry, *, after: int = -1, limit: int = 100) -> list[Signed]:
    """Checkpoints in the order of their size, from the one after a size.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    place = _key(after) if after >= 0 else ""
    found = await registry.store.items(EVERYWHERE, KIND, after=place, limit=limit)
    return [checkpoint.read(one.body) for one in found if one.key != _HEAD]


async def cosigned(registry: Registry, one: Signed) -> None:
    """Keep a checkpoint with more signatures than it had.

    Raises:
        Conflict: it is none of this log's.
        StoreUnavailable: the store does not answer.
    """
    key = _key(one.checkpoint.size)
    held = await registry.store.item(EVERYWHERE, KIND, key)
    if held is None or checkpoint.read(held.body).payload != one.payload:
        raise Conflict(key)
    before = checkpoint.read(held.body)
    both = Signed(one.payload, tuple(dict.fromkeys((*before.signatures, *one.signatures))))
    changes: list[Change] = [Put(Item(EVERYWHERE, KIND, key, _encode(both), held.version + 1), held.version)]
    head, version = await _head(registry)
    if head.signed is not None and head.signed.payload == one.payload:
        after = msgspec.structs.replace(head, signed=both)
        changes.append(Put(Item(EVERYWHERE, KIND, _HEAD, _encode(after), version + 1), version))
    await registry.store.change(changes)


async def published(registry: Registry) -> dict[str, Any]:
    """The public keys of all that ever signed checkpoints and receipts.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return {"keys": [msgspec.json.decode(key.public) for key in await registry.store.keys(EVERYWHERE)]}


async def ensure_key(registry: Registry) -> None:
    """Make the first key, where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not await registry.store.keys(EVERYWHERE):
        await keys.make(registry, EVERYWHERE, ALGORITHM, 1, _ACTOR, "start")


async def rotate(registry: Registry, actor: Actor, endpoint: str) -> str:
    """A new key, which signs from now on; the old ones stay, to verify with. Its `kid`.

    Raises:
        Conflict: another process rotates.
        StoreUnavailable: the store does not answer.
    """
    generation = max((key.generation for key in await registry.store.keys(EVERYWHERE)), default=0)
    made = await keys.make(registry, EVERYWHERE, ALGORITHM, generation + 1, actor, endpoint)
    registry.opened.forget(EVERYWHERE)
    if made is None:
        raise Conflict("audit key")
    return made.kid


async def sign(registry: Registry, claims: msgspec.Struct | dict[str, Any], typ: str = TYPE) -> str:
    """Something as a compact JWS under the key of the audit.

    Raises:
        Unreadable: the key-encryption key is missing.
        StoreUnavailable: the store does not answer.
    """
    from joserfc import jws as library

    now_ms = registry.clock()
    held = registry.opened.get(EVERYWHERE, now_ms)
    if held is None:
        held = keys.opened(registry, EVERYWHERE, await registry.store.keys(EVERYWHERE))
        registry.opened.keep(EVERYWHERE, held, now_ms)
    signer = held[ALGORITHM]
    header = {"alg": ALGORITHM, "kid": signer.kid, "typ": typ}
    return library.serialize_compact(header, _encode(claims), signer.key, algorithms=[ALGORITHM])


async def keep(registry: Registry, seconds: int) -> None:
    """Make a checkpoint at every interval, in one process of all, until cancelled."""
    holder = registry.entropy(8).hex()
    while True:
        await asyncio.sleep(seconds)
        try:
            if await leases.take(registry.store, KIND, holder, registry.clock() // 1000, 2 * seconds):
                await make(registry)
        except (StoreUnavailable, Unreadable) as problem:
            log.warning("there is no new checkpoint of the audit: %s", problem)


async def _head(registry: Registry) -> tuple[Head, int]:
    held = await registry.store.item(EVERYWHERE, KIND, _HEAD)
    if held is None:
        return Head(registry.entropy(16).hex()), 0
    return _decode(held.body), held.version


def _key(size: int) -> str:
    return f"{size:016d}"
