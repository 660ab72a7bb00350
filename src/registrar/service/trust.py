"""Whose software statements are believed: the configured issuers, their keys, and the verification (RFC 7591 §2.3).

Keys come from the configuration or from the address that it names, never from the statement itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from registrar.domain import certificate, jws
from registrar.domain import software_statement as statements
from registrar.domain.errors import RegistrationError
from registrar.domain.findings import Finding, listed
from registrar.domain.jws import UnverifiedJWS, VerifiedJWS
from registrar.domain.settings import StatementIssuer
from registrar.domain.software_statement import MEMBER, Attestation, Form
from registrar.policy import Policy
from registrar.service.key_sets import KeysUnavailable
from registrar.service.registry import Issuer, Registry

LIMIT: Final = 32_768
"""Characters of a statement or a signed request at the most."""
SKEW: Final = 60
"""Seconds by which clocks may differ."""
_PLAIN: Final = Form()


async def attestation(registry: Registry, issuer: Issuer, policy: Policy, compact: Any, now: int) -> Attestation:
    """Verify and judge a statement that came with a request.

    Raises:
        RegistrationError: `invalid_software_statement`, or `unapproved_software_statement` where it is in order and of
            somebody who is not trusted here.
    """
    if not isinstance(compact, str):
        raise RegistrationError([statements.TYPE.refuse(MEMBER)])
    try:
        unverified = jws.read(compact, LIMIT)
    except jws.Malformed as problem:
        raise RegistrationError([statements.MALFORMED.refuse(MEMBER, problem=problem)]) from None
    trusted = _trusted(issuer, unverified)
    form = trusted.form or policy.statement or _PLAIN
    verified = await _verified(registry, trusted, form, unverified, now)
    faults = [*_times(issuer, form, verified.claims, now), *statements.judge(form, verified.claims)]
    if faults:
        raise RegistrationError(faults)
    members, uses, findings = statements.members_of(form, verified.claims)
    return Attestation(
        name=trusted.name,
        issuer=str(verified.claims["iss"]),
        compact=compact,
        digest=unverified.digest.hex(),
        claims=verified.claims,
        members=members,
        uses=uses,
        software=_text(verified.claims.get(form.software)),
        jti=_text(verified.claims.get("jti")),
        expires_at=int(verified.claims.get("exp") or 0),
        once_for=form.replay_window,
        findings=tuple(findings),
    )


def _trusted(issuer: Issuer, unverified: UnverifiedJWS) -> StatementIssuer:
    """Who the statement says it is of: one of those that are configured for this issuer."""
    said = unverified.claims.get("iss")
    if not isinstance(said, str) or not said:
        raise RegistrationError([statements.NO_ISSUER.refuse(MEMBER)])
    for trusted in issuer.statement_issuers:
        if trusted.issuer == said or (trusted.anchors and "x5c" in unverified.header):
            return trusted
    names = listed(trusted.issuer or trusted.name for trusted in issuer.statement_issuers)
    raise RegistrationError([statements.UNTRUSTED.refuse(MEMBER, issuer=said, accepted=names)])


async def _verified(
    registry: Registry, trusted: StatementIssuer, form: Form, unverified: UnverifiedJWS, now: int
) -> VerifiedJWS:
    accepted = f"a signature by {trusted.issuer or trusted.name} with {listed(form.algorithms)}"
    try:
        if trusted.anchors:
            return _by_certificate(trusted, form, unverified, now)
        kid = unverified.kid
        if trusted.jwks_uri:
            return await registry.key_sets.verify(unverified, trusted.jwks_uri, form.algorithms, kid)
        return jws.verify(unverified, trusted.jwks["keys"], form.algorithms)
    except (jws.Refused, jws.UnknownKey) as problem:
        raise RegistrationError([statements.SIGNATURE.refuse(MEMBER, problem=problem, accepted=accepted)]) from None
    except certificate.Untrusted as problem:
        refusal = statements.UNTRUSTED.refuse(MEMBER, issuer=f"a certificate that {problem}", accepted=trusted.name)
        raise RegistrationError([refusal]) from None
    except KeysUnavailable as problem:
        raise RegistrationError([statements.KEYS.refuse(MEMBER, problem=problem)]) from None


def _by_certificate(trusted: StatementIssuer, form: Form, unverified: UnverifiedJWS, now: int) -> VerifiedJWS:
    """A statement that its subject signed itself, with a certificate of a trusted community (UDAP §1.2)."""
    chain = _x5c(unverified)
    leaf = certificate.chain(chain, trusted.anchor_certificates, now)
    verified = jws.verify(unverified, [certificate.public_jwk(chain[0])], form.algorithms)
    if unverified.claims.get("iss") not in leaf.uri:
        raise jws.Refused("its iss is not a name of its certificate")
    return verified


def _x5c(unverified: UnverifiedJWS) -> list[bytes]:
    """The certificates of a header (RFC 7515 §4.1.6): base64 of DER, and not base64url."""
    found = unverified.header.get("x5c")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise jws.Refused("its header has no x5c with certificates")
    try:
        return [base64.b64decode(one, validate=True) for one in found]
    except ValueError:
        raise jws.Refused("the x5c of its header is not base64") from None


def _times(issuer: Issuer, form: Form, claims: Mapping[str, Any], now: int) -> list[Finding]:
    found = []
    if problem := jws.check_times(
        claims, now, skew=SKEW, max_age=form.maximum_age or None, max_lifetime=form.maximum_lifetime or None
    ):
        found.append(statements.TIME.refuse(MEMBER, problem=problem))
    if form.audience:
        wanted = issuer.url if form.audience == "issuer" else issuer.registration_endpoint
        if jws.check_audience(claims, (wanted,)):
            found.append(statements.AUDIENCE.refuse(MEMBER, accepted=wanted))
    if form.replay_window and not _text(claims.get("jti")):
        found.append(statements.CLAIM.refuse(MEMBER, claim="jti", accepted="jti"))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
