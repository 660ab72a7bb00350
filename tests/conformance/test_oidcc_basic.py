"""The modules of oidcc-basic-certification-test-plan with dynamic registration, each by its name."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import pytest
from suite import CALLBACK, CLAIMS, ISSUER, OF_SCOPE, RP, Client, Suite, statement, suite

from browser import Callback, Page
from registrar.domain import jws

pytestmark = pytest.mark.anyio

SECRET = {"token_endpoint_auth_method": "client_secret_basic", "jwks": None}


async def basic(op: Suite, **members: Any) -> Client:
    """The client of this plan: with a secret."""
    return await op.register(**{**SECRET, **members})


async def error(op: Suite, request: Mapping[str, str]) -> Callback:
    """A request that comes back to the client with an error."""
    answer = await op.go(request)
    assert isinstance(answer, Callback), answer.html
    assert answer["state"] == request["state"]
    assert answer["iss"] == ISSUER
    assert "code" not in answer
    return answer


async def test_oidcc_server() -> None:
    """The happy flow with a client secret."""
    async with suite() as op:
        client = await basic(op)
        tokens, claims = await op.flow(client)
        assert (await op.userinfo(tokens["access_token"]))["sub"] == claims["sub"]
        await op.clean_up(client)


async def test_oidcc_response_type_missing() -> None:
    """Without response_type there is an error, at the client or on a page."""
    async with suite() as op:
        client = await basic(op)
        shown = await op.go(op.request(client, response_type=None))
        if isinstance(shown, Callback):
            assert shown["error"] in ("invalid_request", "unsupported_response_type")
        else:
            assert shown.status >= 400


async def test_oidcc_idtoken_signature() -> None:
    """The signature is that of a published key, whose kid the header names."""
    async with suite() as op:
        client = await basic(op)
        tokens, _ = await op.flow(client)
        read = jws.read(tokens["id_token"])
        assert read.algorithm == "RS256"
        assert read.kid in [key["kid"] for key in await op.published()]


async def test_oidcc_idtoken_unsigned() -> None:
    """Alg none in the code flow, where it is registered."""
    async with suite() as op:
        tokens, _ = await op.flow(await basic(op, id_token_signed_response_alg="none"))
        assert jws.read(tokens["id_token"]).algorithm == "none"


@pytest.mark.parametrize("way", ["get", "post-header", "post-body"])
async def test_oidcc_userinfo_get_post_header_post_body(way: str) -> None:
    """oidcc-userinfo-get, -post-header and -post-body: each way of sending the token works."""
    async with suite() as op:
        tokens, claims = await op.flow(await basic(op))
        value, endpoint, http = tokens["access_token"], op.discovery["userinfo_endpoint"], op.server.client
        header = {"authorization": f"Bearer {value}"}
        if way == "get":
            answer = await http.get(endpoint, headers=header)
        elif way == "post-header":
            answer = await http.post(endpoint, headers=header)
        else:
            answer = await http.post(endpoint, data={"access_token": value})
        assert answer.status_code == 200
        assert answer.json()["sub"] == claims["sub"]


async def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow() -> None:
    """A nonce is not needed for a code, and none is made up."""
    async with suite() as op:
        client = await basic(op)
        _, claims = await op.flow(client, op.request(client, nonce=None))
        assert "nonce" not in claims


@pytest.mark.parametrize("scopes", ["profile", "email", "address", "phone", "profile email address phone"])
async def test_oidcc_scope_profile_email_address_phone_all(scopes: str) -> None:
    """oidcc-scope-*: UserInfo tells what the scope is about, each claim of its type; the ID token does not."""
    async with suite() as op:
        client = await basic(op, scope=f"openid {scopes}")
        tokens, claims = await op.flow(client, op.request(client, scope=f"openid {scopes}"))
        told = await op.userinfo(tokens["access_token"])
        wanted = {name for scope in scopes.split() for name in OF_SCOPE[scope]}
        assert told.keys() == wanted | {"sub"}
        assert {name: told[name] for name in wanted & CLAIMS.keys()} == {
            name: CLAIMS[name] for name in wanted & CLAIMS.keys()
        }
        assert told["sub"] == claims["sub"]
        assert not wanted & claims.keys()


async def test_oidcc_alternate_happy_flow() -> None:
    """A second sign-in at another client in the same browser: the same person, and nobody types a password again."""
    async with suite() as op:
        _, first = await op.flow(await basic(op))
        client = await basic(op)
        shown = await op.go(op.request(client))
        if isinstance(shown, Page):
            assert "password" not in {name for form in shown.forms for name in form.fields}
        _, second = await op.flow(client)
        assert first["sub"] == second["sub"]
        assert first["auth_time"] == second["auth_time"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"display": "page"},
        {"display": "popup"},
        {"ui_locales": "se"},
        {"ui_locales": "de-CH fr"},
        {"claims_locales": "se"},
        {"login_hint": "jane"},
        {"acr_values": "1 2"},
        {"extra": "foobar"},
    ],
    ids=str,
)
async def test_oidcc_display_ui_locales_claims_locales_login_hint_acr_values_unknown(
    parameters: dict[str, str],
) -> None:
    """oidcc-display-page, -display-popup, -ui-locales, -claims-locales, -login-hint, -ensure-request-with-acr-values-succeeds and -ensure-request-with-unknown-parameter-succeeds: wishes that do not make a request fail."""
    async with suite() as op:
        client = await basic(op)
        await op.flow(client, op.request(client, **parameters))


async def test_oidcc_prompt_login() -> None:
    """Signed in already, the person signs in again, and the ID token has the later time."""
    async with suite() as op:
        client = await basic(op)
        _, before = await op.flow(client)
        op.server.clock.advance(5)
        request = op.request(client, prompt="login")
        page = await op.go(request)
        assert isinstance(page, Page)
        assert "password" in {name for form in page.forms for name in form.fields}
        _, after = await op.flow(client, request)
        assert after["auth_time"] > before["auth_time"]
        assert after["sub"] == before["sub"]


async def test_oidcc_prompt_none_not_logged_in() -> None:
    """Nobody is signed in and nothing may be shown: login_required, at the client."""
    async with suite() as op:
        answer = await error(op, op.request(await basic(op), prompt="none"))
        assert answer["error"] == "login_required"


async def test_oidcc_prompt_none_logged_in() -> None:
    """Signed in and allowed before, nothing is shown, and the ID token is of the same sign-in."""
    async with suite() as op:
        client = await basic(op)
        _, before = await op.flow(client)
        request = op.request(client, prompt="none")
        answer = await op.go(request)
        assert isinstance(answer, Callback)
        tokens = await op.exchange(client, request, answer)
        after = await op.id_token(tokens["id_token"], client, request)
        assert (after["sub"], after["auth_time"]) == (before["sub"], before["auth_time"])


@pytest.mark.parametrize(("age", "again"), [("1", True), ("10000", False)])
async def test_oidcc_max_age_1_and_10000(age: str, again: bool) -> None:
    """oidcc-max-age-1, -max-age-10000: a sign-in that is too old is made again, and auth_time says so."""
    async with suite() as op:
        client = await basic(op)
        _, before = await op.flow(client)
        op.server.clock.advance(2)
        _, after = await op.flow(client, op.request(client, max_age=age))
        assert (after["auth_time"] > before["auth_time"]) is again
        assert op.server.clock.now - after["auth_time"] <= int(age) + 2


async def test_oidcc_id_token_hint() -> None:
    """With an ID token of the person who is signed in, prompt=none succeeds, for the same person."""
    async with suite() as op:
        client = await basic(op)
        tokens, before = await op.flow(client)
        request = op.request(client, prompt="none", id_token_hint=tokens["id_token"])
        answer = await op.go(request)
        assert isinstance(answer, Callback)
        issued = await op.exchange(client, request, answer)
        assert (await op.id_token(issued["id_token"], client, request))["sub"] == before["sub"]


@pytest.mark.parametrize("later", [0, 30])
async def test_oidcc_codereuse_and_codereuse_30seconds(later: int) -> None:
    """oidcc-codereuse, -codereuse-30seconds: the second use is invalid_grant, and what the first one gave is revoked."""
    async with suite() as op:
        client = await basic(op)
        request = op.request(client)
        answer = await op.callback(request)
        tokens = await op.exchange(client, request, answer)
        op.server.clock.advance(later)
        again = await op.token(
            client, grant_type="authorization_code", code=answer["code"], redirect_uri=request["redirect_uri"]
        )
        assert again.status_code == 400
        assert again.json()["error"] == "invalid_grant"
        told = await op.server.client.get(
            op.discovery["userinfo_endpoint"], headers={"authorization": f"Bearer {tokens['access_token']}"}
        )
        assert told.status_code == 401


async def test_oidcc_ensure_registered_redirect_uri() -> None:
    """An address that is not registered is an error page."""
    async with suite() as op:
        await op.error_page(op.request(await basic(op), redirect_uri=f"{CALLBACK}/{secrets.token_urlsafe(6)}"))


async def test_oidcc_ensure_post_request_succeeds() -> None:
    """An authorization request may be a POST."""
    async with suite() as op:
        client = await basic(op)
        request = op.request(client)
        shown = await op.person(await op.browser.open(op.discovery["authorization_endpoint"], post=request))
        assert isinstance(shown, Callback)
        await op.exchange(client, request, shown)


async def test_oidcc_server_client_secret_post() -> None:
    """The registered method is honoured: the secret in the form works, in the header it does not."""
    async with suite() as op:
        client = await basic(op, token_endpoint_auth_method="client_secret_post")
        assert client.registered["token_endpoint_auth_method"] == "client_secret_post"
        await op.flow(client)
        client.registered["token_endpoint_auth_method"] = "client_secret_basic"
        request = op.request(client)
        answer = await op.callback(request)
        refused = await op.token(
            client, grant_type="authorization_code", code=answer["code"], redirect_uri=request["redirect_uri"]
        )
        assert refused.status_code == 401
        assert refused.json()["error"] == "invalid_client"


async def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected() -> None:
    """A request by reference that was not registered is refused; nothing is fetched for it."""
    async with suite() as op:
        client = await basic(op)
        uri = f"{RP}/object.jwt"
        op.documents.documents[uri] = statement(op.request(client)).encode()
        shown = await op.go({**op.request(client), "request_uri": uri})
        if isinstance(shown, Callback):
            assert shown["error"] in ("request_uri_not_supported", "invalid_request_uri", "invalid_request")
        else:
            assert shown.status >= 400
        assert op.documents.fetched == []


async def test_oidcc_unsigned_request_object_supported_correctly_or_rejected() -> None:
    """An unsigned object works where alg none is registered: its parameters count."""
    async with suite() as op:
        client = await basic(op, request_object_signing_alg="none")
        request = op.request(client, nonce="of the object")
        outer = {**request, "nonce": "beside it"}
        shown = await op.person(
            await op.go({**outer, "request": statement({**request, "iss": client.client_id, "aud": ISSUER})})
        )
        if isinstance(shown, Callback) and "code" in shown:
            tokens = await op.exchange(client, request, shown)
            await op.id_token(tokens["id_token"], client, request)
        elif isinstance(shown, Callback):
            assert shown["error"] in ("request_not_supported", "invalid_request_object")
        else:
            assert shown.status >= 400


async def test_oidcc_claims_essential() -> None:
    """An essential claim of the parameter claims is told by UserInfo."""
    async with suite() as op:
        client = await basic(op)
        wanted = json.dumps({"userinfo": {"name": {"essential": True}}})
        tokens, _ = await op.flow(client, op.request(client, claims=wanted))
        assert (await op.userinfo(tokens["access_token"]))["name"] == CLAIMS["name"]


async def test_oidcc_ensure_request_with_valid_pkce_succeeds() -> None:
    """A challenge that is sent counts: with its verifier the code works, without it does not."""
    async with suite() as op:
        client = await basic(op)
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = op.request(client, code_challenge=challenge, code_challenge_method="S256")
        await op.exchange(client, request, await op.callback(request), code_verifier=verifier)
        answer = await op.callback(request)
        refused = await op.token(
            client, grant_type="authorization_code", code=answer["code"], redirect_uri=request["redirect_uri"]
        )
        assert refused.json()["error"] == "invalid_grant"
