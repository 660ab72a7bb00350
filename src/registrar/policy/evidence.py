"""Evidence: what is known of a registration besides its metadata, and what a policy demands of it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from registrar.domain.certificate import Certificate
from registrar.domain.client import Assurance
from registrar.domain.findings import Finding, Rule, listed, rule
from registrar.domain.software_statement import INVALID, MEMBER, Attestation, Use


class Proof(enum.StrEnum):
    """What a policy may demand of a registration, beside what the issuer's mode demands."""

    INITIAL_ACCESS_TOKEN = "initial_access_token"  # noqa: S105 (a word)
    STATEMENT = "statement"
    CERTIFICATE = "certificate"
    SIGNED_REQUEST = "signed_request"
    PREREGISTERED = "preregistered"
    """To be on the allow-list of a class; for classes alone, which have such lists."""


class ManagementProof(enum.StrEnum):
    """What a policy may demand of whoever manages a registration."""

    REGISTRATION_ACCESS_TOKEN = "registration_access_token"  # noqa: S105 (a word)
    ACCESS_TOKEN = "access_token"  # noqa: S105 (a word)
    """An access token that the client earned with its own credentials, with the scope that the policy names."""
    CERTIFICATE = "certificate"
    """The certificate of the registration, or a later one of the same subject."""


UNSEEN: Final = object()
"""In the place of a document that nobody looks at: what is judged without fetching leaves it out."""


class Facts(msgspec.Struct, frozen=True):
    """What is known about a registration besides its metadata. Facts are established by the server, never claimed."""

    assurance: Assurance
    token_id: str = ""
    token_label: str = ""
    token_scope: tuple[str, ...] = ()
    owner: str = ""
    address: str = ""
    client_class: str = ""
    statement: Attestation | None = None
    certificate: Certificate | None = None
    signed: bool = False
    template: str = ""
    before: Mapping[str, Any] | None = None
    """What is registered now, where this is an update."""
    replaces: Mapping[str, Any] | None = None
    """What the software has registered now, where this registration would take its place."""
    documents: Mapping[str, Any] = {}
    """Member -> the document behind its URL, where it was fetched: `sector_identifier_uri`, `jwks_uri`."""
    token_bound: tuple[str, ...] = ()
    """What the initial access token is bound to: `address`, `certificate`, `attestation`."""
    attested: bool = False
    """Whether the issuer's attestation function believed what came with the request."""
    preregistered: bool = False
    """Whether the software, or whoever owns the client, is on the allow-list of its class."""
    registered: bool = False
    """Whether another client has the same `software_id` and `software_version`, where the policy asks."""
    software_hosts: tuple[str, ...] | None = None
    """The redirect hosts of other clients with this `software_id`, where there are any and the policy asks."""


_DEMANDS: Final[Mapping[Proof, Rule]] = {
    Proof.INITIAL_ACCESS_TOKEN: rule(
        "evidence.initial_access_token",
        "RFC 7591 §3",
        "is missing, and the policy demands one",
        "an initial access token in the Authorization header",
        error="invalid_request",
    ),
    Proof.STATEMENT: rule(
        "evidence.statement",
        "RFC 7591 §2.3",
        "is missing, and the policy demands one",
        "a software statement of a trusted issuer",
        error=INVALID,
    ),
    Proof.CERTIFICATE: rule(
        "evidence.certificate",
        "RFC 8705 §2",
        "is missing, and the policy demands one",
        "a TLS client certificate of a trusted authority",
        error="invalid_request",
    ),
    Proof.SIGNED_REQUEST: rule(
        "evidence.signed_request",
        "engineering",
        "is not signed, and the policy demands that it is",
        "a JWT as application/jwt or application/jose",
        error="invalid_request",
    ),
    Proof.PREREGISTERED: rule(
        "evidence.preregistered",
        "RFC 7591 §5",
        "is not one that was announced here before",
        "software that the operator knows, with a statement or an initial access token behind it",
        error="invalid_request",
    ),
}
_NAMED: Final[Mapping[Proof, str]] = {
    Proof.INITIAL_ACCESS_TOKEN: "authorization",
    Proof.STATEMENT: MEMBER,
    Proof.CERTIFICATE: "certificate",
    Proof.SIGNED_REQUEST: "body",
    Proof.PREREGISTERED: "software_id",
}

TOKEN_CEILING: Final = rule(
    "evidence.token_scope",
    "RFC 7591 §3",
    "held {given}, which the initial access token does not allow to be registered",
    "{accepted}",
)
STATEMENT_CEILING: Final = rule(
    "evidence.statement_scope",
    "RFC 7591 §2.3",
    "held {given}, which the software statement does not allow",
    "{accepted}",
)


Alternatives = tuple[frozenset[Proof], ...]
"""Each is enough by itself, and all of it has to be there; none at all means that nothing is demanded."""


def demanded(alternatives: Alternatives, facts: Facts) -> Iterator[Finding]:
    """What is missing of the alternative that is nearest to being met."""
    if not alternatives:
        return
    have = {
        Proof.INITIAL_ACCESS_TOKEN: bool(facts.token_id),
        Proof.STATEMENT: facts.statement is not None,
        Proof.CERTIFICATE: facts.certificate is not None,
        Proof.SIGNED_REQUEST: facts.signed,
        Proof.PREREGISTERED: facts.preregistered,
    }
    missing = min(([proof for proof in sorted(one) if not have[proof]] for one in alternatives), key=len)
    for proof in missing:
        yield _DEMANDS[proof].refuse(_NAMED[proof])


def both(one: Alternatives, other: Alternatives) -> Alternatives:
    """What meets the demands of two policies."""
    if not one or not other:
        return one or other
    return tuple(dict.fromkeys(first | second for first in one for second in other))


def under_ceilings(scope: str, facts: Facts) -> Iterator[Finding]:
    """The scopes of a registration, narrowed to what its token and its statement allow to be registered at all."""
    ceilings = []
    if named := [one for one in facts.token_scope if not one.startswith("dcr:")]:  # those name classes
        ceilings.append((TOKEN_CEILING, named))
    if facts.statement is not None and facts.statement.uses.get("scope") in (Use.LIMIT, Use.WITHIN):
        ceilings.append((STATEMENT_CEILING, str(facts.statement.members.get("scope", "")).split()))
    for said, ceiling in ceilings:
        words = scope.split()
        surplus = [word for word in words if word not in ceiling]
        if surplus:
            after = " ".join(word for word in words if word in ceiling)
            yield said.change("scope", scope, after or None, given=surplus, accepted=listed(ceiling))
            scope = after
