"""Management by the client itself (RFC 7592 §2): read, update, delete, each with the registration access token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from registrar.domain import credentials, events, expansion
from registrar.domain.client import Client, information, tombstone
from registrar.domain.credentials import Credentials
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.events import Actor, Event
from registrar.domain.findings import Finding, rule
from registrar.domain.metadata import NOT_IN_PUT, Presented, SignedRequest
from registrar.policy import Decision, Judge
from registrar.policy.policy import ExpansionVerdict
from registrar.policy.rules import identity
from registrar.service import changes, holding, instances, software, versions
from registrar.service.admission import Admitted, recorded
from registrar.service.audit import Caller
from registrar.service.parts import Parts, gather, used
from registrar.service.ports import Change, Conflict, NotFound, StoreUnavailable
from registrar.service.proof_of_management import Session, authenticate
from registrar.service.registration import decide, policy_in_force
from registrar.service.registry import Issuer, Registry
from registrar.service.renewal import Renewal, renew

FORBIDDEN: Final = rule(
    "update.forbidden", "RFC 7592 §2.2", "must not stand in an update", "the update without this member"
)


ID_NEEDED: Final = rule(
    "update.client_id", "RFC 7592 §2.2", "is missing or names another client", "the client_id that was issued"
)


SECRET_DIFFERS: Final = rule(
    "update.client_secret",
    "RFC 7592 §2.2",
    "is not the current secret, and a client cannot choose its own",
    "the current secret, or no client_secret",
)


_ATTEMPTS: Final = 8
"""How often a write is tried again after another writer came first."""


async def read(registry: Registry, issuer: Issuer, client_id: str, caller: Caller) -> dict[str, Any]:
    """The registration as it stands (RFC 7592 §2.1).

    Raises:
        BearerError: 401, the same whether the client or the token is unknown (never 404).
        ProtocolError: management is off, or the client is suspended.
        StoreUnavailable: the store does not answer.
    """
    for _ in range(_ATTEMPTS):
        session, now_ms = await authenticate(registry, issuer, client_id, caller, "read"), registry.clock()
        client = session.client
        renewal = renew(registry, issuer, session, client.metadata, now_ms // 1000, updating=False)
        if not renewal.changes(client):
            if registry.audit.read_is_due(issuer.name, client_id, now_ms):
                try:
                    noted = registry.last_use.note(issuer.name, client_id, now_ms // 1000)
                    await registry.store.change(noted, [_event(registry, "client.read", client, caller, now_ms)])
                except StoreUnavailable:
                    registry.audit.forget_read(issuer.name, client_id)  # nothing was answered, so nothing was read
                    raise
            return await _read_answer(registry, issuer, client, renewal)
        after = msgspec.structs.replace(client, version=client.version + 1, credentials=renewal.credentials)
        happened = [
            _event(registry, "client.read", after, caller, now_ms),
            *_rotations(registry, session, renewal, caller, now_ms),
        ]
        if await _stored(registry, after, happened, client.version):
            return await _read_answer(registry, issuer, after, renewal)
    raise ProtocolError("temporarily_unavailable")


async def _read_answer(registry: Registry, issuer: Issuer, client: Client, renewal: Renewal) -> dict[str, Any]:
    """What is in force, and what of an update waits for somebody's decision."""
    answer = _answer(issuer, client, renewal)
    held = await holding.of_client(registry, issuer, client.client_id)
    waits = held is not None and held.what != holding.REGISTRATION
    return {**answer, "pending_update": held.pending()} if held and waits else answer


async def update(
    registry: Registry,
    issuer: Issuer,
    client_id: str,
    body: Presented | SignedRequest,
    caller: Caller,
) -> dict[str, Any]:
    """Replace a registration by what is presented (RFC 7592 §2.2): what is omitted is gone or back at its default.

    The whole result is judged by the policy that judged the registration, never the difference alone.

    Raises:
        BearerError, ProtocolError, StoreUnavailable: as for `read`.
        RegistrationError: nothing was changed; all faults are in it.
    """
    for _ in range(_ATTEMPTS):
        session, now_ms = await authenticate(registry, issuer, client_id, caller, "update"), registry.clock()
        client, now = session.client, now_ms // 1000
        judge = policy_in_force(issuer, client.policy)
        admitted = Admitted(client.admission, client.policy)
        try:
            parts, decision = await judge_update(registry, issuer, judge, admitted, client, body, caller)
        except RegistrationError as refusal:
            requested = {} if isinstance(body, str) else body
            raise RegistrationError(refusal.findings, requested=requested) from None
        renewal = renew(registry, issuer, session, decision.metadata, now, updating=True, policy=judge.policy)
        after = msgspec.structs.replace(
            client,
            version=client.version + 1,
            updated_at=now,
            metadata=decision.metadata,
            credentials=renewal.credentials,
            admission=recorded(client.admission, parts.facts),
            provenance=provenance_after(client, parts, decision),
            flags=identity.flags(decision.findings),
            own=tuple(name for name in decision.metadata if name in client.own) if client.template else (),
        )
        if client.template and (template := await instances.find(registry, issuer, client.template)):
            after = msgspec.structs.replace(after, own=instances.own(template, decision))
        detail = events.registration_detail(
            after, parts.requested, decision.findings, judge.policy.digest, caller.certificate_thumbprint
        )
        detail["difference"] = events.difference(client.metadata, after.metadata)
        happened = [
            _event(registry, "client.updated", after, caller, now_ms, detail),
            *_rotations(registry, session, renewal, caller, now_ms),
        ]
        kinds = expansion.expansions(client.metadata, after.metadata)
        answered = changes.verdict(judge.policy, client, after, kinds)
        if answered is ExpansionVerdict.REFUSE:
            raise RegistrationError(changes.refusals(judge.policy, kinds), requested=parts.requested)
        if answered is ExpansionVerdict.REVIEW:
            shown = renew(registry, issuer, session, client.metadata, now, updating=False)
            if pending := await _hold(registry, judge, client, after, shown, parts, kinds, caller):
                return {**_answer(issuer, client, shown), "pending_update": pending}
            continue
        after, more = await changes.in_force(
            registry, judge, client, after, parts, _actor(client, caller), caller.endpoint
        )
        noted = registry.last_use.note(issuer.name, client_id, now)
        if await _stored(registry, after, happened, client.version, parts, (*more, *noted)):
            return _answer(issuer, after, renewal)
    raise ProtocolError("temporarily_unavailable")


async def _hold(
    registry: Registry,
    judge: Judge,
    client: Client,
    after: Client,
    shown: Renewal,
    parts: Parts,
    kinds: tuple[str, ...],
    caller: Caller,
) -> dict[str, Any] | None:
    """Hold an update whole, in the place of one that was held before; None where another writer was first."""
    now_ms = registry.clock()
    held = holding.update(judge, client, after, parts, kinds, now_ms // 1000)
    before = await registry.store.item(client.issuer, holding.KIND, client.client_id)
    put, held = holding.in_place_of(before, client.issuer, held)
    detail = events.registration_detail(after, parts.requested, (), judge.policy.digest) | {"reason": held.why}
    detail["difference"] = events.difference(client.metadata, after.metadata)
    event = _event(registry, "update.held", client, caller, now_ms, detail)
    # The client goes on as it is; its version moves, so that whoever writes at the same moment sees what is held.
    marked = msgspec.structs.replace(client, version=client.version + 1, credentials=shown.credentials)
    stored = await _stored(registry, marked, [event], client.version, parts, (put,))
    return held.pending() if stored else None


async def judge_update(
    registry: Registry,
    issuer: Issuer,
    judge: Judge,
    admitted: Admitted,
    client: Client,
    body: Presented | SignedRequest,
    caller: Caller,
) -> tuple[Parts, Decision]:
    """The parts of an update and what they become, on the road of a registration.

    Raises:
        RegistrationError: with every fault.
    """
    parts = await gather(registry, issuer, judge, admitted, body, caller, client)
    found = _preconditions(client, parts.requested, registry.clock() // 1000, signed=isinstance(body, str))
    parts = msgspec.structs.replace(parts, presented=_without_credentials(parts.presented))
    if client.template:
        template = await instances.find(registry, issuer, client.template)
        if template is None:
            raise ProtocolError("access_denied", "The template of this client is gone.")
        return parts, await instances.decide(registry, issuer, template, parts, found, strict=True)
    parts = await versions.looked_up(registry, issuer, judge, parts, client)
    parts = await software.looked_up(registry, issuer, judge, parts, client)
    return parts, await decide(registry, judge, parts, found)


async def delete(registry: Registry, issuer: Issuer, client_id: str, caller: Caller) -> None:
    """End a registration (RFC 7592 §2.3): the identifier and every credential stop working at once.

    Raises:
        BearerError, ProtocolError, StoreUnavailable: as for `read`.
    """
    for _ in range(_ATTEMPTS):
        session, now_ms = await authenticate(registry, issuer, client_id, caller, "delete"), registry.clock()
        event = _event(registry, "client.deleted", session.client, caller, now_ms)
        if await _stored(registry, tombstone(session.client, now_ms // 1000), [event], session.client.version):
            return
    raise ProtocolError("temporarily_unavailable")


def _preconditions(client: Client, presented: Mapping[str, Any], now: int, *, signed: bool = False) -> list[Finding]:
    """The checks of RFC 7592 §2.2 on what an update says about credentials; null counts as omitted throughout.

    A signed update is told by its `iss` whose it is; ecosystems that sign their requests do not repeat `client_id`.
    """
    found = [FORBIDDEN.refuse(name) for name in NOT_IN_PUT if presented.get(name) not in (None, "")]
    said = presented.get("client_id")
    if said != client.client_id and not (signed and said in (None, "")):
        found.append(ID_NEEDED.refuse("client_id"))
    secret = presented.get("client_secret")
    if secret not in (None, "") and not (isinstance(secret, str) and _is_own(client.credentials, secret, now)):
        found.append(SECRET_DIFFERS.refuse("client_secret"))
    return found


def _is_own(held: Credentials, secret: str, now: int) -> bool:
    """Whether a client repeats its own secret: the current one, or one in its overlap, as after a lost answer.

    The current one counts though it has expired: a read still shows it, and the update is what replaces it.
    """
    current = any(credentials.same(record.digest, credentials.digest(secret)) for record in held.secrets[:1])
    return held.secret_is(secret, now) or current


def _without_credentials(presented: Presented) -> Presented:
    judged = {"client_id", "client_secret", *NOT_IN_PUT}
    return Presented({name: value for name, value in presented.items() if name not in judged})


def provenance_after(client: Client, parts: Parts, decision: Decision) -> dict[str, str]:
    """Where each member is from; a value that the policy set stays the policy's when it comes back unchanged.

    What a statement attested does not stay so by itself: the update has to come with the statement.
    """
    kept = {
        name: origin
        for name, origin in client.provenance.items()
        if origin == "policy" and decision.metadata.get(name) == client.metadata.get(name)
    }
    return {**kept, **parts.provenance, **decision.provenance}


async def _stored(
    registry: Registry,
    client: Client,
    happened: Sequence[Event],
    expected: int,
    parts: Parts | None = None,
    more: Sequence[Change] = (),
) -> bool:
    """Whether the write was first; NotFound means that the client was purged meanwhile, and the next look says so.

    Raises:
        RegistrationError: what came with the request was used by another one.
    """
    brought = parts.changes if parts else ()
    try:
        await registry.store.update(client, happened, expected=expected, changes=[*brought, *more])
    except Conflict as conflict:
        if parts is not None and (refusal := used(str(conflict), parts)):
            raise refusal from None
        return False
    except NotFound:
        return False
    return True


def _rotations(registry: Registry, session: Session, renewal: Renewal, caller: Caller, now_ms: int) -> list[Event]:
    kinds = []
    if renewal.token != session.token:
        kinds.append("client.token_rotated")
    if renewal.secret_rotated:
        kinds.append("client.secret_rotated")
    return [_event(registry, kind, session.client, caller, now_ms) for kind in kinds]


def _event(
    registry: Registry, kind: str, client: Client, caller: Caller, now_ms: int, detail: Mapping[str, Any] | None = None
) -> Event:
    actor = _actor(client, caller)
    return registry.audit.event(
        kind, client.issuer, actor, endpoint=caller.endpoint, client_id=client.client_id, time_ms=now_ms, detail=detail
    )


def _actor(client: Client, caller: Caller) -> Actor:
    by = "registration_access_token" if client.credentials.tokens else "access_token"
    return Actor("client", by, address=caller.address)


def _answer(issuer: Issuer, client: Client, renewal: Renewal) -> dict[str, Any]:
    return information(
        client,
        secret=renewal.secret,
        registration_client_uri=issuer.registration_client_uri(client) if renewal.token else "",
        registration_access_token=renewal.token,
    )
