"""Registration (RFC 7591 §3): admit, parse, judge, mint, store, answer. Nothing is stored before all is judged."""

from __future__ import annotations

from typing import Any

from registrar.domain import coherence, credentials, events
from registrar.domain.client import Client, State, information
from registrar.domain.credentials import CLIENT_ID_BYTES
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.events import Actor
from registrar.domain.findings import Finding
from registrar.domain.metadata import Presented, Registered, parse
from registrar.policy import Decision, Facts, Judge
from registrar.service import issuance
from registrar.service.admission import Admitted, admit, spent
from registrar.service.audit import Caller
from registrar.service.ports import TokenSpent
from registrar.service.registry import Issuer, Registry


async def register(registry: Registry, issuer: Issuer, presented: Presented, caller: Caller) -> dict[str, Any]:
    """Register a client and give the client information response (RFC 7591 §3.2.1).

    When this returns, the client, the use of its token and the audit event are durable, together.

    Raises:
        BearerError: the caller may not register.
        RegistrationError: the metadata may not be registered; all faults are in it.
        ProtocolError: registration is disabled, or the policy of the token is configured no more.
        StoreUnavailable: nothing was acknowledged.
    """
    now_ms = registry.clock()
    now = now_ms // 1000
    admitted = await admit(registry, issuer, caller.token, now)
    judge = policy_in_force(issuer, admitted.policy)
    decision = decide(registry, judge, presented, admitted)
    client_id = credentials.client_id(now_ms, registry.entropy(CLIENT_ID_BYTES))
    issued = issuance.mint(registry, issuer, client_id, decision.metadata, now)
    client = Client(
        issuer=issuer.name,
        client_id=client_id,
        version=1,
        state=State.ACTIVE,
        created_at=now,
        updated_at=now,
        metadata=decision.metadata,
        credentials=issued.credentials,
        admission=admitted.admission,
        policy=admitted.policy,
        provenance=dict(decision.provenance),
    )
    event = registry.audit.event(
        "client.registered",
        issuer.name,
        _actor(admitted, caller),
        endpoint=caller.endpoint,
        client_id=client_id,
        time_ms=now_ms,
        detail=events.registration_detail(
            client, presented, decision.findings, judge.policy.digest, caller.certificate_thumbprint
        ),
    )
    try:
        await registry.store.create(client, event, admitted.spend)
    except TokenSpent:
        raise spent() from None
    return information(
        client,
        secret=issued.secret,
        registration_client_uri=issuer.registration_client_uri(client_id),
        registration_access_token=issued.token,
    )


def policy_in_force(issuer: Issuer, name: str) -> Judge:
    """The judge of a policy that a token or a client names.

    Raises:
        ProtocolError: `access_denied`; the operator took the policy away, and what it allowed is not decided by another.
    """
    judge = issuer.judge(name)
    if judge is None:
        raise ProtocolError(
            "access_denied", f"The policy {name}, under which this was admitted, is configured no more."
        )
    return judge


def decide(registry: Registry, judge: Judge, presented: Presented, admitted: Admitted) -> Decision:
    """Parse and judge.

    Raises:
        RegistrationError: with every fault.
    """
    shaped, found = parse(presented)
    decision = judge(shaped, Facts(admitted.admission.assurance), found)
    findings = [*decision.findings, *unkept_secret(registry, decision.metadata)]
    if any(finding.error for finding in findings):
        raise RegistrationError(findings, requested=presented, token_id=admitted.admission.token_id)
    return decision


def unkept_secret(registry: Registry, metadata: Registered) -> list[Finding]:
    """A refusal where the server would have to keep a readable secret and has no key to keep it under."""
    if registry.keys or not coherence.needs_symmetric_key(metadata):
        return []
    return [issuance.NO_KEK.refuse("token_endpoint_auth_method")]


def _actor(admitted: Admitted, caller: Caller) -> Actor:
    if admitted.spend is None:
        return Actor("anonymous", "none", address=caller.address)
    admission = admitted.admission
    return Actor("token", "initial_access_token", admission.token_id, admission.owner, caller.address)
