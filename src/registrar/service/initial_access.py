"""Initial access tokens (RFC 7591 §1.2): issued and revoked by an operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from registrar.domain import credentials
from registrar.domain.access_token import ADMINISTRATION, SCOPE, InitialAccessToken, Kind
from registrar.domain.credentials import PresentedToken
from registrar.policy import Contradiction
from registrar.policy.rules.applied import Networks
from registrar.service import issuance
from registrar.service.operators import LARGEST, Operator, Refused, Unknown, check_labels, check_reason
from registrar.service.ports import Conflict, NotFound
from registrar.service.registry import Issuer, Registry

_TOKEN_ID_BYTES: Final = 8
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_\-]{43}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
"""RFC 6749 §3.3."""
_SCOPES: Final = 2_048
"""Characters of the scopes of a token, as of those of a client."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


async def issue_token(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    *,
    kind: Kind = Kind.OPERATOR,
    policy: str = "",
    label: str = "",
    owner: str = "",
    max_uses: int = 1,
    lifetime: int = 0,
    scope: tuple[str, ...] = (SCOPE,),
    addresses: tuple[str, ...] = (),
    certificate: str = "",
    attestation: bool = False,
    labels: Mapping[str, str] = _NONE,
    within: Mapping[str, str] = _NONE,
    under: InitialAccessToken | None = None,
) -> tuple[PresentedToken, InitialAccessToken]:
    """Issue an initial access token; its value is shown this once and can be shown never again.

    Args:
        registry: what every use case is given.
        issuer: where it may register.
        operator: who issues it.
        kind: who it stands for.
        policy: the policy that judges what is registered with it, or several with spaces between; empty for the issuer's.
        label: what it is for.
        owner: who answers for what is registered with it; needed for the kind `user`.
        max_uses: how many registrations; 0 is unlimited.
        lifetime: seconds until it expires; 0 is never.
        addresses: networks from which alone it registers anything.
        certificate: the thumbprint (`x5t#S256`) of the client certificate beside which alone it does.
        attestation: whether the issuer's attestation function has to believe what comes with it.
        labels: what every client is labelled with that is registered with it.
        within: the labels of all that it administers; empty for everything.
        under: the token by which the operator acts, where they act by one: what is issued is bound as that is, judged by
            its policies too, ends no later, and registers no more scopes.
        scope: without `dcr` it registers nothing; scopes beside it are all that may be registered with it, and those
            of `ADMINISTRATION` open the administration API.

    Raises:
        Refused: a policy is not configured, two contradict each other, or a user's token has no owner.
    """
    if len(said := " ".join(scope)) > _SCOPES or (scope and not _SCOPE.fullmatch(said)):
        raise Refused(f"scopes are ASCII words with spaces between, of {_SCOPES} characters at the most")
    check_reason(label, "label of a token")
    check_reason(owner, "name of an owner")
    now_ms = registry.clock()
    if under is not None:
        if beyond := under.beyond(scope):
            raise Refused(f"the token has not {beyond[0]}, and gives away no more than it has")
        scope = scope if set(scope) & set(under.ceiling) else (*scope, *under.ceiling)
        # Whoever administers within labels is judged by the issuer's policy, where by no other, and chooses none instead of it.
        own = under.policy or (issuer.policy.name if under.within and policy else "")
        policy = " ".join(dict.fromkeys([*own.split(), *policy.split()]))
        left = max(1, under.expires_at - now_ms // 1000)
        lifetime = min(lifetime or left, left) if under.expires_at else lifetime
        addresses, certificate = under.addresses or addresses, under.certificate or certificate
        attestation = attestation or under.attestation
        labels, within = {**labels, **under.within}, {**within, **under.within}
    check_labels(issuer, labels, within)
    policy = " ".join(policy.split())
    try:
        if policy and issuer.judge(policy) is None:
            raise Refused(f"there is no policy {policy} at {issuer.name}")
    except Contradiction as problem:
        raise Refused(str(problem)) from None
    if other := [one for one in scope if one.startswith("admin.") and one not in ADMINISTRATION]:
        raise Refused(f"there is no scope {other[0]}; of administration these are: {', '.join(ADMINISTRATION)}")
    if kind is not Kind.OPERATOR and not ADMINISTRATION.keys().isdisjoint(scope):
        raise Refused("scopes of administration are for tokens of the kind operator")
    if kind is Kind.USER and not owner:
        raise Refused("a token of a user needs its owner")
    if not (0 <= max_uses <= LARGEST and 0 <= lifetime <= LARGEST):
        raise Refused(f"the uses and the lifetime of a token are numbers from 0 to {LARGEST}")
    try:
        Networks.from_words(addresses)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    if certificate and not _THUMBPRINT.fullmatch(certificate):
        raise Refused("a certificate is named by its thumbprint: the SHA-256 of its DER in base64url, 43 characters")
    if attestation and issuer.attest is None:
        raise Refused(f"{issuer.name} has no attestation function, so nothing could be attested")
    value = issuance.mint_token(registry)
    token = InitialAccessToken(
        issuer=issuer.name,
        token_id=f"{now_ms:011x}{registry.entropy(_TOKEN_ID_BYTES).hex()}",
        digest=credentials.digest(value),
        kind=kind,
        scope=scope,
        policy=policy,
        label=label,
        owner=owner,
        max_uses=max_uses,
        created_at=now_ms // 1000,
        expires_at=now_ms // 1000 + lifetime if lifetime else 0,
        addresses=addresses,
        certificate=certificate,
        attestation=attestation,
        labels=dict(labels),
        within=dict(within),
    )
    detail = {
        "kind_of_token": kind.value,
        "policy": policy or issuer.policy.name,
        "token_label": label,
        "max_uses": max_uses,
        "expires_at": token.expires_at,
        "token_scope": list(scope),
        "bound_to": list(token.bound),
    }
    event = registry.audit.event(
        "token.issued",
        issuer.name,
        operator.actor(),
        endpoint=operator.door,
        token_id=token.token_id,
        time_ms=now_ms,
        detail=detail,
    )
    await registry.store.add_token(token, event)
    return value, token


async def revoke_token(
    registry: Registry, issuer: Issuer, operator: Operator, token_id: str, *, again: bool = False
) -> None:
    """Revoke an initial access token; what was registered with it stays.

    Raises:
        Refused: there is no such token, or it is revoked already and that is not to be done `again`.
    """
    event = registry.audit.event(
        "token.revoked", issuer.name, operator.actor(), endpoint=operator.door, token_id=token_id
    )
    try:
        await registry.store.revoke_token(issuer.name, token_id, registry.clock() // 1000, event)
    except NotFound:
        raise Unknown(f"there is no initial access token {token_id} at {issuer.name}") from None
    except Conflict:
        if not again:
            raise Refused(f"the initial access token {token_id} is revoked already") from None
