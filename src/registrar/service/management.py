"""Management by the client itself (RFC 7592 §2): read, update, delete, each with the registration access token."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from registrar.domain import certificate, coherence, credentials, events
from registrar.domain.client import Client, State, information, tombstone
from registrar.domain.credentials import Credentials, PresentedToken, SecretRecord, TokenRecord
from registrar.domain.errors import BearerError, ProtocolError, RegistrationError
from registrar.domain.events import Actor, Event
from registrar.domain.findings import Finding, rule
from registrar.domain.metadata import NOT_IN_PUT, Presented, Registered, SignedRequest
from registrar.domain.settings import Rotate
from registrar.policy import Contradiction, Decision, Judge
from registrar.policy.evidence import ManagementProof
from registrar.policy.policy import Management
from registrar.service import access, instances, issuance, versions
from registrar.service.admission import Admitted, recorded
from registrar.service.audit import Caller
from registrar.service.issuance import Cabinet
from registrar.service.parts import Parts, gather, used, vouched
from registrar.service.ports import Conflict, NotFound, StoreUnavailable
from registrar.service.registration import decide, policy_in_force
from registrar.service.registry import Issuer, Registry

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

_UNUSED: Final = 4
"""Successors of one token that may wait for their first use."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A client that has shown its registration access token."""

    client: Client
    token: PresentedToken = dataclasses.field(repr=False)
    """The registration access token; empty where the policy has registrations managed with access tokens."""
    record: TokenRecord | None

    @property
    def latest(self) -> bool:
        """Whether the token is the current one, and not one whose successor has never been used."""
        return self.record is None or self.record is self.client.credentials.tokens[0]


@dataclass(frozen=True, slots=True)
class _Renewal:
    """Credentials after a request, and what the answer shows of them."""

    credentials: Credentials
    secret: str = dataclasses.field(repr=False)
    token: PresentedToken = dataclasses.field(repr=False)
    secret_rotated: bool = False

    def changes(self, client: Client) -> bool:
        """Whether there is anything to store."""
        return self.credentials != client.credentials


async def read(registry: Registry, issuer: Issuer, client_id: str, caller: Caller) -> dict[str, Any]:
    """The registration as it stands (RFC 7592 §2.1).

    Raises:
        BearerError: 401, the same whether the client or the token is unknown (never 404).
        ProtocolError: management is off, or the client is suspended.
        StoreUnavailable: the store does not answer.
    """
    for _ in range(_ATTEMPTS):
        session, now_ms = await _authenticate(registry, issuer, client_id, caller, "read"), registry.clock()
        client = session.client
        renewal = _renew(registry, issuer, session, client.metadata, now_ms // 1000, updating=False)
        if not renewal.changes(client):
            if registry.audit.read_is_due(issuer.name, client_id, now_ms):
                try:
                    await registry.store.record(_event(registry, "client.read", client, caller, now_ms))
                except StoreUnavailable:
                    registry.audit.forget_read(issuer.name, client_id)  # nothing was answered, so nothing was read
                    raise
            return _answer(issuer, client, renewal)
        after = msgspec.structs.replace(client, version=client.version + 1, credentials=renewal.credentials)
        happened = [
            _event(registry, "client.read", after, caller, now_ms),
            *_rotations(registry, session, renewal, caller, now_ms),
        ]
        if await _stored(registry, after, happened, client.version):
            return _answer(issuer, after, renewal)
    raise ProtocolError("temporarily_unavailable")


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
        session, now_ms = await _authenticate(registry, issuer, client_id, caller, "update"), registry.clock()
        client, now = session.client, now_ms // 1000
        judge = policy_in_force(issuer, client.policy)
        admitted = Admitted(client.admission, client.policy)
        try:
            parts, decision = await judge_update(registry, issuer, judge, admitted, client, body, caller)
        except RegistrationError as refusal:
            requested = {} if isinstance(body, str) else body
            raise RegistrationError(refusal.findings, requested=requested) from None
        lifetime = issuance.most(judge.policy, client.expires_at, now)
        renewal = _renew(registry, issuer, session, decision.metadata, now, updating=True, lifetime=lifetime)
        after = msgspec.structs.replace(
            client,
            version=client.version + 1,
            updated_at=now,
            metadata=decision.metadata,
            credentials=renewal.credentials,
            admission=recorded(client.admission, parts.facts),
            provenance=provenance_after(client, parts, decision),
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
        parts = await versions.moved(registry, client, parts, now)
        if await _stored(registry, after, happened, client.version, parts):
            return _answer(issuer, after, renewal)
    raise ProtocolError("temporarily_unavailable")


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
    parts = dataclasses.replace(parts, presented=_without_credentials(parts.presented))
    if client.template:
        template = await instances.find(registry, issuer, client.template)
        if template is None:
            raise ProtocolError("access_denied", "The template of this client is gone.")
        return parts, await instances.decide(registry, issuer, template, parts, found, strict=True)
    parts = await versions.looked_up(registry, issuer, judge, parts, client)
    return parts, await decide(registry, judge, parts, found)


async def delete(registry: Registry, issuer: Issuer, client_id: str, caller: Caller) -> None:
    """End a registration (RFC 7592 §2.3): the identifier and every credential stop working at once.

    Raises:
        BearerError, ProtocolError, StoreUnavailable: as for `read`.
    """
    for _ in range(_ATTEMPTS):
        session, now_ms = await _authenticate(registry, issuer, client_id, caller, "delete"), registry.clock()
        event = _event(registry, "client.deleted", session.client, caller, now_ms)
        if await _stored(registry, tombstone(session.client, now_ms // 1000), [event], session.client.version):
            return
    raise ProtocolError("temporarily_unavailable")


async def _authenticate(registry: Registry, issuer: Issuer, client_id: str, caller: Caller, operation: str) -> _Session:
    """RFC 7592 §2.1-2.3: one 401 for an unknown client, a deleted one, and a token of another client.

    How whoever manages a registration is known is the policy's to say; where the policy is configured no more, it is
    the registration access token.
    """
    if not issuer.managed:
        raise ProtocolError("not_found")
    if caller.token is None:
        raise BearerError("token_required", "A registration is managed with its registration access token.")
    now = registry.clock() // 1000
    client = await registry.store.find(issuer.name, client_id)
    if client is None or client.state is State.DELETED or client.expired(now):
        raise _not_of_this_client()
    try:
        judge = issuer.judge(client.policy)
    except Contradiction:
        judge = None
    management = judge.policy.management if judge else Management()
    record = None
    token = caller.token
    if ManagementProof.ACCESS_TOKEN in management.proofs:
        await _check_access_token(registry, issuer, client, caller, management)
        token = PresentedToken("")
    else:
        record = client.credentials.token_presented(caller.token, now)
        if record is None:
            raise _not_of_this_client()
    if ManagementProof.CERTIFICATE in management.proofs:
        _check_certificate(issuer, client, caller, now)
    if not client.usable:
        raise ProtocolError("access_denied", "This client is suspended; its operator can tell why.")
    if operation not in management.operations:
        allowed = ", ".join(method for method, name in _METHODS.items() if name in management.operations)
        raise ProtocolError("method_not_allowed", headers=[(b"allow", allowed.encode())])
    return _Session(client, token, record)


def _not_of_this_client() -> BearerError:
    """One answer, whether the client, its token or both are unknown: it must not tell which clients exist."""
    return BearerError("invalid_token", "The token is not one of this client.")


_METHODS: Final = {"GET": "read", "PUT": "update", "DELETE": "delete"}


async def _check_access_token(
    registry: Registry, issuer: Issuer, client: Client, caller: Caller, management: Management
) -> None:
    """An access token that the client earned with its own credentials, held by whoever it is bound to.

    Where the policy wants a certificate beside it, the token has to be bound to that one (RFC 8705 §3).
    """
    assert caller.token is not None
    scope = management.scope
    found = await access.find(registry, issuer, caller.token, registry.clock() // 1000)
    if found is None or found.token.client_id != client.client_id or found.token.subject:
        raise _not_of_this_client()
    known = found.token
    if known.dpop_jkt:
        raise BearerError("invalid_token", "The access token is bound to a key, and is no bearer token.", scope=scope)
    thumbprint = known.certificate_thumbprint
    if not thumbprint and ManagementProof.CERTIFICATE in management.proofs:
        raise BearerError("invalid_token", "The access token is not bound to a certificate.", scope=scope)
    if thumbprint and (caller.certificate is None or caller.certificate.thumbprint != thumbprint):
        raise BearerError("invalid_token", "The access token is bound to another certificate.", scope=scope)
    if scope not in known.scope:
        raise BearerError("insufficient_scope", f"The access token lacks the scope {scope}.", scope=scope)


def _check_certificate(issuer: Issuer, client: Client, caller: Caller, now: int) -> None:
    """The certificate of the registration, or a later one of the same subject; renewing one must lock nobody out."""
    presented, known = vouched(issuer, caller, now), client.admission
    if presented is None:
        raise BearerError("invalid_token", "A client certificate of a trusted authority is needed beside the token.")
    same_subject = known.certificate_subject and certificate.names_match(known.certificate_subject, presented)
    if not presented.valid_at(now) or not (same_subject or presented.thumbprint == known.certificate_thumbprint):
        raise BearerError("invalid_token", "The client certificate is not one of this client.")


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


def _renew(
    registry: Registry,
    issuer: Issuer,
    session: _Session,
    metadata: Registered,
    now: int,
    *,
    updating: bool,
    lifetime: int = 0,
) -> _Renewal:
    """The credentials after this request: what rotates, what ends, what is wrapped anew, and what is shown."""
    client = session.client
    held = client.credentials
    token = session.token if not _rotates(issuer, session, updating=updating) else issuance.mint_token(registry)
    kept = _living_tokens(issuer, session, token, now)
    if not coherence.needs_secret(metadata):
        tokens = tuple(TokenRecord(record.digest, None, record.until) for record in kept)
        fresh = (TokenRecord(credentials.digest(token)),) if token != session.token else ()
        return _Renewal(Credentials((*fresh, *tokens)), "", token)
    cabinet = issuance.open_with_token(registry, issuer, client.client_id, held, session.record, session.token)
    if cabinet is None or not held.secrets:
        cabinet = issuance.new_cabinet(registry, issuer, client.client_id)
    secret, secrets = _secrets(issuer, cabinet, held.secrets, now, updating=updating, lifetime=lifetime)
    tokens = _wrapped_tokens(cabinet, kept, session, token)
    shared = None
    if coherence.needs_symmetric_key(metadata) or session.record is None:
        # An update wraps anew, so that a key-encryption key can be retired once every client has come by.
        shared = (None if updating else held.data_key) or cabinet.wrap_for_server()
    return _Renewal(Credentials(tokens, secrets, shared), secret, token, secrets[0].version != _version(held.secrets))


def _rotates(issuer: Issuer, session: _Session, *, updating: bool) -> bool:
    """Whether this request gets a new token. One that comes with the old token has lost the new one: it gets another."""
    rotate = issuer.settings.registration_access_token.rotate
    if session.record is None:
        return False
    return not session.latest or rotate is Rotate.READ or (rotate is Rotate.UPDATE and updating)


def _living_tokens(issuer: Issuer, session: _Session, token: PresentedToken, now: int) -> list[TokenRecord]:
    """The tokens that go on, newest first: the presented one, for a bounded time if it is replaced, and its successors.

    A successor of the presented token has never been used, so the answer that carried it may still be on its way: of
    two requests at once, neither answer may hold a dead token. Predecessors end here.
    """
    if session.record is None:
        return []
    if token == session.token:
        return [msgspec.structs.replace(session.record, until=0)]
    until = now + issuer.settings.registration_access_token.overlap
    held = session.client.credentials.tokens
    unused = [record for record in held[: held.index(session.record)] if not record.until or now < record.until]
    return [
        *(msgspec.structs.replace(record, until=record.until or until) for record in unused[:_UNUSED]),
        msgspec.structs.replace(session.record, until=session.record.until or until),
    ]


def _wrapped_tokens(
    cabinet: Cabinet, kept: Sequence[TokenRecord], session: _Session, token: PresentedToken
) -> tuple[TokenRecord, ...]:
    """Each token with the data key under it; a wrapping that is there already stays as it is.

    One that has none and is not at hand cannot be wrapped, and ends.
    """
    tokens = [TokenRecord(credentials.digest(token), cabinet.wrap_for(token))] if token != session.token else []
    had_secrets = bool(session.client.credentials.secrets)
    for record in kept:
        wrapping = record.data_key if had_secrets else None
        if wrapping is None and session.record is not None and record.digest == session.record.digest:
            wrapping = cabinet.wrap_for(session.token)
        if wrapping is not None:
            tokens.append(msgspec.structs.replace(record, data_key=wrapping))
    return tuple(tokens)


def _secrets(
    issuer: Issuer, cabinet: Cabinet, held: tuple[SecretRecord, ...], now: int, *, updating: bool, lifetime: int
) -> tuple[str, tuple[SecretRecord, ...]]:
    """The secret to show, and the records: a first one, the same, or a new one beside the superseded."""
    living = tuple(record for record in held[1:] if record.lives(now))
    if not held:
        secret, record = cabinet.mint_secret(1, now, lifetime)
        return secret, (record,)
    if not (updating and _secret_is_due(issuer, held[0], now)):
        return cabinet.secret(held[0]), (held[0], *living)
    secret, record = cabinet.mint_secret(held[0].version + 1, now, lifetime)
    old = issuance.superseded(held[0], now + issuer.settings.client_secret.overlap)
    return secret, (record, *[one for one in (old, *living) if one.lives(now)][: issuance.SUPERSEDED])


def _secret_is_due(issuer: Issuer, current: SecretRecord, now: int) -> bool:
    """Whether an update replaces the secret: always, by setting, or because its end is nearer than the overlap."""
    settings = issuer.settings.client_secret
    return settings.rotate_on_update or bool(current.expires_at and now >= current.expires_at - settings.overlap)


def _version(secrets: tuple[SecretRecord, ...]) -> int:
    return secrets[0].version if secrets else 1


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
    registry: Registry, client: Client, happened: Sequence[Event], expected: int, parts: Parts | None = None
) -> bool:
    """Whether the write was first; NotFound means that the client was purged meanwhile, and the next look says so.

    Raises:
        RegistrationError: what came with the request was used by another one.
    """
    changes = parts.changes if parts else ()
    try:
        await registry.store.update(client, happened, expected=expected, changes=changes)
    except Conflict as conflict:
        if parts is not None and (refusal := used(str(conflict), parts)):
            raise refusal from None
        return False
    except NotFound:
        return False
    return True


def _rotations(registry: Registry, session: _Session, renewal: _Renewal, caller: Caller, now_ms: int) -> list[Event]:
    kinds = []
    if renewal.token != session.token:
        kinds.append("client.token_rotated")
    if renewal.secret_rotated:
        kinds.append("client.secret_rotated")
    return [_event(registry, kind, session.client, caller, now_ms) for kind in kinds]


def _event(
    registry: Registry, kind: str, client: Client, caller: Caller, now_ms: int, detail: Mapping[str, Any] | None = None
) -> Event:
    by = "registration_access_token" if client.credentials.tokens else "access_token"
    actor = Actor("client", by, address=caller.address)
    return registry.audit.event(
        kind, client.issuer, actor, endpoint=caller.endpoint, client_id=client.client_id, time_ms=now_ms, detail=detail
    )


def _answer(issuer: Issuer, client: Client, renewal: _Renewal) -> dict[str, Any]:
    return information(
        client,
        secret=renewal.secret,
        registration_client_uri=issuer.registration_client_uri(client.client_id) if renewal.token else "",
        registration_access_token=renewal.token,
    )
