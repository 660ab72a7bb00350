"""What is held until somebody has looked at it: a registration, an update, or what would take a registration's place.

What is held is held whole and changes nothing meanwhile. Each client has one such thing at the most, which goes with it.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from registrar.domain.client import Admission, Client
from registrar.domain.events import Actor
from registrar.domain.metadata import Registered
from registrar.policy import Judge
from registrar.policy.policy import Review
from registrar.service.parts import Parts
from registrar.service.ports import Change, Drop, Item, Put, Tell
from registrar.service.registry import Issuer, Registry

KIND: Final = "review"
"""What these are called among the items of a store; the key is the client's identifier."""
_PAGE: Final = 100


class HeldKind(enum.StrEnum):
    """What is held of a client."""

    REGISTRATION = "registration"
    UPDATE = "update"
    REPLACEMENT = "replacement"
    """A registration of software that has one already."""


REGISTRATION: Final = HeldKind.REGISTRATION
UPDATE: Final = HeldKind.UPDATE
REPLACEMENT: Final = HeldKind.REPLACEMENT


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """What waits for a decision."""

    client_id: str
    what: HeldKind
    since: int
    """Seconds since 1970."""
    why: str
    base: str
    """What it is held against."""
    policy_digest: str
    """As the audit names it."""
    metadata: Registered = Registered({})
    """What would be registered; of a registration, what is."""
    provenance: dict[str, str] = {}
    flags: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """The kinds of expansion of an update."""
    admission: Admission | None = None
    """How the update came in, where that is more than the client was admitted by."""
    policy: str = ""
    """The policies that judge it from then on, of a replacement."""
    terms: str = ""
    """What the policy said when it was judged, as a digest."""
    offered: str = ""
    """What this server offered when it was judged, as a digest."""
    version: str = ""
    """The key of the version of the software that it would have, where that may be had once."""
    software: str = ""
    """The key of the software that it would be of, where that may have one client."""

    @property
    def digest(self) -> str:
        """What is compared when it is decided: it stands for everything that would come into force.

        When it came is no part of that, so that who sends the same again does not take away what was looked at; nor is
        the file that the policy was in, of which the terms are what counts.
        """
        return hashlib.sha256(_encode(msgspec.structs.replace(self, since=0, policy_digest=""))).hexdigest()

    def pending(self) -> dict[str, Any]:
        """What its client is told of it."""
        return {"since": self.since, "reason": self.why}


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(Held).decode


def read(item: Item) -> Held:
    """What an item holds."""
    return _decode(item.body)


def base(client: Client) -> str:
    """What an update is held against: what is registered when it comes. Credentials may rotate meanwhile."""
    return hashlib.sha256(_encode((client.state, client.metadata))).hexdigest()


def offered(judge: Judge) -> str:
    """What a judge could let through, beside what its policy says: where that changes, it might decide otherwise."""
    return hashlib.sha256(_encode(judge.offered)).hexdigest()


def registration(client: Client, judge: Judge, why: str) -> Held:
    """A registration that is held."""
    return Held(
        client.client_id,
        REGISTRATION,
        client.created_at,
        why,
        base(client),
        judge.policy.digest,
        client.metadata,
        terms=judge.terms,
        offered=offered(judge),
    )


def update(
    judge: Judge,
    before: Client,
    after: Client,
    parts: Parts,
    kinds: tuple[str, ...],
    now: int,
    *,
    what: HeldKind = UPDATE,
    review: Review | None = None,
) -> Held:
    """A change of a registration that is held.

    Args:
        judge: who judged it.
        before: the client as it is.
        after: as it would be.
        parts: what came with the request.
        kinds: what it would expand.
        now: seconds since 1970.
        what: an update or a replacement.
        review: by which it is held, where that is not the judge's policy alone.
    """
    return Held(
        before.client_id,
        what,
        now,
        ", ".join(kinds) or (review or judge.policy.review).why(after.metadata, after.flags),
        base(before),
        judge.policy.digest,
        after.metadata,
        after.provenance,
        after.flags,
        after.own,
        kinds,
        after.admission if after.admission != before.admission else None,
        policy=after.policy if what == REPLACEMENT else "",
        terms=judge.terms,
        offered=offered(judge),
        version=parts.version,
        software=parts.software,
    )


def anew(before: Item, after: Client, judge: Judge) -> Put:
    """A registration that is still held, as it is after a change of it."""
    had = read(before)
    why = judge.policy.review.why(after.metadata, after.flags) or had.why
    held = msgspec.structs.replace(registration(after, judge, why), since=had.since)
    return put(after.issuer, held, before.version + 1, before.version)


def put(issuer: str, held: Held, version: int = 1, expected: int | None = None) -> Put:
    """The change that holds something; it goes with its client."""
    return Put(Item(issuer, KIND, held.client_id, _encode(held), version, client_id=held.client_id), expected)


def in_place_of(before: Item | None, issuer: str, held: Held) -> tuple[Put, Held]:
    """The change that holds something in the place of what was held before, and what is held.

    Who sends the same again waits since the first time.
    """
    if before is None:
        return put(issuer, held, expected=0), held
    had = read(before)
    if had.digest == held.digest:
        held = msgspec.structs.replace(held, since=had.since)
    return put(issuer, held, before.version + 1, before.version), held


def superseded(registry: Registry, client: Client, actor: Actor, endpoint: str) -> tuple[Change, ...]:
    """The changes that take a held update back."""
    event = registry.audit.event(
        "review.superseded", client.issuer, actor, endpoint=endpoint, client_id=client.client_id
    )
    return (Drop(client.issuer, KIND, client.client_id), Tell(event))


async def of_client(registry: Registry, issuer: Issuer, client_id: str) -> Held | None:
    """What is held of a client.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, client_id)
    return _decode(item.body) if item else None


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[Held]:
    """Everything that is held, in the order of its clients' identifiers.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    while page := await registry.store.items(issuer.name, KIND, after=after, limit=_PAGE):
        for item in page:
            yield _decode(item.body)
        after = page[-1].key
