"""Changes of a registration: what they are answered with, and what is done with each that comes into force.

An update by the client, one by its operator, a registration in the place of another, and what was held and is approved:
all take these steps, so that none is a way round what the others are held to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from registrar.domain import expansion
from registrar.domain.client import Client, State
from registrar.domain.events import Actor
from registrar.domain.findings import Finding, rule
from registrar.policy import Judge, Policy
from registrar.policy.policy import ExpansionVerdict
from registrar.service import holding, versions
from registrar.service.parts import Parts, of_software
from registrar.service.ports import Change, Tell
from registrar.service.registry import Registry

EXPANDS: Final = rule(
    "update.expands",
    "RFC 7592 §2.2",
    "would give this client more than it has ({kind}), which the policy does not let it give itself",
    "a registration of its own for that, or a change by the operator",
)


def verdict(policy: Policy, before: Client, after: Client, kinds: Sequence[str]) -> ExpansionVerdict:
    """What a change that nobody of the operator's makes is answered with: the strictest answer to what it expands.

    What would be held as a registration is held as a change too, unless it was looked at and expands nothing since, or
    the policy allows by name what it expands.
    """
    if before.state is not State.ACTIVE:
        return ExpansionVerdict.ALLOW  # it is held as a registration, and what is looked at is what it has become
    found = {policy.changes.of(kind) for kind in kinds}
    if ExpansionVerdict.REFUSE in found:
        return ExpansionVerdict.REFUSE
    reasons = set(policy.review.reasons(after.metadata, after.flags))
    unseen = reasons - set(policy.review.reasons(before.metadata, before.flags))
    unnamed = [kind for kind in kinds if kind not in policy.changes.verdicts]
    return (
        ExpansionVerdict.REVIEW
        if ExpansionVerdict.REVIEW in found or unseen or (reasons and unnamed)
        else ExpansionVerdict.ALLOW
    )


def refusals(policy: Policy, kinds: Sequence[str]) -> list[Finding]:
    """A finding for each expansion that the policy refuses."""
    found = [expansion.KINDS[kind] for kind in kinds if policy.changes.of(kind) is ExpansionVerdict.REFUSE]
    return [EXPANDS.refuse(kind.member, kind=kind.name) for kind in found]


def renewed(client: Client, policy: Policy, now: int) -> Client:
    """A client whose registration begins anew, as that does which takes the place of another: it lives as long again."""
    ends = now + policy.lifetime.client if policy.lifetime.client else 0
    due = min(client.due_at or ends, ends or client.due_at)
    return msgspec.structs.replace(client, expires_at=ends, due_at=due)


async def in_force(
    registry: Registry, judge: Judge, before: Client, after: Client, parts: Parts, actor: Actor, endpoint: str
) -> tuple[Client, list[Change]]:
    """A client after a change that comes into force at once, and what is stored with it.

    What is held of it is taken back, or where it is the registration, held as it is now.
    """
    after, changes = await steps(registry, before, after, parts.version, parts.software, actor, endpoint)
    held = await registry.store.item(before.issuer, holding.KIND, before.client_id)
    if held is not None and before.state is State.PENDING:
        changes.append(holding.anew(held, after, judge))
    elif held is not None:
        changes += holding.superseded(registry, before, actor, endpoint)
    return after, changes


async def steps(
    registry: Registry, before: Client, after: Client, version: str, software: str, actor: Actor, endpoint: str
) -> tuple[Client, list[Change]]:
    """A client after a change, marked where it got more than it had, and what is stored with it.

    Args:
        registry: what every use case is given.
        before: the client as it is stored.
        after: as it is to be.
        version: the key of the version of the software that it has then, where it may have one.
        software: the key of the software that it is of then, where that may have one client.
        actor: who does it.
        endpoint: where.
    """
    now = registry.clock() // 1000
    changes = await versions.moved(registry, before, after, version, now)
    if software:
        changes.append(await versions.taken(registry, of_software(after, software), now))
    kinds = expansion.expansions(before.metadata, after.metadata)
    if not kinds:
        return after, changes
    if expansion.asks_again(kinds):
        # Later than the one before it, whatever the clock says: consents name the expansion that they know of.
        after = msgspec.structs.replace(after, expanded_at=max(now, before.expanded_at + 1))
    event = registry.audit.event(
        "client.expanded",
        after.issuer,
        actor,
        endpoint=endpoint,
        client_id=after.client_id,
        detail={"reason": ", ".join(kinds)},
    )
    return after, [*changes, Tell(event)]
