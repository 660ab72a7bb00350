"""What a client sees a person as (OpenID Connect Core §8): the same identifier everywhere, or one for each sector."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import msgspec

from registrar.domain import uri as grammar
from registrar.domain.client import Client
from registrar.domain.credentials import KEY_BYTES, NONCE_BYTES, Unreadable, Wrapped, context
from registrar.domain.errors import ProtocolError
from registrar.service.ports import Conflict, Item, Put
from registrar.service.registry import Issuer, Registry
from registrar.service.rewrapping import PAIRWISE_SECRET

KIND: Final = PAIRWISE_SECRET
"""What the secret is called among the items of a store; an issuer has one, for ever: with it the identifiers change."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Wrapped).decode


async def for_client(registry: Registry, issuer: Issuer, client: Client, subject: str) -> str:
    """The `sub` of a person at a client.

    Raises:
        ProtocolError: `server_error`; the key-encryption key is missing.
        StoreUnavailable: the store does not answer.
    """
    if client.metadata.get("subject_type") != "pairwise":
        return subject
    # HMAC (OpenID Connect Core §8.1): the same for a sector each time, and nobody without the secret can turn it
    # back, or tell that two of them are one person.
    text = f"{sector(client)}\0{subject}".encode()
    return (
        base64.urlsafe_b64encode(hmac.digest(await _secret(registry, issuer), text, hashlib.sha256))
        .rstrip(b"=")
        .decode()
    )


def sector(client: Client) -> str:
    """Whose clients see a person as the same: the host of `sector_identifier_uri`, or of the redirect URIs."""
    uris = [client.metadata.get("sector_identifier_uri", ""), *client.metadata.get("redirect_uris", ())]
    # A private-use scheme has no host; then the application is its own sector, and so is a client without addresses.
    return next((grammar.host_of(uri) or uri for uri in uris if uri), client.client_id)


async def _secret(registry: Registry, issuer: Issuer) -> bytes:
    associated = context(issuer.name, "", KIND, 0)
    if item := await registry.store.item(issuer.name, KIND, KIND):
        try:
            return registry.keys.unwrap(_decode(item.body), associated)
        except Unreadable:
            raise ProtocolError(
                "server_error", "The key of pairwise identifiers is missing; the operator can tell."
            ) from None
    secret = registry.entropy(KEY_BYTES)
    wrapped = registry.keys.wrap(registry.entropy(NONCE_BYTES), secret, associated)
    try:
        await registry.store.change([Put(Item(issuer.name, KIND, KIND, _encode(wrapped)), expected=0)])
    except Conflict:
        return await _secret(registry, issuer)  # another process made it at the same moment
    return secret
