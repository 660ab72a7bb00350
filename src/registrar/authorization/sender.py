"""Sender-constrained tokens: bound to a key that is proved (DPoP, RFC 9449) or to a certificate (RFC 8705 §3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from registrar.authorization import replay
from registrar.authorization.call import Call
from registrar.domain import credentials, jwks, jws
from registrar.domain.client import Client
from registrar.domain.credentials import NONCE_BYTES, Unreadable, Wrapped
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import Malformed, Refused, VerifiedJWS
from registrar.domain.server_metadata import OFFERED
from registrar.service.registry import Issuer, Registry

AGE: Final = 60
"""Seconds that a proof counts."""
SKEW: Final = 10
"""Seconds that a client's clock may be ahead."""
NONCE_AGE: Final = 300
"""Seconds that a nonce of this server counts (RFC 9449 §8)."""
_LONGEST_ID: Final = 512


class Binding(msgspec.Struct, frozen=True):
    """What a token is bound to; nothing where it is a bearer token."""

    dpop_jkt: str = ""
    """The thumbprint of the proved key (RFC 9449 §6.1)."""
    certificate_thumbprint: str = ""
    """`x5t#S256` of the certificate (RFC 8705 §3.1)."""


async def bind(registry: Registry, issuer: Issuer, call: Call, client: Client, now: int) -> Binding:
    """What the tokens of a request are bound to; what the client registered to demand of itself is demanded.

    Raises:
        ProtocolError: `invalid_dpop_proof`, `use_dpop_nonce`, or `invalid_request` where a certificate is missing.
        StoreUnavailable: the store does not answer.
    """
    jkt = await proved(registry, issuer, call, now)
    if client.metadata.get("dpop_bound_access_tokens") and not jkt:
        raise _no_proof("This client registered dpop_bound_access_tokens, and the header DPoP is missing.")
    if not client.metadata.get("tls_client_certificate_bound_access_tokens"):
        return Binding(jkt)
    if call.certificate is None:
        raise ProtocolError(
            "invalid_request",
            "This client registered tls_client_certificate_bound_access_tokens, and presents no certificate.",
        )
    return Binding(jkt, call.certificate.thumbprint)


def check(binding: Binding, dpop_jkt: str, certificate_thumbprint: str) -> None:
    """Hold a request to what a token of it is bound to.

    Raises:
        ProtocolError: `invalid_dpop_proof` or `invalid_grant`; it came with another key or certificate, or with none.
    """
    if dpop_jkt and binding.dpop_jkt != dpop_jkt:
        raise _no_proof("The token is bound to another key (RFC 9449 section 5).")
    if certificate_thumbprint and binding.certificate_thumbprint != certificate_thumbprint:
        raise ProtocolError("invalid_grant", "The token is bound to another certificate (RFC 8705 section 4).")


# --- DPoP: RFC 9449 §4.3 ------------------------------------------------------------------------------------------------


async def proved(registry: Registry, issuer: Issuer, call: Call, now: int, *, access_token: str = "") -> str:
    """The thumbprint of the key that a request proves; empty where it has no proof.

    Args:
        registry: what every use case is given.
        issuer: whose endpoint is called.
        call: the request.
        now: seconds since 1970.
        access_token: the token that came with it, which the proof has to name (`ath`).

    Raises:
        ProtocolError: `invalid_dpop_proof` or `use_dpop_nonce`.
        StoreUnavailable: the store does not answer.
    """
    if not call.dpop:
        return ""
    if len(call.dpop) > 1:
        raise _no_proof("There is more than one header DPoP.")
    proof, jkt = _read(call.dpop[0])
    claims = proof.claims
    if claims.get("htm") != call.method or not _same_target(issuer, claims.get("htu"), call.endpoint):
        raise _no_proof(f"htm and htu are not {call.method} and the URL of this endpoint.")
    if problem := jws.check_times(claims, now, skew=SKEW, max_age=AGE - SKEW):
        raise _no_proof(f"The proof is refused: {problem}.")
    if access_token and claims.get("ath") != _hash(access_token):
        raise _no_proof("ath is not the digest of the access token.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID:
        raise _no_proof("The proof has no jti.")
    _check_nonce(registry, issuer, claims, now)
    if not await replay.first_use(registry, issuer, "proof", jkt, jti, until=now + AGE + SKEW, now=now):
        raise _no_proof("The proof was used before; each request needs a new one.")
    return jkt


def _read(compact: str) -> tuple[VerifiedJWS, str]:
    """A proof, verified with the key that it brings along: here, and only here, that is what it is for."""
    try:
        unverified = jws.read(compact)
        if unverified.header.get("typ") != "dpop+jwt":
            raise _no_proof("typ is not dpop+jwt.")
        key = unverified.header.get("jwk")
        if not isinstance(key, dict) or jwks.judge({"keys": [key]}):
            raise _no_proof("jwk is not a public key.")
        named = {**key, **({} if unverified.kid is None else {"kid": unverified.kid})}
        verified = jws.verify(unverified, [named], OFFERED["dpop_signing_alg_values_supported"])
        return verified, jwks.thumbprints({"keys": [key]})[0]
    except (Malformed, Refused) as problem:
        raise _no_proof(f"The proof is refused: {problem}.") from None


def _same_target(issuer: Issuer, htu: Any, endpoint: str) -> bool:
    """RFC 9449 §4.3: without query and fragment, normalized; at the address for client certificates too."""
    if not isinstance(htu, str):
        return False
    given = _target(htu)
    alias = issuer.settings.mutual_tls_url
    return given is not None and given in (
        _target(endpoint),
        _target(alias + endpoint.removeprefix(issuer.url)) if alias else None,
    )


def _target(url: str) -> tuple[str, str | None, int | None, str] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port, parts.path)


def _hash(value: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()).rstrip(b"=").decode()


def _no_proof(description: str) -> ProtocolError:
    return ProtocolError("invalid_dpop_proof", description)


# --- nonces: RFC 9449 §8 --------------------------------------------------------------------------------------------------


def nonce(registry: Registry, issuer: Issuer, now: int) -> str:
    """A nonce for the next proof: the time, sealed, so that every process knows it and none has to remember it."""
    wrapped = registry.keys.wrap(registry.entropy(NONCE_BYTES), now.to_bytes(8), _context(issuer))
    return base64.urlsafe_b64encode(_encode(wrapped)).rstrip(b"=").decode()


def _check_nonce(registry: Registry, issuer: Issuer, claims: dict[str, Any], now: int) -> None:
    given = claims.get("nonce")
    if not issuer.settings.authorization.dpop_nonce or not registry.keys:
        return
    if isinstance(given, str) and 0 <= now - _made_at(registry, issuer, given) <= NONCE_AGE:
        return
    header = (b"dpop-nonce", nonce(registry, issuer, now).encode())
    raise ProtocolError("use_dpop_nonce", headers=[header])


def _made_at(registry: Registry, issuer: Issuer, given: str) -> int:
    try:
        wrapped = _decode(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        return int.from_bytes(registry.keys.unwrap(wrapped, _context(issuer)))
    except (Unreadable, ValueError, binascii.Error, msgspec.MsgspecError):
        return 0


def _context(issuer: Issuer) -> bytes:
    return credentials.context(issuer.name, "", "dpop_nonce", 0)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Wrapped).decode
