"""Clients by the operator's hand: created and changed on the road of the protocol, and judged by the same policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from registrar.domain import events
from registrar.domain.client import Admission, Assurance, Client, ClientInformation, State
from registrar.domain.errors import ProtocolError
from registrar.domain.metadata import Presented
from registrar.policy.rules import identity
from registrar.service import administration, caps, changes, instances, management, operators, registration
from registrar.service.admission import Admitted, recorded
from registrar.service.audit import Caller
from registrar.service.operators import Operator, Refused
from registrar.service.parts import used
from registrar.service.ports import Conflict
from registrar.service.registry import Issuer, Registry

_ATTEMPTS: Final = 100


async def create(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    presented: Presented,
    *,
    policy: str = "",
    label: str = "",
    ceiling: tuple[str, ...] = (),
    bound: tuple[str, ...] = (),
    labelled: Mapping[str, str] = MappingProxyType({}),
) -> ClientInformation:
    """Register a client for somebody, whatever the issuer's mode; the answer has its credentials, this once.

    It is judged as everybody's is, but that it may hold any scope of the catalogue, the operators' and `dcr` too: this
    is how a client is made that earns the tokens with which others register.

    Args:
        registry: what every use case is given.
        issuer: where.
        operator: who does it.
        presented: its metadata.
        policy: the policy that judges it, or several with spaces between; empty for the issuer's.
        label: by what it came in.
        labelled: what it is labelled with.
        bound: what the operator's token is bound to, for the rules that ask.
        ceiling: the scopes that the operator's token lets be registered at the most; empty for what the policy allows.

    Raises:
        RegistrationError: the metadata may not be registered; all faults are in it.
        StoreUnavailable: nothing was stored.
    """
    admission = Admission(Assurance.OPERATOR, operator.token_id, label, operator.person, ceiling)
    admitted = Admitted(admission, policy or issuer.policy.name, actor=operator.actor(), bound=bound, labels=labelled)
    entered = await registration.enter(registry, issuer, admitted, presented, _caller(operator))
    return ClientInformation({**entered.information})


async def change(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    client_id: str,
    presented: Presented,
    matches: Callable[[Client], bool] = lambda _: True,
) -> tuple[Client, str]:
    """Replace a client's metadata, judged as a whole by the client's own policies; its credentials stay.

    Args:
        registry: what every use case is given.
        issuer: where.
        operator: who.
        client_id: whose metadata.
        presented: the metadata as they are to be.
        matches: whether what is replaced is what the caller had seen; the write is made of that and nothing else.

    Returns:
        The client, and its new secret where it needs one now and had none.

    Raises:
        Refused: there is no such client, it is deleted, or the operator's token does not go so far.
        RegistrationError: nothing was changed; all faults are in it.
        ProtocolError: its policy is configured no more; `precondition_failed`; `too_many_clients`.
    """
    caller = _caller(operator)
    for _ in range(_ATTEMPTS):
        before = await administration.find(registry, issuer, client_id)
        if not matches(before):
            raise ProtocolError("precondition_failed", "The client was changed in between; look at it again.")
        if before.state is State.DELETED:
            raise Refused(f"{client_id} is deleted")
        now_ms = registry.clock()
        judge = registration.policy_in_force(issuer, before.policy)
        admitted = Admitted(before.admission, before.policy, actor=operator.actor())
        update = Presented({"client_id": client_id, **presented})
        parts, decision = await management.judge_update(registry, issuer, judge, admitted, before, update, caller)
        secret, credentials = administration.credentials_after(
            registry, issuer, before, decision.metadata, now_ms // 1000, judge.policy
        )
        after = msgspec.structs.replace(
            before,
            version=before.version + 1,
            updated_at=now_ms // 1000,
            metadata=decision.metadata,
            credentials=credentials,
            admission=recorded(before.admission, parts.facts),
            provenance=management.provenance_after(before, parts, decision),
            flags=identity.flags(decision.findings),
        )
        if before.template and (template := await instances.find(registry, issuer, before.template)):
            after = msgspec.structs.replace(after, own=instances.own(template, decision))
        operators.check_ceiling(operator, before.metadata, after.metadata)
        after, more = await changes.in_force(registry, judge, before, after, parts, operator.actor(), operator.door)
        more += await caps.joined(registry, issuer, before, after)
        detail = events.registration_detail(after, parts.requested, decision.findings, judge.policy.digest)
        detail["difference"] = events.difference(before.metadata, after.metadata)
        event = registry.audit.event(
            "client.updated",
            issuer.name,
            operator.actor(),
            endpoint=operator.door,
            client_id=client_id,
            time_ms=now_ms,
            detail=detail,
        )
        try:
            await registry.store.update(after, [event], expected=before.version, changes=[*parts.changes, *more])
        except Conflict as conflict:
            if taken := used(str(conflict), parts):
                raise taken from None
            continue
        return after, secret
    raise ProtocolError("temporarily_unavailable")


def _caller(operator: Operator) -> Caller:
    return Caller(operator.door, address=operator.address)
