"""The credentials of a client after a request of its own: what rotates, what ends, what is wrapped anew, what is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from registrar.domain import coherence, credentials
from registrar.domain.client import Client
from registrar.domain.credentials import Credentials, PresentedToken, SecretRecord, TokenRecord
from registrar.domain.metadata import Registered
from registrar.domain.settings import Rotate
from registrar.policy import Policy
from registrar.service import issuance
from registrar.service.issuance import Cabinet
from registrar.service.proof_of_management import Session
from registrar.service.registry import Issuer, Registry

_UNUSED: Final = 4
"""Successors of one token that may wait for their first use."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """Credentials after a request, and what the answer shows of them."""

    credentials: Credentials
    secret: str = dataclasses.field(repr=False)
    token: PresentedToken = dataclasses.field(repr=False)
    secret_rotated: bool = False

    def changes(self, client: Client) -> bool:
        """Whether there is anything to store."""
        return self.credentials != client.credentials


def renew(
    registry: Registry,
    issuer: Issuer,
    session: Session,
    metadata: Registered,
    now: int,
    *,
    updating: bool,
    policy: Policy | None = None,
) -> Renewal:
    """The credentials after this request: what rotates, what ends, what is wrapped anew, and what is shown."""
    client = session.client
    held = client.credentials
    token = session.token if not _rotates(issuer, session, updating=updating) else issuance.mint_token(registry)
    kept = _living_tokens(issuer, session, token, now)
    if not coherence.needs_secret(metadata):
        tokens = tuple(TokenRecord(record.digest, None, record.until) for record in kept)
        fresh = (TokenRecord(credentials.digest(token)),) if token != session.token else ()
        return Renewal(Credentials((*fresh, *tokens)), "", token)
    cabinet = issuance.open_with_token(registry, issuer, client.client_id, held, session.record, session.token)
    if cabinet is None or not held.secrets:
        cabinet = issuance.new_cabinet(registry, issuer, client.client_id)
    # A read replaces nothing, and a first secret comes with the update that needs it; only those ask the policy.
    policy = policy or Policy("")
    lifetime = issuance.most(policy, client.expires_at, now)
    due = updating and bool(held.secrets) and _secret_is_due(issuer, policy, held.secrets[0], now)
    window = issuance.overlap(issuer, policy)
    secret, secrets = _secrets(cabinet, held.secrets, now, due=due, lifetime=lifetime, window=window)
    tokens = _wrapped_tokens(cabinet, kept, session, token)
    shared = None
    if coherence.needs_symmetric_key(metadata) or session.record is None:
        # An update wraps anew, so that a key-encryption key can be retired once every client has come by.
        shared = (None if updating else held.data_key) or cabinet.wrap_for_server()
    return Renewal(Credentials(tokens, secrets, shared), secret, token, secrets[0].version != _version(held.secrets))


def _rotates(issuer: Issuer, session: Session, *, updating: bool) -> bool:
    """Whether this request gets a new token. One that comes with the old token has lost the new one: it gets another."""
    rotate = issuer.settings.registration_access_token.rotate
    if session.record is None:
        return False
    return not session.latest or rotate is Rotate.READ or (rotate is Rotate.UPDATE and updating)


def _living_tokens(issuer: Issuer, session: Session, token: PresentedToken, now: int) -> list[TokenRecord]:
    """The tokens that go on, newest first: the presented one, for a bounded time if it is replaced, and its successors.

    A successor of the presented token has never been used, so the answer that carried it may still be on its way: of
    two requests at once, neither answer may hold a dead token. Predecessors end here.
    """
    if session.record is None:
        return []
    if token == session.token:
        return [msgspec.structs.replace(session.record, until=0)]
    until = now + issuer.settings.registration_access_token.overlap
    held = session.client.credentials.tokens
    unused = [record for record in held[: held.index(session.record)] if not record.until or now < record.until]
    return [
        *(msgspec.structs.replace(record, until=record.until or until) for record in unused[:_UNUSED]),
        msgspec.structs.replace(session.record, until=session.record.until or until),
    ]


def _wrapped_tokens(
    cabinet: Cabinet, kept: Sequence[TokenRecord], session: Session, token: PresentedToken
) -> tuple[TokenRecord, ...]:
    """Each token with the data key under it; a wrapping that is there already stays as it is.

    One that has none and is not at hand cannot be wrapped, and ends.
    """
    tokens = [TokenRecord(credentials.digest(token), cabinet.wrap_for(token))] if token != session.token else []
    had_secrets = bool(session.client.credentials.secrets)
    for record in kept:
        wrapping = record.data_key if had_secrets else None
        if wrapping is None and session.record is not None and record.digest == session.record.digest:
            wrapping = cabinet.wrap_for(session.token)
        if wrapping is not None:
            tokens.append(msgspec.structs.replace(record, data_key=wrapping))
    return tuple(tokens)


def _secrets(
    cabinet: Cabinet, held: tuple[SecretRecord, ...], now: int, *, due: bool, lifetime: int, window: int
) -> tuple[str, tuple[SecretRecord, ...]]:
    """The secret to show, and the records: a first one, the same, or a new one beside the superseded."""
    living = tuple(record for record in held[1:] if record.lives(now))
    if not held:
        secret, record = cabinet.mint_secret(1, now, lifetime)
        return secret, (record,)
    if not due:
        return cabinet.secret(held[0]), (held[0], *living)
    secret, record = cabinet.mint_secret(held[0].version + 1, now, lifetime)
    old = issuance.superseded(held[0], now + window)
    return secret, (record, *[one for one in (old, *living) if one.lives(now)][: issuance.SUPERSEDED])


def _secret_is_due(issuer: Issuer, policy: Policy, current: SecretRecord, now: int) -> bool:
    """Whether an update replaces the secret: always, by policy or setting, or because its end is nearer than the overlap."""
    if policy.rotation.secret_on_update or issuer.settings.client_secret.rotate_on_update:
        return True
    return bool(current.expires_at and now >= current.expires_at - issuance.overlap(issuer, policy))


def _version(secrets: tuple[SecretRecord, ...]) -> int:
    return secrets[0].version if secrets else 1
