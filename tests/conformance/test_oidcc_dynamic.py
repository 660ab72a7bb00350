"""The 23 modules of oidcc-dynamic-certification-test-plan, each by its name."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from suite import CALLBACK, FIRST, ISSUER, RP, SECOND, Client, Suite, key_set, statement, suite

from browser import Callback, Page
from registrar.domain import jws
from registrar.domain.events import Actor
from registrar.service import keys
from registrar.service.ports import FetchError

pytestmark = pytest.mark.anyio

KEYS = f"{RP}/jwks"


def published(*held: Any) -> bytes:
    """A key set, as a client publishes one."""
    return json.dumps(key_set(*held)).encode()


async def test_oidcc_idtoken_rs256() -> None:
    """The ID token's header has a kid and RS256, and it validates."""
    async with suite() as op:
        client = await op.register(id_token_signed_response_alg="RS256")
        tokens, _ = await op.flow(client)
        header = jws.read(tokens["id_token"]).header
        assert header["alg"] == "RS256"
        assert header["kid"]
        await op.clean_up(client)


async def test_oidcc_idtoken_unsigned() -> None:
    """The ID token has alg none, where discovery lists it."""
    async with suite() as op:
        assert "none" in op.discovery["id_token_signing_alg_values_supported"]
        client = await op.register(id_token_signed_response_alg="none")
        tokens, _ = await op.flow(client)
        assert jws.read(tokens["id_token"]).algorithm == "none"
        await op.clean_up(client)


async def test_oidcc_userinfo_rs256() -> None:
    """UserInfo is application/jwt, signed with RS256, with iss and aud and without nonce."""
    async with suite() as op:
        assert "RS256" in op.discovery["userinfo_signing_alg_values_supported"]
        client = await op.register(userinfo_signed_response_alg="RS256")
        tokens, claims = await op.flow(client)
        answer = await op.server.client.get(
            op.discovery["userinfo_endpoint"], headers={"authorization": f"Bearer {tokens['access_token']}"}
        )
        assert answer.headers["content-type"].partition(";")[0] == "application/jwt"
        told = jws.verify(jws.read(answer.text), await op.published(), ("RS256",)).claims
        assert told["sub"] == claims["sub"]
        assert (told["iss"], told["aud"]) == (ISSUER, client.client_id)
        assert "nonce" not in told
        await op.clean_up(client)


async def test_oidcc_ensure_redirect_uri_in_authorization_request() -> None:
    """With two registered and none named there is an error page, never a redirect."""
    async with suite() as op:
        client = await op.register(redirect_uris=[CALLBACK, f"{CALLBACK}2"])
        await op.error_page(op.request(client, redirect_uri=None))
        await op.clean_up(client)


async def test_oidcc_redirect_uri_query_ok() -> None:
    """oidcc-redirect-uri-query-OK: a registered query works end to end, and what comes back stands beside it."""
    async with suite() as op:
        client = await op.register(redirect_uris=[f"{CALLBACK}?bar=foo"])
        request = op.request(client)
        answer = await op.callback(request)
        assert answer["bar"] == "foo"
        await op.exchange(client, request, answer)
        await op.clean_up(client)


async def test_oidcc_redirect_uri_query_mismatch() -> None:
    """Another query than the registered one is an error page."""
    async with suite() as op:
        client = await op.register(redirect_uris=[f"{CALLBACK}?bar=foo"])
        await op.error_page(op.request(client, redirect_uri=f"{CALLBACK}?foo=bar"))
        await op.clean_up(client)


async def test_oidcc_redirect_uri_query_added() -> None:
    """A query that was not registered is an error page."""
    async with suite() as op:
        client = await op.register()
        await op.error_page(op.request(client, redirect_uri=f"{CALLBACK}?foo=bar"))
        await op.clean_up(client)


async def test_oidcc_redirect_uri_regfrag() -> None:
    """A redirect URI with a fragment is not registered."""
    async with suite() as op:
        await op.refused({"invalid_redirect_uri", "invalid_client_metadata"}, redirect_uris=[f"{CALLBACK}#foobar"])


async def test_oidcc_server() -> None:
    """The happy flow: hashes that are right, no claim that was not asked for, UserInfo about the same person."""
    async with suite() as op:
        client = await op.register()
        tokens, claims = await op.flow(client)
        digest = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
        assert claims["at_hash"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert not {"name", "email", "address", "phone_number", "picture"} & claims.keys()
        assert await op.userinfo(tokens["access_token"]) == {"sub": claims["sub"]}
        await op.clean_up(client)


@pytest.mark.parametrize("member", ["logo_uri", "policy_uri", "tos_uri"])
async def test_oidcc_registration_logo_uri_policy_uri_tos_uri(member: str) -> None:
    """oidcc-registration-logo-uri, -policy-uri and -tos-uri: the page shows the logo and leads to the pages."""
    uri = {"logo_uri": f"{RP}/logo.png", "policy_uri": f"{RP}/policy", "tos_uri": "https://openid.net/"}[member]
    async with suite() as op:
        client = await op.register(**{member: uri})
        page = await op.go(op.request(client))
        assert isinstance(page, Page)
        if member == "logo_uri":
            # Never from the client's own host, who would learn who looks: through this server.
            assert f"{ISSUER}/logo/{client.client_id}" in [image.partition("?")[0] for image in page.images]
        else:
            assert uri in page.links.values()
        await op.clean_up(client)


async def test_oidcc_registration_jwks_uri() -> None:
    """A client that registers jwks_uri authenticates with the key that stands there."""
    async with suite() as op:
        op.documents.documents[KEYS] = published(FIRST)
        client = await op.register(jwks=None, jwks_uri=KEYS)
        await op.flow(client)
        assert op.documents.fetched == [KEYS]
        await op.clean_up(client)


async def test_oidcc_registration_sector_uri() -> None:
    """Pairwise, with a sector document that lists the redirect URI, or more than it."""
    async with suite() as op:
        assert "pairwise" in op.discovery["subject_types_supported"]
        uri = f"{RP}/sector.json"
        members = {"subject_type": "pairwise", "sector_identifier_uri": uri}
        for listed in ([CALLBACK], [CALLBACK, "https://other.example/cb"]):
            op.documents.documents[uri] = json.dumps(listed).encode()
            client = await op.register(**members)
            assert client.registered["sector_identifier_uri"] == uri
            await op.clean_up(client)


@pytest.mark.parametrize(
    "document",
    [["https://example.com/op"], {"redirect_uris": [CALLBACK]}, [], "x", FetchError("it answers with 404")],
    ids=str,
)
async def test_oidcc_registration_sector_bad(document: Any) -> None:
    """A sector document without the redirect URI, of another form, or that is not there refuses the registration."""
    async with suite() as op:
        uri = f"{RP}/sector.json"
        op.documents.documents[uri] = document if isinstance(document, FetchError) else json.dumps(document).encode()
        members = {"subject_type": "pairwise", "sector_identifier_uri": uri}
        await op.refused({"invalid_client_metadata"}, **members)
        await op.refused(
            {"invalid_client_metadata"}, **{**members, "sector_identifier_uri": "http://rp.example/s.json"}
        )


async def test_oidcc_server_rotate_keys() -> None:
    """After a rotation the key set has a new signing key, by kid and by number, and an old one is still there."""
    async with suite() as op:
        before = {key["kid"]: key.get("n") or key["x"] for key in await op.published()}
        client = await op.register()
        await keys.rotate(op.server.registry, op.server.issuer, Actor("operator", "local"), endpoint="test")
        after = {key["kid"]: key.get("n") or key["x"] for key in await op.published()}
        new = after.keys() - before.keys()
        assert new
        assert not {after[kid] for kid in new} & set(before.values())
        assert before.keys() & after.keys()
        tokens, _ = await op.flow(client)
        assert jws.read(tokens["id_token"]).kid in new


async def test_oidcc_refresh_token_rp_key_rotation() -> None:
    """The client swaps the key at its jwks_uri, and a refresh with the new kid works: an unknown kid is fetched anew."""
    async with suite() as op:
        op.documents.documents[KEYS] = published(FIRST)
        client = await op.register(jwks=None, jwks_uri=KEYS, grant_types=["authorization_code", "refresh_token"])
        request = op.request(client, scope="openid offline_access", prompt="consent")
        tokens, claims = await op.flow(client, request)
        op.documents.documents[KEYS] = published(SECOND)
        op.server.clock.advance(60)
        client.key = SECOND
        refreshed = op.issued(await op.token(client, grant_type="refresh_token", refresh_token=tokens["refresh_token"]))
        again = await op.id_token(refreshed["id_token"], client, {})
        for name in ("iss", "sub", "aud", "azp", "auth_time"):
            assert again.get(name) == claims.get(name)
        await op.clean_up(client)


def by_reference(op: Suite, client: Client, uri: str, key: Any = None, **changed: Any) -> dict[str, str]:
    """A request whose object lies at the client's; the object is published there."""
    request = op.request(client)
    now = op.server.clock.now
    told = {**request, "iss": client.client_id, "aud": ISSUER, "iat": now, "exp": now + 60, **changed}
    op.documents.documents[uri.partition("#")[0]] = statement(told, key).encode()
    return request


async def test_oidcc_request_uri_unsigned() -> None:
    """An unsigned request object by its registered URI, fragment and all, works."""
    async with suite() as op:
        assert op.discovery.get("request_uri_parameter_supported") is not False
        assert "none" in op.discovery["request_object_signing_alg_values_supported"]
        uri = f"{RP}/request.jwt#{'A' * 43}"
        client = await op.register(request_uris=[uri])
        assert client.registered["request_uris"] == [uri]
        request = by_reference(op, client, uri)
        content = op.documents.documents[f"{RP}/request.jwt"]
        assert isinstance(content, bytes)
        await op.clean_up(client)
        # The fragment is the digest of the content (OpenID Connect Core §6.2), so it is known once the object is.
        client = await op.register(request_uris=[f"{RP}/request.jwt"])
        request = by_reference(op, client, f"{RP}/request.jwt")
        asked = {name: request[name] for name in ("client_id", "response_type", "scope", "state")}
        answer = await op.callback({**asked, "request_uri": f"{RP}/request.jwt"})
        await op.exchange(client, request, answer)


async def test_oidcc_request_uri_signed_rs256() -> None:
    """A request object that is signed as the client registered, with iss and aud, works by its URI."""
    async with suite() as op:
        assert "RS256" in op.discovery["request_object_signing_alg_values_supported"]
        uri = f"{RP}/request.jwt"
        client = await op.register(request_uris=[uri], request_object_signing_alg="RS256")
        request = by_reference(op, client, uri, FIRST)
        asked = {name: request[name] for name in ("client_id", "response_type", "scope", "state")}
        answer = await op.callback({**asked, "request_uri": uri})
        await op.exchange(client, request, answer)
        await op.clean_up(client)


async def test_oidcc_ensure_request_object_with_redirect_uri() -> None:
    """The redirect URI of the object counts, not a bad one beside it; or there is an error page."""
    async with suite() as op:
        client = await op.register(request_object_signing_alg="RS256")
        request = op.request(client)
        now = op.server.clock.now
        told = {**request, "iss": client.client_id, "aud": ISSUER, "iat": now, "exp": now + 60}
        shown = await op.person(
            await op.go({**request, "redirect_uri": f"{RP}/bad", "request": statement(told, FIRST)})
        )
        if isinstance(shown, Callback):
            assert shown.url == CALLBACK
            assert shown.get("error") != "request_not_supported"
            await op.exchange(client, request, shown)
        else:
            assert shown.status >= 400


async def test_oidcc_refresh_token() -> None:
    """A refresh token works for its client; another client with it gets invalid_grant."""
    async with suite() as op:
        grants = {"grant_types": ["authorization_code", "refresh_token"]}
        one = await op.register(**grants)
        two = await op.register(**grants, jwks=key_set(SECOND))
        two.key = SECOND
        request = op.request(one, scope="openid offline_access", prompt="consent")
        tokens, claims = await op.flow(one, request)
        refreshed = op.issued(await op.token(one, grant_type="refresh_token", refresh_token=tokens["refresh_token"]))
        assert refreshed["access_token"] != tokens["access_token"]
        again = await op.id_token(refreshed["id_token"], one, {})
        assert {name: again[name] for name in ("iss", "sub", "aud")} == {
            name: claims[name] for name in ("iss", "sub", "aud")
        }
        newest = refreshed.get("refresh_token", tokens["refresh_token"])
        answer = await op.token(two, grant_type="refresh_token", refresh_token=newest)
        assert answer.status_code == 400
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.json()["error"] == "invalid_grant"
        await op.clean_up(one)
        await op.clean_up(two)


async def test_oidcc_ensure_client_assertion_with_iss_aud_succeeds() -> None:
    """An assertion whose audience is the issuer authenticates the client."""
    async with suite() as op:
        client = await op.register()
        request = op.request(client)
        answer = await op.callback(request)
        response = await op.token(
            client,
            audience=ISSUER,
            grant_type="authorization_code",
            code=answer["code"],
            redirect_uri=request["redirect_uri"],
        )
        op.issued(response)
        assert urlsplit(ISSUER).scheme == "https"
        await op.clean_up(client)
