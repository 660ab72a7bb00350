"""The keys that a client's signatures are verified with: registered by value or by reference, or its secret."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from registrar.domain.client import Client
from registrar.domain.credentials import Unreadable
from registrar.domain.jws import JWK
from registrar.service import issuance
from registrar.service.registry import Issuer, Registry


async def public(registry: Registry, client: Client, kid: str | None) -> Sequence[JWK]:
    """The registered public keys; of a `jwks_uri` those that stand there now, if the kept ones have no such `kid`.

    Raises:
        KeysUnavailable: the `jwks_uri` cannot be fetched.
    """
    if "jwks_uri" in client.metadata:
        return await registry.key_sets.keys(client.metadata["jwks_uri"], kid)
    keys: Sequence[JWK] = client.metadata.get("jwks", {}).get("keys", ())
    return keys


def secret(registry: Registry, issuer: Issuer, client: Client, kid: str | None) -> Sequence[JWK]:
    """The client secret as a key (OpenID Connect Core §10.1); none where the server cannot read it."""
    try:
        value = issuance.readable_secret(registry, issuer, client)
    except Unreadable:
        return ()
    octets = base64.urlsafe_b64encode(value.encode()).rstrip(b"=").decode()
    return ({"kty": "oct", "k": octets, **({} if kid is None else {"kid": kid})},)
