"""Device authorization (RFC 8628): a code on one screen, a person at another."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from authorizing import ALICE, APP, WEB, authorizing, call, token
from registering import refused, register

from registrar.authorization import device
from registrar.authorization.device import ALPHABET, GRANT_TYPE
from registrar.service import administration
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

TV = {
    "client_name": "TV",
    "token_endpoint_auth_method": "none",
    "grant_types": [GRANT_TYPE, "refresh_token"],
    "scope": "read write",
}


async def begun(server: Served, members: Any = TV, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A client, and what it was told to show."""
    client = await register(server, members)
    answer = await call(server, "/device_authorization", client, **more)
    assert answer.status_code == 200, answer.text
    return client, answer.json()


async def polled(server: Served, client: Any, shown: Any) -> httpx2.Response:
    """A poll."""
    return await token(server, client, GRANT_TYPE, device_code=shown["device_code"])


async def test_a_person_allows_a_device() -> None:
    """It waits, the person types the code in any spelling and allows it, and the next poll brings tokens, once."""
    async with served(authorizing()) as server:
        client, shown = await begun(server, scope="read")
        assert shown["verification_uri"] == f"{server.issuer.url}/device"
        assert shown["verification_uri_complete"].endswith(shown["user_code"])
        assert (shown["expires_in"], shown["interval"]) == (600, 5)
        assert set(shown["user_code"]) <= {*ALPHABET, "-"}
        refused(await polled(server, client, shown), "authorization_pending")
        typed = f" {shown['user_code'].lower().replace('-', ' ')} "
        found = await device.find(server.registry, server.issuer, typed)
        assert found is not None
        who, request = found
        assert (who.client_id, request.scope) == (client["client_id"], ("read",))
        assert await device.decide(server.registry, server.issuer, typed, ALICE)
        server.clock.advance(5)
        answer = await polled(server, client, shown)
        assert answer.status_code == 200, answer.text
        assert answer.json()["scope"] == "read"
        assert "refresh_token" in answer.json()
        refused(await polled(server, client, shown), "invalid_grant")
        assert await device.find(server.registry, server.issuer, typed) is None
        assert not await device.decide(server.registry, server.issuer, typed, ALICE)


async def test_a_person_refuses_a_device() -> None:
    """The device is told."""
    async with served(authorizing()) as server:
        client, shown = await begun(server)
        assert await device.decide(server.registry, server.issuer, shown["user_code"], None)
        answer = await polled(server, client, shown)
        refused(answer, "access_denied")


async def test_a_hasty_device_is_slowed() -> None:
    """Who polls before the interval is over is told so, and the interval grows."""
    async with served(authorizing()) as server:
        client, shown = await begun(server)
        refused(await polled(server, client, shown), "authorization_pending")
        server.clock.advance(4)
        refused(await polled(server, client, shown), "slow_down")
        server.clock.advance(9)
        refused(await polled(server, client, shown), "slow_down")
        server.clock.advance(15)
        refused(await polled(server, client, shown), "authorization_pending")


async def test_a_device_code_ends() -> None:
    """Nobody can decide after it has expired, and the device is told to begin anew."""
    async with served(authorizing("device_code_lifetime = 60")) as server:
        client, shown = await begun(server)
        server.clock.advance(60)
        assert await device.find(server.registry, server.issuer, shown["user_code"]) is None
        assert not await device.decide(server.registry, server.issuer, shown["user_code"], ALICE)
        refused(await polled(server, client, shown), "expired_token")


async def test_a_device_code_is_its_clients() -> None:
    """Another client gets nothing for it, nor does one that did not register the grant; unknown codes lead nowhere."""
    async with served(authorizing()) as server:
        client, shown = await begun(server)
        await device.decide(server.registry, server.issuer, shown["user_code"], ALICE)
        other = await register(server, TV)
        refused(await polled(server, other, shown), "invalid_grant")
        refused(await token(server, client, GRANT_TYPE, device_code="unknown"), "invalid_grant")
        refused(await token(server, client, GRANT_TYPE), "invalid_request")
        refused(await call(server, "/device_authorization", await register(server, APP)), "unauthorized_client")
        refused(await call(server, "/device_authorization", client, scope="unknown"), "invalid_scope")
        refused(await call(server, "/device_authorization", client, resource="https://x.example"), "invalid_target")
        assert await device.find(server.registry, server.issuer, "BCDF-GHJK") is None
        assert await device.find(server.registry, server.issuer, "") is None


async def test_a_device_with_a_secret_proves_itself() -> None:
    """A confidential client authenticates at both endpoints."""
    async with served(authorizing()) as server:
        client, shown = await begun(server, {**WEB, "grant_types": [*WEB["grant_types"], GRANT_TYPE]})
        await device.decide(server.registry, server.issuer, shown["user_code"], ALICE, ["read"])
        bare = {"client_id": client["client_id"]}
        refused(await polled(server, bare, shown), "invalid_client", status=401)
        assert (await polled(server, client, shown)).json()["scope"] == "read"


async def test_device_codes_die_with_their_client() -> None:
    """A deleted or suspended client's device can neither be allowed nor get anything."""
    async with served(authorizing()) as server:
        client, shown = await begun(server)
        await administration.suspend(server.registry, server.issuer, server.operator, client["client_id"])
        assert await device.find(server.registry, server.issuer, shown["user_code"]) is None
        refused(await polled(server, client, shown), "access_denied", status=403)
        await administration.delete(server.registry, server.issuer, server.operator, client["client_id"])
        assert await server.registry.store.items("main", "device_code") == []
        assert await server.registry.store.items("main", "user_code") == []
