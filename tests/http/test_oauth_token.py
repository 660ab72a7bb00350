"""The token endpoint: codes, refresh tokens and client credentials (RFC 6749 §4.1.3, §4.4, §6)."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from authorizing import (
    ALICE,
    APP,
    BATCH,
    CALLBACK,
    VERIFIER,
    WEB,
    authorizing,
    call,
    code_for,
    exchange,
    machine,
    proof_of,
    token,
    tokens,
)
from registering import PUBLIC, events, refused, register, started

from registrar.authorization import tokens as kept
from registrar.domain.access_token import ACCESS_TOKEN
from registrar.policy.document import ConfigurationError
from registrar.service import access
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

API = 'resources.api = { uri = "https://api.example/", scopes = ["read"] }\n'
ANOTHER = 'resources.other = { uri = "https://other.example/" }\n'


async def valid(server: Served, value: str) -> bool:
    """Whether an access token would be taken at this moment."""
    return await access.find(server.registry, server.issuer, value, server.clock.now) is not None


# --- client credentials -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-38", "BASE-37")
async def test_a_client_gets_a_token_of_its_own() -> None:
    """What was registered a moment ago earns a token at once; the scopes are those asked for among the registered."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", scope="write delete")
        body = answer.json()
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, "write")
        assert len(body["access_token"]) >= 43
        assert (await token(server, client, "client_credentials")).json()["scope"] == "read write"
        refused(await token(server, client, "client_credentials", scope="delete"), "invalid_scope")


@pytest.mark.requirement("BASE-35")
async def test_only_registered_grants() -> None:
    """A grant type that the client did not register is unauthorized_client; one that nobody offers is unsupported."""
    async with served(authorizing()) as server:
        web, batch = await register(server, WEB), await register(server, BATCH)
        refused(await token(server, web, "client_credentials"), "unauthorized_client")
        refused(await token(server, batch, "refresh_token", refresh_token="x"), "unauthorized_client")
        refused(await token(server, batch, "password", username="a", password="b"), "unsupported_grant_type")
        refused(await call(server, "/token", batch), "invalid_request")


@pytest.mark.parametrize(
    ("body", "media", "error", "status"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", "", "invalid_request", 400),
        (b"grant_type=client_credentials&x=1&x=2", "", "invalid_request", 400),
        (b"grant_type=client_credentials&scope=%00", "", "invalid_request", 400),
        (b"grant_type=client_credentials&scope=%ff", "", "invalid_request", 400),
        (b"grant_type=client_credentials&scope=\xff", "", "invalid_request", 400),
        (b"&".join(b"p%d=1" % at for at in range(200)), "", "invalid_request", 400),
        (b"grant_type=", "", "invalid_request", 400),
        (b"", "", "invalid_request", 400),
        (b'{"grant_type": "client_credentials"}', "application/json", "invalid_request", 415),
        (b"grant_type=client_credentials", "multipart/form-data; boundary=x", "invalid_request", 415),
    ],
)
async def test_what_is_no_form(body: bytes, media: str, error: str, status: int) -> None:
    """Repeated parameters, other encodings and other media types are refused, whoever sends them."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        headers = {"content-type": media or "application/x-www-form-urlencoded"}
        answer = await server.client.post("/token", content=body, headers=headers, **proof_of(client))
        refused(answer, error, status=status)


async def test_the_store_knows_digests_alone(tmp_path: Path) -> None:
    """A stolen database yields no token, no code and no secret."""
    text = authorizing(database=f"sqlite:///{tmp_path}/registrar.db")
    async with served(text) as server:
        client = await register(server, WEB)
        value = await code_for(server, client)
        issued = (await exchange(server, client, value)).json()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: ASYNC240 (nothing else runs)
    for secret in (value, issued["access_token"], issued["refresh_token"], client["client_secret"]):
        assert secret.encode() not in stored


# --- authorization code -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [WEB, APP], ids=["confidential", "public"])
async def test_a_code_becomes_tokens(members: dict[str, Any]) -> None:
    """With its verifier and redirect URI a code gives an access token and, where registered, a refresh token."""
    async with served(authorizing()) as server:
        client = await register(server, members)
        body = await tokens(server, client)
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
        assert body["scope"] == "read write"
        assert await valid(server, body["access_token"])
        plain = await register(server, {**members, "grant_types": ["authorization_code"]})
        assert "refresh_token" not in await tokens(server, plain)


@pytest.mark.requirement("BASE-16", "AUTHM-1", "OIDC-50")
@pytest.mark.parametrize(
    ("given", "challenged"),
    [
        ({"code_verifier": None}, True),
        ({"code_verifier": VERIFIER[::-1]}, True),
        ({"code_verifier": "short"}, True),
        ({"code_verifier": "é" * 43}, True),
        ({}, False),
    ],
)
async def test_the_verifier_decides(given: dict[str, Any], challenged: bool) -> None:
    """Without the verifier a stolen code is worth nothing, and one where no challenge was is a downgrade."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        value = await code_for(server, client, **({} if challenged else {"challenge": None}))
        refused(await exchange(server, client, value, **given), "invalid_grant")
        if challenged:  # the code itself is still good: nobody can burn another's by guessing
            assert (await exchange(server, client, value)).status_code == 200


@pytest.mark.parametrize("uri", [None, f"{CALLBACK}/", CALLBACK.upper(), f"{CALLBACK}?a=b", "https://evil.example/"])
async def test_the_redirect_uri_is_repeated(uri: str | None) -> None:
    """It is the same as in the authorization request, character by character, where that named one."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        value = await code_for(server, client)
        refused(await exchange(server, client, value, redirect_uri=uri), "invalid_grant")
        unnamed = await code_for(server, client, redirect_uri_given=False)
        assert (await exchange(server, client, unnamed, redirect_uri=None)).status_code == 200
        again = await code_for(server, client, redirect_uri_given=False)
        assert (await exchange(server, client, again)).status_code == 200


async def test_a_code_is_its_clients() -> None:
    """Another client gets nothing for it, and an unknown or expired one gives nothing to anybody."""
    async with served(authorizing()) as server:
        client, thief = await register(server, WEB), await register(server, WEB)
        value = await code_for(server, client)
        refused(await exchange(server, thief, value), "invalid_grant")
        refused(await exchange(server, client, "unknown"), "invalid_grant")
        server.clock.advance(60)
        refused(await exchange(server, client, value), "invalid_grant")


async def test_a_code_used_again_ends_everything() -> None:
    """Of two who hold a code one stole it, so what the first use gave is revoked, and the audit tells."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        value = await code_for(server, client)
        issued = (await exchange(server, client, value)).json()
        server.clock.advance(120)
        refused(await exchange(server, client, value), "invalid_grant")
        assert not await valid(server, issued["access_token"])
        refused(await token(server, client, "refresh_token", refresh_token=issued["refresh_token"]), "invalid_grant")
        (told,) = await events(server, "grant.revoked")
        assert "code" in told["reason"]


async def test_a_code_used_twice_at_once(tmp_path: Path) -> None:
    """Of concurrent uses at most one is answered with tokens, and those are dead."""
    async with served(authorizing(database=f"sqlite:///{tmp_path}/registrar.db")) as server:
        client = await register(server, WEB)
        value = await code_for(server, client)
        answers = await asyncio.gather(*(exchange(server, client, value) for _ in range(8)))
        won = [one.json() for one in answers if one.status_code == 200]
        assert len(won) == 1
        assert {one.json().get("error") for one in answers} == {None, "invalid_grant"}
        assert not await valid(server, won[0]["access_token"])


# --- refresh tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-17")
async def test_a_public_client_rotates() -> None:
    """Each use replaces the token; the use of a replaced one ends the family, whoever it was."""
    async with served(authorizing()) as server:
        client = await register(server, APP)
        first = (await tokens(server, client))["refresh_token"]
        second = (await token(server, client, "refresh_token", refresh_token=first)).json()
        assert second["refresh_token"] != first
        third = (await token(server, client, "refresh_token", refresh_token=second["refresh_token"])).json()
        assert await valid(server, third["access_token"])
        refused(await token(server, client, "refresh_token", refresh_token=first), "invalid_grant")
        assert not await valid(server, third["access_token"])
        last = await token(server, client, "refresh_token", refresh_token=third["refresh_token"])
        refused(last, "invalid_grant")
        (told,) = await events(server, "grant.revoked")
        assert told["client_id"] == client["client_id"]


async def test_a_grace_for_lost_answers() -> None:
    """Within the grace a replaced token still works; after it, its use ends the family."""
    async with served(authorizing("refresh_token_grace = 30")) as server:
        client = await register(server, APP)
        first = (await tokens(server, client))["refresh_token"]
        await token(server, client, "refresh_token", refresh_token=first)
        server.clock.advance(29)
        assert (await token(server, client, "refresh_token", refresh_token=first)).status_code == 200
        server.clock.advance(1)
        refused(await token(server, client, "refresh_token", refresh_token=first), "invalid_grant")


async def test_a_confidential_client_does_not_rotate() -> None:
    """It proves itself at each use (FAPI 2.0 §5.3.2.1 forbids rotation), unless the operator wants it."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        first = (await tokens(server, client))["refresh_token"]
        for _ in range(2):
            again = await token(server, client, "refresh_token", refresh_token=first)
            assert again.status_code == 200
            assert "refresh_token" not in again.json()
    async with served(authorizing('refresh_token_rotation = "all"')) as server:
        client = await register(server, WEB)
        first = (await tokens(server, client))["refresh_token"]
        assert "refresh_token" in (await token(server, client, "refresh_token", refresh_token=first)).json()


async def test_refresh_tokens_for_those_who_keep_secrets() -> None:
    """Where the operator says so, public clients get none, though they registered the grant."""
    async with served(authorizing('refresh_tokens = "confidential"')) as server:
        assert "refresh_token" in await tokens(server, await register(server, WEB))
        assert "refresh_token" not in await tokens(server, await register(server, APP))


async def test_a_refreshed_token_has_no_more_than_was_granted() -> None:
    """Scopes can be narrowed at a refresh, and come back at the next; more is refused, and so is another client."""
    async with served(authorizing()) as server:
        client, thief = await register(server, WEB), await register(server, WEB)
        first = (await tokens(server, client))["refresh_token"]
        narrow = await token(server, client, "refresh_token", refresh_token=first, scope="read")
        assert narrow.json()["scope"] == "read"
        whole = await token(server, client, "refresh_token", refresh_token=first)
        assert whole.json()["scope"] == "read write"
        more = await token(server, client, "refresh_token", refresh_token=first, scope="read delete")
        refused(more, "invalid_scope")
        refused(await token(server, thief, "refresh_token", refresh_token=first), "invalid_grant")
        refused(await token(server, client, "refresh_token", refresh_token="unknown"), "invalid_grant")
        server.clock.advance(2_592_000)
        refused(await token(server, client, "refresh_token", refresh_token=first), "invalid_grant")


async def test_a_family_rotated_at_once_has_one_winner(tmp_path: Path) -> None:
    """Of concurrent uses of a public client's token one wins, and the others are taken for theft."""
    async with served(authorizing(database=f"sqlite:///{tmp_path}/registrar.db")) as server:
        client = await register(server, APP)
        first = (await tokens(server, client))["refresh_token"]
        uses = (token(server, client, "refresh_token", refresh_token=first) for _ in range(8))
        answers = await asyncio.gather(*uses)
        assert [one.status_code for one in answers].count(200) == 1


# --- resources ------------------------------------------------------------------------------------------------------------


async def test_a_token_is_for_its_resource() -> None:
    """The audience is what was asked for, the scopes are those that mean something there; others are refused."""
    async with served(authorizing(API + ANOTHER)) as server:
        client = await register(server, BATCH)
        answer = await token(server, client, "client_credentials", resource="https://api.example/")
        assert answer.json()["scope"] == "read"
        found = await access.find(server.registry, server.issuer, answer.json()["access_token"], server.clock.now)
        assert found is not None
        assert found.token.audience == ("https://api.example/",)
        both = await token(
            server, client, "client_credentials", resource=["https://api.example/", "https://other.example/"]
        )
        assert both.json()["scope"] == "read write"
        for bad in ("https://nobody.example/", "api", "https://api.example/#x", "https://api.example"):
            refused(await token(server, client, "client_credentials", resource=bad), "invalid_target")
        only = await token(server, client, "client_credentials", resource="https://api.example/", scope="write")
        refused(only, "invalid_scope")


async def test_resources_of_a_grant() -> None:
    """A token request names some of the granted resources, or none for all; never another."""
    async with served(authorizing(API + ANOTHER)) as server:
        client = await register(server, WEB)
        value = await code_for(server, client, resource=("https://other.example/",))
        refused(await exchange(server, client, value, resource="https://api.example/"), "invalid_target")
        assert (await exchange(server, client, value, resource="https://other.example/")).status_code == 200
        without = await code_for(server, client)
        refused(await exchange(server, client, without, resource="https://api.example/"), "invalid_target")


async def test_any_resource_for_development() -> None:
    """Where the operator allows it, a token is for whatever resource its client names."""
    async with served(authorizing("any_resource = true")) as server:
        answer = await token(
            server, await register(server, BATCH), "client_credentials", resource="http://127.0.0.1:1/mcp"
        )
        assert answer.status_code == 200


# --- tokens that can be read ------------------------------------------------------------------------------------------


async def test_an_access_token_as_a_signed_statement() -> None:
    """Where the operator wants it, an API can read a token itself (RFC 9068); revoking it is known here all the same."""
    async with served(authorizing('access_token_format = "jwt"\n' + API)) as server:
        await started(server)
        client = await register(server, {**WEB, "subject_type": "pairwise"})
        value = (await tokens(server, client, resource=("https://api.example/",)))["access_token"]
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in value.split(".")[:2])
        assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")
        assert header["kid"] in [one["kid"] for one in (await server.client.get("/jwks")).json()["keys"]]
        assert claims["sub"] not in ("alice", "")
        now = server.clock.now
        assert claims == {
            "iss": server.issuer.url,
            "sub": claims["sub"],
            "aud": "https://api.example/",
            "client_id": client["client_id"],
            "scope": "read",
            "iat": now,
            "exp": now + 3600,
            "jti": claims["jti"],
            "auth_time": ALICE.time,
        }
        told = (await call(server, "/introspect", client, token=value)).json()
        assert (told["active"], told["sub"], told["jti"]) == (True, claims["sub"], claims["jti"])
        assert (await call(server, "/revoke", client, token=value)).status_code == 200
        assert not await valid(server, value)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "access_token_lifetime = 0",
        "device_code_interval = 0",
        "refresh_token_grace = -1",
        'access_token_format = "other"',
        'pkce = "confidential"',
        'refresh_tokens = "public"',
        'refresh_token_rotation = "confidential"',
        'default_resource = "api"',
        'resources.api = { uri = "https://api.example/#x" }',
        'resources.api = { uri = "https://api.example/", other = 1 }',
        "resources = 1",
        "unknown = 1",
    ],
)
async def test_settings_are_strict(line: str) -> None:
    """A lifetime of nothing, a value that means nothing and an unknown key keep the server from starting."""
    text = authorizing(line)
    at = text.split("\n").index(line) + 1
    with pytest.raises(ConfigurationError, match=f"^test:{at}: "):
        async with served(text):
            pass


# --- what ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-63")
async def test_a_fresh_client_has_no_token_without_a_grant() -> None:
    """Registration alone opens nothing: no grant, no code, no token."""
    async with served(authorizing()) as server:
        client = await register(server, PUBLIC)
        refused(await token(server, client, "client_credentials"), "unauthorized_client")
        refused(await exchange(server, client, "made-up"), "invalid_grant")


async def test_an_access_token_ends() -> None:
    """It lives as long as its answer said, and not a second longer."""
    async with served(authorizing("access_token_lifetime = 60")) as server:
        _, value = await machine(server)
        server.clock.advance(59)
        assert await valid(server, value)
        server.clock.advance(1)
        assert not await valid(server, value)
        assert await server.registry.store.purge(server.clock.now) >= 1
        assert await server.registry.store.item("main", ACCESS_TOKEN, access.key(value)) is None


async def test_a_token_of_another_issuer_is_unknown() -> None:
    """Tokens are looked for at the issuer that is asked, and at no other."""
    text = authorizing(tables='[issuer.other]\nurl = "http://127.0.0.1:8000/other"\n')
    async with served(text) as server:
        _, value = await machine(server)
        other = server.registry.issuers["other"]
        assert await access.find(server.registry, other, value, server.clock.now) is None


def test_nothing_prints_what_it_holds() -> None:
    """What holds values prints without them: a traceback must not show a token."""
    issued = kept.Issued({"access_token": "secret-value"}, [], None)  # type: ignore[arg-type]  # what is printed is tested
    assert "secret-value" not in repr(issued)
    assert ALICE.subject == "alice"
