"""A policy as a value: operators for members, named rules, and what it demands of requests and of their management."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from msgspec import structs

from registrar.domain.lifecycle import Lifetime
from registrar.domain.software_statement import Form
from registrar.policy.evidence import Alternatives, ManagementProof, both
from registrar.policy.operators import Operators
from registrar.policy.rules import AppliedRule

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Contradiction(ValueError):  # noqa: N818 (what is found out about two policies)
    """Two policies that no registration could satisfy together; the message says where."""


class Repeat(enum.StrEnum):
    """What a registration does of software that is registered already."""

    NEW = "new"
    """It is another client."""
    REFUSE = "refuse"
    SAME = "same"
    """A public client that says the same as an earlier one, under the same policy and admission, is that client."""
    REPLACE = "replace"
    """It takes the place of the earlier one, under the same identifier; empty `grant_types` end that."""


@dataclass(frozen=True, slots=True)
class Request:
    """`request`: how a request for registration is written."""

    signed: str = "no"
    """`no`, `allowed` or `required`: whether the body is a JWT (`application/jwt`, `application/jose`)."""
    algorithms: tuple[str, ...] = ("PS256", "ES256")
    """How it may be signed."""
    maximum_lifetime: int = 3600
    """Seconds from `iat` to `exp` at the most."""
    audience: str = "issuer"
    """`issuer` or `registration_endpoint`: what `aud` has to name."""
    audiences: tuple[str, ...] = ()
    """Further names of this server that `aud` may have, such as an identifier given by a directory."""
    jti: str = ""
    """A pattern that `jti` has to match whole, such as that of a UUID."""
    iss: str = ""
    """A pattern that `iss` has to match whole; it is always the software of the statement."""


@dataclass(frozen=True, slots=True)
class Management:
    """`management`: how whoever manages a registration is known, and what they may do."""

    proofs: tuple[ManagementProof, ...] = (ManagementProof.REGISTRATION_ACCESS_TOKEN,)
    """All of these have to be there."""
    scope: str = ""
    """The scope of the access token, where one is demanded."""
    operations: tuple[str, ...] = ("read", "update", "delete")
    """What they may do."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """`rotation`: when secrets are replaced, beside what the issuer's settings say."""

    secret_on_update: bool = False
    """Whether every update issues a new secret."""
    overlap: int = 0
    """Seconds for which a replaced secret still works; 0 is as long as the issuer's settings say."""


class ExpansionVerdict(enum.StrEnum):
    """What an expansion is answered with, the mildest first."""

    ALLOW = "allow"
    REVIEW = "review"
    """It is held until somebody has looked at it."""
    REFUSE = "refuse"


_STRICTNESS: Final = {verdict: at for at, verdict in enumerate(ExpansionVerdict)}


@dataclass(frozen=True, slots=True)
class Changes:
    """`changes`: what each kind of expansion is answered with, where a client updates itself."""

    verdicts: Mapping[str, ExpansionVerdict] = field(default_factory=lambda: NOTHING)
    """Kind -> its answer."""
    default: ExpansionVerdict = ExpansionVerdict.ALLOW
    """Of kinds that are not named."""

    def of(self, kind: str) -> ExpansionVerdict:
        """What a kind of expansion is answered with."""
        return self.verdicts.get(kind, self.default)

    def stricter(self, other: Changes) -> Changes:
        """The stricter answer of two policies, kind by kind."""
        named = {*self.verdicts, *other.verdicts}
        both = {kind: max(self.of(kind), other.of(kind), key=_STRICTNESS.__getitem__) for kind in sorted(named)}
        default = max(self.default, other.default, key=_STRICTNESS.__getitem__)
        return Changes(MappingProxyType(both) if both else NOTHING, default)


@dataclass(frozen=True, slots=True)
class Review:
    """`review`: which registrations are held until somebody has looked at them; any of these is enough."""

    all: bool = False
    """Every registration."""
    flagged: bool = False
    """Those that say of themselves what cannot be so (the rules of identity)."""
    scopes: tuple[str, ...] = ()
    """Those with one of these scopes."""
    grants: tuple[str, ...] = ()
    """Those with one of these grant types."""

    def __bool__(self) -> bool:
        """Whether there is anything that is held."""
        return bool(self.all or self.flagged or self.scopes or self.grants)

    def why(self, metadata: Mapping[str, Any], flags: Iterable[str]) -> str:
        """Why a registration is held; empty where it is not."""
        return "; ".join(self.reasons(metadata, flags))

    def reasons(self, metadata: Mapping[str, Any], flags: Iterable[str]) -> tuple[str, ...]:
        """Why a registration is held, one by one."""
        if not self:
            return ()
        found = {
            "flagged": sorted(flags) if self.flagged else [],
            "scope": sorted(set(self.scopes) & set(str(metadata.get("scope", "")).split())),
            "grant": sorted(set(self.grants) & set(metadata.get("grant_types", ()))),
        }
        everything = ("every registration is looked at",) if self.all else ()
        return (*everything, *(f"{name}: {one}" for name, many in found.items() for one in many))

    def with_(self, other: Review) -> Review:
        """What either holds."""
        return Review(
            self.all or other.all,
            self.flagged or other.flagged,
            tuple(dict.fromkeys((*self.scopes, *other.scopes))),
            tuple(dict.fromkeys((*self.grants, *other.grants))),
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A named policy. `digest` is the SHA-256 of the text that it was loaded from, and goes into every audit event."""

    name: str
    description: str = ""
    digest: str = ""
    members: Mapping[str, Operators] = field(default_factory=lambda: NOTHING)
    rules: tuple[AppliedRule, ...] = ()
    features: frozenset[str] = frozenset()
    """Groups of members and values that are served under this policy and not under others."""
    proofs: Alternatives = ()
    """What a registration has to come with, whatever the issuer's mode."""
    statement: Form | None = None
    """How software statements are read, where their issuer has no form of its own."""
    request: Request = Request()
    management: Management = Management()
    repeat: Repeat = Repeat.NEW
    lifetime: Lifetime = Lifetime()
    rotation: Rotation = Rotation()
    changes: Changes = Changes()
    review: Review = Review()

    def permits(self, member: str, value: str) -> bool:
        """Whether `value` can be the result for `member`, or an item of it: what discovery publishes."""
        operators = self.members.get(member)
        return operators is None or operators.permits(value)


def merged(one: Policy, other: Policy) -> Policy:
    """What satisfies both policies (OpenID Federation 1.0 §6.1.3.2); `other` is the one that comes later.

    Operators of a member are merged by the standard's rules. Of settings, the later policy's is taken where it says
    something of its own; what either demands is demanded.

    Raises:
        Contradiction: nothing could satisfy both.
    """
    members = dict(one.members)
    for name, operators in other.members.items():
        try:
            members[name] = members[name].merged(name, operators) if name in members else operators
        except ValueError as problem:
            raise Contradiction(f"{one.name} and {other.name} contradict each other: {problem}") from None
    shortest = Lifetime(
        **{
            name: _shorter(getattr(one.lifetime, name), getattr(other.lifetime, name))
            for name in Lifetime.__struct_fields__
        }
    )
    rotation = Rotation(
        secret_on_update=one.rotation.secret_on_update or other.rotation.secret_on_update,
        overlap=_shorter(one.rotation.overlap, other.rotation.overlap),
    )
    return replace(
        other,
        name=f"{one.name} {other.name}".strip(),
        digest=hashlib.sha256(f"{one.digest} {other.digest}".encode()).hexdigest(),
        members=MappingProxyType(members),
        rules=(*one.rules, *(rule for rule in other.rules if rule not in one.rules)),
        features=one.features | other.features,
        proofs=both(one.proofs, other.proofs),
        statement=_completed(one.statement, other.statement),
        request=_completed(one.request, other.request),
        management=_completed(one.management, other.management),
        repeat=one.repeat if other.repeat is Repeat.NEW else other.repeat,
        lifetime=shortest,
        rotation=rotation,
        changes=one.changes.stricter(other.changes),
        review=one.review.with_(other.review),
    )


def all_of(policies: Iterable[Policy]) -> Policy:
    """Several policies as one.

    Raises:
        Contradiction: nothing could satisfy them all.
    """
    first, *others = policies
    for other in others:
        first = merged(first, other)
    return first


def _completed(one: Any, other: Any) -> Any:
    """A section in which the later policy says what it says, and the earlier one the rest."""
    if one is None or other is None:
        return one or other
    plain = type(other)()
    names = (field.name for field in (fields(other) if is_dataclass(other) else structs.fields(other)))
    return type(other)(
        **{name: getattr(one if getattr(other, name) == getattr(plain, name) else other, name) for name in names}
    )


def _shorter(one: int, other: int) -> int:
    return min(one or other, other or one)
