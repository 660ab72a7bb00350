"""Software statements (RFC 7591 §2.3): what a trusted issuer says of a piece of software, and how that is read.

Directories name things in their own way, so a `Form` says which claim stands for which member, which scopes a role
allows, how old a statement may be. The signature is checked elsewhere, with keys that are configured and never with
any that the statement brings; here its claims are judged and turned into members.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NewType

import msgspec

from registrar.domain.findings import Finding, Rule, listed, rule
from registrar.domain.metadata import MEMBERS, Presented, Role

VerifiedClaims = NewType("VerifiedClaims", dict[str, Any])
"""The claims of a statement whose signature was verified with a trusted issuer's key; not judged yet."""

INVALID: Final = "invalid_software_statement"
UNAPPROVED: Final = "unapproved_software_statement"
MEMBER: Final = "software_statement"


def _rule(name: str, source: str, reason: str, accepted: str = "", error: str = INVALID) -> Rule:
    return rule(f"statement.{name}", source, reason, accepted, error=error)


TYPE: Final = rule("statement.type", "RFC 7591 §2", "is not a string", "a compact JWS")
MALFORMED: Final = _rule("malformed", "RFC 7515 §7.1", "cannot be read: {problem}", "a compact JWS of one JSON object")
SIGNATURE: Final = _rule("signature", "RFC 7591 §2.3", "cannot be verified: {problem}", "{accepted}")
KEYS: Final = _rule(
    "keys", "RFC 7591 §2.3", "cannot be verified now: the keys of its issuer cannot be had ({problem})", "another try"
)
NO_ISSUER: Final = _rule("iss", "RFC 7591 §2.3", "has no iss", "a statement that names its issuer")
UNTRUSTED: Final = _rule(
    "untrusted", "RFC 7591 §3.2.2", "is of {issuer}, which is not trusted here", "a statement of {accepted}", UNAPPROVED
)
TIME: Final = _rule("time", "RFC 7519 §4.1", "{problem}", "a statement of now")
AUDIENCE: Final = _rule("aud", "RFC 7519 §4.1.3", "is not meant for this server", "aud: {accepted}")
CLAIM: Final = _rule("claim", "RFC 7591 §2.3", "lacks the claim {claim}", "a statement with {accepted}")
CLAIM_TYPE: Final = _rule("claim_type", "RFC 7591 §2.3", "has a {claim} that cannot be read", "{accepted}")
STATUS: Final = _rule(
    "status", "RFC 7591 §3.2.2", "says {claim}: {given}", "a statement with {claim}: {accepted}", UNAPPROVED
)
REPLAYED: Final = _rule("replayed", "RFC 7519 §4.1.7", "was used before (its jti was seen)", "a fresh statement")
OTHER_SOFTWARE: Final = _rule(
    "other_software", "RFC 7591 §2.3", "is about the software {given}, and this client is {accepted}", "{accepted}"
)
OVERRIDES: Final = _rule("overrides", "RFC 7591 §2.3", "is what the software statement says")
BEYOND: Final = _rule(
    "beyond",
    "RFC 7591 §2.3",
    "holds {given}, which the software statement does not",
    "{accepted}",
    "invalid_client_metadata",
)
BEYOND_REDIRECT: Final = _rule(
    "beyond_redirect",
    "RFC 7591 §2.3",
    "holds {given}, which the software statement does not list",
    "{accepted}",
    "invalid_redirect_uri",
)
BEYOND_DROPPED: Final = _rule(
    "beyond_dropped", "RFC 7591 §2.3", "held {given}, which the software statement does not allow", "{accepted}"
)
DIFFERS: Final = _rule(
    "differs", "RFC 7591 §2.3", "is not what the software statement says", "{accepted}", "invalid_client_metadata"
)
ISSUED: Final = _rule("issued", "RFC 7591 §2.3", "is issued by the server, whatever a statement says")


class Use(enum.StrEnum):
    """How a claim bears on a member."""

    OVERRIDE = "override"
    """The statement's value is registered (RFC 7591 §2.3)."""
    LIMIT = "limit"
    """The client may choose from the statement's values; all of them where it names none."""
    WITHIN = "within"
    """The client has to choose from the statement's values; nothing is registered that it does not name."""
    EQUAL = "equal"
    """The client may repeat the statement's value and nothing else."""


class Claim(msgspec.Struct, frozen=True):
    """The claim that stands for a member."""

    claim: str
    """Its name."""
    use: Use = Use.OVERRIDE
    """How it bears on the member."""


class Roles(msgspec.Struct, frozen=True):
    """Which scopes the roles of a statement allow."""

    claim: str
    """An array of names, or of objects with `role` and `status`, of which only `Active` ones count."""
    scopes: Mapping[str, tuple[str, ...]]
    """Role -> the scopes that it allows."""
    use: Use = Use.LIMIT
    """How the scopes bear on those that are asked for."""


class Form(msgspec.Struct, frozen=True):
    """How statements of an issuer, or under a policy, are read."""

    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    """How they may be signed."""
    required_claims: tuple[str, ...] = ()
    """Claims that have to be there."""
    audience: str = ""
    """`issuer` or `registration_endpoint`: what `aud` has to name; empty where it need not be there."""
    maximum_age: int = 0
    """Seconds since `iat`; 0 is any."""
    maximum_lifetime: int = 0
    """Seconds from `iat` to `exp`; 0 is any."""
    replay_window: int = 0
    """Seconds for which a `jti` is remembered and refused; 0 where a statement may be used again."""
    members: Mapping[str, Claim] = {}
    """Member -> the claim that stands for it."""
    attests: tuple[str, ...] = ()
    """The members that a statement may set under their own name; empty: all, or none where `members` maps claims."""
    status: Mapping[str, tuple[str, ...]] = {}
    """Claim -> the values of which it must have one, for the statement to be approved."""
    roles: Roles | None = None
    """Which scopes the roles in it allow."""
    software: str = "software_id"
    """The claim that says which software this is."""
    shown: tuple[str, ...] = ()
    """Claims that are no members, and that are registered and answered beside them."""
    fresh: bool = False
    """Whether an update needs a statement of its own, where it could otherwise repeat that of the registration."""


class Attestation(msgspec.Struct, frozen=True):
    """A statement that was verified and judged: who says it, and what it says in terms of members."""

    name: str
    """The configured name of its issuer."""
    issuer: str
    compact: str
    digest: str
    claims: Mapping[str, Any]
    members: Mapping[str, Any]
    uses: Mapping[str, Use]
    software: str
    jti: str = ""
    at: int = 0
    """When it was judged, in seconds since 1970; for one that is repeated in an update, when it was first."""
    expires_at: int = 0
    """Seconds since 1970; 0 where it does not say."""
    once_for: int = 0
    """Seconds for which its `jti` is remembered; 0 where it may be used again."""
    shown: Mapping[str, Any] = {}
    """Claims that are answered beside the members."""
    findings: tuple[Finding, ...] = ()
    """What in it had no effect."""

    def __repr__(self) -> str:
        """Without the statement itself, which is somebody's credential until it expires."""
        return f"Attestation({self.name!r}, {self.digest!r})"


def judge(form: Form, claims: Mapping[str, Any]) -> Iterator[Finding]:
    """What a form demands of the claims; times, audience and replay are judged by whoever knows them."""
    for claim in form.required_claims:
        if claims.get(claim) in (None, "", []):
            yield CLAIM.refuse(MEMBER, claim=claim, accepted=listed(form.required_claims))
    for claim, allowed in form.status.items():
        if claims.get(claim) not in allowed:
            yield STATUS.refuse(MEMBER, claim=claim, given=claims.get(claim, "nothing"), accepted=listed(allowed))
    if form.roles is not None and roles_of(claims.get(form.roles.claim)) is None:
        yield CLAIM_TYPE.refuse(MEMBER, claim=form.roles.claim, accepted="an array of roles")


def members_of(form: Form, claims: Mapping[str, Any]) -> tuple[Presented, dict[str, Use], list[Finding]]:
    """What the claims say in terms of members, how each bears on the request, and what had no effect.

    A claim never sets what the server issues (RFC 7591 §2.3 attests client metadata, and nothing else).
    """
    members: dict[str, Any] = {}
    uses: dict[str, Use] = {}
    findings: list[Finding] = []
    for member, source in form.members.items():
        if claims.get(source.claim) not in (None, "", []):
            members[member], uses[member] = _as_member(member, claims[source.claim]), source.use
    for name, value in claims.items():
        base = name.partition("#")[0]
        row = MEMBERS.get(base)
        if row is None or value in (None, "", []) or name in members or name == MEMBER:
            continue
        if row.role is Role.SERVER:
            findings.append(ISSUED.ignore(name))
        elif row.role is Role.CLIENT and (base in form.attests or not (form.attests or form.members)):
            members[name], uses[name] = value, Use.OVERRIDE
    if form.roles is not None:
        held = roles_of(claims.get(form.roles.claim)) or ()
        scopes = dict.fromkeys(scope for role in held for scope in form.roles.scopes.get(role, ()))
        members["scope"], uses["scope"] = " ".join(scopes), form.roles.use
    return Presented(members), uses, findings


def _as_member(member: str, value: Any) -> Any:
    """A claim as the member that it stands for: directories write versions as numbers too."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number and MEMBERS[member].type == "string" else value


def roles_of(value: Any) -> Sequence[str] | None:
    """The roles in force; None where the claim is of another shape."""
    if not isinstance(value, list):
        return None
    found: list[str] = []
    for one in value:
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict) and isinstance(one.get("role"), str):
            if one.get("status", "Active") == "Active":
                found.append(one["role"])
        else:
            return None
    return found


def overlay(plain: Presented, attestation: Attestation) -> tuple[Presented, list[Finding], dict[str, str]]:
    """The request with what the statement says: members, what that changed, and which are attested by whom.

    The statement wins over the plain members, and plain members that it says nothing of stay (RFC 7591 §2.3). What is
    limited is checked, never widened.
    """
    members: dict[str, Any] = {name: value for name, value in plain.items() if name != MEMBER}
    findings: list[Finding] = []
    provenance: dict[str, str] = {}
    for name, attested in attestation.members.items():
        given = members.get(name)
        use = attestation.uses[name]
        absent = given in (None, "", [])
        if absent and use is Use.WITHIN:
            continue
        if absent or use is Use.OVERRIDE:
            if not absent and given != attested:
                findings.append(OVERRIDES.change(name, given, attested))
            members[name] = attested
        elif use is Use.EQUAL and given != attested:
            findings.append(DIFFERS.refuse(name, accepted=attested))
        elif use in (Use.LIMIT, Use.WITHIN):
            members[name] = _limited(name, given, attested, findings)
        provenance[name] = f"attested:{attestation.name}"
    if members.get("scope") == "":
        del members["scope"]
    return Presented(members), findings, provenance


def _limited(name: str, given: Any, attested: Any, findings: list[Finding]) -> Any:
    """What the client chose, held against the statement. Scopes are narrowed as scopes are; the rest is refused."""
    if name == "scope" and isinstance(given, str) and isinstance(attested, str):
        allowed = attested.split()
        kept = [word for word in given.split() if word in allowed]
        if len(kept) == len(given.split()):
            return given
        surplus = [word for word in given.split() if word not in allowed]
        if not kept:
            findings.append(BEYOND.refuse(name, given=surplus, accepted=listed(allowed)))
            return given
        narrowed = " ".join(kept)
        findings.append(BEYOND_DROPPED.change(name, given, narrowed, given=surplus, accepted=listed(allowed)))
        return narrowed
    if not isinstance(given, list) or not isinstance(attested, list):
        if given != attested:
            findings.append(DIFFERS.refuse(name, accepted=attested))
        return given
    if surplus := [one for one in given if one not in attested]:
        refusal = BEYOND_REDIRECT if name == "redirect_uris" else BEYOND
        findings.append(refusal.refuse(name, given=surplus, accepted=listed([str(one) for one in attested])))
    return given
