"""Review: registrations and updates that are held until somebody has looked at them.

What is held is held whole and changes nothing meanwhile. What is approved is exactly what was looked at: its digest is
compared, and the client is the one that it was held against; otherwise nothing happens, and whoever approved is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from registrar.domain import events, expansion
from registrar.domain.client import Admission, Client, State, tombstone
from registrar.domain.events import Actor
from registrar.domain.metadata import Registered
from registrar.policy import Judge
from registrar.policy.policy import Verdict
from registrar.service.administration import Operator, Refused, Unknown, credentials_after
from registrar.service.ports import Change, Conflict, Drop, Item, NotFound, Put, Tell
from registrar.service.registry import Issuer, Registry

KIND: Final = "review"
"""What these are called among the items of a store; the key is the client's identifier, for each has one at the most."""
REGISTRATION: Final = "registration"
UPDATE: Final = "update"
_PAGE: Final = 100


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """What waits for a decision."""

    client_id: str
    what: str
    """`registration` or `update`."""
    since: int
    """Seconds since 1970."""
    why: str
    base: str
    """What it is held against."""
    policy_digest: str
    metadata: Registered = Registered({})
    """What would be registered; of a registration, what is."""
    provenance: dict[str, str] = {}
    flags: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """The kinds of expansion of an update."""
    admission: Admission | None = None
    """How the update came in, where that is more than the client was admitted by."""

    @property
    def digest(self) -> str:
        """What is compared when it is decided: it stands for everything that is looked at."""
        return hashlib.sha256(
            _encode((self.client_id, self.what, self.base, self.metadata, self.policy_digest))
        ).hexdigest()

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


def anew(before: Item, after: Client, policy_digest: str) -> Put:
    """A registration that is still held, as it is after an update of it."""
    held = msgspec.structs.replace(read(before), base=base(after), metadata=after.metadata, policy_digest=policy_digest)
    return put(after.issuer, held, before.version + 1, before.version)


def verdict(judge: Judge, kinds: tuple[str, ...]) -> Verdict:
    """What a change is answered with: the strictest answer to what it expands."""
    found = {judge.policy.changes.of(kind) for kind in kinds}
    return next((one for one in (Verdict.REFUSE, Verdict.REVIEW) if one in found), Verdict.ALLOW)


def put(issuer: str, held: Held, version: int = 1, expected: int | None = None) -> Put:
    """The change that holds something; it goes with its client."""
    return Put(Item(issuer, KIND, held.client_id, _encode(held), version, client_id=held.client_id), expected)


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


def superseded(registry: Registry, issuer: Issuer, client_id: str, actor: Actor, endpoint: str) -> tuple[Change, ...]:
    """The changes that take a held update back."""
    event = registry.audit.event("review.superseded", issuer.name, actor, endpoint=endpoint, client_id=client_id)
    return (Drop(issuer.name, KIND, client_id), Tell(event))


def expanded(
    registry: Registry, before: Client, after: Client, actor: Actor, endpoint: str
) -> tuple[Client, tuple[Change, ...]]:
    """A client after a change, marked where it got more than it had, and the event that tells so."""
    kinds = expansion.expansions(before.metadata, after.metadata)
    if not kinds:
        return after, ()
    if expansion.asks_again(kinds):
        # Later than the one before it, whatever the clock says: consents name the expansion that they know of.
        now = max(registry.clock() // 1000, before.expanded_at + 1)
        after = msgspec.structs.replace(after, expanded_at=now)
    event = registry.audit.event(
        "client.expanded",
        after.issuer,
        actor,
        endpoint=endpoint,
        client_id=after.client_id,
        detail={"reason": ", ".join(kinds)},
    )
    return after, (Tell(event),)


async def show(registry: Registry, issuer: Issuer, client_id: str) -> dict[str, Any]:
    """What is held of a client, beside what is in force, for whoever decides.

    Raises:
        Unknown: nothing is held of it.
        StoreUnavailable: the store does not answer.
    """
    held, client = await _found(registry, issuer, client_id)
    shown: dict[str, Any] = {
        "client_id": client_id,
        "what": held.what,
        "since": held.since,
        "reason": held.why,
        "digest": held.digest,
        "expansions": list(held.kinds),
        "metadata": held.metadata,
        "client": client.public(),
    }
    if held.what == UPDATE:
        shown["difference"] = events.difference(client.metadata, held.metadata)
    return {name: value for name, value in shown.items() if value not in ([], {}, "")}


async def approve(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, *, digest: str = "", reason: str = ""
) -> tuple[Client, str]:
    """Put what is held into force, exactly as it was looked at.

    Args:
        registry: what every use case is given.
        issuer: where.
        operator: who decides.
        client_id: of whom something is held.
        digest: of what was looked at; empty for what is held now.
        reason: why.

    Returns:
        The client, and its new secret where it needs one now and had none.

    Raises:
        Unknown: nothing is held of it.
        Refused: it is not what was looked at, or its client or its policy has changed since; nothing happened.
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, client_id)
    held, client = await _found(registry, issuer, client_id)
    _check(issuer, held, client, digest)
    now = registry.clock() // 1000
    secret = ""
    if held.what == REGISTRATION:
        after = msgspec.structs.replace(client, version=client.version + 1, updated_at=now, state=State.ACTIVE)
        more: tuple[Change, ...] = ()
    else:
        judge = issuer.judge(client.policy)
        assert judge is not None
        secret, credentials = credentials_after(registry, issuer, client, held.metadata, now, judge.policy)
        after = msgspec.structs.replace(
            client,
            version=client.version + 1,
            updated_at=now,
            metadata=held.metadata,
            provenance=held.provenance,
            flags=held.flags,
            own=held.own,
            credentials=credentials,
            admission=held.admission or client.admission,
        )
        after, more = expanded(registry, client, after, operator.actor(), operator.door)
    # What is in force now, as the event of any other update tells it; what was asked for, the event that held it told.
    detail = events.registration_detail(after, {}, (), held.policy_digest) | {"reason": reason}
    if held.what == UPDATE:
        detail["difference"] = events.difference(client.metadata, after.metadata)
    changes = (Drop(issuer.name, KIND, client_id, item.version if item else 0), *more)
    await _decided(registry, issuer, operator, "review.approved", client, after, changes, detail)
    return after, secret


async def reject(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, *, digest: str = "", reason: str = ""
) -> Client:
    """Take what is held away: an update is forgotten, a registration becomes a tombstone.

    Raises:
        Unknown: nothing is held of it.
        Refused: it is not what was looked at, or its client has changed since; nothing happened.
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, client_id)
    held, client = await _found(registry, issuer, client_id)
    if digest and digest != held.digest:
        raise Refused(f"what is held of {client_id} is not what was looked at; look again")
    now = registry.clock() // 1000
    dropped = Drop(issuer.name, KIND, client_id, item.version if item else 0)
    if held.what == REGISTRATION:
        after = tombstone(client, now)
    else:
        after = msgspec.structs.replace(client, version=client.version + 1, updated_at=now)
    await _decided(registry, issuer, operator, "review.rejected", client, after, (dropped,), {"reason": reason})
    return after


async def _decided(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    kind: str,
    before: Client,
    after: Client,
    changes: tuple[Change, ...],
    detail: Mapping[str, Any],
) -> None:
    event = registry.audit.event(
        kind, issuer.name, operator.actor(), endpoint=operator.door, client_id=before.client_id, detail=dict(detail)
    )
    try:
        await registry.store.update(after, [event], expected=before.version, changes=changes)
    except (Conflict, NotFound):
        raise Refused(f"{before.client_id} was changed or decided about at the same moment; look again") from None


async def _found(registry: Registry, issuer: Issuer, client_id: str) -> tuple[Held, Client]:
    held = await of_client(registry, issuer, client_id)
    client = await registry.store.find(issuer.name, client_id)
    if held is None or client is None or client.state is State.DELETED:
        raise Unknown(f"nothing is held of {client_id} at {issuer.name}")
    return held, client


def _check(issuer: Issuer, held: Held, client: Client, digest: str) -> None:
    if digest and digest != held.digest:
        raise Refused(f"what is held of {held.client_id} is not what was looked at; look again")
    if held.base != base(client):
        raise Refused(f"{held.client_id} has changed since this was held; reject it, and let the client send it again")
    judge = issuer.judge(client.policy)
    if judge is None or judge.policy.digest != held.policy_digest:
        raise Refused(
            f"the policy {client.policy} has changed since this was held; reject it, and let the client send it again"
        )
