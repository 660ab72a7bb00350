"""Clients that time has suspended: what gets them something brings them back, and merely being named does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from authorizing import ALICE, APP, BATCH, CHALLENGE, WEB, authorizing, call, code_for, exchange, token
from registering import bearer, refused, register

from registrar.authorization import device
from registrar.authorization.device import GRANT_TYPE
from registrar.domain.client import IDLE, State
from registrar.domain.lifecycle import DAY
from registrar.service import administration, last_use, sweep
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

LIFE = """
[policy.brief]
[policy.brief.lifetime]
unused = 864000
idle = 864000
warning = 86400
suspended = 864000
"""


def briefly() -> str:
    """A configuration under which clients last ten days."""
    return authorizing(registration='policy = "brief"', tables=LIFE)


async def asleep(server: Served, members: Any) -> dict[str, Any]:
    """A client that time has suspended."""
    made = await register(server, members)
    for days in (9, 1):
        server.clock.advance(days * DAY)
        await sweep.sweep(server.registry)
    assert await stands(server, made) == (State.SUSPENDED, IDLE, 0)
    return made


async def stands(server: Served, made: dict[str, Any]) -> tuple[State, str, int]:
    """Its state, who suspended it, and its last use."""
    client = await server.registry.store.find("main", made["client_id"])
    assert client is not None
    used_at = await last_use.at(server.registry.store, "main", client.client_id)
    return client.state, client.suspended_by, used_at


async def test_to_be_named_is_not_to_be_used() -> None:
    """At no endpoint: who knows an identifier keeps no abandoned client alive, and revives none."""
    async with served(briefly()) as server:
        made = await asleep(server, APP)
        refused(await token(server, made, "refresh_token", refresh_token="guess"), "invalid_grant")
        refused(await token(server, made, "authorization_code", code="guess"), "invalid_grant")
        refused(await token(server, made, "client_credentials"), "unauthorized_client")
        refused(await call(server, "/introspect", made, token="guess"), "unauthorized_client")
        await call(server, "/revoke", made, token="guess")
        asked = {
            "client_id": made["client_id"],
            "response_type": "code",
            "redirect_uri": made["redirect_uris"][0],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        assert (await server.client.get("/authorize", params=asked)).status_code == 303
        assert (await server.client.post("/par", data=asked)).status_code == 201
        assert await stands(server, made) == (State.SUSPENDED, IDLE, 0)
        server.clock.advance(11 * DAY)
        await sweep.sweep(server.registry)
        assert (await stands(server, made))[0] is State.DELETED


async def test_to_be_named_keeps_none_alive() -> None:
    """An active one neither."""
    async with served(briefly()) as server:
        made = await register(server, APP)
        await call(server, "/introspect", made, token="guess")
        await token(server, made, "refresh_token", refresh_token="guess")
        assert await stands(server, made) == (State.ACTIVE, "", 0)


async def test_what_a_public_client_gets_brings_it_back() -> None:
    """A code that a person allowed is as good as ever, and its token counts."""
    async with served(briefly()) as server:
        made = await asleep(server, APP)
        answer = await exchange(server, made, await code_for(server, made))
        assert answer.status_code == 200, answer.text
        assert await stands(server, made) == (State.ACTIVE, "", server.clock.now)


async def test_a_person_brings_a_device_back() -> None:
    """To ask for a code is nobody's use; what the person allowed then is."""
    async with served(briefly()) as server:
        made = await asleep(server, {**APP, "redirect_uris": [], "grant_types": [GRANT_TYPE], "scope": "read"})
        shown = (await call(server, "/device_authorization", made)).json()
        assert await stands(server, made) == (State.SUSPENDED, IDLE, 0)
        assert await device.find(server.registry, server.issuer, shown["user_code"]) is not None
        assert await device.decide(server.registry, server.issuer, shown["user_code"], ALICE)
        answer = await token(server, made, GRANT_TYPE, device_code=shown["device_code"])
        assert answer.status_code == 200, answer.text
        assert await stands(server, made) == (State.ACTIVE, "", server.clock.now)


async def test_one_that_an_operator_suspended_meanwhile_gets_nothing() -> None:
    """Neither by a code that was good, nor by a device's."""
    async with served(briefly()) as server:
        made = await asleep(server, APP)
        value = await code_for(server, made)
        await administration.suspend(server.registry, server.issuer, server.operator, made["client_id"])
        refused(await exchange(server, made, value), "access_denied", status=403)
        assert await stands(server, made) == (State.SUSPENDED, "", 0)


@pytest.mark.parametrize("members", [WEB, BATCH])
async def test_who_proves_itself_comes_back(members: Any) -> None:
    """By its credentials, whatever it then asks for; wrong ones bring nobody back."""
    async with served(briefly()) as server:
        made = await asleep(server, members)
        wrong = {**made, "client_secret": "wrong"}
        refused(await token(server, wrong, "client_credentials"), "invalid_client", status=401)
        assert await stands(server, made) == (State.SUSPENDED, IDLE, 0)
        await token(server, made, "client_credentials")
        assert await stands(server, made) == (State.ACTIVE, "", server.clock.now)


async def test_a_token_that_lives_is_good_while_its_client_sleeps() -> None:
    """Who has one used the client a moment ago: the sweep may have come between."""
    async with served(briefly()) as server:
        made = await register(server, BATCH)
        issued = (await token(server, made, "client_credentials")).json()["access_token"]
        for version, by, refusal in ((1, IDLE, 403), (2, "", 401)):
            client = await server.registry.store.find("main", made["client_id"])
            assert client is not None
            after = msgspec.structs.replace(client, version=version + 1, state=State.SUSPENDED, suspended_by=by)
            await server.registry.store.update(after, [], expected=version)
            told = await server.client.get("/userinfo", headers=bearer(issued))
            assert told.status_code == refusal, told.text
