"""Compact JWS, strictly: read first, trusted only when verified with a key that the caller chose (RFC 7515, RFC 8725).

The cryptography is joserfc's. What is judged here is what a library leaves open: one reading of the text, algorithms
that the caller allows, keys that fit them, and never a key that the token brings along.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain import strict_json
from registrar.domain.jwks import RSA_BITS
from registrar.domain.strict_json import NotStrict

JWK = Mapping[str, Any]
"""A JSON Web Key as it stands in a set."""

LIMIT: Final = 32_768
"""Characters of a JWS where the caller names no limit."""
SKEW: Final = 60
"""Seconds that the clocks of two parties may be apart."""

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_\-]*")
_HEADER_BYTES: Final = 16_384
_NESTED: Final = 64
_SAME_KID: Final = 8
"""Keys with one kid that are tried: each costs a verification."""


class Malformed(ValueError):  # noqa: N818 (a state of the token, not a mistake of the caller)
    """Not a JWS that is read here, and why."""


class Refused(Exception):  # noqa: N818 (what happened to the token)
    """A JWS that was read and is not to be trusted, and why."""


class UnknownKey(Refused):
    """No key at hand is the one that the JWS names; a newer key set may have it."""


class _JWS(msgspec.Struct, frozen=True):
    """The parts of a compact JWS."""

    header: dict[str, Any]
    claims: dict[str, Any]
    compact: str
    digest: bytes
    """The SHA-256 of the compact form."""
    algorithm: str
    kid: str | None

    def __repr__(self) -> str:
        """Without the claims and the compact form: who has that can present it, so it belongs in no log."""
        return f"<{type(self).__name__} {self.algorithm} {self.digest.hex()}>"


class UnverifiedJWS(_JWS, frozen=True):
    """A JWS that was read and nothing more: whoever sent it wrote all of this."""


class VerifiedJWS(_JWS, frozen=True):
    """A JWS whose signature was verified; its claims are the words of who holds the key."""


class _Algorithm(NamedTuple):
    kty: str
    curve: str = ""
    key_bytes: int = 0
    """For HMAC: a key is at least as long as the hash (RFC 7518 §3.2)."""


ALGORITHMS: Final[Mapping[str, _Algorithm]] = {
    **{f"{family}{bits}": _Algorithm("RSA") for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": _Algorithm("EC", "P-256"),
    "ES384": _Algorithm("EC", "P-384"),
    "ES512": _Algorithm("EC", "P-521"),
    "EdDSA": _Algorithm("OKP", "Ed25519"),
    "Ed25519": _Algorithm("OKP", "Ed25519"),
    **{f"HS{bits}": _Algorithm("oct", key_bytes=bits // 8) for bits in (256, 384, 512)},
}
"""Every algorithm that a caller can allow, with the keys that fit; `none` is not among them."""


def read(compact: str, limit: int = LIMIT) -> UnverifiedJWS:
    """The parts of a compact JWS (RFC 7515 §7.1).

    Keys in the header (`jwk`, `jku`, `x5u`, `x5c`) stay in it as data and are used for nothing.

    Args:
        compact: the text.
        limit: characters of it at the most.

    Raises:
        Malformed: saying what is wrong.
    """
    if len(compact) > limit:
        raise Malformed(f"it is longer than {limit} characters")
    parts = compact.split(".")
    if len(parts) != 3:  # noqa: PLR2004 (header, payload, signature)
        raise Malformed("it is not three parts with dots between")
    head, payload, _ = (_decoded(part, name) for part, name in zip(parts, _PARTS, strict=True))
    if len(head) > _HEADER_BYTES:
        raise Malformed(f"its header is larger than {_HEADER_BYTES} bytes")
    header, claims = _members(head, "header"), _members(payload, "payload")
    for name in ("crit", "b64"):
        if name in header:
            raise Malformed(f"its header has {name}, and no extension is understood here")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not algorithm:
        raise Malformed("its header has no alg")
    if "kid" in header and not isinstance(kid, str):
        raise Malformed("the kid of its header is not a string")
    return UnverifiedJWS(header, claims, compact, hashlib.sha256(compact.encode("ascii")).digest(), algorithm, kid)


_PARTS: Final = ("header", "payload", "signature")


def _decoded(part: str, name: str) -> bytes:
    # One text for one value: padding, white space and stray bits at the end would give a signed token several.
    if not _BASE64URL.fullmatch(part) or len(part) % 4 == 1:
        raise Malformed(f"its {name} is not base64url")
    value = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(value).rstrip(b"=") != part.encode("ascii"):
        raise Malformed(f"its {name} is not base64url")
    return value


def _members(part: bytes, name: str) -> dict[str, Any]:
    try:
        return strict_json.read_object(part, nested=_NESTED)
    except NotStrict as problem:
        raise Malformed(f"its {name} is not strict JSON: {problem}") from None


def verify(unverified: UnverifiedJWS, keys: Sequence[JWK], algorithms: Collection[str]) -> VerifiedJWS:
    """The JWS, if one of the keys that it may name verifies its signature (RFC 7515 §5.2).

    Args:
        unverified: what was read.
        keys: those that the issuer of the JWS is known by.
        algorithms: those that the caller allows, of `ALGORITHMS`.

    Raises:
        UnknownKey: no key has the `kid` that the header names, or without one, not exactly one key fits.
        Refused: another algorithm, a key that does not fit it, or a signature that is not the key's.
    """
    algorithm = ALGORITHMS.get(unverified.algorithm)
    if algorithm is None or unverified.algorithm not in algorithms:
        raise Refused(f"its alg is none of {', '.join(sorted(set(algorithms) & ALGORITHMS.keys()))}")
    named = keys if unverified.kid is None else [key for key in keys if key.get("kid") == unverified.kid]
    if not named:
        raise UnknownKey("it is signed with a key that is not among its issuer's")
    fitting = [key for key in named if _fits(key, unverified.algorithm, algorithm)]
    if unverified.kid is None and len(fitting) != 1:
        raise UnknownKey("it names no kid, and not exactly one key of its issuer fits")
    if not fitting:
        raise Refused(f"the key that it names is not one for {unverified.algorithm}")
    if len(fitting) > _SAME_KID:
        raise Refused(f"more than {_SAME_KID} keys of its issuer have the kid that it names")
    if not any(_signed(unverified, key) for key in fitting):
        raise Refused("its signature is not that of the key")
    return VerifiedJWS(*msgspec.structs.astuple(unverified))


def _fits(key: JWK, name: str, algorithm: _Algorithm) -> bool:
    if key.get("kty") != algorithm.kty or key.get("crv", "") != algorithm.curve:
        return False
    if key.get("alg", name) != name or key.get("use", "sig") != "sig":
        return False
    operations = key.get("key_ops", ("verify",))
    return isinstance(operations, (list, tuple)) and "verify" in operations


def _signed(unverified: UnverifiedJWS, key: JWK) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    signing_input, _, signature = unverified.compact.rpartition(".")
    # The library's registry answers by name; which names are allowed was decided above.
    model = JWSRegistry.algorithms[unverified.algorithm]
    material = {member: key[member] for member in _MATERIAL if member in key}
    if not _is_strong(material, ALGORITHMS[unverified.algorithm]):
        return False
    try:
        # Secrets are not kept where nobody asked for it.
        imported = _import(material) if "k" in material else _public_key(tuple(material.items()))
        return bool(model.verify(signing_input.encode("ascii"), _decoded(signature, "signature"), imported))
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError):
        return False


def _import(material: JWK) -> Any:
    from joserfc.jwk import JWKRegistry

    return JWKRegistry.import_key(dict(material))


@lru_cache(maxsize=256)
def _public_key(material: tuple[tuple[str, str], ...]) -> Any:
    """A public key, made ready once: that costs as much as a verification, and issuers have few keys."""
    return _import(dict(material))


_MATERIAL: Final = ("kty", "n", "e", "crv", "x", "y", "k")


def _is_strong(material: JWK, algorithm: _Algorithm) -> bool:
    member = {"RSA": "n", "oct": "k"}.get(algorithm.kty)
    if member is None:
        return True
    try:
        value = _decoded(material[member], member)
    except (Malformed, KeyError, TypeError):
        return False
    if algorithm.kty == "RSA":
        return int.from_bytes(value).bit_length() >= RSA_BITS
    return len(value) >= algorithm.key_bytes


# --- claims ------------------------------------------------------------------------------------------------------------


_LATEST: Final = 253_402_300_799
"""The last second of the year 9999; what is stored until a later one would overflow a store."""


def check_times(
    claims: Mapping[str, Any],
    now: float,
    *,
    skew: int = SKEW,
    max_age: int | None = None,
    max_lifetime: int | None = None,
) -> str | None:
    """What is wrong with `exp`, `nbf` and `iat` (RFC 7519 §4.1), or None.

    Args:
        claims: of a JWS.
        now: seconds since 1970.
        skew: seconds that the other clock may be apart.
        max_age: seconds since `iat` at the most, which is then needed.
        max_lifetime: seconds between the beginning (`iat`, or `nbf`, or now) and `exp` at the most, which is then needed.
    """
    times: dict[str, float] = {}
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name)
        if value is None and name not in claims:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{name} is not a number"
        times[name] = value
    expires, begins, issued = times.get("exp"), times.get("nbf"), times.get("iat")
    if expires is not None and now >= expires + skew:
        return "it has expired (exp)"
    if begins is not None and now < begins - skew:
        return "it is not valid yet (nbf)"
    if issued is not None and now < issued - skew:
        return "it was issued in the future (iat)"
    if max_age is not None and issued is None:
        return "it does not say when it was issued (iat)"
    if max_age is not None and issued is not None and now - issued > max_age + skew:
        return f"it is older than {max_age} seconds (iat)"
    if max_lifetime is None:
        return "exp is out of range" if expires is not None and expires > _LATEST else None
    if expires is None:
        return "it does not say when it expires (exp)"
    beginning = next((value for value in (issued, begins) if value is not None), None)
    # A lifetime that the JWS states is exact; only against our own clock does the other one's error count.
    if expires - (now + skew if beginning is None else beginning) > max_lifetime:
        return f"it is valid for more than {max_lifetime} seconds (exp)"
    return None


def check_audience(claims: Mapping[str, Any], accepted: Collection[str]) -> str | None:
    """What is wrong with `aud` (RFC 7519 §4.1.3), or None; one of several audiences is enough."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not audiences or not all(isinstance(one, str) for one in audiences):
        return "it does not say whom it is for (aud)"
    if set(audiences).isdisjoint(accepted):
        return "it is for somebody else (aud)"
    return None
