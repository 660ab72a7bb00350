"""Key sets by value: public keys only, whole, distinct (RFC 7517, OpenID Connect Registration §2).

Parsing of the keys themselves is joserfc's and cryptography's; what is judged here is what they do not look at:
private members, symmetric keys, duplicate identifiers, `use`, certificates that belong to another key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

from registrar.domain.findings import Finding, Rule, rule

KEYS: Final = 32
"""Keys of one set at the most."""

RSA_BITS: Final = 2048
"""Shorter RSA moduli are not accepted (NIST SP 800-131A, RFC 7518 §3.3)."""


def _rule(name: str, source: str, reason: str, accepted: str) -> Rule:
    return rule(f"jwks.{name}", source, reason, accepted)


SHAPE: Final = _rule(
    "shape", "RFC 7517 §5", "is not a JWK Set", "an object with a non-empty array 'keys' of JWK objects"
)
COUNT: Final = _rule("count", "engineering", "has {count} keys", f"at most {KEYS} keys")
PRIVATE: Final = _rule(
    "private",
    "OpenID Connect Registration §2",
    "holds private or secret key material ({names}); treat that key as disclosed",
    "the public members of the key",
)
SYMMETRIC: Final = _rule(
    "symmetric", "OpenID Connect Registration §2", "is a symmetric key", "an RSA, EC or OKP public key"
)
KEY_TYPE: Final = _rule("kty", "RFC 7517 §4.1", "has the key type {kty}", "RSA, EC or OKP")
MATERIAL: Final = _rule(
    "material",
    "RFC 7518 §6",
    "is not a valid {kty} public key",
    "every required member in unpadded base64url, naming a point on a supported curve or an odd modulus",
)
SIZE: Final = _rule("size", "RFC 7518 §3.3", "is an RSA key of {bits} bits", f"RSA keys of {RSA_BITS} to 16384 bits")
KID: Final = _rule(
    "kid", "RFC 7517 §4.5", "has the kid {kid}, as another key of the set has", "a distinct kid for each key"
)
PARAMETER: Final = _rule(
    "parameter",
    "RFC 7517 §4",
    "has a {name} of another type than its definition",
    "strings for kty, use, alg, kid and x5t; arrays of strings for key_ops and x5c",
)
USE: Final = _rule(
    "use",
    "OpenID Connect Registration §2",
    "has no use, in a set that holds both signing and encryption keys",
    "use: sig or enc on every key of the set",
)
CERTIFICATE: Final = _rule(
    "x5c",
    "OpenID Connect Registration §2",
    "has an x5c whose first certificate is unreadable or holds another key",
    "x5c whose first certificate holds this very key",
)

_SECRET_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")
_REQUIRED: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_STRINGS: Final = ("use", "alg", "kid", "x5t", "x5t#S256", "x5u")
_MAX_BITS: Final = 16384


def judge(value: Any, member: str = "jwks") -> list[Finding]:
    """Every fault of a JWK Set; an empty list is a set of public keys that may be registered."""
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        return [SHAPE.refuse(member)]
    if len(keys) > KEYS:
        return [COUNT.refuse(member, count=len(keys))]
    faults = [fault for at, key in enumerate(keys) for fault in _judge_key(key, f"{member}.keys[{at}]")]
    return faults or [*_judge_set(keys, member)]


def thumbprints(value: Any) -> list[str]:
    """The RFC 7638 SHA-256 thumbprint of each key of a judged set."""
    from joserfc.jwk import JWKRegistry

    return [JWKRegistry.import_key(_public(key)).thumbprint() for key in value["keys"]]


def _judge_set(keys: list[dict[str, Any]], member: str) -> Iterator[Finding]:
    seen: set[str] = set()
    uses = {key.get("use") for key in keys}
    for at, key in enumerate(keys):
        kid = key.get("kid")
        if kid is not None and kid in seen:
            yield KID.refuse(f"{member}.keys[{at}]", kid=kid)
        if kid is not None:
            seen.add(kid)
        if {"sig", "enc"} <= uses and "use" not in key:
            yield USE.refuse(f"{member}.keys[{at}]")


def _judge_key(key: dict[str, Any], member: str) -> Iterator[Finding]:
    if private := [name for name in _SECRET_MEMBERS if name in key]:
        yield PRIVATE.refuse(member, names=private)
        return
    kty = key.get("kty")
    if kty == "oct":
        yield SYMMETRIC.refuse(member)
        return
    if not isinstance(kty, str) or kty not in _REQUIRED:
        yield KEY_TYPE.refuse(member, kty=kty if isinstance(kty, str) else "that is not a string")
        return
    if bad := [name for name in _STRINGS if name in key and not isinstance(key[name], str)]:
        yield PARAMETER.refuse(member, name=bad[0])
        return
    for name in ("key_ops", "x5c"):
        if name in key and not (isinstance(key[name], list) and all(isinstance(item, str) for item in key[name])):
            yield PARAMETER.refuse(member, name=name)
            return
    yield from _judge_material(key, kty, member)


def _judge_material(key: dict[str, Any], kty: str, member: str) -> Iterator[Finding]:
    if not all(isinstance(key.get(name), str) and _is_base64url(key[name], name) for name in _REQUIRED[kty]):
        yield MATERIAL.refuse(member, kty=kty)
        return
    if kty == "RSA":
        # Before the number is handed to a library: the length alone decides.
        modulus = int.from_bytes(_decode(key["n"]))
        bits = modulus.bit_length()
        if not RSA_BITS <= bits <= _MAX_BITS:
            yield SIZE.refuse(member, bits=bits)
            return
        if modulus % 2 == 0:
            yield MATERIAL.refuse(member, kty=kty)
            return
    public = public_key(key)
    if public is None:
        yield MATERIAL.refuse(member, kty=kty)
        return
    if "x5c" in key and _certified(key["x5c"]) != public:
        yield CERTIFICATE.refuse(member)


def _public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("kty", *_REQUIRED[key["kty"]])}


def public_key(key: dict[str, Any]) -> bytes | None:
    """A key as a SubjectPublicKeyInfo in DER, or None when its numbers are not a key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    try:
        return bytes(JWKRegistry.import_key(_public(key)).as_der(private=False))  # type: ignore[union-attr]  # oct, which has none, is refused before
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError):
        return None


def _certified(chain: list[str]) -> bytes | None:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, IndexError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None


def _is_base64url(text: str, name: str) -> bool:
    if name == "crv":
        return True
    try:
        return bool(_decode(text)) and "=" not in text and "+" not in text and "/" not in text
    except (binascii.Error, ValueError):
        return False


def _decode(text: str) -> bytes:
    # b64decode with altchars still takes + and /, which base64url has not (RFC 4648 §5); the caller refuses those.
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
