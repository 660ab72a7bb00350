"""Software that is registered already: what it had is replaced, or ended, by a newer statement (UDAP §6).

A policy with `repeat = "replace"` knows registrations by the software that a trusted statement attests, and within the
community of that statement's issuer alone, so that nobody takes the place of another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from registrar.domain import events
from registrar.domain.client import Client, State, tombstone
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.findings import rule
from registrar.domain.software_statement import MEMBER
from registrar.policy import Decision, Judge
from registrar.policy.policy import Repeat
from registrar.policy.rules import identity
from registrar.service import issuance, review
from registrar.service.admission import Admitted, actor, recorded, used_up
from registrar.service.audit import Caller
from registrar.service.parts import SOFTWARE, Parts, of_software, used
from registrar.service.ports import Change, Conflict, NotFound, Put
from registrar.service.registry import Issuer, Registry

NOTHING_TO_END: Final = rule(
    "request.nothing_to_end",
    "UDAP §6",
    "is empty, which ends a registration, and this software has none",
    "the grants to register",
)
_ATTEMPTS: Final = 8
"""How often a write is tried again after another writer came first."""


class Registration(msgspec.Struct, frozen=True):
    """What a registration brought about."""

    information: Mapping[str, Any]
    """The client information response."""
    new: bool = True
    """Whether there is a new client; otherwise the one that the software had was replaced, or ended."""


async def held(registry: Registry, issuer: Issuer, parts: Parts, now: int) -> Client | None:
    """The client that a piece of software has."""
    item = await registry.store.item(issuer.name, SOFTWARE, parts.software) if parts.software else None
    client = await registry.store.find(issuer.name, item.body.decode()) if item else None
    return None if client is None or client.state is State.DELETED or client.expired(now) else client


async def replace(
    registry: Registry,
    issuer: Issuer,
    judge: Judge,
    admitted: Admitted,
    parts: Parts,
    decision: Decision,
    caller: Caller,
) -> Registration:
    """What was decided, in the place of what the software had: the same identifier, and credentials of its own.

    Raises:
        ProtocolError: `access_denied`, where the operator suspended the client.
        RegistrationError: the statement was used by another request.
    """
    for _ in range(_ATTEMPTS):
        now = registry.clock() // 1000
        before = await held(registry, issuer, parts, now)
        if before is None:  # it ended meanwhile; whoever tries again registers it anew
            break
        if not before.usable:
            raise ProtocolError("access_denied", "This client is suspended; its operator can tell why.")
        issued = issuance.mint(registry, issuer, before.client_id, decision.metadata, now, judge.policy)
        lifetime = judge.policy.lifetime.client
        client = msgspec.structs.replace(
            before,
            version=before.version + 1,
            updated_at=now,
            metadata=decision.metadata,
            credentials=issued.credentials,
            # Whoever shows no token of their own goes on under the one that let the software in.
            admission=recorded(admitted.admission if admitted.spend else before.admission, parts.facts),
            policy=admitted.policy,
            provenance={**parts.provenance, **decision.provenance},
            expires_at=now + lifetime if lifetime else 0,
            flags=identity.flags(decision.findings),
        )
        client, more = review.expanded(registry, before, client, actor(admitted, caller), caller.endpoint)
        detail = events.registration_detail(
            client, parts.requested, decision.findings, judge.policy.digest, caller.certificate_thumbprint
        )
        detail["difference"] = events.difference(before.metadata, client.metadata)
        if await _written(registry, "client.updated", client, before, admitted, parts, caller, detail, more):
            return Registration(issuance.answer(issuer, client, issued), new=False)
    raise ProtocolError("temporarily_unavailable")


def cancels(judge: Judge, parts: Parts) -> bool:
    """Whether a statement ends the registration of its software: it says that there shall be no grant."""
    statement = parts.facts.statement
    return judge.policy.repeat is Repeat.REPLACE and statement is not None and statement.claims.get("grant_types") == []


async def cancel(registry: Registry, issuer: Issuer, admitted: Admitted, parts: Parts, caller: Caller) -> Registration:
    """End what the software has.

    Raises:
        RegistrationError: it has nothing, or the statement was used by another request.
    """
    statement = parts.facts.statement
    for _ in range(_ATTEMPTS):
        now = registry.clock() // 1000
        before = await held(registry, issuer, parts, now)
        if before is None or statement is None:
            raise RegistrationError([NOTHING_TO_END.refuse("grant_types")])
        if await _written(registry, "client.deleted", tombstone(before, now), before, admitted, parts, caller):
            ended = {"client_id": before.client_id, "grant_types": [], MEMBER: statement.compact}
            return Registration(ended, new=False)
    raise ProtocolError("temporarily_unavailable")


async def _written(
    registry: Registry,
    kind: str,
    client: Client,
    before: Client,
    admitted: Admitted,
    parts: Parts,
    caller: Caller,
    detail: Mapping[str, Any] | None = None,
    more: Sequence[Change] = (),
) -> bool:
    """Whether the write was first.

    Raises:
        RegistrationError: what came with the request was used by another one.
    """
    event = registry.audit.event(
        kind,
        client.issuer,
        actor(admitted, caller),
        endpoint=caller.endpoint,
        client_id=client.client_id,
        time_ms=registry.clock(),
        detail=detail,
    )
    changes = [*parts.changes, *admitted.uses, *more]
    if client.state is not State.DELETED:
        changes.append(Put(of_software(client, parts.software), None, registry.clock() // 1000))
    try:
        await registry.store.update(client, [event], expected=before.version, changes=changes)
    except Conflict as conflict:
        if taken := used_up(str(conflict), admitted) or used(str(conflict), parts):
            raise taken from None
        return False
    except NotFound:
        return False
    return True
