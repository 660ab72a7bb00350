"""The parts of a registration: plain members, a software statement, a certificate, a signature; and the facts they are.

RFC 7591 §3.1.1: the decision rests on everything that came with the request. What is established here is established
once, and judged by the policy as facts beside the members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

from registrar.domain import certificate, jws
from registrar.domain import software_statement as statements
from registrar.domain.certificate import Certificate
from registrar.domain.client import Assurance, Client
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.events import Actor
from registrar.domain.findings import Finding, rule
from registrar.domain.jws import UnverifiedJWS
from registrar.domain.metadata import Presented, Shaped, SignedRequest
from registrar.domain.software_statement import MEMBER, Attestation
from registrar.policy import Facts, Judge, Policy
from registrar.policy.evidence import UNSEEN
from registrar.policy.pattern import compiled
from registrar.policy.policy import Repeat
from registrar.policy.rules.origin import AGAIN
from registrar.service import key_sets, trust
from registrar.service import statements as issued
from registrar.service.admission import Admitted, actor
from registrar.service.audit import Caller
from registrar.service.key_sets import KeysUnavailable
from registrar.service.ports import Change, FetchError, Item, Put
from registrar.service.registry import Issuer, Registry

USED: Final = "used"
"""Items that say that an identifier was used: the `jti` of a statement or of a signed request."""
SOFTWARE: Final = "software"
"""Items that say which client a piece of software has, where a policy allows one alone."""

SIGNATURE: Final = rule(
    "request.signature",
    "RFC 7515 §5.2",
    "cannot be verified: {problem}",
    "a JWT signed by a key of the software that the statement is about, with {accepted}",
)
MALFORMED: Final = rule(
    "request.malformed", "RFC 7515 §7.1", "cannot be read: {problem}", "a compact JWS of one JSON object"
)
CLAIM: Final = rule("request.claim", "RFC 7519 §4.1", "{problem}", "{accepted}")
USED_BEFORE: Final = rule(
    "request.replayed", "RFC 7519 §4.1.7", "was used before (its jti was seen)", "a fresh request"
)
REGISTERED: Final = rule(
    "request.repeated", "RFC 7591 §3", "names software that is registered already", "an update of that registration"
)
_REQUEST_CLAIMS: Final = ("iss", "aud", "exp", "iat", "nbf", "jti", "sub")
_NO_FINDINGS: Final[tuple[Finding, ...]] = ()


class Parts(msgspec.Struct, frozen=True):
    """What came with a request, put together: what is to be judged, and what is to be stored with it."""

    requested: Presented
    """What was asked for, before a statement or a template said otherwise."""
    presented: Presented
    facts: Facts
    found: tuple[Finding, ...] = _NO_FINDINGS
    provenance: Mapping[str, str] = {}
    changes: tuple[Change, ...] = ()
    """Identifiers that are used up with the registration."""
    software: str = ""
    """The key of the software, where it may have one registration alone."""
    version: str = ""
    """The key of the version of the software, where that may, and no other client has it."""


async def gather(
    registry: Registry,
    issuer: Issuer,
    judge: Judge,
    admitted: Admitted,
    body: Presented | SignedRequest,
    caller: Caller,
    client: Client | None = None,
) -> Parts:
    """Put the parts of a request together.

    Args:
        registry: what every use case is given.
        issuer: where the request came in.
        judge: the policy in force for it.
        admitted: how the caller was let in.
        body: what was sent.
        caller: who calls.
        client: the registration that is to be updated, if it is one.

    Raises:
        RegistrationError: a part is not in order.
        ProtocolError: `unsupported_media_type`, where the policy has requests written otherwise.
    """
    policy = judge.policy
    admission = admitted.admission
    signed = _read(policy, body) if isinstance(body, str) else None
    if signed is None and policy.request.signed == "required":
        raise ProtocolError("unsupported_media_type", "The body must be a JWT: application/jwt or application/jose.")
    requested = presented = Presented(signed.claims) if signed else cast("Presented", body)
    facts = Facts(
        admission.assurance,
        token_id=admission.token_id,
        token_label=admission.label,
        token_scope=admission.token_scope,
        owner=admission.owner,
        address=caller.address,
        client_class=admission.client_class,
        token_bound=admitted.bound,
        attested=admitted.attested,
        before=client.metadata if client else None,
    )
    if caller.certificate is not None:
        facts = _with_certificate(facts, vouched(issuer, caller, registry.clock() // 1000))
    statement = presented.get(MEMBER) if issuer.statement_issuers else None
    said = statement not in (None, "")
    if not said and signed is None:
        return Parts(requested, presented, facts)
    now = registry.clock() // 1000
    attestation = await trust.attestation(registry, issuer, policy, statement, client) if said else None
    changes: list[Change] = []
    if attestation is not None:
        using = (
            Actor("client", "registration_access_token", address=caller.address) if client else actor(admitted, caller)
        )
        changes += _once(issuer, attestation, now)
        changes += await issued.use(registry, attestation, using, caller.endpoint, client)
    if signed is not None:
        changes.append(await _signature(registry, issuer, policy, signed, attestation, now))
        presented = Presented({name: value for name, value in presented.items() if name not in _REQUEST_CLAIMS})
    found: list[Finding] = []
    provenance: dict[str, str] = {}
    if attestation is not None:
        presented, found, provenance = statements.overlay(presented, attestation)
        found = [*attestation.findings, *found]
    assurance = Assurance.STATEMENT if attestation else facts.assurance
    facts = msgspec.structs.replace(
        facts,
        assurance=facts.assurance if facts.assurance.reaches(assurance) else assurance,
        statement=attestation,
        signed=signed is not None,
    )
    software = _software(policy, attestation)
    return Parts(requested, presented, facts, tuple(found), provenance, tuple(changes), software)


def vouched(issuer: Issuer, caller: Caller, now: int) -> Certificate | None:
    """The caller's certificate, where an authority that this issuer trusts vouches for it.

    A proxy may let self-signed certificates through, for clients that authenticate with one (RFC 8705 §2.2). Whoever
    has such a one has proven a key and no name.
    """
    if caller.certificate is None or not issuer.certificate_authorities:
        return None
    try:
        return certificate.chain([caller.certificate.der, *caller.chain], issuer.certificate_authorities, now)
    except (certificate.Untrusted, certificate.Unreadable):
        return None


def _with_certificate(facts: Facts, known: Certificate | None) -> Facts:
    if known is None:
        return facts
    assurance = facts.assurance if facts.assurance.reaches(Assurance.CERTIFICATE) else Assurance.CERTIFICATE
    return msgspec.structs.replace(facts, certificate=known, assurance=assurance)


def _read(policy: Policy, body: str) -> UnverifiedJWS:
    """A body that is a JWT, where the policy takes such bodies; its signature is not verified yet."""
    if policy.request.signed == "no":
        raise ProtocolError("unsupported_media_type", "The body must be application/json.")
    try:
        return jws.read(body, trust.LIMIT)
    except jws.Malformed as problem:
        raise RegistrationError([MALFORMED.refuse("body", problem=problem)]) from None


def _once(issuer: Issuer, attestation: Attestation, now: int) -> list[Change]:
    """The use of a statement's `jti`, where it may be used once: remembered for as long as it could come again."""
    if not attestation.once_for:
        return []
    key = hashlib.sha256(f"statement\0{attestation.name}\0{attestation.jti}".encode()).hexdigest()
    ends = max(attestation.expires_at + trust.SKEW, now + attestation.once_for)
    return [Put(Item(issuer.name, USED, key, b"statement", expires_at=ends), 0, now)]


def of_software(client: Client, software: str) -> Item:
    """The record that a piece of software has this client."""
    body, ends = client.client_id.encode(), client.expires_at
    return Item(client.issuer, SOFTWARE, software, body, client_id=client.client_id, expires_at=ends)


def _software(policy: Policy, attestation: Attestation | None) -> str:
    if policy.repeat is Repeat.NEW or attestation is None:
        return ""
    return hashlib.sha256(f"{attestation.name}\0{attestation.software or attestation.issuer}".encode()).hexdigest()


_KEYS_OF_ITS_OWN: Final = ("jwk", "jku", "x5c", "x5u")


async def _signature(
    registry: Registry,
    issuer: Issuer,
    policy: Policy,
    signed: UnverifiedJWS,
    attestation: Attestation | None,
    now: int,
) -> Change:
    """Verify a body that is a JWT, with the keys that the statement names; gives the use of its `jti`.

    Raises:
        RegistrationError: with what is wrong.
    """
    if attestation is None:
        raise RegistrationError([statements.CLAIM.refuse(MEMBER, claim="software_statement", accepted="a statement")])
    rules = policy.request
    if brought := [name for name in _KEYS_OF_ITS_OWN if name in signed.header]:
        problem, accepted = f"its header brings keys along ({brought[0]})", "a kid and nothing more"
        raise RegistrationError([SIGNATURE.refuse("body", problem=problem, accepted=accepted)])
    jwks_uri, jwks = attestation.members.get("jwks_uri"), attestation.members.get("jwks")
    try:
        if isinstance(jwks_uri, str):
            verified = await registry.key_sets.verify(signed, jwks_uri, rules.algorithms, signed.kid)
        elif isinstance(jwks, dict) and isinstance(jwks.get("keys"), list):
            verified = jws.verify(signed, jwks["keys"], rules.algorithms)
        else:
            verified = jws.verify(signed, (), rules.algorithms)  # the software statement names no keys
    except (jws.Refused, KeysUnavailable) as problem:
        accepted = ", ".join(rules.algorithms)
        raise RegistrationError([SIGNATURE.refuse("body", problem=problem, accepted=accepted)]) from None
    claims = verified.claims
    faults = [CLAIM.refuse(name, problem=problem, accepted=accepted) for name, problem, accepted in _said(
        issuer, policy, claims, attestation, now
    )]  # fmt: skip
    if faults:
        raise RegistrationError(faults)
    key = hashlib.sha256(f"request\0{attestation.name}\0{claims['iss']}\0{claims['jti']}".encode()).hexdigest()
    return Put(Item(issuer.name, USED, key, b"request", expires_at=int(claims["exp"]) + trust.SKEW), 0, now)


def _said(
    issuer: Issuer, policy: Policy, claims: Mapping[str, Any], attestation: Attestation, now: int
) -> list[tuple[str, str, str]]:
    """What the claims of a signed request have to be: claim, what is wrong with it, what would be accepted."""
    rules = policy.request
    found = []
    iss, jti = claims.get("iss"), claims.get("jti")
    if (
        not isinstance(iss, str)
        or iss != attestation.software
        or (rules.iss and not compiled(rules.iss).fullmatch(iss))
    ):
        found.append(
            ("iss", "is not the software that the statement is about", attestation.software or "its identifier")
        )
    wanted = issuer.url if rules.audience == "issuer" else issuer.registration_endpoint
    if jws.check_audience(claims, (wanted, *rules.audiences)):
        found.append(("aud", "does not name this server", wanted))
    if "exp" not in claims or "iat" not in claims:
        found.append(("exp", "is missing, or iat is", "exp and iat, in seconds since 1970"))
    elif problem := jws.check_times(claims, now, skew=trust.SKEW, max_lifetime=rules.maximum_lifetime):
        found.append(("exp", problem, f"a request of now, for at most {rules.maximum_lifetime} s"))
    if not isinstance(jti, str) or not jti or (rules.jti and not compiled(rules.jti).fullmatch(jti)):
        found.append(("jti", "is missing or of another form", rules.jti or "a string that is used once"))
    return found


def used(conflict: str, parts: Parts) -> RegistrationError | None:
    """The refusal for what another request has used, or has registered; None where the conflict is about neither."""
    if conflict and conflict == parts.software:
        return RegistrationError([REGISTERED.refuse("software_id")])
    if conflict and conflict == parts.version:
        return RegistrationError([AGAIN.refuse("software_id")])
    for one in parts.changes:
        if isinstance(one, Put) and one.item.key == conflict:
            fresh = USED_BEFORE.refuse("body") if one.item.body == b"request" else statements.REPLAYED.refuse(MEMBER)
            return RegistrationError([fresh])
    return None


_SECTOR: Final = frozenset({"sector_identifier_uri"})
_FETCHED: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "sector_identifier_uri": (("application/json",), 65_536),
    "jwks_uri": (key_sets.ACCEPT, key_sets.BYTES),
}
"""Member -> the media types and the size of the document behind it."""


async def documents(
    registry: Registry,
    shaped: Shaped,
    facts: Facts,
    needed: AbstractSet[str] = _SECTOR,
    judged: Mapping[str, Any] = MappingProxyType({}),
) -> Facts:
    """The facts with the documents that the judgement needs (OpenID Connect Registration §5): fetched, then judged.

    A document is checked when a registration is judged, and not again: of a template whose metadata was `judged`, it is
    known to list these redirect URIs.

    Args:
        registry: what every use case is given.
        shaped: the members, of which the values are URLs.
        facts: what is known already.
        needed: the members of which the documents are judged (`Judge.documents`).
        judged: the metadata of the template, where there is one.
    """
    found: dict[str, Any] = {}
    for member in sorted(_FETCHED.keys() & needed & shaped.keys()):
        url, redirects = shaped[member], shaped.get("redirect_uris")
        if url != judged.get(member):
            found[member] = await _document(registry, url, *_FETCHED[member])
        elif member != "sector_identifier_uri":
            found[member] = UNSEEN
        elif redirects == judged.get("redirect_uris"):
            found[member] = redirects or []
        else:
            found[member] = await _document(registry, url, *_FETCHED[member])
    return msgspec.structs.replace(facts, documents={**facts.documents, **found}) if found else facts


async def _document(registry: Registry, url: str, accept: tuple[str, ...], limit: int) -> Any:
    """A document, or in words why there is none."""
    try:
        fetched = await registry.fetch(url, accept=accept, limit=limit)
        return msgspec.json.decode(fetched.body)
    except FetchError as problem:
        return str(problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "it is not JSON"
