"""Every row of the table of errors is an answer that somebody can get."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import httpx2
import pytest
from authorizing import BATCH, CALLBACK, CHALLENGE, WEB, authorizing, call, token
from registering import MEMBERS, bearer, issue, manage, post, register

from registrar.authorization.device import GRANT_TYPE
from registrar.domain.client import Client
from registrar.domain.errors import ERRORS
from registrar.service import administration
from registrar.service.attempts import FREE
from registrar.storage.memory import MemoryStore
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

ELSEWHERE: Final = {
    "invalid_request_uri",
    "use_dpop_nonce",
    "proof_without_nonce",
    "slow_down",
    "expired_token",
    "declined",
    "login_required",
    "consent_required",
    "too_many_registrations",
    "too_many_clients",
}
"""Rows that take more than one request to reach; the tests of their endpoints do."""
UNSIGNED: Final = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2VsLmV4YW1wbGUifQ.AA"
"""A statement of https://el.example, whom nobody trusts."""


class Broken(MemoryStore):
    """A store that somebody else wrote, with a fault in it."""

    async def find(self, issuer: str, client_id: str) -> Client | None:
        """Fail in a way that no store may."""
        raise ZeroDivisionError(issuer + client_id)


async def _body(
    server: Served, content: bytes | AsyncIterator[bytes], media: str = "application/json"
) -> httpx2.Response:
    return await server.client.post("/register", content=content, headers={"content-type": media})


async def _twice(server: Served) -> httpx2.Response:
    return await server.client.post("/register", json=MEMBERS, headers=[("authorization", "x"), ("authorization", "y")])


async def _without_scope(server: Served) -> httpx2.Response:
    value, _ = await issue(server, scope=("openid",))
    return await post(server, token=value)


async def _suspended(server: Served) -> httpx2.Response:
    client = await register(server)
    await administration.suspend(server.registry, server.issuer, server.operator, client["client_id"])
    return await manage(server, client)


async def _unavailable(server: Served) -> httpx2.Response:
    await server.registry.store.close()
    return await post(server)


async def _guessing(server: Served) -> httpx2.Response:
    client = await register(server, BATCH)
    for _ in range(FREE):
        await token(server, {**client, "client_secret": "guess"}, "client_credentials")
    return await token(server, client, "client_credentials")


def _as(members: Mapping[str, Any], grant_type: str, **more: Any) -> Callable[[Served], Awaitable[httpx2.Response]]:
    """A token request of a client that registers these members."""

    async def request(server: Served) -> httpx2.Response:
        return await token(server, await register(server, members), grant_type, **more)

    return request


def _pushed(**changes: Any) -> Callable[[Served], Awaitable[httpx2.Response]]:
    """A pushed authorization request with something wrong in it."""

    async def request(server: Served) -> httpx2.Response:
        client = await register(server, WEB)
        asked = {"response_type": "code", "redirect_uri": CALLBACK, "code_challenge": CHALLENGE}
        return await call(server, "/par", client, **{**asked, "code_challenge_method": "S256", **changes})

    return request


async def _waiting(server: Served) -> httpx2.Response:
    client = await register(server, {**WEB, "grant_types": [GRANT_TYPE]})
    shown = (await call(server, "/device_authorization", client)).json()
    return await token(server, client, GRANT_TYPE, device_code=shown["device_code"])


async def _resumed_twice(server: Served) -> httpx2.Response:
    value, _ = await issue(server, scope=("admin.clients",))
    client = await register(server)
    path = f"/admin/api/clients/{client['client_id']}/resume"
    return await server.client.post(path, headers=bearer(value))


async def _seen_before(server: Served) -> httpx2.Response:
    value, _ = await issue(server, scope=("admin.clients",))
    client = await register(server)
    path = f"/admin/api/clients/{client['client_id']}"
    return await server.client.put(path, json=dict(MEMBERS), headers={**bearer(value), "if-match": '"older"'})


async def _webhook(server: Served) -> httpx2.Response:
    value, _ = await issue(server, policy="webhooks")
    return await post(server, {**MEMBERS, "webhook_uris": ["http://app.example"]}, value)


async def _endless() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


REACHED: Final[dict[str, Callable[[Served], Awaitable[httpx2.Response]]]] = {
    "invalid_redirect_uri": lambda server: post(server, {"redirect_uris": ["javascript:alert(1)"]}),
    "invalid_client_metadata": lambda server: post(server, []),
    "invalid_software_statement": lambda server: post(server, {**MEMBERS, "software_statement": "none"}),
    "unapproved_software_statement": lambda server: post(server, {**MEMBERS, "software_statement": UNSIGNED}),
    "invalid_webhook_uris": _webhook,
    "conflict": _resumed_twice,
    "precondition_failed": _seen_before,
    "invalid_request": _twice,
    "token_required": lambda server: server.client.get("/register/somebody"),
    "invalid_token": lambda server: post(server, token="unknown"),
    "insufficient_scope": _without_scope,
    "access_denied": _suspended,
    "not_found": lambda server: server.client.get("/nothing"),
    "method_not_allowed": lambda server: server.client.get("/register"),
    "request_timeout": lambda server: _body(server, _endless()),
    "content_too_large": lambda server: _body(server, b" " * 2_000),
    "unsupported_media_type": lambda server: _body(server, b"{}", "text/plain"),
    "server_error": lambda server: server.client.get("/register/somebody", headers=bearer("x")),
    "temporarily_unavailable": _unavailable,
    "invalid_client": lambda server: token(server, {"client_id": "nobody"}, "client_credentials"),
    "too_many_attempts": _guessing,
    "invalid_grant": _as(WEB, "authorization_code", code="unknown"),
    "unauthorized_client": _as(WEB, "client_credentials"),
    "unsupported_grant_type": _as(WEB, "password"),
    "invalid_scope": _as(BATCH, "client_credentials", scope="unknown"),
    "proof_refused": lambda server: server.client.get("/userinfo", headers={"authorization": "DPoP x"}),
    "unsupported_response_type": _pushed(response_type="token"),
    "invalid_authorization_details": _pushed(authorization_details="[]"),
    "invalid_request_object": _pushed(request="a.b.c"),
    "invalid_dpop_proof": _as(BATCH, "client_credentials", headers={"dpop": "none"}),
    "authorization_pending": _waiting,
    "invalid_target": _as(BATCH, "client_credentials", resource="https://nobody.example"),
}


def test_no_row_is_left_out() -> None:
    """A row that nobody can get does not stand in the table."""
    assert REACHED.keys() | ELSEWHERE == ERRORS.keys()


@pytest.mark.parametrize("name", REACHED)
async def test_a_row_is_answered_as_it_stands(name: str) -> None:
    """The answer has the status and the code of its row, and a challenge where the row is about a token."""
    text = authorizing(
        issuer="admin_api = true",
        registration='statement_issuers = ["ours"]',
        tables='[statement_issuer.ours]\nissuer = "http://127.0.0.1:8000"\n[policy.webhooks]\nfeatures = ["webhooks"]',
    ).replace("[server]", "[server]\nbody_bytes = 1024\nbody_seconds = 0.01")
    async with served(text, store=Broken() if name == "server_error" else None) as server:
        answer = await REACHED[name](server)

    row = ERRORS[name]
    assert (answer.status_code, answer.json()["error"]) == (row.status, row.code)
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith("Bearer ") is (name in {"token_required", "invalid_token", "insufficient_scope"})
    named = {"invalid_token", "insufficient_scope", "proof_refused"}
    assert (f'error="{row.code}"' in challenge) is (name in named)


async def test_what_nobody_expected_is_told_to_the_operator_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns an identifier and nothing else; under it the log has the exception."""
    async with served(store=Broken()) as server:
        answer = await REACHED["server_error"](server)

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    (incident,) = re.findall(r"[0-9a-f]{16}", answer.json()["error_description"])
    assert incident in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert "ZeroDivision" not in answer.text
    assert answer.headers["cache-control"] == "no-cache, no-store"
