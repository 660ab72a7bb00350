"""Webhooks over the administration API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from registering import MEMBERS, bearer, configured, events, issue, refused, register

from registrar.service.delivery import Line
from registrar.testing import Documents, Served, served
from webhook_receiver import key_file

pytestmark = pytest.mark.anyio

URL = "https://hook.example/in"


@asynccontextmanager
async def serving(folder: Path, documents: Documents) -> AsyncIterator[tuple[Served, str]]:
    """A server with a webhook, and an operator's token."""
    table = f'[webhook.gateway]\nurl = "{URL}"\nsecret_file = "{key_file(folder, b"k" * 32)}"\n'
    other = '[issuer.other]\nurl = "https://as.example/other"\nadmin_api = true\n'
    text = configured(issuer="admin_api = true", tables=table + other)
    async with served(text, fetch=documents) as server:
        yield server, (await issue(server, scope=("admin.webhooks",), owner="ops"))[0]


async def call(server: Served, token: str, method: str, path: str, body: Any = None) -> httpx2.Response:
    """Call the API."""
    more = {} if body is None else {"json": body}
    return await server.client.request(method, f"/admin/api/webhooks{path}", headers=bearer(token), **more)


async def test_looked_at_tried_out_and_sent_again(tmp_path: Path) -> None:
    """What the command line does, over HTTP."""
    documents = Documents({URL: b""})
    async with serving(tmp_path, documents) as (server, token):
        client = await register(server)
        before = (await call(server, token, "GET", "")).json()["webhooks"]
        await Line(server.registry, "main", "gateway").deliver()
        after = (await call(server, token, "GET", "/gateway")).json()
        tried = (await call(server, token, "POST", "/gateway/test")).json()
        identifier = documents.sent[0][2]["webhook-id"]
        replays = [{"ids": [identifier]}, {"since": 1}, {"since": 1, "until": 2}, {"given_up": True}]
        counts = [(await call(server, token, "POST", "/gateway/replay", one)).json()["replayed"] for one in replays]

        assert [(one["webhook"], one["waiting"]) for one in before] == [("gateway", 1)]
        assert (after["waiting"], after["state"], after["url"]) == (0, "enabled", URL)
        assert tried["delivered"]
        assert client["client_id"].encode() in documents.sent[0][1]
        assert counts == [1, 1, 0, 0]
        assert [one["count"] for one in await events(server, "webhook.replayed")] == [1, 1]


async def test_given_up_and_enabled(tmp_path: Path) -> None:
    """What was given up is listed in pages; an endpoint that is gone is enabled once."""
    async with serving(tmp_path, Documents()) as (server, token):
        for _ in range(3):
            await register(server)
        line = Line(server.registry, "main", "gateway")
        for _ in range(12):
            await line.deliver()
            server.clock.advance(100_000)
        page = (await call(server, token, "GET", "/gateway/given-up?limit=2")).json()
        rest = (await call(server, token, "GET", f"/gateway/given-up?limit=2&after={page['after']}")).json()

        assert [len(page["messages"]), len(rest["messages"])] == [2, 1]
        assert {one["problem"] for one in page["messages"]} == {"it answers with 404"}
        refused(await call(server, token, "POST", "/gateway/enable"), "invalid_request", status=409)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": ["a"], "since": 1},
        {"since": -1},
        {"since": 10**12},
        {"since": "yesterday"},
        {"ids": "evt_1"},
        {"given_up": 1},
        {"all": True},
    ],
)
async def test_a_replay_that_makes_no_sense(tmp_path: Path, body: Any) -> None:
    """It is refused in words, and nothing is sent again."""
    async with serving(tmp_path, Documents()) as (server, token):
        await register(server)
        refused(await call(server, token, "POST", "/gateway/replay", body), "invalid_request")
        refused(await call(server, token, "POST", "/gateway/replay", {"ids": ["x"]}), "invalid_request", status=409)
        assert not await events(server, "webhook.replayed")


async def test_one_issuer_knows_nothing_of_another_s(tmp_path: Path) -> None:
    """An operator of one issuer neither sees nor sends again what is another's; an unknown webhook is none."""
    documents = Documents({URL: b""})
    async with serving(tmp_path, documents) as (server, token):
        await register(server)
        for method, path in (("GET", "/x"), ("GET", "/x/given-up"), ("POST", "/x/test"), ("POST", "/x/enable")):
            refused(await call(server, token, method, path), "not_found", status=404)
        refused(await call(server, token, "POST", "/x/replay", {"since": 1}), "not_found", status=404)
        there = await server.client.get("/other/admin/api/webhooks", headers=bearer(token))
        assert there.status_code == 401
        assert MEMBERS["client_name"] in "".join(one.decode() for _, one, _ in documents.sent) or not documents.sent
