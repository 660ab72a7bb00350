"""Tokens that open something: initial access tokens (RFC 7591 §3), and the access tokens that clients earn (RFC 6749 §1.4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from registrar.domain.credentials import Digest

SCOPE: Final = "dcr"
"""The scope without which a bearer token does not register anything. Never granted without being asked for."""


ACCESS_TOKEN: Final = "access_token"  # noqa: S105 (a word, not a secret)
"""What access tokens are called among the items of a store; the key is the digest of the token in hexadecimal."""

GRANT: Final = "grant"
"""What grants are called among them; the key is the grant's identifier."""


ADMINISTRATION: Final[Mapping[str, str]] = {
    "admin.policies": "Policies are listed, shown and tried out.",
    "admin.templates": "Templates are listed, created, changed, enabled, disabled and deleted.",
    "admin.statements": "Software statements are issued, listed and revoked.",
    "admin.tokens": "Initial access tokens are issued, listed and revoked.",
    "admin.webhooks": "Webhooks are listed, tried out and enabled, and messages sent again.",
    "admin.reviews": "Registrations and updates that are held are listed, shown, approved and rejected.",
    "admin.clients": "Clients are listed, created, changed, suspended, resumed and deleted.",
}
"""The scopes of an operator's token, and what each opens of the administration API."""


class Kind(enum.StrEnum):
    """Who earned the token, which decides the modes that admit it."""

    OPERATOR = "operator"
    """Issued by the operator; admitted in every enabled mode."""
    CLIENT = "client"
    """Earned by an application with its own credentials; only software was identified."""
    USER = "user"
    """Earned with a person's sign-in; that person owns what is registered."""


class TokenStatus(enum.StrEnum):
    """Whether an initial access token still registers anything, or why it does not."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SPENT = "spent"
    """It was used as often as it may be."""


class InitialAccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """An initial access token as the store holds it: the value itself is known by its digest alone."""

    issuer: str
    token_id: str
    digest: Digest
    kind: Kind
    scope: tuple[str, ...] = (SCOPE,)
    policy: str = ""
    """The policy that judges what is registered with it; empty for the issuer's own."""
    label: str = ""
    owner: str = ""
    max_uses: int = 1
    """0 is unlimited."""
    uses: int = 0
    created_at: int
    expires_at: int = 0
    """Seconds since 1970; 0 is never."""
    revoked_at: int = 0
    addresses: tuple[str, ...] = ()
    """Networks from which alone it registers anything."""
    certificate: str = ""
    """The thumbprint of the client certificate beside which alone it does (RFC 8705 §3.1)."""
    attestation: bool = False
    """Whether the issuer's attestation function has to believe what comes with it."""
    labels: dict[str, str] = {}
    """What every client that is registered with it is labelled with."""
    within: dict[str, str] = {}
    """The labels of all that it administers: of other clients it knows nothing."""

    @property
    def bound(self) -> tuple[str, ...]:
        """What it is bound to, so that a copy of it is of no use elsewhere."""
        bindings = {"address": self.addresses, "certificate": self.certificate, "attestation": self.attestation}
        return tuple(name for name, value in bindings.items() if value)

    @property
    def ceiling(self) -> tuple[str, ...]:
        """The scopes that may be registered with it at the most; none of them named is no ceiling."""
        return tuple(scope for scope in self.scope if scope != SCOPE and scope not in ADMINISTRATION)

    def beyond(self, scope: Iterable[str]) -> list[str]:
        """The scopes that a token issued under this one may not have: nobody gives away what they have not."""
        asked = set(scope)
        opened = (ADMINISTRATION.keys() & asked) - set(self.scope)
        registered = asked - ADMINISTRATION.keys() - {SCOPE, *self.ceiling} if self.ceiling else set()
        return sorted(opened | registered)

    def public(self, now: int) -> ShownToken:
        """The token as operators see it: without its value, which nobody has but its holder."""
        return ShownToken(
            token_id=self.token_id,
            issuer=self.issuer,
            kind=self.kind,
            status=self.status(now),
            scope=" ".join(self.scope),
            uses=self.uses,
            max_uses=self.max_uses,
            created_at=self.created_at,
            expires_at=self.expires_at,
            policy=self.policy,
            label=self.label,
            owner=self.owner,
            bound_to=" ".join(self.bound),
            labels=self.labels,
            within=self.within,
        )

    def status(self, now: int) -> TokenStatus:
        """Whether it still registers anything, or why it does not."""
        if self.revoked_at:
            return TokenStatus.REVOKED
        if self.expires_at and now >= self.expires_at:
            return TokenStatus.EXPIRED
        if self.max_uses and self.uses >= self.max_uses:
            return TokenStatus.SPENT
        return TokenStatus.ACTIVE


class ShownToken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An initial access token as operators see it, without its value. Times are in seconds since 1970."""

    token_id: str
    """What it is called in the audit and here."""
    issuer: str
    """The configured name of the issuer."""
    kind: Kind
    """Who earned it, which decides the modes that admit it."""
    status: TokenStatus
    """Whether it still registers anything, or why it does not."""
    scope: str
    """Its scopes, with spaces between."""
    uses: int
    """How many registrations it was used for."""
    max_uses: int
    """How many it is good for; 0 is unlimited."""
    created_at: int
    """When it was issued."""
    expires_at: int
    """When it ends; 0 is never."""
    policy: str
    """The policy that judges what is registered with it; empty for the issuer's own."""
    label: str
    """What it is called, for people."""
    owner: str
    """The person whose it is."""
    bound_to: str
    """What it has to come with or from, with spaces between: `address`, `certificate`, `attestation`."""
    labels: dict[str, str] = {}
    """What every client that is registered with it is labelled with."""
    within: dict[str, str] = {}
    """The labels of all that it administers; absent where it administers all."""


class AccessToken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An access token as the store holds it, under its digest: whom it speaks for, about what, and to whom.

    One with the scope `dcr` registers a client, and nothing else.
    """

    token_id: str
    """`jti` (RFC 7519 §4.1.7); says nothing of the value."""
    client_id: str
    grant_id: str = ""
    """The grant that it was issued under, without which it is worth nothing; empty for a client's own."""
    subject: str = ""
    """The person's identifier here, who allowed it; empty for a client's own."""
    scope: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    """RFC 8707: the resources that it is for; the issuer where none was asked for."""
    issued_at: int
    expires_at: int
    dpop_jkt: str = ""
    """The thumbprint of the key that has to be proved with it (RFC 9449 §6)."""
    certificate_thumbprint: str = ""
    """The thumbprint of the certificate that it has to come with (RFC 8705 §3)."""
    authorization_details: list[dict[str, Any]] | None = None

    @property
    def kind(self) -> Kind:
        """Who earned it."""
        return Kind.USER if self.grant_id else Kind.CLIENT
