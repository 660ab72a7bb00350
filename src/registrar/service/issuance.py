"""Minting, sealing and opening the credentials of a client; the rules are those of `domain.credentials`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registrar.domain import coherence, credentials
from registrar.domain.client import Client, information
from registrar.domain.credentials import (
    KEY_BYTES,
    NONCE_BYTES,
    SECRET_BYTES,
    TOKEN_BYTES,
    Credentials,
    PresentedToken,
    Sealed,
    SecretRecord,
    TokenRecord,
    Unreadable,
    Wrapped,
)
from registrar.domain.findings import rule
from registrar.domain.metadata import Registered
from registrar.policy import Policy
from registrar.policy.evidence import ManagementProof
from registrar.service.registry import Issuer, Registry

_PLAIN: Final = Policy("")
SUPERSEDED: Final = 8
"""Superseded secrets that live on beside the current one at the most, however fast a client rotates."""

NO_KEK: Final = rule(
    "credentials.kek",
    "engineering",
    "needs a key that the server can read at run time, and this server has no key-encryption key",
    "an asymmetric algorithm or private_key_jwt, or a server with server.key_file",
)


class Issued(msgspec.Struct, frozen=True):
    """Credentials to be stored, and the plain values that the answer shows once."""

    credentials: Credentials
    secret: str = ""
    token: str = ""

    def __repr__(self) -> str:
        """Without the values: what prints the values of a traceback must not print these."""
        return "Issued(...)"


class Cabinet:
    """The credentials of one client, opened: its data key at hand, so that secrets can be read and written.

    Everything it makes is bound to the issuer and the client by associated data.
    """

    def __init__(self, registry: Registry, issuer: Issuer, client_id: str, data_key: bytes) -> None:
        self._registry, self._issuer, self._client_id, self._key = registry, issuer, client_id, data_key

    def secret(self, record: SecretRecord) -> str:
        """The secret itself.

        Raises:
            Unreadable: it is superseded, or the database was altered.
        """
        if record.sealed is None:
            raise Unreadable
        return credentials.unseal(self._key, record.sealed, self._context("client_secret", record.version)).decode()

    def mint_secret(self, version: int, now: int, most: int = 0) -> tuple[str, SecretRecord]:
        """A new secret and its record; it lives as long as the issuer's secrets do, and `most` seconds at the most."""
        value = credentials.secret(self._registry.entropy(SECRET_BYTES))
        sealed = credentials.seal(
            self._key, self._registry.entropy(NONCE_BYTES), value.encode(), self._context("client_secret", version)
        )
        ordinary = self._issuer.settings.client_secret.lifetime
        lifetime = min(ordinary or most, most or ordinary)
        return value, SecretRecord(credentials.digest(value), sealed, version, now, now + lifetime if lifetime else 0)

    def wrap_for(self, token: PresentedToken) -> Sealed:
        """The data key under a token's key."""
        return credentials.seal(
            credentials.key_of_token(token),
            self._registry.entropy(NONCE_BYTES),
            self._key,
            self._context("data_key", 0),
        )

    def wrap_for_server(self) -> Wrapped:
        """The data key under the key-encryption key."""
        return self._registry.keys.wrap(self._registry.entropy(NONCE_BYTES), self._key, self._context("data_key", 0))

    def _context(self, purpose: str, version: int) -> bytes:
        return credentials.context(self._issuer.name, self._client_id, purpose, version)


def new_cabinet(registry: Registry, issuer: Issuer, client_id: str) -> Cabinet:
    """A cabinet under a new data key."""
    return Cabinet(registry, issuer, client_id, registry.entropy(KEY_BYTES))


def open_with_token(
    registry: Registry,
    issuer: Issuer,
    client_id: str,
    held: Credentials,
    record: TokenRecord | None,
    token: PresentedToken,
) -> Cabinet | None:
    """The cabinet of a client whose token is at hand; None where the client has nothing sealed.

    Raises:
        Unreadable: the data key does not open; a key-encryption key is missing, or the database was altered.
    """
    associated = credentials.context(issuer.name, client_id, "data_key", 0)
    if record is not None and record.data_key is not None:
        key = credentials.unseal(credentials.key_of_token(token), record.data_key, associated)
        return Cabinet(registry, issuer, client_id, key)
    if held.data_key is not None:
        return Cabinet(registry, issuer, client_id, registry.keys.unwrap(held.data_key, associated))
    return None


def open_by_server(registry: Registry, issuer: Issuer, client: Client) -> Cabinet | None:
    """The cabinet of a client whose data key lies under the key-encryption key; None where only its token opens it.

    Raises:
        Unreadable: the key-encryption key is missing, or the database was altered.
    """
    if client.credentials.data_key is None:
        return None
    associated = credentials.context(issuer.name, client.client_id, "data_key", 0)
    return Cabinet(registry, issuer, client.client_id, registry.keys.unwrap(client.credentials.data_key, associated))


def readable_secret(registry: Registry, issuer: Issuer, client: Client) -> str:
    """The current secret of a client, where the server keeps it readable: as the key of a symmetric algorithm.

    Raises:
        Unreadable: it is not kept readable, has expired, or the key-encryption key is missing.
    """
    held = client.credentials
    cabinet = open_by_server(registry, issuer, client)
    if cabinet is None or not held.secrets or not held.secrets[0].lives(registry.clock() // 1000):
        raise Unreadable
    return cabinet.secret(held.secrets[0])


def most(policy: Policy, expires_at: int, now: int) -> int:
    """Seconds that a secret lives at the most: as the policy says, and never longer than its client; 0 is no limit."""
    left = expires_at - now if expires_at else 0
    return min(policy.lifetime.secret or left, left or policy.lifetime.secret)


def overlap(issuer: Issuer, policy: Policy) -> int:
    """Seconds for which a replaced secret still works."""
    return policy.rotation.overlap or issuer.settings.client_secret.overlap


def mint_token(registry: Registry) -> PresentedToken:
    """A new registration or initial access token."""
    return credentials.token(registry.entropy(TOKEN_BYTES))


def mint(
    registry: Registry, issuer: Issuer, client_id: str, metadata: Registered, now: int, policy: Policy = _PLAIN
) -> Issued:
    """The first credentials of a client: a token where it manages itself with one, a secret where it needs one."""
    managed = issuer.managed and ManagementProof.REGISTRATION_ACCESS_TOKEN in policy.management.proofs
    token = mint_token(registry) if managed else PresentedToken("")
    if not coherence.needs_secret(metadata):
        tokens = (TokenRecord(credentials.digest(token)),) if token else ()
        return Issued(Credentials(tokens), token=token)
    cabinet = new_cabinet(registry, issuer, client_id)
    ends = now + policy.lifetime.client if policy.lifetime.client else 0
    secret, record = cabinet.mint_secret(1, now, most(policy, ends, now))
    tokens = (TokenRecord(credentials.digest(token), cabinet.wrap_for(token)),) if token else ()
    # Where no registration access token will ever open the secret, the server must be able to show it.
    by_server = coherence.needs_symmetric_key(metadata) or (issuer.managed and not token)
    shared = cabinet.wrap_for_server() if by_server else None
    return Issued(Credentials(tokens, (record,), shared), secret, token)


def answer(issuer: Issuer, client: Client, issued: Issued) -> dict[str, Any]:
    """The client information response that shows fresh credentials (RFC 7591 §3.2.1)."""
    return information(
        client,
        secret=issued.secret,
        registration_client_uri=issuer.registration_client_uri(client) if issued.token else "",
        registration_access_token=issued.token,
    )


def superseded(record: SecretRecord, until: int) -> SecretRecord:
    """A secret that a newer one replaced: it authenticates until the overlap or its own time ends, and is shown no more."""
    end = min(one for one in (until, record.until, record.expires_at) if one)
    return msgspec.structs.replace(record, sealed=None, until=end)
