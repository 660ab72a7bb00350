"""The signing keys of an issuer: made once, their private halves wrapped, their public halves published at `/jwks`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from registrar.domain.credentials import NONCE_BYTES, context
from registrar.domain.events import Actor
from registrar.domain.jwks import RSA_BITS
from registrar.service.ports import Conflict, SigningKey
from registrar.service.registry import Issuer, Registry

KEYS: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms of which an issuer has a key of its own; its RSA key serves PS256 as well (RFC 7518 §3.5)."""


async def ensure(registry: Registry, issuer: Issuer) -> None:
    """Make the keys that an issuer lacks. Without a key-encryption key there is nowhere to keep them, and none is made.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not registry.keys:
        return
    have = {key.algorithm for key in await registry.store.keys(issuer.name)}
    for algorithm in KEYS:
        if algorithm in have:
            continue
        key = await asyncio.to_thread(_generate, algorithm)
        kid = str(key.thumbprint())
        private = msgspec.json.encode(key.as_dict(private=True))
        associated = context(issuer.name, kid, "signing_key", 0)
        now_ms = registry.clock()
        record = SigningKey(
            issuer=issuer.name,
            kid=kid,
            algorithm=algorithm,
            public=msgspec.json.encode({**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}),
            private=registry.keys.wrap(registry.entropy(NONCE_BYTES), private, associated),
            created_at=now_ms // 1000,
        )
        detail = {"kid": kid, "algorithm": algorithm}
        event = registry.audit.event(
            "issuer.key_created", issuer.name, Actor("operator", "local"), endpoint="start", detail=detail
        )
        try:
            await registry.store.add_key(record, event)
        except Conflict:
            continue  # another process that started at the same moment made it


async def published(registry: Registry, issuer: Issuer) -> dict[str, Any]:
    """The issuer's public key set (RFC 7517 §5)."""
    return {"keys": [msgspec.json.decode(key.public) for key in await registry.store.keys(issuer.name)]}


def _generate(algorithm: str) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if algorithm == "RS256":
        return RSAKey.generate_key(RSA_BITS, private=True)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", private=True)
    return ECKey.generate_key("P-256", private=True)
