"""Software that is registered already: what it had is replaced, or ended, by a newer statement (UDAP §6).

A policy with `repeat = "replace"` knows registrations by the software that a trusted statement attests, and within the
community of that statement's issuer alone, so that nobody takes the place of another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from typing import Any, Final

import msgspec

from registrar.domain import events, expansion
from registrar.domain.client import Client, State, information, tombstone
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.findings import rule
from registrar.domain.software_statement import MEMBER
from registrar.domain.template import Template
from registrar.policy import Contradiction, Decision, Judge, Policy
from registrar.policy.policy import ExpansionVerdict, Repeat
from registrar.policy.rules import identity
from registrar.service import caps, changes, holding, instances, issuance, sweep
from registrar.service.admission import Admitted, actor, recorded, used_up
from registrar.service.audit import Caller
from registrar.service.parts import SOFTWARE, Parts, used
from registrar.service.ports import Change, Conflict, NotFound
from registrar.service.registry import Issuer, Registry

NOTHING_TO_END: Final = rule(
    "request.nothing_to_end",
    "UDAP §6",
    "is empty, which ends a registration, and this software has none",
    "the grants to register",
)
OF_ANOTHER: Final = rule(
    "template.another",
    "engineering",
    "is not the one of which this software is an instance",
    "the template of the registration that it has, or the end of that registration first",
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


async def looked_up(registry: Registry, issuer: Issuer, judge: Judge, parts: Parts) -> tuple[Parts, Client | None]:
    """The client that would be replaced, and the parts with what it has registered among their facts."""
    if judge.policy.repeat is not Repeat.REPLACE:
        return parts, None
    known = await held(registry, issuer, parts, registry.clock() // 1000)
    if known is None:
        return parts, None
    facts = msgspec.structs.replace(parts.facts, replaces=known.metadata)
    return msgspec.structs.replace(parts, facts=facts), known


async def replace(
    registry: Registry,
    issuer: Issuer,
    judge: Judge,
    admitted: Admitted,
    parts: Parts,
    decision: Decision,
    caller: Caller,
    template: Template | None = None,
) -> Registration:
    """What was decided, in the place of what the software had: the same identifier, and credentials of its own.

    Whoever has a newer statement is held to what the policy says of changes, as whoever sends an update is. What is held
    of it changes nothing, its credentials neither.

    Raises:
        ProtocolError: `access_denied`, where the operator suspended the client, or its labels are not those of the token.
        RegistrationError: it is a change that the policy refuses, it is of another template than what the software has,
            or the statement was used by another request.
    """
    for _ in range(_ATTEMPTS):
        now = registry.clock() // 1000
        before = await held(registry, issuer, parts, now)
        if before is None:  # it ended meanwhile; whoever tries again registers it anew
            break
        _check_labels(admitted, before)
        before = await sweep.used(registry, issuer, before, caller)
        if before.state is State.SUSPENDED or before.suspended_by_template:
            raise ProtocolError("access_denied", "This client is suspended; its operator can tell why.")
        if before.template != (template.template_id if template else ""):
            raise RegistrationError([OF_ANOTHER.refuse("template_id")])
        issued = issuance.mint(registry, issuer, before.client_id, decision.metadata, now, judge.policy)
        client = msgspec.structs.replace(
            before,
            version=before.version + 1,
            updated_at=now,
            metadata=decision.metadata,
            credentials=issued.credentials,
            # Whoever shows no token of their own goes on under the one that let the software in.
            admission=recorded(admitted.admission if admitted.spend else before.admission, parts.facts),
            policy=template.policy if template else admitted.policy,
            provenance={**parts.provenance, **decision.provenance},
            own=instances.own(template, decision) if template else (),
            flags=identity.flags(decision.findings),
        )
        client = changes.renewed(client, judge.policy, now)
        kinds = expansion.expansions(before.metadata, client.metadata)
        policy = _stricter(issuer, judge.policy, before.policy)
        answered = ExpansionVerdict.ALLOW if admitted.actor else changes.verdict(policy, before, client, kinds)
        if answered is ExpansionVerdict.REFUSE:
            raise RegistrationError(changes.refusals(policy, kinds), requested=parts.requested)
        detail = events.registration_detail(
            client, parts.requested, decision.findings, judge.policy.digest, caller.certificate_thumbprint
        )
        detail["difference"] = events.difference(before.metadata, client.metadata)
        if answered is ExpansionVerdict.REVIEW:
            waits = holding.update(
                judge, before, client, parts, kinds, now, what=holding.REPLACEMENT, review=policy.review
            )
            had = await registry.store.item(issuer.name, holding.KIND, before.client_id)
            put, waits = holding.in_place_of(had, issuer.name, waits)
            # The client goes on as it is; its version moves, so that whoever writes at the same moment sees what is held.
            marked = msgspec.structs.replace(before, version=before.version + 1)
            detail["reason"] = waits.why
            if await _written(registry, "update.held", marked, before, admitted, parts, caller, detail, [put]):
                return Registration({**information(before), "pending_update": waits.pending()}, new=False)
            continue
        by = actor(admitted, caller)
        client, more = await changes.in_force(registry, judge, before, client, parts, by, caller.endpoint)
        more += await caps.joined(registry, issuer, before, client, caller.address)
        if await _written(registry, "client.updated", client, before, admitted, parts, caller, detail, more):
            return Registration(issuance.answer(issuer, client, issued), new=False)
    raise ProtocolError("temporarily_unavailable")


def _check_labels(admitted: Admitted, before: Client) -> None:
    """Refuse to touch what the software has at another tenant: a token that labels registers within its labels.

    Raises:
        ProtocolError: `access_denied`.
    """
    if not admitted.labels.items() <= before.labels.items():
        raise ProtocolError(
            "access_denied", "This software has a registration already, which has not the labels of this token."
        )


def _stricter(issuer: Issuer, policy: Policy, before: str) -> Policy:
    """A policy with what the one before it holds and refuses: coming in by another way is no way round that."""
    try:
        judge = issuer.judge(before)
    except Contradiction:
        judge = None
    if judge is None:
        return policy
    had = judge.policy
    return replaced(policy, changes=policy.changes.stricter(had.changes), review=policy.review.with_(had.review))


def cancels(judge: Judge, parts: Parts) -> bool:
    """Whether a statement ends the registration of its software: it says that there shall be no grant."""
    statement = parts.facts.statement
    return judge.policy.repeat is Repeat.REPLACE and statement is not None and statement.claims.get("grant_types") == []


async def cancel(registry: Registry, issuer: Issuer, admitted: Admitted, parts: Parts, caller: Caller) -> Registration:
    """End what the software has.

    Raises:
        ProtocolError: `access_denied`; its labels are not those of the token.
        RegistrationError: it has nothing, or the statement was used by another request.
    """
    statement = parts.facts.statement
    for _ in range(_ATTEMPTS):
        now = registry.clock() // 1000
        before = await held(registry, issuer, parts, now)
        if before is None or statement is None:
            raise RegistrationError([NOTHING_TO_END.refuse("grant_types")])
        _check_labels(admitted, before)
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
    brought = [*parts.changes, *admitted.uses, *more]
    try:
        await registry.store.update(client, [event], expected=before.version, changes=brought)
    except Conflict as conflict:
        if taken := used_up(str(conflict), admitted) or used(str(conflict), parts):
            raise taken from None
        return False
    except NotFound:
        return False
    return True
