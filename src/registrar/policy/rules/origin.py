"""Where a registration comes from: whose statement, whose token, from where, and whether it is the first of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from registrar.domain.findings import Finding, listed, rule
from registrar.domain.software_statement import INVALID, MEMBER, UNAPPROVED
from registrar.policy.evidence import Facts
from registrar.policy.rules.applied import Metadata, Verdict, said

NO_STATEMENT: Final = rule(
    "rule.statement_from",
    "RFC 7591 §2.3",
    "is missing, and the policy demands one",
    "a software statement of {accepted}",
    error=INVALID,
)
OTHER_STATEMENT: Final = rule(
    "rule.statement_from_other",
    "RFC 7591 §3.2.2",
    "is of {given}, which is not enough here",
    "a software statement of {accepted}",
    error=UNAPPROVED,
)
UNBOUND: Final = rule(
    "rule.token_bound",
    "RFC 7591 §3",
    "is not bound, and could be used by whoever reads it",
    "an initial access token that is bound to one of: {accepted}",
    error="invalid_request",
)
UNATTESTED: Final = rule(
    "rule.attested",
    "draft-ietf-oauth-attestation-based-client-auth",
    "is missing or was not believed",
    "an attestation in the OAuth-Client-Attestation header",
    error="invalid_request",
)
AGAIN: Final = rule(
    "rule.single_instance",
    "RFC 7591 §5",
    "and software_version name software that is registered already",
    "an update of that registration, or another version",
)


def statement_from(_metadata: Metadata, facts: Facts, *, issuers: tuple[str, ...]) -> Iterator[Finding]:
    """A software statement comes with the registration, and one of these issuers signed it, by their configured names."""
    if facts.statement is None:
        yield NO_STATEMENT.refuse(MEMBER, accepted=listed(issuers))
    elif facts.statement.name not in issuers:
        yield OTHER_STATEMENT.refuse(MEMBER, given=facts.statement.name, accepted=listed(issuers))


Binding = Literal["address", "certificate", "attestation"]
_BINDINGS: Final = ("address", "certificate", "attestation")


def token_bound(
    _metadata: Metadata, facts: Facts, *, to: tuple[Binding, ...] = _BINDINGS, verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """The initial access token is bound to one of these, so that a copy of it is of no use; updates need no token."""
    if facts.before is None and facts.token_id and not set(to) & set(facts.token_bound):
        yield said(UNBOUND, verdict, "authorization", accepted=listed(to))


def attested(_metadata: Metadata, facts: Facts, *, verdict: Verdict = "refuse") -> Iterator[Finding]:
    """The attestation that came with the registration was believed by the issuer's `attestation` function."""
    if facts.before is None and not facts.attested:
        yield said(UNATTESTED, verdict, "attestation")


def single_instance(
    metadata: Metadata, facts: Facts, *, software: tuple[str, ...] = (), verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """Software is registered once in each version (RFC 7591 §5): these `software_id`s, or all where none is given."""
    software_id = metadata.get("software_id")
    if facts.registered and software_id is not None and (not software or software_id in software):
        yield said(AGAIN, verdict, "software_id")
