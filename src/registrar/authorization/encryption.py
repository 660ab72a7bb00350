"""Encryption (RFC 7516): for a client under the keys that it registered, and between the two under its secret."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from registrar.authorization import client_keys
from registrar.domain import strict_json
from registrar.domain.client import Client
from registrar.domain.credentials import Unreadable
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import JWK
from registrar.domain.server_metadata import SYMMETRIC
from registrar.domain.strict_json import NotStrict
from registrar.service import issuance
from registrar.service.key_sets import KeysUnavailable
from registrar.service.registry import Issuer, Registry

_KEY_BYTES: Final = {"A256KW": 32, "A128GCM": 16, "A256GCM": 32, "A128CBC-HS256": 32, "A256CBC-HS512": 64}
"""What an algorithm is keyed with; of `dir`, the content encryption is (RFC 7518 §4.5)."""
_CURVES: Final = ("P-256", "P-384", "P-521", "X25519")


async def encrypt_for(
    registry: Registry, issuer: Issuer, client: Client, plaintext: bytes, what: str, *, nested: bool = True
) -> str:
    """A text as a compact JWE, as a client registered for a kind of answer.

    Args:
        registry: what every use case is given.
        issuer: who encrypts.
        client: for whom.
        plaintext: a signed token, or what is not signed at all.
        what: `id_token`, `userinfo`, `introspection` or `authorization`: the members that say how.
        nested: whether the plaintext is itself a JWT (RFC 7519 §5.2).

    Raises:
        ProtocolError: `invalid_request`; the client has no key for it.
    """
    from joserfc import jwe
    from joserfc.jwk import JWKRegistry, OctKey

    alg = client.metadata[f"{what}_encrypted_response_alg"]
    enc = client.metadata.get(f"{what}_encrypted_response_enc", "A128CBC-HS256")
    header = {"alg": alg, "enc": enc}
    if nested:
        header["cty"] = "JWT"
    key: Any
    if alg in SYMMETRIC:
        key = OctKey.import_key(_key_of_secret(registry, issuer, client, enc if alg == "dir" else alg))
    else:
        chosen = await _key(registry, client, alg)
        if "kid" in chosen:
            header["kid"] = chosen["kid"]
        key = JWKRegistry.import_key({name: chosen[name] for name in _MATERIAL if name in chosen})
    return jwe.encrypt_compact(header, plaintext, key, algorithms=[alg, enc])


class Undecipherable(Exception):  # noqa: N818 (what was found out about a text)
    """An encrypted text that is not opened, and why."""


def decrypted(registry: Registry, issuer: Issuer, client: Client, compact: str) -> str:
    """What a client encrypted under its secret, with the algorithms that it registered for request objects.

    Raises:
        Undecipherable: it says other algorithms, is compressed, or does not open.
    """
    from joserfc import jwe
    from joserfc.errors import JoseError
    from joserfc.jwk import OctKey

    alg = client.metadata.get("request_object_encryption_alg")
    if alg is None:
        raise Undecipherable("this client registered no request_object_encryption_alg")
    enc = client.metadata.get("request_object_encryption_enc", "A128CBC-HS256")
    try:
        header = strict_json.read_object(base64.urlsafe_b64decode(compact.partition(".")[0] + "=="))
    except (ValueError, NotStrict):
        raise Undecipherable("its header is not JSON in base64url") from None
    if header.get("alg") != alg or header.get("enc") != enc:
        raise Undecipherable(f"it is to be encrypted with {alg} and {enc}, as registered")
    if "zip" in header or "crit" in header:  # a few bytes can be made to grow without end
        raise Undecipherable("it is compressed or has an extension, and neither is taken")
    try:
        key = OctKey.import_key(_key_of_secret(registry, issuer, client, enc if alg == "dir" else alg))
        plaintext = jwe.decrypt_compact(compact, key, algorithms=[alg, enc]).plaintext
        return (plaintext or b"").decode("ascii")
    except (JoseError, ProtocolError, ValueError):
        raise Undecipherable("it does not open with the secret of this client") from None


_MATERIAL: Final = ("kty", "n", "e", "crv", "x", "y")


def _key_of_secret(registry: Registry, issuer: Issuer, client: Client, algorithm: str) -> bytes:
    """OpenID Connect Core §10.2: the left of a hash of the secret."""
    try:
        secret = issuance.readable_secret(registry, issuer, client)
    except Unreadable:
        raise ProtocolError("invalid_request", "The secret that encryption needs has ended.") from None
    count = _KEY_BYTES[algorithm]
    hashed = hashlib.sha256 if count <= hashlib.sha256().digest_size else hashlib.sha512
    return hashed(secret.encode()).digest()[:count]


async def _key(registry: Registry, client: Client, algorithm: str) -> JWK:
    try:
        published = await client_keys.public(registry, client, None)
    except KeysUnavailable as problem:
        raise ProtocolError("invalid_request", f"There is no key to encrypt with: {problem.reason}.") from None
    if chosen := chosen_key(published, algorithm):
        return chosen
    raise ProtocolError("invalid_request", f"The client publishes no key that {algorithm} could encrypt with.")


def chosen_key(published: Sequence[JWK], algorithm: str) -> JWK | None:
    """The key of a set to encrypt with: one that is for it, or one that does not say what it is for."""
    fitting = [key for key in published if _fits(key, algorithm)]
    return next((key for key in fitting if key.get("use") == "enc"), fitting[0] if fitting else None)


def _fits(key: JWK, algorithm: str) -> bool:
    if key.get("use", "enc") != "enc" or key.get("alg", algorithm) != algorithm:
        return False
    if algorithm.startswith("RSA"):
        return key.get("kty") == "RSA"
    return key.get("crv") in _CURVES
