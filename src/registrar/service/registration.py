"""Registration (RFC 7591 §3): admit, parse, judge, mint, store, answer. Nothing is stored before all is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from registrar.domain import coherence, credentials, events, lifecycle
from registrar.domain.client import Client, State
from registrar.domain.credentials import CLIENT_ID_BYTES, Credentials
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.findings import Finding, Verdict
from registrar.domain.metadata import Presented, Registered, SignedRequest
from registrar.domain.software_statement import MEMBER
from registrar.domain.template import Template
from registrar.policy import Contradiction, Decision, Judge
from registrar.policy.evidence import demanded
from registrar.policy.policy import Repeat
from registrar.policy.rules import identity
from registrar.service import (
    caps,
    classification,
    holding,
    instances,
    issuance,
    limits,
    replacement,
    sameness,
    software,
    versions,
)
from registrar.service.admission import Admitted, actor, admit, recorded, spent, used_up
from registrar.service.audit import Caller
from registrar.service.parts import Parts, documents, gather, of_software, used
from registrar.service.ports import Change, Conflict, Put, Tell, TokenSpent
from registrar.service.registry import Issuer, Registry
from registrar.service.replacement import Registration
from registrar.service.tracing import within


async def register(registry: Registry, issuer: Issuer, body: Presented | SignedRequest, caller: Caller) -> Registration:
    """Register a client and give the client information response (RFC 7591 §3.2.1).

    When this returns, the client, the use of its token and the audit event are durable, together. Under a policy with
    `repeat = "replace"`, software that is registered already keeps its identifier, and empty `grant_types` end that.

    Args:
        registry: what every use case is given.
        issuer: where.
        body: what was sent.
        caller: who.

    Raises:
        BearerError: the caller may not register.
        RegistrationError: the metadata may not be registered; all faults are in it.
        ProtocolError: registration is disabled, or the policy of the token is configured no more.
        StoreUnavailable: nothing was acknowledged.
    """
    admitted = await within(registry.tracer, "admission", admit(registry, issuer, caller))
    return await enter(registry, issuer, admitted, body, caller)


async def enter(
    registry: Registry, issuer: Issuer, admitted: Admitted, body: Presented | SignedRequest, caller: Caller
) -> Registration:
    """Register a client for a caller that was let in.

    Raises:
        RegistrationError, ProtocolError, StoreUnavailable: as `register`.
    """
    now_ms = registry.clock()
    now = now_ms // 1000
    considered = await consider(registry, issuer, admitted, body, caller)
    admitted, parts, decision = considered.admitted, considered.parts, considered.decision
    template, policy = considered.template, considered.judge.policy
    if considered.ends:
        return await replacement.cancel(registry, issuer, admitted, parts, caller)
    provenance = {**parts.provenance, **decision.provenance}
    if admitted.actor is None:  # what is answered with a client that is there counts like any other
        token_id = admitted.admission.token_id
        await limits.registers(registry, issuer, decision.metadata, provenance, token_id, caller.address)
    replaces = policy.repeat is Repeat.REPLACE
    if replaces and await replacement.held(registry, issuer, parts, now):
        return await replacement.replace(
            registry, issuer, considered.judge, admitted, parts, decision, caller, template
        )
    same = sameness.key(considered.judge, admitted, decision.metadata) if template is None else ""
    named = None
    if same:
        named, found = await sameness.held(registry, issuer, same, considered.judge, admitted)
        if found is not None:
            return Registration(sameness.answer(found, decision.metadata))
    client_id = credentials.client_id(now_ms, registry.entropy(CLIENT_ID_BYTES))
    lifetime = policy.lifetime
    ends = now + lifetime.client if lifetime.client else 0
    issued = (
        issuance.Issued(Credentials())
        if same
        else issuance.mint(registry, issuer, client_id, decision.metadata, now, policy)
    )
    client = Client(
        issuer=issuer.name,
        client_id=client_id,
        version=1,
        state=State.ACTIVE,
        created_at=now,
        updated_at=now,
        metadata=decision.metadata,
        credentials=issued.credentials,
        admission=recorded(admitted.admission, parts.facts),
        policy=template.policy if template else admitted.policy,
        provenance=provenance,
        template=template.template_id if template else "",
        own=instances.own(template, decision) if template else (),
        expires_at=ends,
        due_at=lifecycle.first(now, ends, lifetime),
        flags=identity.flags(decision.findings),
        labels=dict(admitted.labels),
    )
    event = registry.audit.event(
        "client.registered",
        issuer.name,
        actor(admitted, caller),
        endpoint=caller.endpoint,
        client_id=client_id,
        token_id=admitted.admission.token_id,
        time_ms=now_ms,
        detail=events.registration_detail(
            client, parts.requested, decision.findings, policy.digest, caller.certificate_thumbprint
        ),
    )
    changes = (*parts.changes, *admitted.uses)
    if policy.review and admitted.actor is None and (why := policy.review.why(client.metadata, client.flags)):
        client = msgspec.structs.replace(client, state=State.PENDING)
        changes = (*changes, *_held(registry, client, considered.judge, why, admitted, caller))
    if parts.software:
        changes = (*changes, Put(of_software(client, parts.software), 0, now))
    if same:
        first = sameness.put(client, same, now)
        changes = (
            *changes,
            msgspec.structs.replace(
                first, expected=named.version, item=msgspec.structs.replace(first.item, version=named.version + 1)
            )
            if named
            else first,
        )
    changes = (*changes, *versions.claimed(client, parts, now))
    try:
        await caps.create(registry, issuer, client, event, admitted.spend, changes, caller.address)
    except TokenSpent:
        raise spent() from None
    except Conflict as conflict:
        if replaces and str(conflict) == parts.software:  # another one came first, and this one comes after it
            return await replacement.replace(
                registry, issuer, considered.judge, admitted, parts, decision, caller, template
            )
        if same and str(conflict) == same:  # another one came first, and this one is that
            _, found = await sameness.held(registry, issuer, same, considered.judge, admitted)
            if found is not None:
                return Registration(sameness.answer(found, decision.metadata))
            raise ProtocolError("temporarily_unavailable") from None
        if taken := used_up(str(conflict), admitted) or used(str(conflict), parts):
            raise taken from None
        raise  # an identifier of 128 random bits was taken: not to be expected, and nothing was stored
    return Registration(issuance.answer(issuer, client, issued))


def _held(
    registry: Registry, client: Client, judge: Judge, why: str, admitted: Admitted, caller: Caller
) -> tuple[Change, ...]:
    """The changes that hold a registration for review."""
    event = registry.audit.event(
        "registration.held",
        client.issuer,
        actor(admitted, caller),
        endpoint=caller.endpoint,
        client_id=client.client_id,
        detail={"reason": why},
    )
    return holding.put(client.issuer, holding.registration(client, judge, why), expected=0), Tell(event)


class Considered(msgspec.Struct, frozen=True):
    """A registration that may be: how it was let in, its parts, what they become, of which template, and who judged it."""

    admitted: Admitted
    parts: Parts
    decision: Decision
    template: Template | None
    judge: Judge
    ends: bool = False
    """Whether it is no registration, but the end of the one that the software has."""


_NOTHING: Final = Decision(Registered({}), (), {})


async def consider(
    registry: Registry, issuer: Issuer, admitted: Admitted, body: Presented | SignedRequest, caller: Caller
) -> Considered:
    """Judge a registration, and store nothing: what enforces and what explains are this one call.

    Raises:
        RegistrationError: the metadata may not be registered; all faults are in it.
        ProtocolError: the policy is configured no more.
    """
    judge = _judge(issuer, admitted)
    parts = None
    try:
        parts = await within(registry.tracer, "gather", gather(registry, issuer, judge, admitted, body, caller))
        if replacement.cancels(judge, parts):
            return Considered(admitted, parts, _NOTHING, None, judge, ends=True)
        if issuer.classes:
            admitted, parts = classification.classified(issuer, admitted, parts)
            judge = _judge(issuer, admitted)
        known = None
        if parts.software:
            parts, known = await replacement.looked_up(registry, issuer, judge, parts)
        parts = await versions.looked_up(registry, issuer, judge, parts, known)
        parts = await software.looked_up(registry, issuer, judge, parts, known)
        template = None
        if instances.concerned(issuer, parts.presented):
            template = await instances.named(registry, issuer, parts.presented)
        if template is None:
            decision = await within(registry.tracer, "judge", decide(registry, judge, parts))
            return Considered(admitted, parts, decision, None, judge)
        # What the way in demands of a caller is demanded of one that names a template too.
        demands = [*demanded(judge.policy.proofs, parts.facts)]
        decision = await within(registry.tracer, "judge", instances.decide(registry, issuer, template, parts, demands))
        return Considered(admitted, parts, decision, template, instances.judge_of(issuer, template))
    except RegistrationError as refusal:
        requested = parts.requested if parts else {} if isinstance(body, str) else body
        raise RegistrationError(refusal.findings, requested=requested, token_id=admitted.admission.token_id) from None


def _judge(issuer: Issuer, admitted: Admitted) -> Judge:
    """The judge of a registration. By an operator's own word a client may have any scope there is."""
    judge = policy_in_force(issuer, admitted.policy)
    return judge if admitted.actor is None else issuer.judge_of_operators(judge.policy)


def policy_in_force(issuer: Issuer, name: str) -> Judge:
    """The judge of a policy that a token or a client names.

    Raises:
        ProtocolError: `access_denied`; the operator took the policy away, and what it allowed is not decided by another.
    """
    try:
        judge = issuer.judge(name)
    except Contradiction:
        raise ProtocolError("access_denied", f"The policies {name} contradict each other by now.") from None
    if judge is None:
        raise ProtocolError(
            "access_denied", f"The policy {name}, under which this was admitted, is configured no more."
        )
    return judge


async def decide(registry: Registry, judge: Judge, parts: Parts, found: Sequence[Finding] = ()) -> Decision:
    """Parse, get the documents that the judgement needs, and judge.

    Args:
        registry: what every use case is given.
        judge: the policy in force.
        parts: what came with the request.
        found: what was found before; it stands first.

    Raises:
        RegistrationError: with every fault.
    """
    shaped, read = judge.read(parts.presented)
    facts = parts.facts
    if not judge.documents.isdisjoint(shaped):
        facts = await documents(registry, shaped, facts, judge.documents)
    decision = judge(shaped, facts, [*found, *parts.found, *read])
    findings = [*decision.findings, *unkept_secret(registry, decision.metadata)]
    if any(finding.error and finding.verdict is Verdict.REFUSED for finding in findings):
        raise RegistrationError(findings)
    if facts.statement is None:
        return decision
    # The statement is answered as it came, byte for byte (RFC 7591 §3.2.1), and what it attested beside it.
    statement = facts.statement
    metadata = Registered({**statement.shown, **decision.metadata, MEMBER: statement.compact})
    return msgspec.structs.replace(decision, metadata=metadata)


def unkept_secret(registry: Registry, metadata: Registered) -> list[Finding]:
    """A refusal where the server would have to keep a readable secret and has no key to keep it under."""
    if registry.keys or not coherence.needs_symmetric_key(metadata):
        return []
    return [issuance.NO_KEK.refuse("token_endpoint_auth_method")]
