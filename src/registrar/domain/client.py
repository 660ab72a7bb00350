"""The record of a client, and the client information response that is made from it (RFC 7591 §3.2.1, RFC 7592 §3)."""

from __future__ import annotations

import enum
from typing import Any, Final, NewType

import msgspec

from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered

IDLE: Final = "idle"
"""Who suspended a client that nobody used: it comes back by being used."""


class State(enum.StrEnum):
    """Where a client is in its life."""

    PENDING = "pending"
    """Held for review: it exists and can be managed, and may do nothing until somebody has approved it."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    """A tombstone: nothing of the credentials is left, and the identifier is never issued again."""


class Assurance(enum.StrEnum):
    """What was verified when the client was admitted, weakest first; of several, the strongest counts."""

    OPEN = "open"
    """Nothing."""
    DOCUMENT = "document"
    """Control of the https URL that is its identifier: it is not registered, and a document there says what it is."""
    CLIENT = "client"
    """Software with credentials of its own, which may have been read out of a distributed application."""
    USER = "user"
    """A person who signed in, and owns what was registered."""
    STATEMENT = "statement"
    """A software statement of a trusted issuer (RFC 7591 §2.3)."""
    CERTIFICATE = "certificate"
    """A client certificate of a trusted authority (RFC 8705)."""
    OPERATOR = "operator"
    """The operator's own word."""

    def reaches(self, other: Assurance) -> bool:
        """Whether this is as much as `other`, or more."""
        return _RANK[self] >= _RANK[other]


_RANK: Final = {assurance: rank for rank, assurance in enumerate(Assurance)}


class Admission(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the client was let in; it stays with the record, so that a registration can be traced to its token."""

    assurance: Assurance
    """What the mode and the token verified; it stays."""
    token_id: str = ""
    label: str = ""
    owner: str = ""
    token_scope: tuple[str, ...] = ()
    """The scopes of that token, where it allowed less to be registered than the policy does."""
    client_class: str = ""
    """The class that the facts of the admission gave it; never its own claim."""
    statement_issuer: str = ""
    """The configured name of the issuer whose software statement it came with."""
    statement_digest: str = ""
    """The SHA-256 of that statement."""
    statement_software: str = ""
    """The software that it is about; updates are about the same."""
    statement_at: int = 0
    """When it was judged, in seconds since 1970: an update that repeats it is not judged for age again."""
    certificate_subject: str = ""
    """The subject of the certificate that it came with, as RFC 4514 writes it."""
    certificate_thumbprint: str = ""
    reached: Assurance | None = None
    """What the request that was judged last came with, where a statement or a certificate made it more than `assurance`."""

    @property
    def shown(self) -> Assurance:
        """What people are told of it."""
        return self.reached or self.assurance


class ShownClient(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A client as operators see it: everything but its credentials. Times are in seconds since 1970."""

    client_id: str
    """Its identifier, which is never issued again."""
    issuer: str
    """The configured name of the issuer."""
    state: State
    """Where it is in its life."""
    version: int
    """How often it was written."""
    client_id_issued_at: int
    """When it was registered."""
    updated_at: int
    """When it was written last."""
    policy: str = ""
    """The policies that judge it, with spaces between."""
    assurance: Assurance
    """What was verified when it was admitted, or when it was judged last, where that is more."""
    owner: str = ""
    """The person whose it is."""
    token_id: str = ""
    """The initial access token that it was registered with."""
    token_label: str = ""
    """What that token is called."""
    template: str = ""
    """The template that it is an instance of."""
    suspended_by_template: bool = False
    """Whether it is suspended because its template is disabled."""
    client_class: str = msgspec.field(name="class", default="")
    """The class that the facts of the admission gave it."""
    statement_issuer: str = ""
    """The configured name of the issuer of the software statement that it came with."""
    flags: tuple[str, ...] = ()
    """The rules that found something odd about who it says that it is."""
    suspended_by: str = ""
    """`idle` where nobody used it; absent for an operator's word."""
    warned_at: int = 0
    """When it was last told that it will be suspended, since nobody uses it."""
    labels: dict[str, str] = {}
    """What it is for, as its token or an operator says: label -> value."""
    expires_at: int = 0
    """When the registration ends by itself; absent where it does not."""
    client_secret_expires_at: int | msgspec.UnsetType = msgspec.UNSET
    """When its current secret ends; 0 is never, and absent is that it has none."""
    metadata: Registered
    """What is registered."""
    provenance: dict[str, str] = {}
    """Member -> where its value is from: `policy`, `template` or `attested:NAME`; others are its own word."""


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered client, as it is stored."""

    issuer: str
    client_id: str
    version: int
    state: State
    created_at: int
    """Seconds since 1970; answered as `client_id_issued_at`."""
    updated_at: int
    metadata: Registered
    credentials: Credentials
    admission: Admission
    policy: str
    """The name of the policy that judged it, and judges every update."""
    provenance: dict[str, str] = {}
    """Member -> where its value is from, where that is not the client's own word: `policy`, `template`, or
    `attested:NAME` for the issuer of statements that attested it. Others are `self_asserted`."""
    template: str = ""
    """The template that this is an instance of; its metadata is the template's, but for what is `own`."""
    own: tuple[str, ...] = ()
    """The members that an instance of a template varies."""
    suspended_by_template: bool = False
    """Whether the template is disabled; known from the template at every read and never stored."""
    ended_by_template: bool = False
    """Whether it is deleted because its template is, and nothing of that is written beside it. As the one above."""
    expires_at: int = 0
    """Seconds since 1970 when the registration ends by itself; 0 is never."""
    due_at: int = 0
    """Seconds since 1970 when the registry has to look at it next, to see whether it is still used; 0 is never."""
    flags: tuple[str, ...] = ()
    """The rules that found something odd about who it says that it is, when it was judged last; it stays visible."""
    expanded_at: int = 0
    """Seconds since 1970 when it last got more than it had; consents from before do not cover what came."""
    warned_at: int = 0
    """Seconds since 1970 when it was last told that it will be suspended, since nobody uses it."""
    suspended_at: int = 0
    suspended_by: str = ""
    """`IDLE` where nobody used it; empty for an operator's word."""
    labels: dict[str, str] = {}
    """What its operator or its initial access token says that it is for: tenant, package, connector, workflow, …"""

    @property
    def usable(self) -> bool:
        """Whether it may do anything at all."""
        return self.state is State.ACTIVE and not self.suspended_by_template

    @property
    def dormant(self) -> bool:
        """Whether time alone suspended it: whoever names it may go on, and what it then gets brings it back."""
        return self.state is State.SUSPENDED and self.suspended_by == IDLE and not self.suspended_by_template

    @property
    def in_reach(self) -> bool:
        """Whether it may do anything, or would by being used."""
        return self.usable or self.dormant

    def expired(self, now: int) -> bool:
        """Whether its time is over; it then counts as deleted."""
        return bool(self.expires_at) and now >= self.expires_at

    def public(self) -> ShownClient:
        """What may be shown of the client to an operator: everything but its credentials."""
        secrets = self.credentials.secrets
        return ShownClient(
            client_id=self.client_id,
            issuer=self.issuer,
            state=self.state,
            version=self.version,
            client_id_issued_at=self.created_at,
            updated_at=self.updated_at,
            policy=self.policy,
            assurance=self.admission.shown,
            owner=self.admission.owner,
            token_id=self.admission.token_id,
            token_label=self.admission.label,
            template=self.template,
            suspended_by_template=self.suspended_by_template,
            client_class=self.admission.client_class,
            statement_issuer=self.admission.statement_issuer,
            flags=self.flags,
            suspended_by=self.suspended_by,
            warned_at=self.warned_at,
            labels=self.labels,
            expires_at=self.expires_at,
            client_secret_expires_at=secrets[0].expires_at if secrets else msgspec.UNSET,
            metadata=self.metadata,
            provenance=self.provenance,
        )


def tombstone(client: Client, now: int) -> Client:
    """What is left of a deleted client: who it was, without any credential; its identifier is never issued again."""
    return msgspec.structs.replace(
        client, version=client.version + 1, state=State.DELETED, updated_at=now, credentials=Credentials()
    )


ClientInformation = NewType("ClientInformation", dict[str, Any])
"""The client information response (RFC 7591 §3.2.1); its members are rows of `metadata.MEMBERS`."""


def information(
    client: Client, *, secret: str = "", registration_client_uri: str = "", registration_access_token: str = ""
) -> dict[str, Any]:
    """The client information response, made from the stored record and nothing else.

    Unset members are absent, never null or empty (but for the two arrays that `metadata.ECHOED_EMPTY` names, which
    stand in the record). `client_secret_expires_at` accompanies a secret and only a secret.
    """
    answer: dict[str, Any] = {"client_id": client.client_id, "client_id_issued_at": client.created_at}
    if secret:
        answer["client_secret"] = secret
        answer["client_secret_expires_at"] = client.credentials.secrets[0].expires_at
    if registration_client_uri:
        answer["registration_client_uri"] = registration_client_uri
        answer["registration_access_token"] = registration_access_token
    if client.state is State.PENDING:
        answer["registration_state"] = client.state.value
    return answer | client.metadata
