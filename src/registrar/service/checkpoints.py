"""Checkpoints of the audit: batches get their places in the log, and its root is signed, once for all processes.

The keys that sign are of no issuer and are never removed, so that what was signed once can be verified for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from registrar.domain import chain, checkpoint, merkle
from registrar.domain.checkpoint import ALGORITHM, TYPE, Checkpoint, Signed
from registrar.domain.credentials import Unreadable
from registrar.domain.events import Actor
from registrar.domain.jws import JWK, Malformed
from registrar.service import keys, leases, tree
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import Change, Conflict, Item, Place, Put, StoreUnavailable
from registrar.service.registry import Registry

KIND: Final = "checkpoint"
"""Items that are checkpoints, by their size; and the head of the log."""
_HEAD: Final = "head"
WITNESSED: Final = "checkpoint.witnessed"
"""The item that is the newest checkpoint with signatures of others: before they have signed, there is a newer one."""
_ACTOR: Final = Actor("operator", "local")
_PAGE: Final = 200
"""Batches that are sealed at once; it takes some two milliseconds, for which everybody waits."""
_REST: Final = 0.01

log = logging.getLogger("registrar")


class Tampered(StoreUnavailable):
    """What is stored of the log is not what was signed.

    Nothing is signed on top of it, or the registry itself would vouch for what another hand has written.
    """


class Head(msgspec.Struct, frozen=True):
    """How far the log is: what a root needs of it, and nothing of what was in it."""

    log: str
    size: int = 0
    peaks: tuple[bytes, ...] = ()
    signed: Signed | None = None
    """The last checkpoint."""
    unchained: int | None = None
    """Events from before there were chains, counted once."""

    @property
    def wrong(self) -> str:
        """What in it does not follow from its checkpoint; empty where all does."""
        if self.signed is None:
            return "" if self == Head(self.log) else "it has a size, and no checkpoint"
        try:
            said, root = self.signed.checkpoint, merkle.Growing(self.size, self.peaks).root
        except (Malformed, ValueError):
            return "it cannot be read"
        own = (self.log, self.size, checkpoint.text(root), self.unchained)
        if own != (said.log, said.size, said.root, said.unchained):
            return "it is not that of its checkpoint"
        return ""


_decode: Final = msgspec.json.Decoder(Head).decode
_encode: Final = msgspec.json.Encoder(order="sorted").encode


async def make(registry: Registry, *, rest: float = 0) -> Signed | None:
    """Put into the log what is not in it yet, and sign it; the newest checkpoint, or None where nothing can be signed.

    Whatever was committed before the call is covered. Where another process does the same, its checkpoint is as good.

    Args:
        registry: what every use case is given.
        rest: seconds to rest after each page of batches: whoever waited for it is answered before the next.

    Raises:
        StoreUnavailable: the store does not answer.
        Tampered: the head of the log is gone, or not what was signed.
        Unreadable: the key-encryption key of the signing key is missing.
    """
    if not registry.keys:
        return None
    await ensure_key(registry)
    while True:
        before, version = await _genuine(registry)
        batches = await registry.store.batches(unplaced=True, limit=_PAGE)
        if not batches and before.signed is not None:
            return before.signed
        growing = merkle.Growing(before.size, before.peaks)
        changes: list[Change] = []
        for run in chain.runs(batches):
            changes.append(Place(run[0].writer, run[0].number, growing.size + 1, len(run)))
            for one in run:
                growing.append(chain.entry(one))
        now = registry.clock() // 1000
        early = before.unchained if before.unchained is not None else await registry.store.unchained()
        said = Checkpoint(before.log, growing.size, checkpoint.text(growing.root), now, early)
        made = checkpoint.signed(await sign(registry, said))
        after = Head(before.log, growing.size, tuple(growing.peaks), made, early)
        changes.append(Put(Item(EVERYWHERE, KIND, _HEAD, _encode(after), version + 1), version, now))
        changes.append(Put(Item(EVERYWHERE, KIND, _key(growing.size), _encode(made))))
        changes += await tree.puts(registry.store, growing.nodes)
        try:
            await registry.store.change(changes)
        except Conflict:
            continue  # another process was first, and may have left something
        if len(batches) < _PAGE:
            return made  # what was committed since is for the next one: under load, there is always more
        await asyncio.sleep(rest)


async def latest(registry: Registry) -> Signed | None:
    """The newest checkpoint; None where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
        Tampered: the head of the log cannot be read.
    """
    return (await _head(registry))[0].signed


async def head(registry: Registry) -> Head:
    """How far the log is, as it is stored.

    Raises:
        StoreUnavailable: the store does not answer.
        Tampered: the head of the log cannot be read.
    """
    return (await _head(registry))[0]


async def every(registry: Registry) -> AsyncIterator[tuple[str, Signed | None]]:
    """Each checkpoint that is stored, in the order of their sizes, and where it stands; None where it is none any more.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    after = ""
    while page := await registry.store.items(EVERYWHERE, KIND, after=after, limit=_PAGE):
        for one in page:
            if one.key != _HEAD:
                yield one.key, _read(one)
        after = page[-1].key


def _read(held: Item) -> Signed | None:
    """A checkpoint that stands where its size says; None where it is none."""
    try:
        found = checkpoint.read(held.body)
    except Malformed:
        return None
    return found if _key(found.checkpoint.size) == held.key else None


async def cosigned(registry: Registry, one: Signed) -> Signed:
    """Keep a checkpoint with more signatures than it had; tells with which.

    Raises:
        Conflict: it is none of this log's.
        Malformed: a signature is none of a checkpoint's, or there would be more than a checkpoint has room for.
        StoreUnavailable: the store does not answer.
    """
    key = _key(one.checkpoint.size)
    held = await registry.store.item(EVERYWHERE, KIND, key)
    before = _read(held) if held else None
    if held is None or before is None or before.payload != one.payload:
        raise Conflict(key)
    both = checkpoint.joined(before, one)
    changes: list[Change] = [Put(Item(EVERYWHERE, KIND, key, _encode(both), held.version + 1), held.version)]
    own = {key["kid"] for key in (await published(registry))["keys"]}
    if not own.issuperset(checkpoint.claimed(both)):
        before, version = await _witnessed(registry)
        if before is None or before.checkpoint.size <= both.checkpoint.size:
            changes.append(Put(Item(EVERYWHERE, WITNESSED, WITNESSED, _encode(both), version + 1), version))
    newest, version = await _head(registry)
    if newest.signed is not None and newest.signed.payload == one.payload:
        after = msgspec.structs.replace(newest, signed=both)
        changes.append(Put(Item(EVERYWHERE, KIND, _HEAD, _encode(after), version + 1), version))
    await registry.store.change(changes)
    return both


async def witnessed(registry: Registry) -> Signed | None:
    """The newest checkpoint that others have signed too; None where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return (await _witnessed(registry))[0]


async def published(registry: Registry) -> dict[str, Any]:
    """The public keys of all that ever signed checkpoints and receipts.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return {"keys": [msgspec.json.decode(key.public) for key in await registry.store.keys(EVERYWHERE)]}


async def misstated(registry: Registry) -> list[str]:
    """The `kid`s of keys of the audit that are published as other ones than they are.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    mine = {key["kid"]: key for key in await own(registry)}
    stored = {key.kid: key.public for key in await registry.store.keys(EVERYWHERE)}
    return [kid for kid, public in stored.items() if kid in mine and _encode(mine[kid]) != _sorted(public)]


def _sorted(public: bytes) -> bytes:
    try:
        return _encode(msgspec.json.decode(public))
    except msgspec.DecodeError:
        return b""


async def own(registry: Registry) -> list[JWK]:
    """The public halves of those keys of the audit of which a key-encryption key here opens the private half.

    A row with a public key is soon written by whoever can write the database; one that opens is not.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found: list[JWK] = []
    for key in await registry.store.keys(EVERYWHERE):
        try:
            found.append(keys.verifying(registry, key))
        except Unreadable:
            continue
    return found


async def ensure_key(registry: Registry) -> None:
    """Make the first key, where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not await registry.store.keys(EVERYWHERE):
        await keys.make(registry, EVERYWHERE, ALGORITHM, 1, _ACTOR, "start")


async def rotate(registry: Registry, actor: Actor, endpoint: str) -> str:
    """A new key, which signs from now on; the old ones stay, to verify with. Its `kid`.

    It signs the last checkpoint too, where that is signed with a key that nothing here opens any more: whoever rotates
    because a key-encryption key was lost says so that the log goes on.

    Raises:
        Conflict: another process rotates.
        StoreUnavailable: the store does not answer.
    """
    generation = max((key.generation for key in await registry.store.keys(EVERYWHERE)), default=0)
    made = await keys.make(registry, EVERYWHERE, ALGORITHM, generation + 1, actor, endpoint)
    registry.opened.forget(EVERYWHERE)
    if made is None:
        raise Conflict("audit key")
    found, version = await _head(registry)
    mine, all_of_them = await own(registry), (await published(registry))["keys"]
    if found.signed and not checkpoint.signers(found.signed, mine) and checkpoint.signers(found.signed, all_of_them):
        again = checkpoint.signed(await sign(registry, found.signed.checkpoint), found.signed)
        after = msgspec.structs.replace(found, signed=again)
        await registry.store.change([Put(Item(EVERYWHERE, KIND, _HEAD, _encode(after), version + 1), version)])
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
    """Make a checkpoint at every interval, in one process of all, until cancelled; the first time, see to the tiles too."""
    holder = registry.entropy(8).hex()
    whole = False
    while True:
        await asyncio.sleep(seconds)
        try:
            if await leases.take(registry.store, KIND, holder, registry.clock() // 1000, 2 * seconds):
                made = await make(registry, rest=_REST)
                if made is not None and not whole:
                    await tree.complete(registry.store, made.checkpoint.size)
                    whole = True
        except Tampered as problem:
            log.critical("the audit is sealed no more: %s", problem)
        except (StoreUnavailable, Unreadable) as problem:
            log.warning("there is no new checkpoint of the audit: %s", problem)


async def _head(registry: Registry) -> tuple[Head, int]:
    held = await registry.store.item(EVERYWHERE, KIND, _HEAD)
    if held is None:
        return Head(registry.entropy(16).hex()), 0
    try:
        return _decode(held.body), held.version
    except (msgspec.DecodeError, TypeError):
        raise Tampered("the head of the log of the audit cannot be read") from None


async def _witnessed(registry: Registry) -> tuple[Signed | None, int]:
    held = await registry.store.item(EVERYWHERE, WITNESSED, WITNESSED)
    try:
        return (checkpoint.read(held.body) if held else None), held.version if held else 0
    except Malformed:
        return None, held.version if held else 0


async def _genuine(registry: Registry) -> tuple[Head, int]:
    """The head, where it is what a key of the audit has signed, and where a beginning is one."""
    found, version = await _head(registry)
    if found.signed is None and await registry.store.log(limit=1):
        raise Tampered("the head of the log of the audit is gone, and batches have places in it")
    wrong = found.wrong
    if not wrong and found.signed and not checkpoint.signers(found.signed, await own(registry)):
        wrong = "no key of the audit has signed it that opens here"
    if wrong:
        raise Tampered(f"the head of the log of the audit was changed: {wrong}; `registrar audit verify` tells more")
    return found, version


def _key(size: int) -> str:
    return f"{size:016d}"
