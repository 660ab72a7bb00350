"""Introspection (RFC 7662), revocation (RFC 7009), and what dies with a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from authorizing import APP, BATCH, WEB, authorizing, call, code_for, exchange, machine, token, tokens
from registering import manage, refused, register

from registrar.service import administration
from registrar.service.ports import ClientQuery
from registrar.testing import FrozenClock, Served, served

pytestmark = pytest.mark.anyio

SERVER = {"client_name": "API", "grant_types": ["client_credentials"]}


async def introspected(server: Served, client: dict[str, Any], value: str) -> dict[str, Any]:
    """What a client is told of a token."""
    answer = await call(server, "/introspect", client, token=value)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-cache, no-store"
    return answer.json()


async def test_a_client_is_told_of_its_own_tokens() -> None:
    """Scope, subject, audience and times of a living token; of any other, that it is not active."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        issued = await tokens(server, client)
        told = await introspected(server, client, issued["access_token"])
        assert told == {
            "active": True,
            "iss": server.issuer.url,
            "client_id": client["client_id"],
            "token_type": "Bearer",
            "scope": "read write",
            "aud": server.issuer.url,
            "sub": "alice",
            "iat": server.clock.now,
            "exp": server.clock.now + 3600,
            "jti": told["jti"],
        }
        refresh = await introspected(server, client, issued["refresh_token"])
        assert refresh["active"] is True
        assert await introspected(server, client, "unknown") == {"active": False}
        server.clock.advance(3600)
        assert await introspected(server, client, issued["access_token"]) == {"active": False}


async def test_a_token_of_another_audience_is_not_active(tmp_path: Path) -> None:
    """A resource server is told of the tokens that are for it, and of no others."""
    database = f"sqlite:///{tmp_path}/registrar.db"
    async with served(authorizing(database=database)) as server:
        api, other = await register(server, SERVER), await register(server, SERVER)
    resources = (
        f'resources.api = {{ uri = "https://api.example", clients = ["{api["client_id"]}"] }}\n'
        f'resources.other = {{ uri = "https://other.example", clients = ["{other["client_id"]}"] }}\n'
    )
    later = FrozenClock(1_790_000_100_000)  # identifiers begin with the time, and the randomness of tests begins anew
    async with served(authorizing(resources, database=database), clock=later) as server:
        client, value = await machine(server, resource="https://api.example")
        told = await introspected(server, api, value)
        assert (told["active"], told["aud"]) == (True, "https://api.example")
        assert await introspected(server, other, value) == {"active": False}
        assert (await introspected(server, client, value))["active"] is True
        _, unnamed = await machine(server)
        assert await introspected(server, api, unnamed) == {"active": False}
        refreshing = await register(server, WEB)
        issued = await tokens(server, refreshing)
        assert await introspected(server, api, issued["refresh_token"]) == {"active": False}


async def test_introspection_is_for_those_who_authenticate() -> None:
    """Nobody learns of a token without proving who asks (RFC 7662 §2.1)."""
    async with served(authorizing()) as server:
        _, value = await machine(server)
        public = await register(server, APP)
        refused(await call(server, "/introspect", public, token=value), "unauthorized_client")
        refused(await call(server, "/introspect", token=value), "invalid_client", status=401)
        nobody = {"client_id": "nobody", "client_secret": "x"}
        refused(await call(server, "/introspect", nobody, token=value), "invalid_client", status=401)
        refused(await call(server, "/introspect", await register(server, BATCH)), "invalid_request")


async def test_an_access_token_is_revoked_alone() -> None:
    """Its refresh token lives on; saying it twice, or of an unknown token, is no error."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        issued = await tokens(server, client)
        for value in (issued["access_token"], issued["access_token"], "unknown"):
            answer = await call(server, "/revoke", client, token=value, token_type_hint="other")
            assert (answer.status_code, answer.content) == (200, b"")
        assert await introspected(server, client, issued["access_token"]) == {"active": False}
        again = await token(server, client, "refresh_token", refresh_token=issued["refresh_token"])
        assert again.status_code == 200


@pytest.mark.parametrize("members", [WEB, APP], ids=["confidential", "public"])
async def test_a_refresh_token_is_revoked_with_everything(members: dict[str, Any]) -> None:
    """The grant ends, and every access token under it."""
    async with served(authorizing()) as server:
        client, watcher = await register(server, members), await register(server, WEB)
        issued = await tokens(server, client)
        refused(await call(server, "/revoke", watcher, token=issued["refresh_token"]), "unauthorized_client")
        refused(await call(server, "/revoke", watcher, token=issued["access_token"]), "unauthorized_client")
        assert (await call(server, "/revoke", client, token=issued["refresh_token"])).status_code == 200
        again = await token(server, client, "refresh_token", refresh_token=issued["refresh_token"])
        refused(again, "invalid_grant")
        assert (await call(server, "/revoke", client, token=issued["access_token"])).status_code == 200


@pytest.mark.requirement("R7592-25")
@pytest.mark.parametrize("how", ["deleted by itself", "deleted by the operator", "suspended"])
async def test_everything_dies_with_a_client(how: str) -> None:
    """Codes, access and refresh tokens of a deleted or suspended client are worth nothing from the next use on."""
    async with served(authorizing()) as server:
        client = await register(server, WEB)
        issued = await tokens(server, client)
        value = await code_for(server, client)
        registry, issuer, operator = server.registry, server.issuer, server.operator
        api = await register(server, SERVER)
        if how == "suspended":
            await administration.suspend(registry, issuer, operator, client["client_id"])
        elif how == "deleted by itself":
            assert (await manage(server, client, "DELETE")).status_code == 204
        else:
            await administration.delete(registry, issuer, operator, client["client_id"])
        error, status = ("access_denied", 403) if how == "suspended" else ("invalid_client", 401)
        refused(await exchange(server, client, value), error, status=status)
        refresh = await token(server, client, "refresh_token", refresh_token=issued["refresh_token"])
        refused(refresh, error, status=status)
        assert await introspected(server, api, issued["access_token"]) == {"active": False}
        if how != "suspended":  # and nothing of it is kept
            for kind in ("code", "grant", "access_token", "refresh_token", "last_use"):
                assert await registry.store.items("main", kind, client_id=client["client_id"]) == []
            assert len(await registry.store.clients(ClientQuery())) == 2
            return
        await administration.resume(registry, issuer, operator, client["client_id"])
        assert (await introspected(server, client, issued["access_token"]))["active"] is True
        assert (await exchange(server, client, value)).status_code == 200
