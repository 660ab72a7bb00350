"""The signing keys of an issuer: made, replaced, and taken away; their public halves are published at `/jwks`.

A key of each algorithm signs; one that a newer generation has replaced is published until nothing signed by it lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain.credentials import NONCE_BYTES, Unreadable, context
from registrar.domain.events import Actor
from registrar.domain.jwks import RSA_BITS
from registrar.service.opened_keys import Signer
from registrar.service.ports import Conflict, NotFound, SigningKey
from registrar.service.registry import Issuer, Registry

KEYS: Final = ("RS256", "ES256", "EdDSA")
"""The algorithms of which an issuer has a key of its own."""

KEY_OF: Final[Mapping[str, str]] = {**{name: name for name in KEYS}, "PS256": "RS256"}
"""Algorithm -> the key that it is signed with: RSA keys serve both paddings (RFC 7518 §3.3, §3.5)."""

log = logging.getLogger("registrar")

_START: Final = Actor("operator", "local")
_MARGIN: Final = 600
"""Seconds that a replaced key is published beyond the life of what it signed: for clocks that differ, and for caches."""


class Held(NamedTuple):
    """A key of an issuer, and until when it is published, in seconds since 1970; 0 while it signs."""

    key: SigningKey
    until: int

    def published(self, now: int) -> bool:
        """Whether it stands in the key set."""
        return not self.until or now < self.until


async def ensure(registry: Registry, issuer: Issuer) -> None:
    """Make the keys that an issuer lacks. Without a key-encryption key there is nowhere to keep them, and none is made.

    Keys that this process cannot open are told of, and nothing else: whoever has lost the key file goes on without them.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not registry.keys:
        return
    newest = _newest(await registry.store.keys(issuer.name))
    for algorithm in KEYS:
        if algorithm not in newest:
            await make(registry, issuer.name, algorithm, 1, _START, "start")
    try:
        for key in newest.values():
            _private(registry, key)
    except Unreadable:
        log.error(  # noqa: TRY400 (the operator reads one line)
            "the key file does not open the signing keys of the issuer %s: it is not the one that they were made with; "
            "nothing is signed here until it is, or until `registrar keys rotate` has made new ones",
            issuer.name,
        )


async def rotate(
    registry: Registry,
    issuer: Issuer,
    actor: Actor,
    *,
    endpoint: str,
    algorithms: Collection[str] = KEYS,
    withdraw: bool = False,
) -> list[SigningKey]:
    """Make a newer key of each algorithm, which signs from now on, and remove those of which nothing lives any more.

    Other processes sign with the new key within `opened_keys.AGAIN_MS`.

    Args:
        registry: what every use case is given.
        issuer: whose keys these are.
        actor: who rotates them.
        endpoint: by which door.
        algorithms: of `KEYS`.
        withdraw: whether the replaced keys are removed at once, with whatever they signed; for a key that leaked.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    made = []
    for algorithm in algorithms:
        generation = max(
            (key.generation for key in await registry.store.keys(issuer.name) if key.algorithm == algorithm), default=0
        )
        if key := await make(registry, issuer.name, algorithm, generation + 1, actor, endpoint):
            made.append(key)
    now = registry.clock() // 1000
    for held in await listed(registry, issuer):
        replaced = held.until and held.key.algorithm in algorithms
        if not held.published(now) or (withdraw and replaced):
            await _remove(registry, issuer, held.key, actor, endpoint, "withdrawn" if withdraw else "outlived")
    registry.opened.forget(issuer.name)
    return made


async def listed(registry: Registry, issuer: Issuer) -> list[Held]:
    """Every key that is stored, oldest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    stored = await registry.store.keys(issuer.name)
    signed = issuer.settings.openid.id_token_lifetime, issuer.settings.authorization.access_token_lifetime
    lasts = max(signed) + _MARGIN
    until: dict[str, int] = {}
    for algorithm in {key.algorithm for key in stored}:
        generations = sorted((key for key in stored if key.algorithm == algorithm), key=lambda key: key.generation)
        until |= {older.kid: newer.created_at + lasts for older, newer in pairwise(generations)}
    return [Held(key, until.get(key.kid, 0)) for key in stored]


async def published(registry: Registry, issuer: Issuer) -> dict[str, Any]:
    """The issuer's public key set (RFC 7517 §5).

    Raises:
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    return {"keys": [_public(held.key) for held in await listed(registry, issuer) if held.published(now)]}


async def known(registry: Registry, issuer: Issuer) -> list[dict[str, Any]]:
    """The public halves of every key that is stored, also of those that are published no more.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return [_public(key) for key in await registry.store.keys(issuer.name)]


async def signer(registry: Registry, issuer: Issuer, algorithm: str) -> Signer:
    """The key that signs with an algorithm now.

    Raises:
        KeyError: the issuer has no key for it.
        Unreadable: its key-encryption key is missing.
        StoreUnavailable: the store does not answer.
    """
    now_ms = registry.clock()
    signers = registry.opened.get(issuer.name, now_ms)
    if signers is None:
        signers = opened(registry, issuer.name, await registry.store.keys(issuer.name))
        registry.opened.keep(issuer.name, signers, now_ms)
    return signers[KEY_OF[algorithm]]


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
        StoreUnavailable: the store does not answer.
    """
    from joserfc import jwt

    own = await signer(registry, issuer, algorithm)
    header = {"alg": algorithm, "kid": own.kid, "typ": "JWT"}
    return jwt.encode(header, dict(claims), own.key, algorithms=[algorithm])


def opened(registry: Registry, issuer: str, stored: Sequence[SigningKey]) -> dict[str, Signer]:
    """Algorithm -> the key that signs with it: the newest.

    Raises:
        Unreadable: its key-encryption key is missing.
    """
    from joserfc.jwk import JWKRegistry

    known = registry.opened.known(issuer)
    signers: dict[str, Signer] = {}
    for algorithm, key in _newest(stored).items():
        if (found := known.get(key.kid)) is None:
            found = Signer(key.kid, JWKRegistry.import_key(_private(registry, key)))
        signers[algorithm] = found
    return signers


def verifying(registry: Registry, key: SigningKey) -> dict[str, Any]:
    """The public half of a key, taken from its private half: what is stored as its public one need not be.

    Raises:
        Unreadable: its key-encryption key is missing, or it is the key of something else.
    """
    from joserfc.jwk import JWKRegistry

    public = JWKRegistry.import_key(_private(registry, key)).as_dict(private=False)
    return {**public, "kid": key.kid, "use": "sig", "alg": key.algorithm}


def _newest(stored: Sequence[SigningKey]) -> dict[str, SigningKey]:
    """Algorithm -> the key that signs with it."""
    return {key.algorithm: key for key in sorted(stored, key=lambda key: key.generation)}


def _private(registry: Registry, key: SigningKey) -> dict[str, Any]:
    opened = registry.keys.unwrap(key.private, context(key.issuer, key.kid, "signing_key", 0))
    private: dict[str, Any] = msgspec.json.decode(opened)
    return private


def _public(key: SigningKey) -> dict[str, Any]:
    public: dict[str, Any] = msgspec.json.decode(key.public)
    if public["kty"] == "RSA":
        public.pop("alg", None)  # it signs with two algorithms, and a key that names one is refused for the other
    return public


async def make(
    registry: Registry, issuer: str, algorithm: str, generation: int, actor: Actor, endpoint: str
) -> SigningKey | None:
    """A new key; None where another process made the one of this generation at the same moment.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    key = await asyncio.to_thread(_generate, algorithm)
    kid = str(key.thumbprint())
    private = msgspec.json.encode(key.as_dict(private=True))
    record = SigningKey(
        issuer=issuer,
        kid=kid,
        algorithm=algorithm,
        public=msgspec.json.encode({**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}),
        private=registry.keys.wrap(registry.entropy(NONCE_BYTES), private, context(issuer, kid, "signing_key", 0)),
        created_at=registry.clock() // 1000,
        generation=generation,
    )
    event = registry.audit.event(
        "issuer.key_created", issuer, actor, endpoint=endpoint, detail={"kid": kid, "algorithm": algorithm}
    )
    try:
        await registry.store.add_key(record, event)
    except Conflict:
        return None
    return record


async def _remove(
    registry: Registry, issuer: Issuer, key: SigningKey, actor: Actor, endpoint: str, reason: str
) -> None:
    detail = {"kid": key.kid, "algorithm": key.algorithm, "reason": reason}
    event = registry.audit.event("issuer.key_removed", issuer.name, actor, endpoint=endpoint, detail=detail)
    try:
        await registry.store.remove_key(issuer.name, key.kid, event)
    except NotFound:
        return  # another process was first


def _generate(algorithm: str) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    match algorithm:
        case "RS256":
            return RSAKey.generate_key(RSA_BITS, private=True)
        case "ES256":
            return ECKey.generate_key("P-256", private=True)
        case _:
            return OKPKey.generate_key("Ed25519", private=True)
