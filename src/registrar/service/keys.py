"""The signing keys of an issuer: made once, their private halves wrapped, their public halves published at `/jwks`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registrar.domain.credentials import NONCE_BYTES, context
from registrar.domain.events import Actor
from registrar.domain.jwks import RSA_BITS
from registrar.service.ports import Conflict, SigningKey
from registrar.service.registry import Issuer, Registry

KEYS: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms of which an issuer has a key of its own; its RSA key serves PS256 as well (RFC 7518 §3.5)."""


KEY_OF: Final[Mapping[str, str]] = {**{name: name for name in KEYS}, "PS256": "RS256"}
"""Algorithm -> the key that it is signed with."""


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
    return {"keys": await known(registry, issuer)}


async def known(registry: Registry, issuer: Issuer) -> list[dict[str, Any]]:
    """The public halves of every key that is stored."""
    return [_public(key) for key in await registry.store.keys(issuer.name)]


def _public(key: SigningKey) -> dict[str, Any]:
    public: dict[str, Any] = msgspec.json.decode(key.public)
    if public["kty"] == "RSA":
        public.pop("alg", None)  # it signs with two algorithms, and a key that names one is refused for the other
    return public


async def sign(registry: Registry, issuer: Issuer, algorithm: str, claims: Mapping[str, Any]) -> str:
    """Claims as a compact JWS of the issuer (RFC 7515 §3.1).

    Args:
        registry: what every use case is given.
        issuer: whose key signs.
        algorithm: of `KEY_OF`.
        claims: what is signed.

    Raises:
        KeyError: the issuer has no key for it; `ensure` makes one.
        Unreadable: its key-encryption key is missing.
    """
    from joserfc import jwt
    from joserfc.jwk import JWKRegistry

    record = {key.algorithm: key for key in await registry.store.keys(issuer.name)}[KEY_OF[algorithm]]
    private = registry.keys.unwrap(record.private, context(issuer.name, record.kid, "signing_key", 0))
    key = JWKRegistry.import_key(msgspec.json.decode(private))
    return jwt.encode({"alg": algorithm, "kid": record.kid, "typ": "JWT"}, dict(claims), key, algorithms=[algorithm])


def _generate(algorithm: str) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if algorithm == "RS256":
        return RSAKey.generate_key(RSA_BITS, private=True)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", private=True)
    return ECKey.generate_key("P-256", private=True)
