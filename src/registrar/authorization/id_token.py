"""ID tokens (OpenID Connect Core §2): who signed in, when and how, for one client."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from registrar.authorization import people, signing, subject
from registrar.authorization.grant import Grant
from registrar.domain import claims
from registrar.domain.client import Client
from registrar.service.registry import Issuer, Registry

TYPE: Final = "JWT"
_HASHES: Final = {"384": hashlib.sha384, "512": hashlib.sha512}


async def make(
    registry: Registry,
    issuer: Issuer,
    client: Client,
    grant: Grant,
    *,
    nonce: str | None,
    access_token: str = "",
    code: str = "",
    alone: bool = False,
    now: int,
) -> str:
    """The ID token of a grant, signed and encrypted as the client registered. `logout.remembered` goes with it.

    Args:
        registry: what every use case is given.
        issuer: who says so.
        client: to whom.
        grant: what the person allowed, and how they signed in.
        nonce: of the authorization request.
        access_token: that is issued beside it, to be bound to it (`at_hash`).
        code: that is issued beside it (`c_hash`).
        alone: whether nothing is issued that opens UserInfo: then what the scopes ask for stands here (§5.4).
        now: seconds since 1970.

    Raises:
        ProtocolError: the client has no key to encrypt with, or the issuer none to sign with.
        StoreUnavailable: the store does not answer.
    """
    authentication = grant.authentication
    algorithm = client.metadata.get("id_token_signed_response_alg", "RS256")
    asked = alone or bool((grant.claims or {}).get("id_token"))
    known = await people.claims(registry, issuer, authentication.subject) if asked else {}
    told: dict[str, Any] = claims.of_scopes(grant.scope, known) if alone else {}
    told |= claims.requested(grant.claims, "id_token", known)
    told |= {
        "iss": issuer.url,
        "sub": await subject.for_client(registry, issuer, client, authentication.subject),
        "aud": client.client_id,
        "azp": client.client_id,
        "exp": now + issuer.settings.openid.id_token_lifetime,
        "iat": now,
        "auth_time": authentication.time,
        "sid": authentication.session_id,
    }
    optional = {
        "nonce": nonce,
        "acr": authentication.acr,
        "amr": list(authentication.amr),
        "at_hash": half_hash(algorithm, access_token) if access_token else "",
        "c_hash": half_hash(algorithm, code) if code else "",
    }
    told |= {name: value for name, value in optional.items() if value}
    return await signing.secured(registry, issuer, client, told, "id_token", TYPE)


def half_hash(algorithm: str, value: str) -> str:
    """The left half of a hash, the one of the signing algorithm (§3.1.3.6); of EdDSA it is SHA-512."""
    hashed = hashlib.sha512 if algorithm == "EdDSA" else _HASHES.get(algorithm[-3:], hashlib.sha256)
    digest = hashed(value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
