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
    item = await registry.store.item(issuer.name, KIND, key)
    holder = await registry.store.find(issuer.name, item.client_id) if item else None
    now = registry.clock() // 1000
    lives = holder is not None and holder.state is not State.DELETED and not holder.expired(now)
    another = lives and holder is not None and (client is None or holder.client_id != client.client_id)
    facts = msgspec.structs.replace(parts.facts, registered=another)
    return msgspec.structs.replace(parts, facts=facts, version=key)


def claimed(client: Client, parts: Parts, now: int) -> list[Change]:
    """The version that a new client has; where another one has it, and the policy only warns, it stays the other's."""
    if not parts.version or parts.facts.registered:
        return []
    return [Put(_item(client, parts.version), 0, now)]


async def moved(registry: Registry, client: Client, parts: Parts, now: int) -> Parts:
    """The parts of an update with the change of the version that the client has."""
    before = _key(Presented(client.metadata))
    if not parts.version or parts.facts.registered or parts.version == before:
        return parts
    held = await registry.store.item(client.issuer, KIND, before) if before else None
    left = [Drop(client.issuer, KIND, before)] if held and held.client_id == client.client_id else []
    return msgspec.structs.replace(parts, changes=(*parts.changes, *left, Put(_item(client, parts.version), 0, now)))


def _item(client: Client, key: str) -> Item:
    return Item(client.issuer, KIND, key, b"", client_id=client.client_id, expires_at=client.expires_at)


def _key(metadata: Presented) -> str:
    software = metadata.get("software_id")
    if not isinstance(software, str) or not software:
        return ""
    version = metadata.get("software_version")
    return hashlib.sha256(f"{software}\0{version}".encode()).hexdigest()
