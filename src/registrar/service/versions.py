"""Software that is registered once in each version, where a policy says so (RFC 7591 §5).

The version that a client has is an item of the store, put in the transaction of the client, so that of two
registrations at once exactly one wins; it goes when the client does.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from registrar.domain.client import Client, State
from registrar.domain.metadata import Presented
from registrar.policy import Judge
from registrar.policy.rules import origin
from registrar.service.parts import Parts
from registrar.service.ports import Change, Drop, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "software_version"
"""Items that say which client has a version of a piece of software."""


async def looked_up(
    registry: Registry, issuer: Issuer, judge: Judge, parts: Parts, client: Client | None = None
) -> Parts:
    """The parts with the fact whether another client has the version, where the policy asks."""
    if origin.single_instance not in judge.functions:
        return parts
    software = parts.presented.get("software_id")
    watched = any(
        one.function is origin.single_instance and software in one.arguments.get("software", (software,))
        for one in judge.policy.rules
    )
    key = _key(parts.presented) if watched else ""
    if not key:
        return parts
    another = await holder(registry, issuer, key, client) is not None
    facts = msgspec.structs.replace(parts.facts, registered=another)
    # Where another one has it, and the policy only warns, it stays the other's.
    return msgspec.structs.replace(parts, facts=facts, version="" if another else key)


async def holder(
    registry: Registry, issuer: Issuer, key: str, client: Client | None = None, *, kind: str = KIND
) -> Client | None:
    """The living client, other than this one, that has what may be had once: a version, or another kind of thing."""
    item = await registry.store.item(issuer.name, kind, key)
    if item is None or (client is not None and item.client_id == client.client_id):
        return None
    found = await registry.store.find(issuer.name, item.client_id)
    gone = found is None or found.state is State.DELETED or found.expired(registry.clock() // 1000)
    return None if gone else found


def claimed(client: Client, parts: Parts, now: int) -> list[Change]:
    """The version that a new client has."""
    return [Put(_item(client, parts.version), 0, now)] if parts.version else []


async def moved(registry: Registry, before: Client, after: Client, version: str, now: int) -> list[Change]:
    """The changes of the version that a client has: it gives up the one that it had, and takes `version`, where it may."""
    changes: list[Change] = []
    had, has = _key(Presented(before.metadata)), version or _key(Presented(after.metadata))
    if had and had != has:
        left = await registry.store.item(before.issuer, KIND, had)
        changes += [Drop(before.issuer, KIND, had)] if left and left.client_id == before.client_id else []
    if version:
        changes.append(await taken(registry, _item(after, version), now))
    return changes


async def taken(registry: Registry, wanted: Item, now: int) -> Put:
    """The change by which a client has what may be had once: from now on, or for as long as it lives by now."""
    item = await registry.store.item(wanted.issuer, wanted.kind, wanted.key)
    own = item is not None and item.client_id == wanted.client_id
    return Put(wanted, item.version if own and item else 0, now)


def _item(client: Client, key: str) -> Item:
    return Item(client.issuer, KIND, key, b"", client_id=client.client_id, expires_at=client.expires_at)


def _key(metadata: Presented) -> str:
    software = metadata.get("software_id")
    if not isinstance(software, str) or not software:
        return ""
    version = metadata.get("software_version")
    return hashlib.sha256(f"{software}\0{version}".encode()).hexdigest()
