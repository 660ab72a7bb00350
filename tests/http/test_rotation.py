"""Secrets and tokens that change while they are used: nobody is locked out, and what has ended opens nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from authorizing import BATCH, SCOPES, token
from registering import MEMBERS, as_update, configured, events, manage, on_disk, register

from registrar.domain.credentials import KeyEncryptionKeys
from registrar.service import administration
from registrar.service.operators import Refused
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

SYMMETRIC = {**MEMBERS, "token_endpoint_auth_method": "client_secret_jwt"}
BY_ACCESS_TOKEN = '[policy.strict]\nmanagement = { authentication = ["access_token"], scope = "manage" }\n'


async def reissue(server: Served, client: dict[str, Any]) -> tuple[str, str]:
    """A new registration access token, and a new secret where there is one."""
    acting = (server.registry, server.issuer, server.operator, client["client_id"])
    value, secret, _ = await administration.reissue_token(*acting, "lost with a laptop")
    return value, secret


@pytest.mark.parametrize("database", ["memory", "sqlite"])
async def test_rotation_against_authentication(tmp_path: Path, database: str) -> None:
    """A client that rotates at every update authenticates all the while, with the secret it was told last or before."""
    more = {"tables": f"{SCOPES}[issuer.main.client_secret]\nrotate_on_update = true\noverlap = 3600\n"}
    text = on_disk(tmp_path, **more) if database == "sqlite" else configured(url="http://127.0.0.1:8000", **more)
    async with served(text) as server:
        client = await register(server, BATCH)
        told = [client["client_secret"]]
        ended = asyncio.Event()
        statuses: list[int] = []

        async def authenticate() -> None:
            while not ended.is_set():
                answer = await token(server, {**client, "client_secret": told[-1]}, "client_credentials")
                statuses.append(answer.status_code)
                await asyncio.sleep(0)  # in memory nothing else would let the others have their turn

        async def by_operator() -> None:
            acting = (server.registry, server.issuer, server.operator, client["client_id"])
            for _ in range(5):
                secret, _ = await administration.rotate_secret(*acting, overlap=3600)
                told.append(secret)
                await asyncio.sleep(0)

        async def by_client() -> None:
            for _ in range(10):
                answer = await manage(server, client, "PUT", as_update(client, client_secret=told[-1]))
                if answer.status_code == 200:
                    told.append(answer.json()["client_secret"])
                await asyncio.sleep(0)

        using = [asyncio.create_task(authenticate()) for _ in range(5)]
        for _ in range(3):
            await by_client()
            await by_operator()
        ended.set()
        await asyncio.gather(*using)

        assert len(set(told)) > 20
        assert set(statuses) == {200}
        assert len(statuses) >= 30
        # The newest few live on, the very old ones do not, however long the overlap.
        assert (await token(server, {**client, "client_secret": told[-2]}, "client_credentials")).status_code == 200
        assert (await token(server, {**client, "client_secret": told[0]}, "client_credentials")).status_code == 401
        server.clock.advance(3600)
        assert (await token(server, {**client, "client_secret": told[-2]}, "client_credentials")).status_code == 401
        assert (await token(server, {**client, "client_secret": told[-1]}, "client_credentials")).status_code == 200


async def test_operators_that_rotate_at_once() -> None:
    """Each has its secret stored or is told why not; the last one is the current one, and all live on for the overlap."""
    async with served(configured(url="http://127.0.0.1:8000", tables=SCOPES)) as server:
        client = await register(server, BATCH)
        acting = (server.registry, server.issuer, server.operator, client["client_id"])
        made = await asyncio.gather(*(administration.rotate_secret(*acting, overlap=60) for _ in range(5)))
        read = (await manage(server, client)).json()["client_secret"]

        assert len({secret for secret, _ in made}) == 5
        assert read in {secret for secret, _ in made}
        for secret in (client["client_secret"], *(one for one, _ in made)):
            answer = await token(server, {**client, "client_secret": secret}, "client_credentials")
            assert answer.status_code == 200
        assert len(await events(server, "client.secret_rotated")) == 5


async def test_a_lost_token_is_replaced_with_the_secret() -> None:
    """The lost token opened the secret: the client gets a new one, and the old one authenticates for the overlap."""
    async with served(configured(url="http://127.0.0.1:8000", tables=SCOPES)) as server:
        client = await register(server, BATCH)
        value, secret = await reissue(server, client)
        lost = await manage(server, client)
        read = await manage(server, client, token=value)
        updated = await manage(server, client, "PUT", as_update(read.json()), token=value)

        assert lost.status_code == 401
        assert read.status_code == updated.status_code == 200
        assert read.json()["client_secret"] == updated.json()["client_secret"] == secret != client["client_secret"]
        for one, status in ((client["client_secret"], 200), (secret, 200)):
            answer = await token(server, {**client, "client_secret": one}, "client_credentials")
            assert answer.status_code == status
        server.clock.advance(86_400)
        answer = await token(server, client, "client_credentials")
        assert answer.status_code == 401
        (event,) = await events(server, "client.token_reissued")
        assert (event["reason"], event["actor"]) == ("lost with a laptop", "operator")
        for credential in (value, secret, client["client_secret"]):
            assert credential not in str(event)


async def test_what_the_server_can_open_stays() -> None:
    """A secret that lies under the key-encryption key too is kept, and the new token opens it."""
    async with served(configured()) as server:
        client = await register(server, SYMMETRIC)
        value, secret = await reissue(server, client)
        assert secret == ""
        assert (await manage(server, client, token=value)).json()["client_secret"] == client["client_secret"]
        rotated, _ = await administration.rotate_secret(
            server.registry, server.issuer, server.operator, client["client_id"]
        )
        again, _ = await reissue(server, client)
        assert (await manage(server, client, token=again)).json()["client_secret"] == rotated
        assert (await manage(server, client, token=value)).status_code == 401


async def test_a_client_without_a_secret() -> None:
    """It gets a token and nothing else."""
    async with served(configured()) as server:
        client = await register(server, {**MEMBERS, "token_endpoint_auth_method": "none"})
        value, secret = await reissue(server, client)
        assert secret == ""
        read = (await manage(server, client, token=value)).json()
        assert "client_secret" not in read
        assert read["client_id"] == client["client_id"]


async def test_no_token_where_there_is_none() -> None:
    """A deleted client, an issuer without management and a policy that wants another proof have no such token."""
    async with served(configured()) as server:
        client = await register(server)
        await manage(server, client, "DELETE")
        with pytest.raises(Refused, match="is deleted"):
            await reissue(server, client)
        with pytest.raises(Refused, match="there is no client"):
            await reissue(server, {"client_id": "none"})
    async with served(configured(registration="management = false")) as server:
        client = await register(server)
        with pytest.raises(Refused, match="do not manage themselves"):
            await reissue(server, client)
    async with served(configured(registration='policy = "strict"', tables=BY_ACCESS_TOKEN)) as server:
        client = await register(server)
        with pytest.raises(Refused, match="managed without a registration access token"):
            await reissue(server, client)


async def test_rotation_by_policy() -> None:
    """A policy has secrets replaced at every update, with an overlap of its own; other clients keep theirs."""
    tables = "[policy.partner]\nrotation = { secret_on_update = true, overlap = 100 }\nlifetime = { secret = 1000 }\n"
    async with served(
        configured(url="http://127.0.0.1:8000", registration='policy = "partner"', tables=SCOPES + tables)
    ) as server:
        client = await register(server, BATCH)
        updated = (await manage(server, client, "PUT", as_update(client))).json()
        assert updated["client_secret"] != client["client_secret"]
        assert updated["client_secret_expires_at"] == server.clock.now + 1000
        acting = (server.registry, server.issuer, server.operator, client["client_id"])
        rotated, record = await administration.rotate_secret(*acting)
        assert [one.until for one in record.credentials.secrets] == [0, server.clock.now + 100, server.clock.now + 100]
        server.clock.advance(99)
        assert (await token(server, client, "client_credentials")).status_code == 200
        server.clock.advance(1)
        assert (await token(server, client, "client_credentials")).status_code == 401
        assert (await token(server, {**client, "client_secret": rotated}, "client_credentials")).status_code == 200
        server.clock.advance(900)
        assert (await token(server, {**client, "client_secret": rotated}, "client_credentials")).status_code == 401
        # Its token lives: an update replaces a secret that has ended.
        again = (await manage(server, client, "PUT", as_update(client, client_secret=rotated))).json()
        assert (await token(server, {**client, **again}, "client_credentials")).status_code == 200
    async with served(configured()) as server:
        client = await register(server)
        assert (await manage(server, client, "PUT", as_update(client))).json()["client_secret"] == client[
            "client_secret"
        ]


async def test_a_key_that_is_gone_is_no_obstacle() -> None:
    """Where the key-encryption key that wrapped a secret is lost, a new secret takes its place."""
    async with served(configured()) as server:
        client = await register(server, SYMMETRIC)
        server.registry.keys._keys = KeyEncryptionKeys((b"n" * 32,))._keys
        value, secret = await reissue(server, client)
        assert secret
        assert (await manage(server, client, token=value)).json()["client_secret"] == secret
