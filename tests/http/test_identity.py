"""Who a client says that it is: what is found odd stays with its record, is told in the audit, and counts by its host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from registering import PUBLIC, as_update, configured, events, manage, post, refused, register

from registrar.domain.client import Client
from registrar.domain.terms import term
from registrar.service.ports import ClientQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

WORKER = {**PUBLIC, "client_name": "Worker", "software_id": "s-1"}


async def flags(server: Served, client_id: str) -> tuple[str, ...]:
    """What stays with a client of what was found odd."""
    client = await server.registry.store.find("main", client_id)
    assert client is not None
    return client.flags


@pytest.mark.requirement("R7591-64")
async def test_a_name_that_only_looks_like_a_known_one_is_refused() -> None:
    """Whatever the letters; the refusal says which name a person would read."""
    async with served(configured()) as server:
        refusal = await post(server, {**PUBLIC, "client_name": "Сlaude"})
        told = refused(refusal, "invalid_client_metadata", "client_name")
        assert "Claude" in told["error_description"]
        assert await server.registry.store.count(ClientQuery("main")) == 0


@pytest.mark.requirement("R7591-64")
async def test_a_known_name_at_another_host_is_flagged() -> None:
    """It is registered, and the flag is in the record, in the audit and in the inventory."""
    async with served(configured()) as server:
        made = await register(server, {**PUBLIC, "client_name": "Claude", "logo_uri": "https://claude.ai/logo.png"})
        assert await flags(server, made["client_id"]) == ("rule.brands", "rule.brands_logo")
        (event,) = await events(server, "client.registered")
        told = {one["rule"]: one for one in event["findings"]}
        assert "app.example" in told["rule.brands"]["reason"]
        found = await server.registry.store.clients(ClientQuery("main", terms=(term("flag", "rule.brands"),)))
        assert [one.client_id for one in found] == [made["client_id"]]
        assert found[0].public().flags == ("rule.brands", "rule.brands_logo")


async def test_a_flag_goes_when_its_reason_does() -> None:
    """An update is judged anew, as a whole."""
    async with served(configured()) as server:
        made = await register(server, {**PUBLIC, "client_name": "Claude"})
        assert await flags(server, made["client_id"])
        renamed = {**as_update(made), "client_name": "Reader"}
        assert (await manage(server, made, "PUT", renamed)).status_code == 200
        assert await flags(server, made["client_id"]) == ()
        assert await server.registry.store.count(ClientQuery("main", terms=("flag=rule.brands",))) == 0


@pytest.mark.requirement("R7591-64")
async def test_known_software_at_another_host_is_flagged() -> None:
    """The first says where the software leads; loopback says nothing, and an update is no stranger to itself."""
    async with served(configured()) as server:
        first = await register(server, WORKER)
        again = await register(server, {**WORKER, "redirect_uris": ["https://app.example/other", "http://127.0.0.1/"]})
        here = await register(server, {**WORKER, "redirect_uris": ["http://localhost/cb"]})
        other = await register(server, {**WORKER, "redirect_uris": ["https://evil.example/cb"]})
        for made, expected in ((first, ()), (again, ()), (here, ()), (other, ("rule.software_hosts",))):
            assert await flags(server, made["client_id"]) == expected
        moved = {**as_update(again), "redirect_uris": ["https://evil.example/cb"]}
        assert (await manage(server, again, "PUT", moved)).status_code == 200
        # One of the software leads there by now, and was found odd: it does not say where the software is.
        assert await flags(server, again["client_id"]) == ("rule.software_hosts",)


async def test_software_with_many_clients_is_looked_up_once_a_second() -> None:
    """A storm of one agent reads its oldest clients once, and not for everybody; while there are few, each is looked at."""
    async with served(configured()) as server:
        store, looked = server.registry.store, list[int]()
        clients = store.clients

        async def counting(query: ClientQuery, **more: Any) -> Sequence[Client]:
            found = await clients(query, **more)
            looked.append(len(found))
            return found

        store.clients = counting
        for _ in range(25):
            await register(server, WORKER)
        assert looked == [*range(21)]
        other = await register(server, {**WORKER, "redirect_uris": ["https://evil.example/cb"]})
        assert await flags(server, other["client_id"]) == ("rule.software_hosts",)
        assert len(looked) == 21
        server.clock.advance(1)
        await register(server, WORKER)
        assert looked[21:] == [20]


async def test_software_may_be_kept_to_its_hosts() -> None:
    """Where a policy refuses instead of remarking."""
    strict = '[policy.strict]\nrules = [{ rule = "software_hosts", verdict = "refuse" }]'
    async with served(configured(registration='policy = "strict"', tables=strict)) as server:
        await register(server, WORKER)
        refusal = await post(server, {**WORKER, "redirect_uris": ["https://evil.example/cb"]})
        told = refused(refusal, "invalid_client_metadata", "software_id")
        assert "evil.example" in told["error_description"]


@pytest.mark.parametrize(
    "name", ["\u202eedualC", "C\u200blaude", "Ｃlaude", "𝐂𝐥𝐚𝐮𝐝𝐞", "Сlаudе " * 40, "\U000e0041" * 9, "ﷺ" * 600]
)
async def test_odd_names_do_no_harm(name: str) -> None:
    """Whatever the characters: an answer, and no long wait for it."""
    async with served(configured()) as server:
        answer = await asyncio.wait_for(post(server, {**PUBLIC, "client_name": name}), 2)
        assert answer.status_code in (201, 400)
        json.loads(answer.content)
