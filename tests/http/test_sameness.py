"""`repeat = "same"`: a public client that says the same is the same client, and nobody gets a key with that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from registering import PUBLIC, configured, events, issue, post, register

from registrar.domain.metadata import Presented
from registrar.service import administration, client_administration, review
from registrar.service.ports import ClientQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

SAME = """
[policy.agents]
extends = ["mcp"]
repeat = "same"
"""
AGENT = {**PUBLIC, "client_name": "Agent", "redirect_uris": ["http://127.0.0.1:1111/cb", "http://localhost:1111/cb"]}


def agents() -> str:
    """A configuration under which agents are known again."""
    return configured('["client"]', registration='policy = "agents"', tables=SAME).replace('["client"]', '"open"')


async def count(server: Served) -> int:
    """How many clients there are."""
    return await server.registry.store.count(ClientQuery("main"))


async def test_the_same_is_the_same_client() -> None:
    """With its own addresses in the answer; neither answer has a token or a configuration URI."""
    async with served(agents()) as server:
        first = await register(server, AGENT)
        again = await register(
            server, {**AGENT, "redirect_uris": ["http://localhost:2222/cb", "http://127.0.0.1:2222/cb"]}
        )
        assert again["client_id"] == first["client_id"]
        assert again["redirect_uris"] == ["http://localhost:2222/cb", "http://127.0.0.1:2222/cb"]
        for one in (first, again):
            assert "registration_access_token" not in one
            assert "registration_client_uri" not in one
            assert "client_secret" not in one
        assert again["client_id_issued_at"] == first["client_id_issued_at"]
        assert await count(server) == 1
        assert len(await events(server, "client.registered")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Other"},
        {"redirect_uris": ["http://127.0.0.1:1111/other"]},
        {"redirect_uris": ["https://app.example/cb"]},
        {"scope": "openid"},
        {"grant_types": ["authorization_code", "refresh_token"]},
    ],
)
async def test_anything_else_is_another_client(change: dict[str, Any]) -> None:
    """A name, an address, a scope, a grant."""
    async with served(agents()) as server:
        first = await register(server, AGENT)
        assert (await register(server, {**AGENT, **change}))["client_id"] != first["client_id"]


async def test_what_was_given_to_another_tenant_is_not_the_same() -> None:
    """A token that labels for one tenant is not answered with a client that an operator has labelled for another since."""
    async with served(agents()) as server:
        token, _ = await issue(server, labels={"tenant": "acme"}, max_uses=0)
        first = (await post(server, AGENT, token=token)).json()
        assert (await post(server, AGENT, token=token)).json()["client_id"] == first["client_id"]
        await administration.label(
            server.registry, server.issuer, server.operator, first["client_id"], {"tenant": "other"}
        )
        second = (await post(server, AGENT, token=token)).json()
        assert second["client_id"] != first["client_id"]
        assert (await post(server, AGENT, token=token)).json()["client_id"] == second["client_id"]


async def test_clients_with_secrets_are_never_the_same() -> None:
    """Nor are those with keys, nor any under a policy that does not say so."""
    async with served(agents()) as server:
        secret = {**AGENT, "token_endpoint_auth_method": "client_secret_post"}
        first, again = await register(server, secret), await register(server, secret)
        assert first["client_id"] != again["client_id"]
        assert first["client_secret"] != again["client_secret"]
        assert first["registration_access_token"]
    async with served(configured()) as server:
        assert (await register(server, AGENT))["client_id"] != (await register(server, AGENT))["client_id"]


async def test_of_many_at_once_there_is_one() -> None:
    """All are answered with it."""
    async with served(agents()) as server:
        found = await asyncio.gather(*(register(server, AGENT) for _ in range(50)))
        assert len({one["client_id"] for one in found}) == 1
        assert await count(server) == 1


async def test_one_that_ended_is_not_brought_back() -> None:
    """A suspended or deleted one is left as it is, and another takes its place."""
    async with served(agents()) as server:
        first = await register(server, AGENT)
        await administration.suspend(server.registry, server.issuer, server.operator, first["client_id"])
        second = await register(server, AGENT)
        assert second["client_id"] != first["client_id"]
        assert (await register(server, AGENT))["client_id"] == second["client_id"]
        await administration.delete(server.registry, server.issuer, server.operator, second["client_id"])
        third = await register(server, AGENT)
        assert third["client_id"] not in (first["client_id"], second["client_id"])


async def test_one_that_was_changed_is_not_the_same() -> None:
    """Whoever sends what it was registered with is not told that the addresses of then lead anywhere."""
    async with served(agents()) as server:
        first = await register(server, AGENT)
        narrowed = Presented({**AGENT, "redirect_uris": ["http://127.0.0.1:1111/cb"]})
        await client_administration.change(
            server.registry, server.issuer, server.operator, first["client_id"], narrowed
        )
        second = await register(server, AGENT)
        assert second["client_id"] != first["client_id"]
        assert (await register(server, AGENT))["client_id"] == second["client_id"]


async def test_one_that_waits_for_review_is_the_same() -> None:
    """An agent that registers whenever it connects asks its reviewer once."""
    async with served(agents() + "[policy.agents.review]\nall = true\n") as server:
        found = [await register(server, AGENT) for _ in range(3)]
        assert {one["registration_state"] for one in found} == {"pending"}
        assert len({one["client_id"] for one in found}) == 1
        client_id = found[0]["client_id"]
        assert [held.client_id async for held, _ in review.every(server.registry, server.issuer)] == [client_id]
        await review.approve(server.registry, server.issuer, server.operator, client_id)
        assert "registration_state" not in await register(server, AGENT)
        assert await count(server) == 1


async def test_admissions_are_kept_apart() -> None:
    """What comes in by one token is not what comes in by another, nor what comes in by none."""
    async with served(agents()) as server:
        found = [await register(server, AGENT)]
        for _ in range(2):
            value, _ = await issue(server, max_uses=5)
            answers = [await post(server, AGENT, token=value) for _ in range(2)]
            assert answers[0].json()["client_id"] == answers[1].json()["client_id"]
            found.append(answers[0].json())
        assert len({one["client_id"] for one in found}) == 3
