"""The rules of regulated ecosystems: what their profiles ask of members, certificates and statements together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from registrar.domain import certificate as certificates
from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, Rule, listed, rule
from registrar.domain.redirect_uri import LOOPBACK_HOSTS
from registrar.domain.software_statement import MEMBER, UNAPPROVED
from registrar.policy.evidence import Facts
from registrar.policy.rules.applied import Metadata

ABSENT: Final = rule("rule.absent", "engineering", "is not registered under this policy", "the registration without it")
HTTPS_REDIRECT: Final = rule(
    "rule.https_redirects",
    "FAPI 2.0 §5.3.2.2, UK Open Banking DCR 3.3",
    "{given} is not a redirect URI for this policy",
    "{accepted}",
    error="invalid_redirect_uri",
)
SENDER: Final = rule(
    "rule.sender_constrained",
    "FAPI 2.0 §5.3.2.1",
    "is not true, nor is dpop_bound_access_tokens, and access tokens have to be bound to their client",
    "one of the two as true",
)
OF_ANOTHER: Final = rule(
    "rule.certificate_attests",
    "Open Finance Brasil DCR §7.1",
    "is about {claim} {given}, for which the presented certificate was not issued",
    "a certificate with that {attribute}",
    error=UNAPPROVED,
)
SUBJECT: Final = rule(
    "rule.subject_of_certificate",
    "RFC 8705 §2.1.2",
    "is not the subject of the certificate that was presented",
    "the subject of the certificate that will authenticate",
)
EXACTLY_ONE: Final = rule("rule.exactly_one", "UDAP §2", "holds {count} of {accepted}", "exactly one of {accepted}")
HOLDS_WITH: Final = rule("rule.holds_with", "UDAP §2", "holds {given} without {needs}", "{given} together with {needs}")
NOT_ATTESTED: Final = rule(
    "rule.statement_holds", "UDAP §2", "is missing from the software statement", "a statement with this claim"
)
ONLY_WITH: Final = rule(
    "rule.only_with", "engineering", "is for registrations in which {other} is {value}", "the registration without it"
)
NEEDED_WITH: Final = rule(
    "rule.needed_with", "engineering", "is missing, and {other} is {value}", "the member beside it"
)
LONGEST: Final = rule("rule.longest", "engineering", "has {count} characters", "at most {accepted} characters")


def _at(said: Rule, member: str, **facts: Any) -> Finding:
    """A refusal, with the error of redirect URIs where it is about them."""
    found = said.refuse(member, **facts)
    if member.partition("[")[0] == "redirect_uris":
        return msgspec.structs.replace(found, error="invalid_redirect_uri")
    return found


def absent(metadata: Metadata, _facts: Facts, *, members: tuple[str, ...]) -> Iterator[Finding]:
    """None of the members is registered."""
    return (ABSENT.refuse(name) for name in members if name in metadata)


def https_redirects(metadata: Metadata, _facts: Facts, *, loopback: bool = False) -> Iterator[Finding]:
    """Redirect URIs are https and on a real host; native applications may have http on loopback, where it is said."""
    native = loopback and metadata.get("application_type") == "native"
    accepted = "https on a public host" + (", or http on loopback" if native else "")
    for at, uri in enumerate(metadata.get("redirect_uris", ())):
        local = grammar.host_of(uri) in LOOPBACK_HOSTS
        if local if uri.lower().startswith("https:") else not (native and local and uri.lower().startswith("http:")):
            yield HTTPS_REDIRECT.refuse(f"redirect_uris[{at}]", given=uri, accepted=accepted)


def sender_constrained(metadata: Metadata, _facts: Facts) -> Iterator[Finding]:
    """Access tokens are bound to their client, by its certificate or by DPoP."""
    bound = "tls_client_certificate_bound_access_tokens"
    if not metadata.get(bound) and not metadata.get("dpop_bound_access_tokens"):
        yield SENDER.refuse(bound)


def certificate_attests(
    _metadata: Metadata, facts: Facts, *, attribute: str, claim: str, prefix: str = ""
) -> Iterator[Finding]:
    """The certificate that was presented names in its subject what the statement says in a claim."""
    if facts.certificate is None or facts.statement is None:
        return
    said = facts.statement.claims.get(claim)
    if f"{prefix}{said}" not in facts.certificate.attributes.get(attribute, ()):
        yield OF_ANOTHER.refuse(MEMBER, claim=claim, given=said or "nobody", attribute=attribute)


def subject_of_certificate(metadata: Metadata, facts: Facts) -> Iterator[Finding]:
    """The subject that is registered for authentication is that of the certificate that was presented."""
    name = "tls_client_auth_subject_dn"
    if name in metadata and facts.certificate and not certificates.names_match(metadata[name], facts.certificate):
        yield SUBJECT.refuse(name)


def exactly_one(metadata: Metadata, _facts: Facts, *, member: str, values: tuple[str, ...]) -> Iterator[Finding]:
    """A list holds exactly one of the values; whatever else it holds is for others to say."""
    count = sum(value in metadata.get(member, ()) for value in values)
    if count != 1:
        yield EXACTLY_ONE.refuse(member, count=count, accepted=listed(values))


def holds_with(metadata: Metadata, _facts: Facts, *, member: str, value: str, needs: str) -> Iterator[Finding]:
    """A list that holds the one value holds the other too."""
    held = metadata.get(member, ())
    if value in held and needs not in held:
        yield HOLDS_WITH.refuse(member, given=value, needs=needs)


def statement_holds(
    metadata: Metadata, facts: Facts, *, required: tuple[str, ...], grant: str = ""
) -> Iterator[Finding]:
    """The statement itself says each of the members, where the grant is registered or none is named."""
    if facts.statement is None or (grant and grant not in metadata.get("grant_types", ())):
        return
    claims = facts.statement.claims
    for name in required:
        if claims.get(name) in (None, "", []):
            yield _at(NOT_ATTESTED, name)


def only_with(
    metadata: Metadata, _facts: Facts, *, members: tuple[str, ...], other: str, value: str
) -> Iterator[Finding]:
    """The members stand only where another one is, or holds, a value."""
    if not _holds(metadata.get(other), value):
        for name in members:
            if name in metadata:
                yield ONLY_WITH.refuse(name, other=other, value=value)


def needed_with(
    metadata: Metadata, _facts: Facts, *, required: tuple[str, ...], other: str, value: str
) -> Iterator[Finding]:
    """The members have to stand where another one is, or holds, a value."""
    if _holds(metadata.get(other), value):
        for name in required:
            if name not in metadata:
                yield _at(NEEDED_WITH, name, other=other, value=value)


def _holds(found: Any, value: str) -> bool:
    return value in found if isinstance(found, list) else found == value


def longest(metadata: Metadata, _facts: Facts, *, members: tuple[str, ...], characters: int) -> Iterator[Finding]:
    """The members, and each item of those that are lists, have a bounded length."""
    for name in members:
        held = metadata.get(name, ())
        for at, value in enumerate(held) if isinstance(held, list) else ((None, held),):
            if len(value) > characters:
                yield _at(LONGEST, name if at is None else f"{name}[{at}]", count=len(value), accepted=characters)
