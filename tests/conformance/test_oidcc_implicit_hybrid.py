"""The happy flows of the implicit, hybrid and form-post plans, and what they refuse; under oidc-dynamic alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from suite import CLAIMS, Client, Suite, suite

from browser import Callback, Page

pytestmark = pytest.mark.anyio

GRANTS = {
    "id_token": ["implicit"],
    "id_token token": ["implicit"],
    "code id_token": ["authorization_code", "implicit"],
    "code token": ["authorization_code", "implicit"],
    "code id_token token": ["authorization_code", "implicit"],
}
TYPES = sorted(GRANTS)


async def registered(op: Suite, response_type: str, **members: Any) -> Client:
    """A client of one response type."""
    members = {"token_endpoint_auth_method": "client_secret_basic", "jwks": None, **members}
    return await op.register(response_types=[response_type], grant_types=GRANTS[response_type], **members)


def half(value: str) -> str:
    """The left half of a SHA-256."""
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).rstrip(b"=").decode()


@pytest.mark.parametrize("mode", [None, "fragment", "form_post"])
@pytest.mark.parametrize("response_type", TYPES)
async def test_oidcc_server(response_type: str, mode: str | None) -> None:
    """What was asked for comes back, in the fragment or in a form; the ID token is bound to what comes beside it."""
    async with suite() as op:
        client = await registered(op, response_type)
        request = op.request(client, response_mode=mode)
        answer = await op.callback(request)
        assert answer.place == (mode or "fragment")
        words = set(response_type.split())
        assert ("code" in answer) is ("code" in words)
        assert ("id_token" in answer) is ("id_token" in words)
        assert ("access_token" in answer) is ("token" in words)
        sub = None
        if "id_token" in words:
            claims = await op.id_token(answer["id_token"], client, request)
            assert claims.get("c_hash") == (half(answer["code"]) if "code" in words else None)
            assert claims.get("at_hash") == (half(answer["access_token"]) if "token" in words else None)
            sub = claims["sub"]
        if "token" in words:
            assert answer["token_type"].lower() == "bearer"
            assert int(answer["expires_in"]) > 0
            told = await op.userinfo(answer["access_token"])
            assert sub in (None, told["sub"])
        if "code" in words:
            tokens = await op.exchange(client, request, answer)
            claims = await op.id_token(tokens["id_token"], client, request)
            assert sub in (None, claims["sub"])


async def test_oidcc_formpost_code() -> None:
    """A code comes in a form where the request asks for that."""
    async with suite() as op:
        client = await op.register()
        request = op.request(client, response_mode="form_post")
        answer = await op.callback(request)
        assert answer.place == "form_post"
        await op.exchange(client, request, answer)


@pytest.mark.parametrize("response_type", [one for one in TYPES if "id_token" in one])
async def test_oidcc_ensure_request_without_nonce_fails(response_type: str) -> None:
    """An ID token that comes through the browser needs a nonce (OpenID Connect Core §3.2.2.1)."""
    async with suite() as op:
        client = await registered(op, response_type)
        assert isinstance(await op.go(op.request(client, nonce=None)), Page), "nobody is sent away before they sign in"
        await op.flow(await op.register())
        shown = await op.go(op.request(client, nonce=None))
        assert isinstance(shown, Callback)
        assert shown["error"] == "invalid_request"
        assert shown.place == "fragment"


async def test_oidcc_scope_claims_in_the_id_token_of_response_type_id_token() -> None:
    """Where nothing opens UserInfo, what the scopes ask for stands in the ID token (§5.4)."""
    async with suite() as op:
        client = await registered(op, "id_token", scope="openid email")
        request = op.request(client, scope="openid email")
        answer = await op.callback(request)
        claims = await op.id_token(answer["id_token"], client, request)
        assert claims["email"] == CLAIMS["email"]


async def test_oidcc_response_mode_query_is_refused_for_tokens() -> None:
    """Tokens never stand in a query (OAuth 2.0 Multiple Response Types §3)."""
    async with suite() as op:
        client = await registered(op, "id_token token")
        shown = await op.go(op.request(client, response_mode="query"))
        if isinstance(shown, Callback):
            assert shown["error"] == "invalid_request"
            assert "access_token" not in shown
        else:
            assert isinstance(shown, Page)
            assert shown.status >= 400


async def test_oidcc_only_the_registered_response_type() -> None:
    """A client that registered code gets nothing else."""
    async with suite() as op:
        client = await op.register()
        await op.flow(client)
        shown = await op.go(op.request(client, response_type="id_token token"))
        assert isinstance(shown, Callback)
        assert shown["error"] in ("unauthorized_client", "unsupported_response_type")
        assert shown.keys() <= {"error", "error_description", "state", "iss"}
