"""ID tokens from the token endpoint (OpenID Connect Core §2, §3.1.3), and signed introspection answers (RFC 9701)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from authorizing import call, token
from openid_connect import EC, JWKS, RSA, alice, client_of, decrypted, openid, signed_in, under_secret, verified

from registrar.domain import jws
from registrar.testing import served

pytestmark = pytest.mark.anyio


def half(value: str, algorithm: str = "sha256") -> str:
    """The left half of a hash, as at_hash has it."""
    digest = hashlib.new(algorithm, value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


@pytest.mark.requirement("OIDC-29")
async def test_what_an_id_token_says() -> None:
    """Who, to whom, when, how and in which session; the nonce; bound to the access token; and nothing that was not asked."""
    async with served(openid()) as server:
        client = await client_of(server)
        answer = await signed_in(server, client, nonce="n-0S6_WzA2Mj")
        told = await verified(server, answer["id_token"])
        now = server.clock.now
        assert told.header.keys() == {"alg", "kid", "typ"}
        assert told.algorithm == "RS256"
        assert told.claims == {
            "iss": "http://127.0.0.1:8000",
            "sub": (await alice(server)).subject,
            "aud": client["client_id"],
            "azp": client["client_id"],
            "exp": now + 3_600,
            "iat": now,
            "auth_time": now - 5,
            "nonce": "n-0S6_WzA2Mj",
            "amr": ["pwd"],
            "sid": "s1",
            "at_hash": half(answer["access_token"]),
        }


async def test_without_openid_there_is_none() -> None:
    """A plain OAuth request gets no ID token; without a nonce, none is made up."""
    async with served(openid()) as server:
        client = await client_of(server)
        assert "id_token" not in await signed_in(server, client, scope="profile")
        answer = await signed_in(server, client, scope="openid")
        assert "nonce" not in (await verified(server, answer["id_token"])).claims


@pytest.mark.parametrize(
    ("algorithm", "hashed"),
    [
        ("RS256", "sha256"),
        ("PS256", "sha256"),
        ("ES256", "sha256"),
        ("EdDSA", "sha512"),
        ("HS256", "sha256"),
        ("HS384", "sha384"),
        ("HS512", "sha512"),
    ],
)
async def test_it_is_signed_as_registered(algorithm: str, hashed: str) -> None:
    """With the issuer's keys, or under the client secret; at_hash is made with the hash of the algorithm."""
    async with served(openid()) as server:
        client = await client_of(server, id_token_signed_response_alg=algorithm)
        answer = await signed_in(server, client)
        compact = answer["id_token"]
        symmetric = algorithm.startswith("HS")
        told = under_secret(compact, client["client_secret"]) if symmetric else await verified(server, compact)
        assert told.algorithm == algorithm
        assert told.claims["at_hash"] == half(answer["access_token"], hashed)


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"id_token_encrypted_response_alg": "RSA-OAEP-256"}, RSA),
        ({"id_token_encrypted_response_alg": "ECDH-ES", "id_token_encrypted_response_enc": "A128GCM"}, EC),
    ],
)
async def test_it_is_encrypted_as_registered(members: dict[str, Any], key: Any) -> None:
    """Signed first, then encrypted under the client's key, whose kid the header names."""
    async with served(openid()) as server:
        client = await client_of(server, jwks=JWKS, **members)
        header, plaintext = decrypted((await signed_in(server, client))["id_token"], key)
        assert header["cty"] == "JWT"
        assert header["kid"] in ("rsa", "ec")
        assert (await verified(server, plaintext)).claims["aud"] == client["client_id"]


async def test_unsigned_only_under_a_policy_that_offers_it() -> None:
    """oidcc-idtoken-unsigned: alg none for the code flow under oidc-dynamic; refused everywhere else."""
    members = {"id_token_signed_response_alg": "none"}
    async with served(openid(registration='policy = "oidc-dynamic"')) as server:
        client = await client_of(server, **members)
        compact = (await signed_in(server, client))["id_token"]
        assert jws.read(compact).algorithm == "none"
        assert compact.endswith(".")
    async with served(openid()) as server:
        answer = await server.client.post("/register", json={"redirect_uris": ["https://a.example/cb"], **members})
        assert answer.status_code == 400


async def test_a_refreshed_id_token_is_of_the_same_sign_in() -> None:
    """The same iss, sub, aud, azp and auth_time, a later iat, and no nonce (§12.2)."""
    async with served(openid()) as server:
        client = await client_of(server, grant_types=["authorization_code", "refresh_token"])
        first = await signed_in(server, client, nonce="n")
        server.clock.advance(60)
        answer = await token(server, client, "refresh_token", refresh_token=first["refresh_token"])
        assert answer.status_code == 200, answer.text
        before = (await verified(server, first["id_token"])).claims
        after = (await verified(server, answer.json()["id_token"])).claims
        same = ("iss", "sub", "aud", "azp", "auth_time", "sid")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert after["iat"] == before["iat"] + 60
        assert "nonce" not in after


async def test_the_parameter_claims_asks_for_claims_in_it() -> None:
    """What was asked for in `id_token` stands there, and what protocol claims say cannot be asked away."""
    wanted = {
        "id_token": {"email": {"essential": True}, "iss": {"value": "evil"}, "shoe_size": None},
        "userinfo": {"name": None},
    }
    async with served(openid()) as server:
        answer = await signed_in(server, await client_of(server), scope="openid", claims=wanted)
        told = (await verified(server, answer["id_token"])).claims
        assert told["email"] == "alice@example.com"
        assert told["iss"] == "http://127.0.0.1:8000"
        assert not {"name", "shoe_size"} & told.keys()


# --- introspection answers -----------------------------------------------------------------------------------------------


async def introspected(server: Any, client: dict[str, Any], value: str, **headers: str) -> Any:
    """An introspection answer."""
    return await call(server, "/introspect", client, headers or None, token=value)


async def test_an_introspection_answer_is_signed_where_that_is_asked_for() -> None:
    """RFC 9701: by the Accept header or by the registration; what it says is what JSON would, addressed to who asked."""
    media_type = "application/token-introspection+jwt"
    async with served(openid()) as server:
        plain = await client_of(server)
        value = (await signed_in(server, plain))["access_token"]
        as_json = (await introspected(server, plain, value)).json()
        answer = await introspected(server, plain, value, accept=media_type)
        assert answer.headers["content-type"] == media_type
        told = await verified(server, answer.text)
        assert told.header["typ"] == "token-introspection+jwt"
        assert told.claims == {
            "iss": "http://127.0.0.1:8000",
            "aud": plain["client_id"],
            "iat": server.clock.now,
            "token_introspection": as_json,
        }
        registered = await client_of(
            server,
            jwks=JWKS,
            introspection_signed_response_alg="ES256",
            introspection_encrypted_response_alg="ECDH-ES",
        )
        answer = await introspected(server, registered, "no token")
        _, plaintext = decrypted(answer.text, EC)
        told = await verified(server, plaintext)
        assert told.algorithm == "ES256"
        assert told.claims["token_introspection"] == {"active": False}
