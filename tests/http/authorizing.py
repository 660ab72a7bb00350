"""What the tests of the authorization server share: clients at its endpoints, and codes without a person at hand."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from registering import MEMBERS, configured, register

from registrar.authorization import code, grant
from registrar.authorization.assertion import TYPE
from registrar.authorization.grant import Grant
from registrar.authorization.request import Authentication, AuthorizationRequest
from registrar.testing import Served

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""A code verifier (RFC 7636 App. B)."""
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CALLBACK = MEMBERS["redirect_uris"][0]
ALICE = Authentication(subject="alice", time=1_790_000_000, session_id="session")

SCOPES = '[issuer.main.scopes]\ncatalogue = ["openid", "read", "write", "offline_access", "dcr"]\n'
"""A catalogue for an API; a client registers what it wants of it."""

WEB: Mapping[str, Any] = {
    **MEMBERS,
    "scope": "read write",
    "grant_types": ["authorization_code", "refresh_token"],
}
"""A confidential client that may refresh."""
APP: Mapping[str, Any] = {**WEB, "token_endpoint_auth_method": "none"}
"""The same, public."""
BATCH: Mapping[str, Any] = {"client_name": "Batch", "grant_types": ["client_credentials"], "scope": "read write"}
"""A client that acts for itself."""


def authorizing(settings: str = "", *, tables: str = "", **more: Any) -> str:
    """A configuration of one issuer with scopes; `settings` are those of `[issuer.main.authorization]`."""
    more.setdefault("url", "http://127.0.0.1:8000")
    return configured(tables=f"{SCOPES}[issuer.main.authorization]\n{settings}\n{tables}", **more)


def basic(client: Mapping[str, Any], secret: str = "") -> tuple[str, str]:
    """The credentials of a client, for the Authorization header."""
    return client["client_id"], secret or client["client_secret"]


def proof_of(client: Mapping[str, Any]) -> dict[str, Any]:
    """How a client authenticates, as arguments of a request."""
    return {"auth": basic(client)} if "client_secret" in client else {}


async def call(
    server: Served, path: str, client: Mapping[str, Any] | None = None, /, headers: Any = None, **parameters: Any
) -> httpx2.Response:
    """Call an endpoint as a client: with its secret in the header, or, where it has none, naming itself."""
    if client is not None and "client_secret" not in client:
        parameters = {"client_id": client["client_id"], **parameters}
    return await server.client.post(
        path, data=parameters, headers=headers, **(proof_of(client) if client is not None else {})
    )


async def token(server: Served, client: Mapping[str, Any], grant_type: str, **more: Any) -> httpx2.Response:
    """A token request."""
    return await call(server, "/token", client, grant_type=grant_type, **more)


async def code_for(
    server: Served,
    client: Mapping[str, Any],
    *,
    scope: str = "read write",
    challenge: str | None = CHALLENGE,
    who: Authentication = ALICE,
    **more: Any,
) -> str:
    """A code, as when a person has allowed a request."""
    request = AuthorizationRequest(
        issuer="main",
        client_id=client["client_id"],
        redirect_uri=CALLBACK,
        redirect_uri_given=more.pop("redirect_uri_given", True),
        response_type="code",
        response_mode="query",
        scope=tuple(scope.split()),
        code_challenge=challenge,
        code_challenge_method="S256" if challenge else None,
        **more,
    )
    allowed = Grant(
        issuer="main",
        grant_id=grant.new_id(server.registry),
        client_id=client["client_id"],
        authentication=who,
        scope=request.scope,
        resource=request.resource,
        nonce=request.nonce,
        claims=request.claims,
        authorization_details=request.authorization_details,
        created_at=server.clock.now,
    )
    value, stored = code.issue(server.registry, server.issuer, request, allowed, server.clock.now)
    await server.registry.store.change([stored])
    return value


async def exchange(server: Served, client: Mapping[str, Any], value: str, **more: Any) -> httpx2.Response:
    """A code for tokens; None leaves a parameter out."""
    given = {"code": value, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **more}
    return await token(
        server, client, "authorization_code", **{name: one for name, one in given.items() if one is not None}
    )


async def tokens(server: Served, client: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The tokens of a fresh grant of Alice's."""
    answer = await exchange(server, client, await code_for(server, client, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def machine(server: Served, members: Mapping[str, Any] = BATCH, **more: Any) -> tuple[dict[str, Any], str]:
    """A client that acts for itself, and an access token of it."""
    client = await register(server, members)
    answer = await token(server, client, "client_credentials", **more)
    assert answer.status_code == 200, answer.text
    return client, answer.json()["access_token"]


# --- statements that clients sign -------------------------------------------------------------------------------------


def key(kid: str = "one", kind: str = "EC") -> Any:
    """A private key of a client."""
    parameters = {"kid": kid}
    if kind == "RSA":
        return RSAKey.generate_key(2048, parameters, private=True)
    if kind == "OKP":
        return OKPKey.generate_key("Ed25519", parameters, private=True)
    return ECKey.generate_key("P-256", parameters, private=True)


def published(*keys: Any) -> dict[str, Any]:
    """The public halves, as a client registers or publishes them."""
    return {"keys": [one.as_dict(private=False) for one in keys]}


def signed(key: Any, claims: Mapping[str, Any], alg: str = "ES256", **header: Any) -> str:
    """A compact JWS, put together here so that it may be wrong in any way."""
    head = {"alg": alg, "kid": getattr(key, "kid", None) or None, **header}
    parts = [
        base64url(json.dumps({name: one for name, one in part.items() if one is not None}).encode())
        for part in (head, claims)
    ]
    signature = jws.JWSRegistry.algorithms[alg].sign(".".join(parts).encode(), key)
    return ".".join([*parts, base64url(signature)])


def base64url(octets: bytes) -> str:
    """RFC 7515 §2."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def assertion(
    server: Served, client: Mapping[str, Any], key: Any, alg: str = "ES256", **changes: Any
) -> dict[str, str]:
    """A client assertion as parameters; `changes` are to its claims, None leaves one out."""
    claims = {
        "iss": client["client_id"],
        "sub": client["client_id"],
        "aud": server.issuer.url,
        "jti": secrets.token_urlsafe(),
        "iat": server.clock.now,
        "exp": server.clock.now + 60,
        **changes,
    }
    return {"client_assertion_type": TYPE, "client_assertion": signed(key, claims, alg)}


def proof(server: Served, key: Any, path: str = "/token", alg: str = "ES256", **changes: Any) -> dict[str, str]:
    """A DPoP proof as a header; `changes` are to its claims, None leaves one out."""
    claims = {
        "jti": secrets.token_urlsafe(),
        "htm": "POST",
        "htu": f"{server.issuer.url}{path}",
        "iat": server.clock.now,
        **changes,
    }
    header = {"typ": "dpop+jwt", "jwk": key.as_dict(private=False), "kid": None}
    return {"dpop": signed(key, claims, alg, **header)}
