"""Audit events: what is written down, once, beside every change and every refusal.

An event's bytes are canonical (sorted members, no white space) and carry a version, so that they can be chained and
verified for as long as they are kept. What may name a person stands in them only as a commitment, the SHA-256 of a
random salt and the value; salt and value lie beside the event and can be erased without touching it.

No event ever holds a secret, a token or a bearer value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from registrar.domain import jwks
from registrar.domain.client import Client
from registrar.domain.errors import ERRORS
from registrar.domain.findings import RULES, Finding, shown
from registrar.domain.metadata import MEMBERS

VERSION: Final = 1
SALT_BYTES: Final = 16


class EventKind(msgspec.Struct, frozen=True):
    """A row of the table of events."""

    name: str
    meaning: str


def _table(*rows: tuple[str, str]) -> dict[str, EventKind]:
    return {name: EventKind(name, meaning) for name, meaning in rows}


EVENTS: Final[Mapping[str, EventKind]] = _table(
    ("client.registered", "A client was registered (RFC 7591 §3)."),
    (
        "client.read",
        "A registration was read with its token (RFC 7592 §2.1); at most one event for each client and minute.",
    ),
    (
        "client.updated",
        "A registration was replaced (RFC 7592 §2.2), or by the operator; `difference` tells what changed.",
    ),
    ("client.deleted", "A registration ended: by its client (RFC 7592 §2.3), by the operator, or by time (`reason`)."),
    ("client.suspended", "A client was suspended: by an operator, or because nobody used it (`reason`)."),
    ("client.expiring", "Nobody uses a client; it will be suspended when `expires_at` has come, unless it is used."),
    ("client.resumed", "A suspended client was resumed: by an operator, or by being used where nobody had used it."),
    ("client.labelled", "An operator labelled a client anew; `difference` tells how."),
    ("client.secret_rotated", "A client got a new secret; the old one lives on for the overlap."),
    ("client.token_rotated", "A registration access token was replaced."),
    ("client.token_reissued", "An operator gave a client a new registration access token; those that it had ended."),
    (
        "bulk.started",
        "An operator began to do something to many clients; `job`, `act` and `selection` tell what to which.",
    ),
    (
        "bulk.finished",
        "It was done to all of them; `count` tells to how many. Each has an event of its own, whose `endpoint` ends with the job.",
    ),
    ("bulk.stopped", "An operator stopped it; what was done stays done."),
    ("client.expanded", "A client got more than it had; `reason` names the kinds of expansion."),
    ("registration.held", "A registration is held until somebody has looked at it; `reason` tells why."),
    ("update.held", "An update is held until somebody has looked at it; `reason` names what it would expand."),
    ("review.approved", "What was held was approved by an operator, and is in force; `reason` tells why."),
    ("review.rejected", "What was held was rejected by an operator; `reason` tells why."),
    ("review.superseded", "A held update was taken back: its client changed otherwise."),
    ("registration.refused", "A request was refused; `error` and `findings` tell why. Under a quota."),
    (
        "registration.refusals_suppressed",
        "More refusals than the quota allows to be recorded one by one; `count` tells how many.",
    ),
    (
        "limit.near",
        "A limit is nearly used up; `limit` names it and `reason` tells how far. Once in a window, and under a quota.",
    ),
    ("client.evicted", "A client that was never used made room for another; `limit` names the cap that was full."),
    ("template.created", "A template was created (`template`, `version`), by an operator or by the configuration."),
    ("template.changed", "A template was changed, and every instance with it; `difference` tells what changed."),
    (
        "template.expanded",
        "A template's instances got more than they had, all at once; `reason` names the kinds, and members newly `allowed`.",
    ),
    ("template.enabled", "A template was enabled: its instances may do what they did before."),
    ("template.disabled", "A template was disabled: its instances are suspended, and nobody becomes a new one."),
    ("template.deleted", "A template was deleted, and every instance with it."),
    (
        "document.accepted",
        "A Client ID Metadata Document was fetched for the first time, and its client may be used; `client_id` is its URL.",
    ),
    (
        "document.changed",
        "A document says something else than before; `difference` tells what, `reason` what it expands.",
    ),
    ("document.refused", "A document is not believed, or no more; `findings` tell why. Under a quota."),
    ("document.blocked", "An operator blocked the client of a document; `reason` tells why."),
    (
        "document.allowed",
        "An operator allowed the client of a document that was blocked, or that waited to be looked at; `reason` tells why.",
    ),
    (
        "document.forgotten",
        "A document was forgotten, with everything that people had allowed its client: by an operator, or to make room (`reason`).",
    ),
    ("statement.issued", "An operator issued a software statement (RFC 7591 §2.3); `jti` names it."),
    ("statement.used", "A software statement that may be used once was used, in a registration or an update."),
    ("statement.revoked", "An operator revoked a software statement; what was registered with it stays."),
    ("administration.refused", "A call of the administration API was refused; `error` tells why. Under a quota."),
    (
        "token.issued",
        "An initial access token was issued: by an operator, or to a client that asked for the scope dcr.",
    ),
    ("token.revoked", "An operator revoked an initial access token."),
    (
        "webhook.disabled",
        "A webhook's endpoint answered that it is gone (410), and is told nothing more; `webhook` names it.",
    ),
    ("webhook.enabled", "An operator let a webhook be told again."),
    ("webhook.replayed", "An operator had messages sent to a webhook again; `count` tells how many."),
    ("issuer.key_created", "A signing key of the issuer was created: at the first start, or to replace an older one."),
    ("issuer.key_rewrapped", "The private half of a signing key was wrapped under the newest key-encryption key."),
    (
        "issuer.rewrapped",
        "What lay under older key-encryption keys was wrapped under the newest; `count` tells how much that was.",
    ),
    ("issuer.key_removed", "A signing key of the issuer was removed: nothing signed by it lives, or it was withdrawn."),
    (
        "audit.redacted",
        "What names people was erased beside `count` events; the events and their chain stay as they are.",
    ),
    (
        "audit.pruned",
        "Events older than the retention were taken away: those of the first `count` batches of the log. Their links stay.",
    ),
    ("grant.revoked", "What a person allowed a client ended, and every token under it; `reason` tells why."),
    ("person.added", "An account was made: by an operator, by its owner, or at the first sign-in from upstream."),
    ("person.changed", "An operator disabled or enabled an account, or set its password; `reason` tells which."),
    ("person.signed_in", "A person signed in."),
    ("person.signed_out", "A person signed out."),
    ("person.slowed", "Sign-ins failed so often that the next one has to wait; one event for each such wait."),
    ("consent.given", "A person let a client have `scope`."),
    ("consent.refused", "A person refused a client."),
)


class Actor(msgspec.Struct, frozen=True):
    """Who did it, and how that was established."""

    kind: str
    """`anonymous`, `client`, `token`, `operator`, `person`, or `registrar`: the server of its own accord."""
    authentication: str
    """`none`, `initial_access_token`, `access_token`, `registration_access_token`, `client_authentication` (the client's
    registered method), `local` (a shell on the server), `operator_token`, `session` (a person's)."""
    token_id: str = ""
    person: str = ""
    """Who the token belongs to; personal."""
    address: str = ""
    """Where the request came from; personal."""


class Event(msgspec.Struct, frozen=True):
    """An event ready to be stored: its canonical bytes, what to find it by, and the disclosures of its commitments."""

    issuer: str
    kind: str
    time_ms: int
    client_id: str
    body: bytes
    personal: bytes
    """JSON: member -> [salt, value]; empty when there is nothing personal."""


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The members that an event may have."""

    act: str = ""
    actor: str
    algorithm: str = ""
    allowed: Any = None
    assurance: str = ""
    authentication: str
    bound_to: Any = None
    certificate_thumbprint: str = ""
    client_class: str = ""
    client_id: str = ""
    client_name: Any = None
    count: int = 0
    difference: dict[str, Any] | None = None
    document_digest: str = ""
    endpoint: str = ""
    error: str = ""
    expires_at: int = 0
    findings: Sequence[Finding] = ()
    grant_types: Any = None
    issuer: str
    job: str = ""
    jti: str = ""
    jwk_thumbprints: Any = None
    jwks_uri: Any = None
    kid: str = ""
    kind: str
    kind_of_token: str = ""
    limit: str = ""
    max_uses: int | None = None
    personal: dict[str, str] | None = None
    policy: str = ""
    policy_digest: str = ""
    reason: str = ""
    redirect_uris: Any = None
    requested_redirect_uris: Any = None
    requested_scope: Any = None
    scope: Any = None
    selection: Any = None
    signed: str = ""
    since: int = 0
    software_id: Any = None
    subject: str = ""
    statement_digest: str = ""
    statement_issuer: str = ""
    template: str = ""
    time: int
    token_endpoint_auth_method: Any = None
    token_id: str = ""
    token_label: str = ""
    token_scope: Any = None
    v: int
    version: int = 0
    webhook: str = ""


_encode: Final = msgspec.json.Encoder(order="sorted").encode


def event(
    kind: str,
    *,
    issuer: str,
    time_ms: int,
    actor: Actor,
    salt: bytes,
    endpoint: str = "",
    client_id: str = "",
    token_id: str = "",
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """Compose an event.

    Args:
        kind: a row of `EVENTS`.
        issuer: the issuer's configured name.
        time_ms: milliseconds since 1970.
        actor: who did it.
        salt: `SALT_BYTES` random bytes, for the commitments.
        endpoint: the URL or command that it came in by.
        client_id: the client concerned, if there is one.
        token_id: the initial access token concerned; that of the actor where none is given.
        detail: further members; those without a value are left out.

    Raises:
        KeyError: no row of `EVENTS` has this name.
    """
    if kind not in EVENTS:
        raise KeyError(kind)
    committed: dict[str, str] | None = None
    disclosures = b""
    if actor.person or actor.address:
        committed, disclosed = {}, {}
        for name, value in (("address", actor.address), ("person", actor.person)):
            if value:
                # A salt each: to erase one disclosure must not leave the salt of another's commitment behind.
                own = hashlib.sha256(salt + name.encode()).digest()[:SALT_BYTES]
                committed[name] = _commitment(own, name, value)
                disclosed[name] = (own.hex(), value)
        disclosures = _encode(disclosed)
    body = _Body(
        v=VERSION,
        kind=kind,
        issuer=issuer,
        time=time_ms,
        actor=actor.kind,
        authentication=actor.authentication,
        endpoint=endpoint,
        client_id=client_id,
        personal=committed,
        token_id=token_id or actor.token_id,
        **(detail or {}),
    )
    return Event(issuer, kind, time_ms, client_id, _encode(body), disclosures)


def _commitment(salt: bytes, name: str, value: str) -> str:
    return hashlib.sha256(salt + f"{name}\0{value}".encode()).hexdigest()


def discloses(committed: str, salt: bytes, name: str, value: str) -> bool:
    """Whether a disclosure opens a commitment of an event."""
    return _commitment(salt, name, value) == committed


def registration_detail(
    client: Client,
    requested: Mapping[str, Any],
    findings: Sequence[Finding],
    policy_digest: str,
    certificate_thumbprint: str = "",
) -> dict[str, Any]:
    """What an event says of a registration or an update: what was asked for, what was registered, and by which rules.

    `certificate_thumbprint` is that of the certificate that the caller presented (RFC 8705 §3.1).

    `requested` has passed the checks of shape, so that what is repeated of it is text of a bounded length.
    """
    return {
        **registered(client.metadata),
        "requested_redirect_uris": requested.get("redirect_uris") or None,
        "requested_scope": requested.get("scope") or None,
        "assurance": client.admission.shown.value,
        "token_label": client.admission.label,
        "client_class": client.admission.client_class,
        "policy": client.policy,
        "policy_digest": policy_digest,
        "version": client.version,
        "certificate_thumbprint": certificate_thumbprint,
        "statement_issuer": client.admission.statement_issuer,
        "statement_digest": client.admission.statement_digest,
        "template": client.template,
        "findings": told(findings),
    }


def registered(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says of the metadata that was registered; None is absence. Receipts are held to it."""
    return {
        "redirect_uris": metadata.get("redirect_uris"),
        "scope": metadata.get("scope"),
        "grant_types": metadata.get("grant_types"),
        "token_endpoint_auth_method": metadata.get("token_endpoint_auth_method"),
        "client_name": metadata.get("client_name"),
        "software_id": metadata.get("software_id"),
        "jwks_uri": metadata.get("jwks_uri"),
        "jwk_thumbprints": jwks.thumbprints(metadata["jwks"]) if "jwks" in metadata else None,
    }


def told(findings: Iterable[Finding]) -> list[Finding]:
    """Findings as an event holds them, and as whoever asks for an explanation is told them."""
    return [*map(_impersonal, findings)]


def refusal_detail(
    error: str, description: str, requested: Mapping[str, Any], findings: Iterable[Finding]
) -> dict[str, Any]:
    """What an event says of a refusal. What was sent is repeated only in part, shortened and without credentials."""
    said = [*findings]
    impersonal = told(said)
    return {
        "error": error,
        # The description repeats a value, and where that may name a person, the kind of error has to do.
        "reason": description if said == impersonal else ERRORS[error].meaning,
        "requested_redirect_uris": _said(requested.get("redirect_uris")),
        "requested_scope": _said(requested.get("scope")),
        "client_name": _said(requested.get("client_name")),
        "software_id": _said(requested.get("software_id")),
        # Those that refuse first; a request can be made to give hundreds, and the event is somebody else's disk.
        "findings": sorted(impersonal, key=lambda one: not one.error)[:_SAID_ITEMS],
    }


_PERSONAL: Final = frozenset(name for name, row in MEMBERS.items() if row.personal)


def _impersonal(finding: Finding) -> Finding:
    """A finding as an event may hold it: what it says of a member that may name a person, it says without the value."""
    if finding.member.partition("[")[0] not in _PERSONAL:
        return finding
    return Finding(finding.rule, finding.member, finding.verdict, RULES[finding.rule].reason, error=finding.error)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Member -> [before, after], for every member of which the value changed; null is absence.

    What may name a person is told without its value.
    """
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return {
        name: ["changed"] if name in _PERSONAL else [_told(name, before.get(name)), _told(name, after.get(name))]
        for name in changed
    }


def _told(name: str, value: Any) -> Any:
    """A value as a difference tells it: keys and statements by their thumbprints, the rest as it is."""
    if name == "software_statement" and isinstance(value, str):
        return hashlib.sha256(value.encode()).hexdigest()
    return jwks.thumbprints(value) if name == "jwks" and value is not None else value


_SAID_ITEMS: Final = 20


def _said(value: Any) -> Any:
    if isinstance(value, list):
        return [shown(item) for item in value[:_SAID_ITEMS]]
    return None if value is None else shown(value)
