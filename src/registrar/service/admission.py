"""Who may register: the issuer's mode and the bearer token that was presented (RFC 7591 §3, RFC 6750)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from registrar.domain import credentials
from registrar.domain.access_token import SCOPE, InitialAccessToken, Kind
from registrar.domain.client import Admission, Assurance
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import BearerError, ProtocolError
from registrar.domain.events import Actor
from registrar.domain.settings import Mode
from registrar.policy import Facts
from registrar.policy.rules.applied import Networks
from registrar.service import access, token_issuers
from registrar.service.audit import Caller
from registrar.service.ports import Drop, Put, Spend
from registrar.service.registry import Issuer, Registry
from registrar.service.token_issuers import Untrusted

_log: Final = logging.getLogger(__name__)
_ASSURANCE: Final = {Kind.CLIENT: Assurance.CLIENT, Kind.USER: Assurance.USER, Kind.OPERATOR: Assurance.OPERATOR}
_MODE: Final = {Kind.CLIENT: Mode.CLIENT, Kind.USER: Mode.USER}
_WHY: Final = {
    "revoked": "The initial access token was revoked.",
    "expired": "The initial access token has expired.",
    "spent": "The initial access token has been used as often as it may be.",
}


class Admitted(msgspec.Struct, frozen=True):
    """A caller that may register: how it was let in, under which policy, and the use to claim of its token."""

    admission: Admission
    policy: str
    spend: Spend | None = None
    uses: tuple[Drop | Put, ...] = ()
    """What uses up an access token that counts once; of concurrent callers, one succeeds."""
    bound: tuple[str, ...] = ()
    """What that token is bound to."""
    attested: bool = False
    """Whether the attestation that came with the request was believed."""
    labels: Mapping[str, str] = {}
    """What the client is labelled with."""
    actor: Actor | None = None
    """The operator who registers by their own word; the audit names them instead of the caller of an endpoint."""


async def admit(registry: Registry, issuer: Issuer, caller: Caller) -> Admitted:
    """Decide whether a caller may register at an issuer.

    A token that is presented and bad is refused in mode `open` too: a caller that shows a credential means it.

    Raises:
        ProtocolError: `not_found`, where registration is disabled.
        BearerError: `token_required`, `invalid_token` or `insufficient_scope`.
    """
    if not issuer.enabled:
        raise ProtocolError("not_found")
    presented, now = caller.token, registry.clock() // 1000
    if presented is None:
        if issuer.open:
            attested = await _attested(issuer, caller)
            return Admitted(Admission(Assurance.OPEN), issuer.policy.name, attested=attested)
        raise BearerError("token_required", "Registration here needs an initial access token.", scope=SCOPE)
    digest = credentials.digest(presented)
    token = await registry.store.find_token(issuer.name, digest)
    if token is None:
        earned = await _earned(registry, issuer, presented, caller, now)
        return msgspec.structs.replace(earned, attested=await _attested(issuer, caller))
    if (status := token.status(now)) != "active":
        raise BearerError("invalid_token", _WHY[status], scope=SCOPE)
    _check_kind(issuer, token.kind, token.scope)
    attested = await _attested(issuer, caller)
    if wrong := _elsewhere(token, caller, attested=attested):
        raise BearerError("invalid_token", f"The initial access token is bound to {wrong}.", scope=SCOPE)
    admission = Admission(_ASSURANCE[token.kind], token.token_id, token.label, token.owner, token.ceiling)
    policy = token.policy or issuer.policy.name
    return Admitted(admission, policy, Spend(digest, now), bound=token.bound, attested=attested, labels=token.labels)


def _elsewhere(token: InitialAccessToken, caller: Caller, *, attested: bool) -> str:
    """Which of a token's bindings does not hold; empty where all do."""
    if token.addresses and caller.address not in Networks.from_words(token.addresses):
        return "other addresses than this one"
    if token.certificate and caller.certificate_thumbprint != token.certificate:
        return "a client certificate that did not come with the request"
    if token.attestation and not attested:
        return "an attestation, and none that is believed came with the request"
    return ""


async def _attested(issuer: Issuer, caller: Caller) -> bool:
    """Ask the operator's function about the attestation; one that fails has believed nothing."""
    if issuer.attest is None or not caller.attestation:
        return False
    try:
        answer = issuer.attest(caller.attestation)
        return (await answer if inspect.isawaitable(answer) else answer) is True
    except Exception:  # noqa: BLE001 (a function of the operator's own: whatever it does, nothing was believed)
        _log.exception("the attestation function of %s failed", issuer.name)
        return False


async def _earned(registry: Registry, issuer: Issuer, presented: PresentedToken, caller: Caller, now: int) -> Admitted:
    """Admission by an access token that somebody earned: with a sign-in, with a client's own credentials, or elsewhere.

    That of a person registers once, and what it registers is theirs; software's registers while it lives.
    """
    found = await access.find(registry, issuer, presented, now)
    if found is None:
        return await _vouched(registry, issuer, presented, now)
    token = found.token
    _check_kind(issuer, token.kind, token.scope)
    if token.dpop_jkt or token.certificate_thumbprint not in ("", caller.certificate_thumbprint):
        raise BearerError("invalid_token", "The access token is bound to a key that was not proved.", scope=SCOPE)
    admission = Admission(_ASSURANCE[token.kind], token.token_id, f"earned by {token.client_id}", token.subject)
    return Admitted(admission, issuer.policy.name, uses=(found.spent(),) if token.kind is Kind.USER else ())


async def _vouched(registry: Registry, issuer: Issuer, presented: PresentedToken, now: int) -> Admitted:
    try:
        token = await token_issuers.vouched(registry, issuer, presented, now)
    except Untrusted as problem:
        raise BearerError("invalid_token", str(problem), scope=SCOPE) from None
    if token is None:
        raise BearerError("invalid_token", "The token is not known here.", scope=SCOPE)
    _check_kind(issuer, token.kind, token.scope)
    label = f"earned by {token.client_id or 'somebody'} at {token.issuer}"
    admission = Admission(_ASSURANCE[token.kind], token.token_id, label, token.owner)
    return Admitted(admission, issuer.policy.name, uses=(token.use,) if token.kind is Kind.USER else ())


async def operator(registry: Registry, issuer: Issuer, caller: Caller, scope: str) -> InitialAccessToken:
    """The operator's token of a call of the administration API (RFC 6750); a call spends no use of it.

    Raises:
        BearerError: `token_required`, `invalid_token`, or `insufficient_scope` naming the scope that is needed.
    """
    presented = caller.token
    if presented is None:
        raise BearerError("token_required", "Administration needs a token of the kind operator.", scope=scope)
    token = await registry.store.find_token(issuer.name, credentials.digest(presented))
    if token is None:
        raise BearerError("invalid_token", "The token is not known here.", scope=scope)
    if (status := token.status(registry.clock() // 1000)) != "active":
        raise BearerError("invalid_token", _WHY[status], scope=scope)
    attested = await _attested(issuer, caller)
    if wrong := _elsewhere(token, caller, attested=attested):
        raise BearerError("invalid_token", f"The token is bound to {wrong}.", scope=scope)
    if token.kind is not Kind.OPERATOR or scope not in token.scope:
        raise BearerError(
            "insufficient_scope", f"This needs a token of the kind operator with the scope {scope}.", scope=scope
        )
    return token


def _check_kind(issuer: Issuer, kind: Kind, scope: tuple[str, ...]) -> None:
    if SCOPE not in scope:
        raise BearerError(
            "insufficient_scope", f"The token lacks the scope {SCOPE}, which its holder has to ask for.", scope=SCOPE
        )
    if kind is Kind.OPERATOR or issuer.open or _MODE[kind] in issuer.modes:
        return
    admitted = " or ".join(sorted(issuer.modes))
    raise BearerError(
        "insufficient_scope",
        f"Registration here is for tokens of a {admitted}; this one belongs to a {kind}.",
        scope=SCOPE,
    )


def used_up(conflict: str, admitted: Admitted) -> BearerError | None:
    """The refusal for a token that another request has used; None where the conflict is not about it."""
    keys = [one.item.key if isinstance(one, Put) else one.key for one in admitted.uses]
    return spent() if conflict in keys else None


def spent() -> BearerError:
    """The refusal for a token whose last use another caller claimed first."""
    return BearerError("invalid_token", _WHY["spent"], scope=SCOPE)


def recorded(admission: Admission, facts: Facts) -> Admission:
    """How the client was let in, as its record keeps it.

    What a request came with counts for that request: an update without the statement does not go on under its name.
    """
    if facts.statement is None and facts.certificate is None and not facts.client_class and not admission.reached:
        return admission
    return msgspec.structs.replace(
        admission,
        reached=facts.assurance if facts.assurance is not admission.assurance else None,
        client_class=facts.client_class,
        statement_issuer=facts.statement.name if facts.statement else admission.statement_issuer,
        statement_digest=facts.statement.digest if facts.statement else admission.statement_digest,
        statement_software=facts.statement.software if facts.statement else admission.statement_software,
        statement_at=facts.statement.at if facts.statement else admission.statement_at,
        certificate_subject=facts.certificate.subject if facts.certificate else admission.certificate_subject,
        certificate_thumbprint=facts.certificate.thumbprint if facts.certificate else admission.certificate_thumbprint,
    )


def actor(admitted: Admitted, caller: Caller) -> Actor:
    """Who an event of a registration is told of."""
    if admitted.actor is not None:
        return admitted.actor
    if not admitted.admission.token_id:
        return Actor("anonymous", "none", address=caller.address)
    admission = admitted.admission
    how = "initial_access_token" if admitted.spend else "access_token"
    return Actor("token", how, admission.token_id, admission.owner, caller.address)
