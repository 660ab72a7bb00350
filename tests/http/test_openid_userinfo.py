"""UserInfo over HTTP (OpenID Connect Core §5.3): who may ask, how, and what they are told."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from authorizing import code_for, exchange, machine, proof
from joserfc.jwk import ECKey
from openid_connect import (
    CLAIMS,
    EC,
    JWKS,
    RSA,
    alice,
    client_of,
    decrypted,
    encoded,
    openid,
    signed_in,
    under_secret,
    verified,
)
from registering import refused

from registrar.authorization import grant
from registrar.authorization.request import Authentication
from registrar.domain.events import Actor
from registrar.testing import served

pytestmark = pytest.mark.anyio

STANDARD = {name for name in CLAIMS if name != "shoe_size"} | {"sub", "preferred_username"}


@pytest.mark.requirement("OIDC-23")
async def test_a_token_is_taken_from_the_header_and_from_a_form() -> None:
    """GET and POST with the header, POST with the token in the form: the same answer, which nobody may store."""
    async with served(openid()) as server:
        token = (await signed_in(server, await client_of(server)))["access_token"]
        header = {"authorization": f"Bearer {token}"}
        answers = [
            await server.client.get("/userinfo", headers=header),
            await server.client.post("/userinfo", headers=header),
            await server.client.post("/userinfo", data={"access_token": token}),
        ]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/json"
            assert "no-store" in answer.headers["cache-control"]
            assert answer.json() == answers[0].json()
        assert answers[0].json().keys() == STANDARD
        assert answers[0].json()["sub"] == (await alice(server)).subject


async def test_a_bound_token_is_for_who_proves_its_key() -> None:
    """A thief of it has no key: as a bearer token it opens nothing, nor with a proof by another key or of another token."""
    own, thief = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    async with served(openid()) as server:
        client = await client_of(server)
        who = Authentication((await alice(server)).subject, server.clock.now - 5, "s1", "", ("pwd",))
        value = await code_for(server, client, scope="openid", who=who)
        answer = await exchange(server, client, value, headers=proof(server, own))
        assert answer.json()["token_type"] == "DPoP"
        token = answer.json()["access_token"]
        ath = encoded(hashlib.sha256(token.encode()).digest())

        def shown(key: ECKey, scheme: str = "DPoP", **changes: Any) -> dict[str, str]:
            claims = {"htm": "GET", "ath": ath, **changes}
            return {"authorization": f"{scheme} {token}", **proof(server, key, "/userinfo", **claims)}

        assert (await server.client.get("/userinfo", headers=shown(own))).status_code == 200
        for headers in (
            {"authorization": f"Bearer {token}"},
            shown(own, "Bearer"),
            shown(thief),
            shown(own, ath=None),
            shown(own, ath=encoded(hashlib.sha256(b"another").digest())),
            shown(own, htm="POST"),
        ):
            refused_one = await server.client.get("/userinfo", headers=headers)
            assert refused_one.status_code == 401, headers
        assert (await server.client.post("/userinfo", data={"access_token": token})).status_code == 401


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("openid", set()),
        ("openid profile", {"name", "name#ja", "given_name", "preferred_username"}),
        ("openid email", {"email", "email_verified"}),
        ("openid address", {"address"}),
        ("openid phone", {"phone_number"}),
    ],
)
async def test_each_scope_tells_its_claims_and_no_others(scope: str, told: set[str]) -> None:
    """What was not allowed is not told, nor what no scope is about."""
    async with served(openid()) as server:
        token = (await signed_in(server, await client_of(server), scope=scope))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
        assert answer.json().keys() == told | {"sub"}


async def test_the_parameter_claims_asks_for_single_claims() -> None:
    """Essential or not, in a language, and only with the value that was asked for; what is unknown is left out."""
    wanted = {
        "userinfo": {
            "email": {"essential": True},
            "name#ja": None,
            "given_name": {"value": "Bob"},
            "phone_number": {"values": ["+44 20 7946 0000"]},
            "birthdate": {"essential": True},
            "shoe_size": None,
        },
        "id_token": {"name": None},
    }
    async with served(openid()) as server:
        token = (await signed_in(server, await client_of(server), scope="openid", claims=wanted))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
        assert answer.json().keys() == {"sub", "email", "name#ja", "phone_number"}


async def test_who_is_refused() -> None:
    """No token, two, a malformed one, an unknown, an expired and a revoked one: each with a challenge that says why."""
    async with served(openid()) as server:
        token = (await signed_in(server, await client_of(server)))["access_token"]
        header = {"authorization": f"Bearer {token}"}
        missing = await server.client.get("/userinfo")
        refused(missing, "invalid_token", status=401)
        assert missing.headers["www-authenticate"] == 'Bearer realm="userinfo"'
        twice = await server.client.post("/userinfo", headers=header, data={"access_token": token})
        refused(twice, "invalid_request", status=400)
        refused(await server.client.get(f"/userinfo?access_token={token}"), "invalid_request", status=400)
        refused(
            await server.client.get("/userinfo", headers={"authorization": "Basic YTpi"}), "invalid_request", status=400
        )
        unknown = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}x"})
        refused(unknown, "invalid_token", status=401)
        assert 'error="invalid_token"' in unknown.headers["www-authenticate"]
        (allowed,) = await grant.of_person(
            server.registry, server.issuer, (await alice(server)).subject, server.clock.now
        )
        await grant.revoke(server.registry, allowed, Actor("person", "session"), "test")
        refused(await server.client.get("/userinfo", headers=header), "invalid_token", status=401)
        token = (await signed_in(server, await client_of(server)))["access_token"]
        server.clock.advance(3_601)
        refused(
            await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"}),
            "invalid_token",
            status=401,
        )


async def test_a_token_for_something_else_opens_nothing() -> None:
    """A client's own token, one without openid, and one for another resource tell nothing about anybody."""
    settings = 'resources.api.uri = "https://api.example"'
    async with served(openid(settings)) as server:
        _, own = await machine(server, {"grant_types": ["client_credentials"], "scope": "profile"})
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {own}"})
        refused(answer, "insufficient_scope", status=403)
        assert answer.headers["www-authenticate"].endswith('scope="openid"')
        client = await client_of(server)
        plain = (await signed_in(server, client, scope="profile"))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {plain}"})
        refused(answer, "insufficient_scope", status=403)
        other = (await signed_in(server, client, resource=("https://api.example",)))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {other}"})
        refused(answer, "invalid_token", status=401)


@pytest.mark.requirement("OIDC-23")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA", "HS256"])
async def test_it_is_signed_as_registered(algorithm: str) -> None:
    """The registered algorithm, with issuer and audience, as application/jwt."""
    async with served(openid()) as server:
        client = await client_of(server, userinfo_signed_response_alg=algorithm)
        token = (await signed_in(server, client))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
        assert answer.headers["content-type"] == "application/jwt"
        told = (
            under_secret(answer.text, client["client_secret"])
            if algorithm == "HS256"
            else await verified(server, answer.text)
        )
        assert told.algorithm == algorithm
        assert told.claims.keys() == STANDARD | {"iss", "aud"}
        assert (told.claims["iss"], told.claims["aud"]) == ("http://127.0.0.1:8000", client["client_id"])


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"userinfo_encrypted_response_alg": "RSA-OAEP-256"}, RSA),
        ({"userinfo_encrypted_response_alg": "ECDH-ES", "userinfo_encrypted_response_enc": "A256GCM"}, EC),
        ({"userinfo_encrypted_response_alg": "ECDH-ES+A256KW"}, EC),
        ({"userinfo_encrypted_response_alg": "A256KW", "userinfo_encrypted_response_enc": "A128GCM"}, 32),
        ({"userinfo_encrypted_response_alg": "dir"}, 32),
        ({"userinfo_encrypted_response_alg": "dir", "userinfo_encrypted_response_enc": "A256CBC-HS512"}, 64),
        ({"userinfo_encrypted_response_alg": "dir", "userinfo_encrypted_response_enc": "A128GCM"}, 16),
    ],
)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
async def test_it_is_encrypted_as_registered(members: dict[str, Any], key: Any, signed: bool) -> None:
    """With the client's own keys or its secret; what is signed is signed first, and nested."""
    async with served(openid()) as server:
        more = {"userinfo_signed_response_alg": "RS256"} if signed else {}
        client = await client_of(server, jwks=JWKS, **members, **more)
        token = (await signed_in(server, client))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
        assert answer.headers["content-type"] == "application/jwt"
        if isinstance(key, int):
            hashed = hashlib.sha512 if key > 32 else hashlib.sha256
            key = hashed(client["client_secret"].encode()).digest()[:key]
        header, plaintext = decrypted(answer.text, key)
        assert header.get("cty") == ("JWT" if signed else None)
        told = (await verified(server, plaintext)).claims if signed else json.loads(plaintext)
        assert told["email"] == CLAIMS["email"]


async def test_a_client_without_a_key_to_encrypt_with_is_told() -> None:
    """The registered keys are all for signing: the error says what is missing, and nothing is told in the clear."""
    async with served(openid()) as server:
        keys = {"keys": JWKS["keys"][:1]}
        client = await client_of(server, jwks=keys, userinfo_encrypted_response_alg="RSA-OAEP-256")
        token = (await signed_in(server, client))["access_token"]
        answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
        assert "RSA-OAEP-256" in refused(answer, "invalid_request", status=400)["error_description"]


@pytest.mark.requirement("OIDC-20")
async def test_pairwise_subjects_belong_to_a_sector() -> None:
    """Clients on one host see one identifier, another host sees another, and nobody the one that is kept here."""
    async with served(openid()) as server:
        seen = []
        for host in ("one.example", "one.example", "two.example"):
            client = await client_of(server, redirect_uris=[f"https://{host}/cb"], subject_type="pairwise")
            token = (await signed_in(server, client, scope="openid"))["access_token"]
            answer = await server.client.get("/userinfo", headers={"authorization": f"Bearer {token}"})
            seen.append(answer.json()["sub"])
        assert seen[0] == seen[1] != seen[2]
        assert (await alice(server)).subject not in seen


async def test_another_origin_may_ask() -> None:
    """A page of an app may call UserInfo where its origin is allowed (CORS)."""
    async with served(openid(issuer='cors_origins = ["https://app.example"]')) as server:
        answer = await server.client.options("/userinfo", headers={"origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
