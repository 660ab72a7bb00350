"""Review: what is held is looked at, and approved or rejected.

What is approved is exactly what was looked at: its digest is compared, and the client is the one that it was held
against; otherwise nothing happens, and whoever approved is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain import events
from registrar.domain.client import Assurance, Client, ShownClient, State, tombstone
from registrar.domain.errors import ProtocolError
from registrar.domain.metadata import Registered
from registrar.domain.software_statement import MEMBER
from registrar.policy import Contradiction, Judge
from registrar.service import caps, changes, holding, statements, versions
from registrar.service.administration import credentials_after
from registrar.service.holding import REGISTRATION, REPLACEMENT, Held, HeldKind
from registrar.service.operators import NONE_YET, Operator, Refused, Unknown, check_ceiling, check_reason
from registrar.service.parts import SOFTWARE
from registrar.service.ports import Change, Conflict, Drop, Item, NotFound
from registrar.service.registry import Issuer, Registry

_ATTEMPTS: Final = 20
"""How often a decision is tried again after another writer came first: who sends the same update again and again must
not keep it from being decided."""
_AGAIN: Final = "reject it, and let the client send it again"


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[tuple[Held, Client | None]]:
    """Everything that is held, in the order of its clients' identifiers; None for a client that has ended meanwhile.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    async for held in holding.every(registry, issuer, after):
        client = await registry.store.find(issuer.name, held.client_id)
        yield held, None if _is_gone(registry, client) else client


class ShownReview(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is held of a client, beside what is in force. Times are in seconds since 1970."""

    client_id: str
    """Whose it is."""
    what: HeldKind
    """What it is."""
    since: int
    """When it came."""
    reason: str = ""
    """Why it is held."""
    digest: str
    """What stands for all of it when it is decided."""
    expansions: tuple[str, ...] = ()
    """The kinds of expansion that it would be."""
    metadata: Registered = Registered({})
    """What would be registered."""
    client: ShownClient
    """What is in force."""
    difference: dict[str, list[Any]] = {}
    """Member -> what it is and what it would be; `changed` alone where it may name a person. Not of a registration."""
    provenance: dict[str, str] = {}
    """Member -> where its value would be from. Not of a registration."""
    flags: tuple[str, ...] = ()
    """The rules that found something odd about who it says that it is. Not of a registration."""
    assurance: Assurance | msgspec.UnsetType = msgspec.UNSET
    """What was verified when it came. Not of a registration."""
    policy: str = ""
    """The policies that would judge it, where these become others."""


async def show(registry: Registry, issuer: Issuer, client_id: str) -> ShownReview:
    """What is held of a client, beside what is in force, for whoever decides.

    Raises:
        Unknown: nothing is held of it.
        StoreUnavailable: the store does not answer.
    """
    _, held, client = await _found(registry, issuer, client_id)
    shown = ShownReview(
        client_id=client_id,
        what=held.what,
        since=held.since,
        reason=held.why,
        digest=held.digest,
        expansions=held.kinds,
        metadata=held.metadata,
        client=client.public(),
    )
    if held.what == REGISTRATION:
        return shown
    return msgspec.structs.replace(
        shown,
        difference=events.difference(client.metadata, held.metadata),
        provenance=held.provenance,
        flags=held.flags,
        assurance=(held.admission or client.admission).shown,
        policy=held.policy,
    )


class _Outcome(NamedTuple):
    """What a decision makes of a client, what is stored with it, what is told of it, and a new secret."""

    after: Client
    changes: Sequence[Change] = ()
    detail: Mapping[str, Any] = {}
    secret: str = ""


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
        Refused: it is not what was looked at, or its client, its policy or what is offered has changed since, or another
            client has come to have what may be had once, or a cap is full; nothing happened.
        StoreUnavailable: the store does not answer.
    """

    async def approved(held: Held, client: Client) -> _Outcome:
        judge = _decidable(issuer, held, client)
        check_ceiling(operator, NONE_YET if held.what == REGISTRATION else client.metadata, held.metadata)
        attested = await _attested(registry, held, client)
        now = registry.clock() // 1000
        if held.what == REGISTRATION:
            after = msgspec.structs.replace(client, version=client.version + 1, updated_at=now, state=State.ACTIVE)
            # What is in force now, as the event of any other update tells it; what was asked for, the event that held it.
            return _Outcome(after, attested, events.registration_detail(after, {}, (), held.policy_digest))
        for kind, key in ((versions.KIND, held.version), (SOFTWARE, held.software)):
            if key and await versions.holder(registry, issuer, key, client, kind=kind) is not None:
                raise Refused(f"another client has come to have the software meanwhile; {_AGAIN}")
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
        if held.what == REPLACEMENT:
            after = changes.renewed(msgspec.structs.replace(after, policy=held.policy), judge.policy, now)
        claims = (held.version, held.software)
        after, more = await changes.steps(registry, client, after, *claims, operator.actor(), operator.door)
        try:
            more += await caps.joined(registry, issuer, client, after)
        except ProtocolError as full:
            raise Refused(full.description) from None
        detail = events.registration_detail(after, {}, (), held.policy_digest)
        return _Outcome(
            after,
            [*attested, *more],
            {**detail, "difference": events.difference(client.metadata, after.metadata)},
            secret,
        )

    outcome = await _decide(registry, issuer, operator, "review.approved", client_id, digest, reason, approved)
    return outcome.after, outcome.secret


async def reject(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, *, digest: str = "", reason: str = ""
) -> Client:
    """Take what is held away: an update is forgotten, a registration becomes a tombstone.

    Raises:
        Unknown: nothing is held of it.
        Refused: it is not what was looked at, or the reason is too long; nothing happened.
        StoreUnavailable: the store does not answer.
    """

    async def rejected(held: Held, client: Client) -> _Outcome:
        now = registry.clock() // 1000
        if held.what == REGISTRATION:
            return _Outcome(tombstone(client, now))
        return _Outcome(msgspec.structs.replace(client, version=client.version + 1, updated_at=now))

    return (await _decide(registry, issuer, operator, "review.rejected", client_id, digest, reason, rejected)).after


async def _decide(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    kind: str,
    client_id: str,
    digest: str,
    reason: str,
    decide: Callable[[Held, Client], Awaitable[_Outcome]],
) -> _Outcome:
    check_reason(reason)
    for attempt in range(_ATTEMPTS):
        try:
            item, held, client = await _found(registry, issuer, client_id)
        except Unknown:
            if not attempt:
                raise
            break  # another one has just decided it, or its client ended
        if digest and digest != held.digest:
            raise Refused(f"what is held of {client_id} is not what was looked at; look again")
        digest = held.digest
        outcome = await decide(held, client)
        event = registry.audit.event(
            kind,
            issuer.name,
            operator.actor(),
            endpoint=operator.door,
            client_id=client_id,
            detail={**outcome.detail, "reason": reason},
        )
        decided = (Drop(issuer.name, holding.KIND, client_id, item.version), *outcome.changes)
        try:
            await registry.store.update(outcome.after, [event], expected=client.version, changes=decided)
        except (Conflict, NotFound):
            continue
        return outcome
    raise Refused(f"{client_id} was changed or decided about at the same moment; look again")


async def _found(registry: Registry, issuer: Issuer, client_id: str) -> tuple[Item, Held, Client]:
    item = await registry.store.item(issuer.name, holding.KIND, client_id)
    client = await registry.store.find(issuer.name, client_id)
    if item is None or client is None or _is_gone(registry, client):
        raise Unknown(f"nothing is held of {client_id} at {issuer.name}")
    return item, holding.read(item), client


def _is_gone(registry: Registry, client: Client | None) -> bool:
    """Whether a client has ended: by itself, by time, or with its template, of which nothing is written beside it."""
    return client is None or client.state is State.DELETED or client.expired(registry.clock() // 1000)


async def _attested(registry: Registry, held: Held, client: Client) -> Sequence[Change]:
    """What keeps the statement that came with what is held from being revoked meanwhile.

    Raises:
        Refused: it was revoked since.
    """
    compact = held.metadata.get(MEMBER)
    if not compact or (held.what != REGISTRATION and compact == client.metadata.get(MEMBER)):
        return ()
    return await statements.unrevoked(registry, compact)


def _decidable(issuer: Issuer, held: Held, client: Client) -> Judge:
    """The judge of what is held, where nothing that was looked at has changed.

    Raises:
        Refused: saying what has.
    """
    if client.state is State.SUSPENDED:
        raise Refused(f"{held.client_id} is suspended; resume it first, or reject what is held")
    if held.base != holding.base(client):
        raise Refused(f"{held.client_id} has changed since this was held; {_AGAIN}")
    policy = held.policy or client.policy
    try:
        judge = issuer.judge(policy)
    except Contradiction:
        judge = None
    if judge is None or judge.terms != held.terms:
        raise Refused(f"the policy {policy} has changed since this was held; {_AGAIN}")
    if holding.offered(judge) != held.offered:
        raise Refused(f"what {issuer.name} offers has changed since this was held; {_AGAIN}")
    return judge
