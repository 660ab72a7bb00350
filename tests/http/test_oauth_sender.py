"""Tokens that are worth nothing to a thief: bound to a key (RFC 9449) or to a certificate (RFC 8705 §3)."""

from __future__ import annotations

from typing import Any

import pytest
from authorizing import APP, BATCH, WEB, authorizing, code_for, exchange, key, proof, token
from registering import refused, register
from test_oauth_assertions import ISSUED, ROOT, behind_a_proxy, presenting

from registrar.service import access
from registrar.testing import served

pytestmark = pytest.mark.anyio

KEY = key(kid="")


@pytest.mark.parametrize(("kind", "alg"), [("EC", "ES256"), ("RSA", "PS256"), ("OKP", "EdDSA")])
async def test_a_token_is_bound_to_the_proved_key(kind: str, alg: str) -> None:
    """With a proof the token type is DPoP, and the token is kept with the thumbprint of the key."""
    own = key(kind=kind)
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", headers=proof(server, own, alg=alg))
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == "DPoP"
        found = await access.find(server.registry, server.issuer, answer.json()["access_token"], server.clock.now)
        assert found is not None
        assert found.token.dpop_jkt == own.thumbprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": None},
        {"htu": "http://127.0.0.1:8000/other"},
        {"htu": "https://127.0.0.1:8000/token"},
        {"htu": "http://127.0.0.1:0x/token"},
        {"htu": 1},
        {"iat": None},
        {"iat": 1_789_999_900},
        {"iat": 1_790_000_011},
        {"jti": None},
        {"jti": ["x"]},
    ],
)
async def test_a_proof_is_strict(changes: dict[str, Any]) -> None:
    """It is for this method, this URL and this minute, and can be told from every other."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", headers=proof(server, KEY, **changes))
        refused(answer, "invalid_dpop_proof")


@pytest.mark.parametrize("htu", ["HTTP://127.0.0.1:8000/token", "http://127.0.0.1:8000/token?a=b#c"])
async def test_the_url_of_a_proof_is_compared_normalized(htu: str) -> None:
    """Case of the scheme, query and fragment do not matter."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", headers=proof(server, KEY, htu=htu))
        assert answer.status_code == 200, answer.text


async def test_what_is_no_proof() -> None:
    """Two headers, another type, a private key inside, and a proof that was used before are refused."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        once = proof(server, KEY)
        assert (await token(server, client, "client_credentials", headers=once)).status_code == 200
        from authorizing import signed

        claims = {"jti": "1", "htm": "POST", "htu": "http://127.0.0.1:8000/token", "iat": server.clock.now}
        private = signed(KEY, claims, typ="dpop+jwt", jwk=KEY.as_dict(private=True))
        untyped = signed(KEY, claims, jwk=KEY.as_dict(private=False))
        other = signed(key(kid=""), claims, typ="dpop+jwt", jwk=KEY.as_dict(private=False))
        for bad in (once["dpop"], private, untyped, other, "a.b.c", ""):
            refused(await token(server, client, "client_credentials", headers={"dpop": bad}), "invalid_dpop_proof")
        twice = [("dpop", proof(server, KEY)["dpop"]), ("dpop", proof(server, KEY)["dpop"])]
        refused(await token(server, client, "client_credentials", headers=twice), "invalid_dpop_proof")


@pytest.mark.requirement("BASE-38")
async def test_what_a_client_demands_of_itself() -> None:
    """A client that registered bound tokens gets no other: without a proof, or without a certificate, it gets none."""
    async with served(behind_a_proxy()) as server:
        by_key = await register(server, {**BATCH, "dpop_bound_access_tokens": True})
        refused(await token(server, by_key, "client_credentials"), "invalid_dpop_proof")
        assert (await token(server, by_key, "client_credentials", headers=proof(server, KEY))).status_code == 200
        by_certificate = await register(server, {**BATCH, "tls_client_certificate_bound_access_tokens": True})
        refused(await token(server, by_certificate, "client_credentials"), "invalid_request")
        answer = await token(server, by_certificate, "client_credentials", headers=presenting())
        assert answer.json()["token_type"] == "Bearer"
        found = await access.find(server.registry, server.issuer, answer.json()["access_token"], server.clock.now)
        assert found is not None
        assert found.token.certificate_thumbprint


async def test_a_public_clients_refresh_token_is_bound_too() -> None:
    """The refresh token of a public client needs the key, or the certificate, that it was issued with."""
    async with served(behind_a_proxy()) as server:
        client = await register(server, APP)
        value = await code_for(server, client)
        first = (await exchange(server, client, value, headers=proof(server, KEY))).json()["refresh_token"]
        refused(await token(server, client, "refresh_token", refresh_token=first), "invalid_dpop_proof")
        other = proof(server, key(kid=""))
        refused(await token(server, client, "refresh_token", refresh_token=first, headers=other), "invalid_dpop_proof")
        again = await token(server, client, "refresh_token", refresh_token=first, headers=proof(server, KEY))
        assert again.json()["token_type"] == "DPoP"
        bound = await register(server, {**APP, "tls_client_certificate_bound_access_tokens": True})
        value = await code_for(server, bound)
        first = (await exchange(server, bound, value, headers=presenting())).json()["refresh_token"]
        thief = presenting(ROOT.issue("CN=thief"))
        refused(await token(server, bound, "refresh_token", refresh_token=first, headers=thief), "invalid_grant")
        own = await token(server, bound, "refresh_token", refresh_token=first, headers=presenting(ISSUED))
        assert own.status_code == 200


async def test_a_confidential_clients_is_not() -> None:
    """It proves itself by authenticating, and may change its key."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        value = await code_for(server, client)
        first = (await exchange(server, client, value, headers=proof(server, KEY))).json()["refresh_token"]
        assert (await token(server, client, "refresh_token", refresh_token=first)).json()["token_type"] == "Bearer"


async def test_a_code_bound_to_a_key() -> None:
    """A code whose request named a key (dpop_jkt) is worth nothing without that key."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        value = await code_for(server, client, dpop_jkt=KEY.thumbprint())
        refused(await exchange(server, client, value), "invalid_dpop_proof")
        other = proof(server, key(kid=""))
        refused(await exchange(server, client, value, headers=other), "invalid_dpop_proof")
        assert (await exchange(server, client, value, headers=proof(server, KEY))).status_code == 200


async def test_a_nonce_of_this_server() -> None:
    """Where the operator wants nonces, a proof without one learns it, and one that is old or made up is refused."""
    async with served(authorizing("dpop_nonce = true")) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", headers=proof(server, KEY))
        refused(answer, "use_dpop_nonce")
        nonce = answer.headers["dpop-nonce"]
        for bad in ("", "made-up", nonce[::-1], 1):
            again = await token(server, client, "client_credentials", headers=proof(server, KEY, nonce=bad))
            refused(again, "use_dpop_nonce")
        good = await token(server, client, "client_credentials", headers=proof(server, KEY, nonce=nonce))
        assert good.status_code == 200, good.text
        server.clock.advance(301)
        late = await token(server, client, "client_credentials", headers=proof(server, KEY, nonce=nonce))
        refused(late, "use_dpop_nonce")
