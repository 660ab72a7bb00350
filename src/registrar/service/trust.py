"""Whose software statements are believed: the configured issuers, their keys, and the verification (RFC 7591 §2.3).

Keys come from the configuration or from the address that it names, never from the statement itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registrar.domain import certificate, jws
from registrar.domain import software_statement as statements
from registrar.domain.client import Client
from registrar.domain.errors import RegistrationError
from registrar.domain.findings import Finding, listed
from registrar.domain.jws import UnverifiedJWS
from registrar.domain.metadata import Presented
from registrar.domain.settings import StatementIssuer
from registrar.domain.software_statement import MEMBER, Attestation, Form, Use
from registrar.policy import Policy
from registrar.service import keys
from registrar.service.key_sets import KeysUnavailable
from registrar.service.registry import Issuer, Registry

LIMIT: Final = 32_768
"""Characters of a statement or a signed request at the most."""
SKEW: Final = 60
"""Seconds by which clocks may differ."""
_PLAIN: Final = Form()


async def attestation(
    registry: Registry, issuer: Issuer, policy: Policy, compact: Any, client: Client | None = None
) -> Attestation:
    """Verify and judge a statement that came with a request.

    An update that repeats the statement of the registration, byte for byte, is not asked for its age, its use or its
    signature again, unless the form wants a fresh one: what was verified then still holds.

    Args:
        registry: what every use case is given.
        issuer: where the request came in.
        policy: the one in force; its form counts where the issuer of the statement has none.
        compact: what stands in `software_statement`.
        client: the registration that is to be updated, if it is one.

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
    now = registry.clock() // 1000
    trusted = _trusted(issuer, unverified, now)
    form = trusted.form or policy.statement or _PLAIN
    repeated = client is not None and not form.fresh and compact == client.metadata.get(MEMBER)
    if client is not None and repeated:
        now = client.admission.statement_at
    else:
        await _verify(registry, trusted, form, unverified)
    claims = unverified.claims
    faults = [*_times(issuer, form, claims, now), *statements.judge(form, claims)]
    if faults:
        raise RegistrationError(faults)
    members, uses, findings = statements.members_of(form, claims)
    if trusted.anchors:
        # Whoever signs with a certificate authenticates with it too: its key is the client's (UDAP §4.2).
        members, uses = Presented({**members, "jwks": _key_set(unverified)}), {**uses, "jwks": Use.OVERRIDE}
    found = Attestation(
        name=trusted.name,
        issuer=str(claims["iss"]),
        compact=compact,
        digest=unverified.digest.hex(),
        claims=claims,
        members=members,
        uses=uses,
        software=_text(claims.get(form.software)),
        jti=_text(claims.get("jti")),
        at=now,
        expires_at=int(claims.get("exp") or 0),
        once_for=0 if repeated else form.replay_window,
        shown={claim: claims[claim] for claim in form.shown if claims.get(claim) not in (None, "", [])},
        findings=tuple(findings),
    )
    _check_software(found, client)
    return found


def _check_software(found: Attestation, client: Client | None) -> None:
    """A statement about other software changes no registration."""
    known = client.admission if client else None
    if known is None or not known.statement_software:
        return
    if (known.statement_issuer, known.statement_software) != (found.name, found.software):
        raise RegistrationError(
            [
                statements.OTHER_SOFTWARE.refuse(
                    MEMBER, given=found.software or "no software", accepted=known.statement_software
                )
            ]
        )


def _trusted(issuer: Issuer, unverified: UnverifiedJWS, now: int) -> StatementIssuer:
    """Who the statement says it is of: one of those that are configured for this issuer.

    Where issuers of statements are known by the authorities of their certificates, it is the one of which an authority
    has certified the statement's; a chain that leads to none of them is nobody's who is trusted here.
    """
    said = unverified.claims.get("iss")
    if not isinstance(said, str) or not said:
        raise RegistrationError([statements.NO_ISSUER.refuse(MEMBER)])
    for trusted in issuer.statement_issuers:
        if trusted.issuer == said:
            return trusted
    communities = [trusted for trusted in issuer.statement_issuers if trusted.anchors]
    problem: Any = "is not known"
    for trusted in communities:
        try:
            certificate.chain(_x5c(unverified), trusted.anchor_certificates, now)
        except certificate.Untrusted as untrusted:
            problem = untrusted
        except (jws.Refused, certificate.Unreadable) as unreadable:
            accepted = "an x5c with the certificate of the signer"
            refusal = statements.SIGNATURE.refuse(MEMBER, problem=unreadable, accepted=accepted)
            raise RegistrationError([refusal]) from None
        else:
            return trusted
    names = listed(trusted.issuer or trusted.name for trusted in issuer.statement_issuers)
    who = f"{said} ({problem})" if communities else said
    raise RegistrationError([statements.UNTRUSTED.refuse(MEMBER, issuer=who, accepted=names)])


async def _verify(registry: Registry, trusted: StatementIssuer, form: Form, unverified: UnverifiedJWS) -> None:
    accepted = f"a signature by {trusted.issuer or trusted.name} with {listed(form.algorithms)}"
    try:
        if trusted.anchors:
            _verify_own(form, unverified)
        elif own := registry.issuer_at(trusted.issuer):
            jws.verify(unverified, await keys.known(registry, own), form.algorithms)
        elif trusted.jwks_uri:
            await registry.key_sets.verify(unverified, trusted.jwks_uri, form.algorithms, unverified.kid)
        else:
            jws.verify(unverified, trusted.jwks["keys"], form.algorithms)
    except (jws.Refused, certificate.Unreadable) as problem:
        raise RegistrationError([statements.SIGNATURE.refuse(MEMBER, problem=problem, accepted=accepted)]) from None
    except KeysUnavailable as problem:
        raise RegistrationError([statements.KEYS.refuse(MEMBER, problem=problem)]) from None


def _verify_own(form: Form, unverified: UnverifiedJWS) -> None:
    """A statement that its subject signed itself, with a certificate that `_trusted` has followed (UDAP §1.2)."""
    leaf = _x5c(unverified)[0]
    jws.verify(msgspec.structs.replace(unverified, kid=None), [certificate.public_jwk(leaf)], form.algorithms)
    claims = unverified.claims
    if claims.get("iss") not in certificate.read(leaf).uri:
        raise jws.Refused("its iss is not a URI of its certificate")
    if claims.get("sub") != claims.get("iss"):
        raise jws.Refused("its sub is not its iss")


def _key_set(unverified: UnverifiedJWS) -> dict[str, Any]:
    """The key of the signer's certificate as a key set."""
    leaf = _x5c(unverified)[0]
    return {"keys": [{**certificate.public_jwk(leaf), "x5c": [base64.b64encode(leaf).decode()]}]}


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
    # A statement that says whom it is for is for nobody else, also where the form does not ask.
    if form.audience or "aud" in claims:
        endpoint = issuer.registration_endpoint
        wanted = {"issuer": (issuer.url,), "registration_endpoint": (endpoint,)}.get(
            form.audience, (issuer.url, endpoint)
        )
        if jws.check_audience(claims, wanted):
            found.append(statements.AUDIENCE.refuse(MEMBER, accepted=listed(wanted)))
    if form.replay_window and not _text(claims.get("jti")):
        found.append(statements.CLAIM.refuse(MEMBER, claim="jti", accepted="jti"))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
