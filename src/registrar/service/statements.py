"""A statement issuer in the box (RFC 7591 §2.3): software statements that an operator issues, and what became of each.

They are signed with the issuer's own keys, so that whoever trusts the issuer finds the key set at its `/jwks`. A
registrar that trusts its own issuer uses a statement up in the transaction that registers with it; others can ask.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from registrar.domain import jws
from registrar.domain import software_statement as grammar
from registrar.domain.client import Client
from registrar.domain.errors import RegistrationError
from registrar.domain.events import Actor
from registrar.domain.findings import rule
from registrar.domain.metadata import Presented, parse
from registrar.domain.software_statement import MEMBER, Attestation
from registrar.service import keys
from registrar.service.operators import LARGEST, Operator, Refused, Unknown, check_reason
from registrar.service.ports import Change, Conflict, Item, Put, Tell
from registrar.service.registry import Issuer, Registry

KIND: Final = "statement"
"""What issued statements are called among the items of a store."""
ALGORITHMS: Final = ("ES256", "RS256", "PS256")
"""What statements are signed with; the first where nothing is said."""
LIFETIME: Final = 3600
"""Seconds for which a statement can be used, where nothing is said."""
_KEPT: Final = 365 * 86_400
"""Seconds for which a statement is remembered once it has expired, so that its state can be asked for."""
_JTI_BYTES: Final = 16
_PAGE: Final = 100

NOT_ATTESTED: Final = rule(
    "statement.member",
    "RFC 7591 §2.3",
    "is not a member of client metadata that a statement could attest",
    "members that clients register",
)
NOT_OURS: Final = rule(
    "statement.unknown",
    "RFC 7591 §2.3",
    "is signed by {issuer} and was not issued as a software statement",
    "a statement of {issuer}",
    error=grammar.INVALID,
)
REVOKED: Final = rule(
    "statement.revoked",
    "RFC 7591 §3.2.2",
    "was revoked by its issuer",
    "a statement that is in force",
    error=grammar.UNAPPROVED,
)


class StatementState(enum.StrEnum):
    """What became of a statement."""

    ACTIVE = "ACTIVE"
    USED = "USED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


class Statement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a statement; the statement itself is shown once and not kept."""

    jti: str
    software_id: str
    algorithm: str
    issued_at: int
    expires_at: int
    members: dict[str, Any]
    once: bool = True
    """Whether it registers once and never again."""
    used_at: int = 0
    revoked_at: int = 0

    def state(self, now: int) -> StatementState:
        """What became of it by now."""
        if self.revoked_at:
            return StatementState.REVOKED
        if self.used_at:
            return StatementState.USED
        return StatementState.EXPIRED if now >= self.expires_at else StatementState.ACTIVE

    def public(self, now: int) -> ShownStatement:
        """The statement as operators see it."""
        return ShownStatement(
            jti=self.jti,
            state=self.state(now),
            software_id=self.software_id,
            algorithm=self.algorithm,
            issued_at=self.issued_at,
            expires_at=self.expires_at,
            members=Presented(self.members),
            once=self.once,
            used_at=self.used_at,
            revoked_at=self.revoked_at,
        )


class ShownStatement(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A software statement as operators see it. Times are in seconds since 1970."""

    jti: str
    """Its identifier."""
    state: StatementState
    """What became of it."""
    software_id: str
    """The software that it is about."""
    algorithm: str
    """How it is signed."""
    issued_at: int
    """When it was issued."""
    expires_at: int
    """When it ends."""
    members: Presented
    """The client metadata that it attests."""
    once: bool
    """Whether it registers once and never again."""
    used_at: int = 0
    """When it was used, where it was."""
    revoked_at: int = 0
    """When it was revoked, where it was."""


async def issue(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    members: Mapping[str, Any],
    *,
    software_id: str,
    lifetime: int = LIFETIME,
    algorithm: str = ALGORITHMS[0],
    once: bool = True,
) -> tuple[str, Statement]:
    """Issue a software statement; it is shown this once.

    Args:
        registry: what every use case is given.
        issuer: whose statement.
        operator: who issues it.
        members: the client metadata that it attests.
        software_id: the software that it is about.
        lifetime: seconds until it expires.
        algorithm: of `ALGORITHMS`.
        once: whether it registers once and never again, where this registrar is asked.

    Raises:
        RegistrationError: a member could not be registered.
        Refused: the algorithm is another, or this server has no signing keys.
    """
    if algorithm not in ALGORITHMS:
        raise Refused(f"statements are signed with {', '.join(ALGORITHMS)}, not with {algorithm}")
    if not registry.keys:
        raise Refused("signing statements needs a key-encryption key (server.key_file)")
    if not 1 <= lifetime <= LARGEST:
        raise Refused(f"a statement is good for a second at least, and for {LARGEST} at the most")
    attested = _attested(members, software_id)
    await keys.ensure(registry, issuer)
    now_ms = registry.clock()
    now = now_ms // 1000
    made = Statement(
        jti=registry.entropy(_JTI_BYTES).hex(),
        software_id=software_id,
        algorithm=algorithm,
        issued_at=now,
        expires_at=now + lifetime,
        members=attested,
        once=once,
    )
    claims = {
        "iss": issuer.url,
        "iat": made.issued_at,
        "exp": made.expires_at,
        "jti": made.jti,
        "software_id": software_id,
        **attested,
    }
    compact = await keys.sign(registry, issuer, algorithm, claims)
    event = registry.audit.event(
        "statement.issued",
        issuer.name,
        operator.actor(),
        endpoint=operator.door,
        time_ms=now_ms,
        detail={
            "jti": made.jti,
            "software_id": software_id,
            "algorithm": algorithm,
            "expires_at": made.expires_at,
            "redirect_uris": attested.get("redirect_uris"),
            "scope": attested.get("scope"),
            "client_name": attested.get("client_name"),
        },
    )
    await registry.store.change([Put(_item(issuer, made, 1), 0, now)], [event])
    return compact, made


def _attested(members: Mapping[str, Any], software_id: str) -> dict[str, Any]:
    """The members, each of which could be registered.

    Raises:
        RegistrationError: with every fault.
    """
    if members.get("software_id", software_id) != software_id or not software_id:
        raise RegistrationError([NOT_ATTESTED.refuse("software_id")])
    given = {name: value for name, value in members.items() if name != "software_id"}
    _, findings = parse(Presented({**given, "software_id": software_id}))
    if faults := [one if one.error else NOT_ATTESTED.refuse(one.member) for one in findings]:
        raise RegistrationError(faults)
    return given


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[Statement]:
    """Every statement that is remembered."""
    while page := await registry.store.items(issuer.name, KIND, after=after, limit=_PAGE):
        for item in page:
            yield _decode(item.body)
        after = page[-1].key


async def find(registry: Registry, issuer: Issuer, jti: str) -> Statement:
    """A statement by its `jti`.

    Raises:
        Unknown: there is none.
    """
    return _decode((await _stored(registry, issuer, jti)).body)


async def revoke(registry: Registry, issuer: Issuer, operator: Operator, jti: str, reason: str = "") -> Statement:
    """Revoke a statement: nobody registers with it any more; what was registered with it stays.

    Raises:
        Refused: there is no such statement, or it is revoked already.
    """
    check_reason(reason)
    item = await _stored(registry, issuer, jti)
    before = _decode(item.body)
    if before.revoked_at:
        raise Refused(f"the statement {jti} is revoked already")
    after = msgspec.structs.replace(before, revoked_at=registry.clock() // 1000)
    event = registry.audit.event(
        "statement.revoked",
        issuer.name,
        operator.actor(),
        endpoint=operator.door,
        detail={"jti": jti, "software_id": after.software_id, "reason": reason},
    )
    try:
        await registry.store.change([Put(_item(issuer, after, item.version + 1), item.version)], [event])
    except Conflict:
        raise Refused(f"the statement {jti} was used at this moment; try again") from None
    return after


async def use(
    registry: Registry, attestation: Attestation, actor: Actor, endpoint: str, client: Client | None
) -> list[Change]:
    """What has to be stored with a registration that comes with a statement of our own, so that it is used once.

    Args:
        registry: what every use case is given.
        attestation: what was verified.
        actor: who uses it.
        endpoint: where.
        client: the registration that is to be updated, if it is one; the statement that it has is not used again.

    Raises:
        RegistrationError: it was used, revoked, or never issued.
    """
    own = registry.issuer_at(attestation.issuer)
    if own is None or (client is not None and client.metadata.get(MEMBER) == attestation.compact):
        return []
    now = registry.clock() // 1000
    item = await registry.store.item(own.name, KIND, attestation.jti) if attestation.jti else None
    if item is None or not item.lives(now):
        # An issuer signs other things with its keys, such as ID tokens; none of them is a software statement.
        raise RegistrationError([NOT_OURS.refuse(MEMBER, issuer=attestation.issuer)])
    before = _decode(item.body)
    if before.revoked_at:
        raise RegistrationError([REVOKED.refuse(MEMBER)])
    if not before.once:
        return [Put(item, item.version)]  # it must not be revoked meanwhile
    if before.used_at:
        raise RegistrationError([grammar.REPLAYED.refuse(MEMBER)])
    after = msgspec.structs.replace(before, used_at=now)
    event = registry.audit.event(
        "statement.used",
        own.name,
        actor,
        endpoint=endpoint,
        detail={
            "jti": after.jti,
            "software_id": after.software_id,
            "statement_issuer": attestation.name,
            "statement_digest": attestation.digest,
        },
    )
    return [Put(_item(own, after, item.version + 1), item.version), Tell(event)]


async def unrevoked(registry: Registry, compact: str) -> list[Change]:
    """What has to be stored with what a statement of our own attested, so that it is not revoked meanwhile.

    Raises:
        Refused: it was revoked.
    """
    claims = jws.read(compact).claims
    own, jti = registry.issuer_at(str(claims.get("iss"))), claims.get("jti")
    item = await registry.store.item(own.name, KIND, jti) if own and isinstance(jti, str) and jti else None
    if item is None:
        return []
    if _decode(item.body).revoked_at:
        raise Refused(f"the software statement {jti} was revoked meanwhile")
    return [Put(item, item.version)]


async def _stored(registry: Registry, issuer: Issuer, jti: str) -> Item:
    item = await registry.store.item(issuer.name, KIND, jti)
    if item is None or not item.lives(registry.clock() // 1000):
        raise Unknown(f"there is no statement {jti} of {issuer.name}")
    return item


def _item(issuer: Issuer, statement: Statement, version: int) -> Item:
    return Item(issuer.name, KIND, statement.jti, _encode(statement), version, expires_at=statement.expires_at + _KEPT)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Statement).decode
