"""The inventory: found by what is known, in pages of bounded work; counted, exported, and findable after an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registrar.config.key_file import create_key_file
from registrar.domain.client import Admission, Assurance, State
from registrar.domain.credentials import Credentials, SecretRecord
from registrar.domain.metadata import Registered
from registrar.service import inventory, templates
from registrar.service.inventory import Filters, page
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery
from registrar.testing import Served, served
from registrar.testing.store_conformance import NOW, a_client, an_event, digest

pytestmark = pytest.mark.anyio

TEXT = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
"""
DAY = 86_400


async def add(server: Served, client_id: str, **changed: Any) -> None:
    """A client of its own kind."""
    metadata = {"client_name": f"App {client_id}", "redirect_uris": [f"https://{client_id}.example/cb"]}
    plain = {
        "metadata": Registered(metadata | changed.pop("metadata", {})),
        "credentials": Credentials(),
        "admission": Admission(Assurance.OPEN),
        "labels": {},
        "flags": (),
        "expires_at": 0,
        "due_at": 0,
    }
    await server.registry.store.create(a_client(client_id, **{**plain, **changed}), an_event(client_id))


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    """Clients of which each differs from the others in one thing."""
    async with served(TEXT) as started:
        secret = SecretRecord(digest("s"), None, 1, NOW - 9 * DAY, expires_at=NOW + DAY)
        await add(started, "a", state=State.SUSPENDED)
        await add(started, "b", admission=Admission(Assurance.USER, "t1", owner="ann", client_class="partner"))
        await add(started, "c", metadata={"software_id": "s-1"})
        await add(started, "d", labels={"tenant": "acme"}, flags=("rule.brands",))
        await add(started, "e", policy="default strict")
        await add(started, "f", expires_at=NOW + 5 * DAY)
        await add(started, "g", credentials=Credentials(secrets=(secret,)))
        await add(started, "h", state=State.DELETED)
        await started.registry.store.change(started.registry.last_use.note("main", "b", NOW))
        yield started


async def found(server: Served, **asked: Any) -> str:
    """The identifiers of those that are found."""
    got = await page(server.registry, server.issuer, Filters(**asked))
    assert got.after == ""
    return "".join(one.client_id for one in got.clients)


@pytest.mark.requirement("SEED-76")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "abcdefgh"),
        ({"state": State.SUSPENDED}, "a"),
        ({"state": State.ACTIVE}, "bcdefg"),
        ({"state": State.DELETED}, "h"),
        ({"owner": "ann"}, "b"),
        ({"token": "t1"}, "b"),
        ({"client_class": "partner"}, "b"),
        ({"software": "s-1"}, "c"),
        ({"host": "c.example"}, "c"),
        ({"host": "h.example", "state": State.DELETED}, "h"),
        ({"labels": {"tenant": "acme"}}, "d"),
        ({"flag": "rule.brands"}, "d"),
        ({"policy": "strict"}, "e"),
        ({"text": "APP E"}, "e"),
        ({"expires_before": NOW + 2 * DAY}, "g"),
        ({"expires_before": NOW + 6 * DAY}, "fg"),
        ({"keys_before": NOW - DAY}, "g"),
        ({"never_used": True, "state": State.ACTIVE}, "cdefg"),
        ({"unused_since": NOW + 1, "state": State.ACTIVE}, "bcdefg"),
        ({"unused_since": NOW, "owner": "ann"}, ""),
        ({"owner": "ann", "software": "s-1"}, ""),
        ({"template": "none"}, ""),
    ],
)
async def test_clients_are_found(server: Served, asked: dict[str, Any], expected: str) -> None:
    """By what an index knows, and by what is looked at."""
    assert await found(server, **asked) == expected


async def test_pages_follow_each_other(server: Served) -> None:
    """Whatever their size, each client once; a page that looked enough ends before it is full."""
    for limit in (1, 2, 3):
        after, seen = "", ""
        while True:
            got = await page(server.registry, server.issuer, Filters(), after=after, limit=limit)
            seen += "".join(one.client_id for one in got.clients)
            if not got.after:
                break
            after = got.after
        assert seen == "abcdefgh"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_the_newest_come_first_where_that_is_asked(server: Served, limit: int) -> None:
    """Each client once, with filters that an index knows and with such as have to be looked at."""
    for filters, expected in ((Filters(), "hgfedcba"), (Filters(state=State.ACTIVE), "gfedcb")):
        after, seen = "", ""
        while True:
            got = await page(server.registry, server.issuer, filters, after=after, limit=limit, newest=True)
            seen += "".join(one.client_id for one in got.clients)
            if not got.after:
                break
            after = got.after
        assert seen == expected


@pytest.mark.parametrize("state", [State.ACTIVE, State.DELETED, State.PENDING])
async def test_a_state_that_is_rare_is_not_looked_for_among_all_clients(
    server: Served, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """No statement has to skip the clients of other states: their term finds them, or so many are looked at."""
    asked: list[ClientQuery] = []
    clients = server.registry.store.clients

    async def seen(query: ClientQuery, **more: Any) -> Any:
        asked.append(query)
        return await clients(query, **more)

    monkeypatch.setattr(server.registry.store, "clients", seen)
    await found(server, state=state)
    await inventory.statistics(server.registry, server.issuer, Filters(state=state))
    assert all(one.terms or not one.state for one in asked)
    assert all(one.terms for one in asked) == (state is not State.ACTIVE)


async def test_instances_of_a_deleted_template_are_found_among_the_deleted(server: Served) -> None:
    """They have no term that says so: they ended with their template, and nothing was written of each."""
    operator = Operator("ann", "test")
    acting = (server.registry, server.issuer, operator)
    wanted = {"client_name": "Field", "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none"}
    await templates.create(*acting, "field", templates.Wanted(wanted))
    await add(server, "i", template="field")
    assert await found(server, state=State.DELETED) == "h"
    await templates.delete(*acting, "field")
    assert await found(server, state=State.DELETED) == "hi"
    assert (await inventory.statistics(server.registry, server.issuer, Filters(state=State.DELETED))).clients == 2


async def test_the_work_of_a_page_is_bounded(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rare is found page by page, with a place to go on from even where a page found none."""
    monkeypatch.setattr(inventory, "LOOKS", 3)
    got = await page(server.registry, server.issuer, Filters(text="app h"), limit=1)
    assert (got.clients, got.after) == ([], "c")
    every = [one.client_id async for one in inventory.every(server.registry, server.issuer, Filters(text="app h"))]
    assert every == ["h"]


async def test_clients_are_counted(server: Served) -> None:
    """By what is known of them, and within what is asked."""
    told = await inventory.statistics(server.registry, server.issuer)
    assert told.clients == 8
    assert told.by.state == {"active": 6, "suspended": 1, "deleted": 1}
    assert told.by.client_class == {"partner": 1}
    assert told.by.last_use == {"never": 6, "under a day": 1}
    narrowed = await inventory.statistics(server.registry, server.issuer, Filters(owner="ann"))
    assert narrowed.clients == 1


async def test_the_count_is_bounded(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    monkeypatch.setattr(inventory, "SURVEYED", 3)
    monkeypatch.setattr(inventory, "_PAGE", 2)
    for filters in (Filters(), Filters(text="nobody")):
        told = await inventory.statistics(server.registry, server.issuer, filters)
        assert told.more is True
    assert not (await inventory.statistics(server.registry, server.issuer, Filters(owner="ann"))).more


async def test_a_newer_index_finds_what_is_older(server: Served) -> None:
    """Writing the terms anew changes nothing that is registered."""
    before = await server.registry.store.find("main", "c")
    assert before is not None
    assert await inventory.reindex(server.registry, server.issuer) == 8
    after = await server.registry.store.find("main", "c")
    assert after == msgspec.structs.replace(before, version=before.version + 1)
    assert await found(server, software="s-1") == "c"


@pytest.mark.parametrize("database", ["memory:", "sqlite"])
async def test_what_was_broken_off_goes_on(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer index is written page by page, and none of them twice."""
    text = TEXT if database == "memory:" else TEXT.replace('"memory:"', f'"sqlite:///{tmp_path}/registrar.db"')
    monkeypatch.setattr(inventory, "_PAGE", 2)
    create_key_file(tmp_path / "registrar.key")
    async with served(text) as server:
        store = server.registry.store
        for client_id in "abcdefg":
            admission = Admission(Assurance.CLIENT, owner="ann")
            await store.create(a_client(client_id, admission=admission), an_event(client_id))

        def broken(_: int) -> None:
            raise asyncio.CancelledError

        for expected in ("2211111", "2222111"):
            with pytest.raises(asyncio.CancelledError):
                await inventory.reindex(server.registry, server.issuer, broken)
            versions = [one.version for one in await store.clients(ClientQuery("main"))]
            assert "".join(map(str, versions)) == expected
        assert await inventory.reindex(server.registry, server.issuer) == 3
        assert {one.version for one in await store.clients(ClientQuery("main"))} == {2}
        assert await inventory.reindex(server.registry, server.issuer) == 7  # the next one begins at the first again
