"""Minting, sealing and opening the credentials of a client; the rules are those of `domain.credentials`."""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.domain import coherence, credentials
from registrar.domain.client import Client
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
from registrar.service.registry import Issuer, Registry

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

    def mint_secret(self, version: int, now: int) -> tuple[str, SecretRecord]:
        """A new secret and its record."""
        value = credentials.secret(self._registry.entropy(SECRET_BYTES))
        sealed = credentials.seal(
            self._key, self._registry.entropy(NONCE_BYTES), value.encode(), self._context("client_secret", version)
        )
        lifetime = self._issuer.settings.client_secret.lifetime
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
    registry: Registry, issuer: Issuer, client_id: str, held: Credentials, record: TokenRecord, token: PresentedToken
) -> Cabinet | None:
    """The cabinet of a client whose token is at hand; None where the client has nothing sealed.

    Raises:
        Unreadable: the data key does not open; a key-encryption key is missing, or the database was altered.
    """
    associated = credentials.context(issuer.name, client_id, "data_key", 0)
    if record.data_key is not None:
        key = credentials.unseal(credentials.key_of_token(token), record.data_key, associated)
        return Cabinet(registry, issuer, client_id, key)
    if held.data_key is not None:
        return Cabinet(registry, issuer, client_id, registry.keys.unwrap(held.data_key, associated))
    return None


def readable_secret(registry: Registry, issuer: Issuer, client: Client) -> str:
    """The current secret of a client, where the server keeps it readable: as the key of a symmetric algorithm.

    Raises:
        Unreadable: it is not kept readable, has expired, or the key-encryption key is missing.
    """
    held = client.credentials
    if held.data_key is None or not held.secrets or not held.secrets[0].lives(registry.clock() // 1000):
        raise Unreadable
    associated = credentials.context(issuer.name, client.client_id, "data_key", 0)
    key = registry.keys.unwrap(held.data_key, associated)
    return Cabinet(registry, issuer, client.client_id, key).secret(held.secrets[0])


def mint_token(registry: Registry) -> PresentedToken:
    """A new registration or initial access token."""
    return credentials.token(registry.entropy(TOKEN_BYTES))


def mint(registry: Registry, issuer: Issuer, client_id: str, metadata: Registered, now: int) -> Issued:
    """The first credentials of a client: a token where registrations are managed, a secret where it needs one."""
    token = mint_token(registry) if issuer.managed else PresentedToken("")
    if not coherence.needs_secret(metadata):
        tokens = (TokenRecord(credentials.digest(token)),) if token else ()
        return Issued(Credentials(tokens), token=token)
    cabinet = new_cabinet(registry, issuer, client_id)
    secret, record = cabinet.mint_secret(1, now)
    tokens = (TokenRecord(credentials.digest(token), cabinet.wrap_for(token)),) if token else ()
    shared = cabinet.wrap_for_server() if coherence.needs_symmetric_key(metadata) else None
    return Issued(Credentials(tokens, (record,), shared), secret, token)


def superseded(record: SecretRecord, until: int) -> SecretRecord:
    """A secret that a newer one replaced: it authenticates until the overlap ends and is shown no more."""
    end = min(until, record.until) if record.until else until
    return msgspec.structs.replace(record, sealed=None, until=end)
