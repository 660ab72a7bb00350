"""Request objects (RFC 9101, OpenID Connect Core §6): a request that its client signs, by value or by reference.

Where there is one, nothing counts but what stands in it (RFC 9101 §6.3): what an attacker adds outside has no effect.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import Any, Final

import msgspec

from registrar.authorization import client_keys, clients
from registrar.authorization.call import Parameters
from registrar.authorization.encryption import Undecipherable, decrypted
from registrar.domain import jws
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import Malformed, Refused, UnverifiedJWS
from registrar.domain.server_metadata import SYMMETRIC, UNSIGNED
from registrar.service.key_sets import KeysUnavailable
from registrar.service.ports import FetchError
from registrar.service.registry import Issuer, Registry

TYPES: Final = (None, "oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT", "jwt")
"""`typ` (RFC 9101 §10.8): another kind of statement of the client is never taken for a request."""
ACCEPT: Final = (
    "application/oauth-authz-req+jwt",
    "application/jwt",
    "application/jose",
    "text/plain",
    "application/octet-stream",
)
BYTES: Final = 32_768
_DOTS_OF_JWE: Final = 4
"""Encrypted, a request object has five parts (RFC 7516 §3.1); what is in it is signed all the same (RFC 9101 §6.1)."""
SKEW: Final = 10
LIFETIME: Final = 3_600
"""Seconds that one may be valid where the client registered that it always signs (FAPI 2.0 Message Signing §5.3.1)."""

_NOT_PARAMETERS: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "sub"})
_encode: Final = msgspec.json.Encoder().encode


async def opened(registry: Registry, issuer: Issuer, client: Client, given: Parameters, now: int) -> Parameters:
    """The parameters of a request: of its object where it has one, or as they are.

    Raises:
        ProtocolError: `invalid_request_object`, `invalid_request_uri` or `invalid_request`.
        StoreUnavailable: the store does not answer.
    """
    if "request" in given and "request_uri" in given:
        raise ProtocolError("invalid_request", "request and request_uri exclude each other (RFC 9101 section 5).")
    if "request" in given:
        compact = given["request"]
    elif "request_uri" in given:
        compact = await _fetched(registry, client, given["request_uri"])
    elif client.metadata.get("require_signed_request_object"):
        raise _refused("This client registered require_signed_request_object, and there is none.")
    else:
        return given
    try:
        if compact.count(".") == _DOTS_OF_JWE:
            compact = decrypted(registry, issuer, client, compact)
        unverified = jws.read(compact)
    except (Malformed, Undecipherable) as problem:
        raise _refused(f"It cannot be read: {problem}.") from None
    claims = await _verified(registry, issuer, client, unverified)
    _check(issuer, client, unverified, claims, now)
    return _parameters(client, claims)


async def _fetched(registry: Registry, client: Client, request_uri: str) -> str:
    """By reference: registered, and with a fragment, the very content that was registered (OpenID Connect Core §6.2)."""
    if request_uri not in client.metadata.get("request_uris", ()):
        raise ProtocolError("invalid_request_uri", "request_uri is not one that the client registered.")
    url, _, digest = request_uri.partition("#")
    try:
        body = (await registry.fetch(url, accept=ACCEPT, limit=BYTES)).body
    except FetchError as problem:
        raise ProtocolError("invalid_request_uri", f"request_uri was not fetched: {problem.reason}.") from None
    if digest and digest != base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode():
        raise ProtocolError("invalid_request_uri", "The content of request_uri is not that of its fragment.")
    try:
        return body.decode("ascii").strip()
    except UnicodeDecodeError:
        raise _refused("It is not a JWS.") from None


async def _verified(registry: Registry, issuer: Issuer, client: Client, unverified: UnverifiedJWS) -> dict[str, Any]:
    allowed = _algorithms(issuer, client)
    if unverified.algorithm == UNSIGNED:
        if UNSIGNED not in allowed or not unverified.compact.endswith("."):
            raise _refused("It is not signed.")
        return unverified.claims
    try:
        if unverified.algorithm in SYMMETRIC:
            keys = client_keys.secret(registry, issuer, client, unverified.kid)
        else:
            keys = await client_keys.public(registry, client, unverified.kid)
        return jws.verify(unverified, keys, allowed).claims
    except Refused as problem:
        raise _refused(f"It is refused: {problem}.") from None
    except KeysUnavailable as problem:
        raise _refused(f"It cannot be verified: {problem.reason}.") from None


def _algorithms(issuer: Issuer, client: Client) -> Collection[str]:
    """The registered one alone, or else all that are offered; unsigned ones never where the client always signs."""
    if registered := client.metadata.get("request_object_signing_alg"):
        return (registered,)
    offered = clients.offered_to(issuer, client)["request_object_signing_alg_values_supported"]
    signs = client.metadata.get("require_signed_request_object")
    return tuple(one for one in offered if not (signs and one == UNSIGNED))


def _check(issuer: Issuer, client: Client, unverified: UnverifiedJWS, claims: dict[str, Any], now: int) -> None:
    strict = bool(client.metadata.get("require_signed_request_object"))
    if unverified.header.get("typ") not in TYPES:
        raise _refused("Its typ is that of another kind of statement.")
    if (
        claims.get("iss", client.client_id) != client.client_id
        or claims.get("client_id", client.client_id) != client.client_id
    ):
        raise _refused("iss and client_id are not this client.")
    if claims.get("sub") == client.client_id:
        raise _refused("It has the sub of a client assertion (RFC 9101 section 10.8).")
    if "request" in claims or "request_uri" in claims:
        raise _refused("It holds request or request_uri (RFC 9101 section 4).")
    problem = jws.check_audience(claims, (issuer.url,)) if strict or "aud" in claims else None
    lifetime = LIFETIME if strict else None
    if strict and "nbf" not in claims:
        problem = problem or "it does not say from when on it is valid (nbf)"
    if problem := problem or jws.check_times(claims, now, skew=SKEW, max_lifetime=lifetime):
        raise _refused(f"It is refused: {problem}.")


def _parameters(client: Client, claims: dict[str, Any]) -> Parameters:
    """The claims as parameters: text as it is, numbers in decimal, the rest in JSON (RFC 9101 §4)."""
    found = {"client_id": client.client_id}
    for name, value in claims.items():
        if name in _NOT_PARAMETERS or value in (None, ""):
            continue
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, list) and name == "resource" and all(isinstance(one, str) for one in value):
            found[name] = " ".join(value)
        elif isinstance(value, bool) or not isinstance(value, (int, list, dict)):
            raise _refused("A parameter in it is neither text nor a whole number, an array or an object.")
        else:
            found[name] = _encode(value).decode()
    return Parameters(found)


def _refused(description: str) -> ProtocolError:
    return ProtocolError("invalid_request_object", f"The request object: {description}")
