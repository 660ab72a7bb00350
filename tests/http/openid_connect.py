"""What the tests of OpenID Connect share: a person, clients that sign her in, keys of clients, and reading JWTs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from authorizing import code_for, exchange
from joserfc import jwe
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey
from registering import MEMBERS, configured, register

from registrar.authorization import people
from registrar.authorization.people import Person
from registrar.authorization.request import Authentication
from registrar.domain import jws
from registrar.service import keys
from registrar.testing import Served

CLAIMS: Final[Mapping[str, Any]] = {
    "name": "Alice Lidell",
    "given_name": "Alice",
    "name#ja": "アリス",
    "email": "alice@example.com",
    "email_verified": True,
    "phone_number": "+44 20 7946 0000",
    "address": {"country": "GB"},
    "shoe_size": 36,
}
"""What is known of Alice; not all of it is a claim that a scope asks for."""

SCOPES: Final = "openid profile email address phone"
CLIENT: Final[Mapping[str, Any]] = {**MEMBERS, "scope": f"{SCOPES} offline_access"}

RSA: Final = RSAKey.generate_key(2048, parameters={"kid": "rsa", "use": "enc"})
EC: Final = ECKey.generate_key("P-256", parameters={"kid": "ec", "use": "enc"})
SIGNING: Final = OKPKey.generate_key("Ed25519", parameters={"kid": "sig", "use": "sig"})
JWKS: Final = {"keys": [key.as_dict(private=False) for key in (SIGNING, RSA, EC)]}


def openid(settings: str = "", *, tables: str = "", **more: Any) -> str:
    """A configuration of one issuer; `settings` are those of `[issuer.main.authorization]`."""
    return configured(tables=f"[issuer.main.authorization]\n{settings}\n{tables}", url="http://127.0.0.1:8000", **more)


async def alice(server: Served) -> Person:
    """A person, at an issuer that has keys."""
    await keys.ensure(server.registry, server.issuer)
    known = await people.by_username(server.registry, server.issuer, "alice")
    return known or await people.add(
        server.registry, server.issuer, "alice", "correct horse battery", claims=dict(CLAIMS)
    )


async def client_of(server: Served, **members: Any) -> dict[str, Any]:
    """A client that was registered with some members."""
    return await register(server, {**CLIENT, **members})


async def signed_in(
    server: Served, client: Mapping[str, Any], *, scope: str = SCOPES, session: str = "s1", **more: Any
) -> dict[str, Any]:
    """The token response after Alice has signed in and allowed everything."""
    person = await alice(server)
    who = Authentication(person.subject, server.clock.now - 5, session, "", ("pwd",))
    answer = await exchange(server, client, await code_for(server, client, scope=scope, who=who, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def verified(server: Served, compact: str) -> jws.VerifiedJWS:
    """A JWS that is signed with a key that the issuer publishes."""
    published = (await server.client.get("/jwks")).json()["keys"]
    return jws.verify(jws.read(compact), published, ("RS256", "PS256", "ES256", "EdDSA"))


def under_secret(compact: str, secret: str) -> jws.VerifiedJWS:
    """A JWS that is signed with a client secret."""
    return jws.verify(jws.read(compact), [{"kty": "oct", "k": encoded(secret.encode())}], ("HS256", "HS384", "HS512"))


def decrypted(compact: str, key: Any) -> tuple[dict[str, Any], str]:
    """The header and the plaintext of a JWE."""
    header = json.loads(decoded(compact.partition(".")[0]))
    opened = OctKey.import_key(key) if isinstance(key, bytes) else JWKRegistry.import_key(key.as_dict(private=True))
    found = jwe.decrypt_compact(compact, opened, algorithms=[header["alg"], header["enc"]])
    assert found.plaintext is not None
    return header, found.plaintext.decode()


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
