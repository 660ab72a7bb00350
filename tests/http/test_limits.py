"""Limits: rates and caps, asked over HTTP by callers from many addresses."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from registering import MEMBERS, PUBLIC, as_update, bearer, configured, events, issue, on_disk, post, register

from registrar.config import ConfigurationError, create_key_file, parse
from registrar.domain.client import Client, State
from registrar.domain.metadata import Presented
from registrar.policy.document import Document
from registrar.service import client_administration, inventory, review, templates
from registrar.service.administration import suspend
from registrar.service.caps import eviction
from registrar.service.labels import label
from registrar.service.last_use import KIND
from registrar.service.operators import Operator, Refused
from registrar.service.ports import ClientQuery, Conflict, Drop, Item, Put
from registrar.service.windows import REMEMBERED, OwnWindows
from registrar.testing import FrozenClock, Served, served

pytestmark = pytest.mark.anyio


def limited(limits: str = "", clients: str = "", **more: str) -> str:
    """A configuration with limits, behind a proxy that tells where each request comes from."""
    tables = f"[issuer.main.limits]\n{limits}\n[issuer.main.limits.clients]\n{clients}"
    return _proxied(configured(tables=tables, **more))


def _proxied(text: str) -> str:
    return text.replace("[server]", '[server]\ntrusted_proxies = ["127.0.0.1"]', 1)


async def come(server: Served, address: str, members: Any = MEMBERS, token: str = "") -> httpx2.Response:
    """Register from an address."""
    headers = {"x-forwarded-for": address, "x-forwarded-proto": "https", **bearer(token)}
    return await server.client.post("/register", json=members, headers=headers)


def _is_slowed(answer: httpx2.Response) -> int:
    """Hold that an answer says what limit it was; give the seconds that it tells to wait."""
    assert answer.status_code == 429, answer.text
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "2/minute" in answer.json()["error_description"]
    return int(answer.headers["retry-after"])


# --- rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-67", "R7591-40")
async def test_an_address_has_a_rate() -> None:
    """Who is refused is told how long to wait, and that is right to the second; another address goes on."""
    async with served(limited('address = "2/minute"')) as server:
        assert [(await come(server, "192.0.2.1")).status_code for _ in range(2)] == [201, 201]
        server.clock.advance(20)
        assert _is_slowed(await come(server, "192.0.2.1")) == 40
        assert (await come(server, "192.0.2.2")).status_code == 201
        server.clock.advance(39)
        assert _is_slowed(await come(server, "192.0.2.1")) == 1
        server.clock.advance(1)
        assert (await come(server, "192.0.2.1")).status_code == 201
        refusals = [one["error"] for one in await events(server, "registration.refused")]
        assert refusals == ["too_many_registrations"] * 2


async def test_what_is_refused_for_its_metadata_takes_its_share_too() -> None:
    """A program that tries until something is taken is slowed like any other."""
    async with served(limited('address = "2/minute"')) as server:
        for _ in range(2):
            assert (await come(server, "192.0.2.1", {"redirect_uris": ["javascript:0"]})).status_code == 400
        _is_slowed(await come(server, "192.0.2.1"))


@pytest.mark.requirement("SEED-67")
@pytest.mark.parametrize("rate", ["software_id", "redirect_host", "total"])
async def test_what_is_answered_with_a_client_that_is_there_takes_its_share_too(rate: str) -> None:
    """Under `repeat = "same"` nothing is stored, and a program that asks in a circle is slowed like any other."""
    policy = '[policy.agents]\nextends = ["mcp"]\nrepeat = "same"'
    text = _proxied(
        configured(
            registration='policy = "agents"',
            tables=f'[issuer.main.limits]\naddress = ""\n{rate} = "2/minute"\n{policy}',
        )
    )
    agent = {**PUBLIC, "software_id": "reader"}
    async with served(text) as server:
        answers = [await come(server, "192.0.2.1", agent) for _ in range(3)]
        assert answers[1].json()["client_id"] == answers[0].json()["client_id"]
        assert _is_slowed(answers[2]) == 60
        server.clock.advance(60)
        assert (await come(server, "192.0.2.1", agent)).json()["client_id"] == answers[0].json()["client_id"]


async def test_a_subscriber_with_many_addresses_has_one_rate() -> None:
    """IPv6 counts by its prefix, so that 2^64 addresses are one caller."""
    async with served(limited('address = "2/minute"')) as server:
        answers = [await come(server, f"2001:db8:0:1::{one}") for one in (1, 2, 3)]
        assert [one.status_code for one in answers] == [201, 201, 429]
        assert (await come(server, "2001:db8:0:2::1")).status_code == 201


async def test_the_body_of_a_flood_is_not_read() -> None:
    """An address is asked before anything is read."""
    async with served(limited('address = "2/minute"')) as server:
        for _ in range(2):
            await come(server, "192.0.2.1")

        async def never() -> Any:
            yield b"{"
            raise AssertionError("somebody read on")

        headers = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", "content-type": "application/json"}
        _is_slowed(await server.client.post("/register", content=never(), headers=headers))


async def test_whoever_has_a_token_does_not_wait_for_its_neighbours() -> None:
    """A token is held to its own rate, and bad ones are counted by themselves."""
    text = limited('address = "2/minute"\ninitial_token = "2/minute"')
    async with served(text) as server:
        tokens = [(await issue(server, max_uses=0))[0] for _ in range(2)]
        for _ in range(3):
            await come(server, "192.0.2.1")
        for token in tokens:
            assert [(await come(server, "192.0.2.1", token=token)).status_code for _ in range(3)] == [201, 201, 429]
        guesses = [(await come(server, "192.0.2.9", token="guess")).status_code for _ in range(3)]
        assert guesses == [401, 401, 429]
        assert (await come(server, "192.0.2.9")).status_code == 201


@pytest.mark.requirement("SEED-67")
async def test_a_shared_network_is_not_one_caller() -> None:
    """Behind one egress stand many: the network has a rate of its own, and no address in it starves another."""
    text = limited('address = "2/minute"\nshared_addresses = ["160.79.104.0/21"]\nshared = "20/minute"')
    async with served(text) as server:
        answers = [(await come(server, f"160.79.104.{one % 2}")).status_code for one in range(21)]
        assert Counter(answers) == {201: 20, 429: 1}
        assert (await come(server, "192.0.2.1")).status_code == 201


@pytest.mark.requirement("SEED-67")
@pytest.mark.parametrize(
    ("limit", "members"),
    [
        ("software_id", {**MEMBERS, "software_id": "reader"}),
        ("redirect_host", MEMBERS),
    ],
)
async def test_nobody_is_locked_out_by_who_claims_to_be_them(limit: str, members: dict[str, Any]) -> None:
    """What nobody verified is counted with the address that says it."""
    async with served(limited(f'address = ""\n{limit} = "2/minute"')) as server:
        assert [(await come(server, "192.0.2.1", members)).status_code for _ in range(2)] == [201, 201]
        _is_slowed(await come(server, "192.0.2.1", members))
        assert (await come(server, "192.0.2.2", members)).status_code == 201
        other = {**members, "software_id": "other", "redirect_uris": ["https://other.example/cb"]}
        assert (await come(server, "192.0.2.1", other)).status_code == 201


async def test_redirects_to_loopback_share_nothing() -> None:
    """Every native application has that host."""
    native = {"redirect_uris": ["http://127.0.0.1/cb"], "application_type": "native"}
    async with served(limited('redirect_host = "1/minute"')) as server:
        assert [(await come(server, "192.0.2.1", native)).status_code for _ in range(3)] == [201] * 3


@pytest.mark.requirement("SEED-67")
async def test_a_storm_gets_as_many_as_the_total_allows() -> None:
    """Of a hundred at once, exactly ten; what is refused for its metadata takes none of the total."""
    async with served(limited('address = ""\ntotal = "10/minute"')) as server:
        bad = {"redirect_uris": ["javascript:0"]}
        await asyncio.gather(*[come(server, f"198.51.100.{one}", bad) for one in range(20)])
        answers = await asyncio.gather(*[come(server, f"192.0.2.{one}") for one in range(100)])
        assert Counter(one.status_code for one in answers) == {201: 10, 429: 90}
        assert await server.registry.store.count(ClientQuery("main")) == 10


async def test_a_limit_warns_once_before_it_is_reached() -> None:
    """At eight of ten, and no second time in that window."""
    async with served(limited('address = "10/minute"')) as server:
        for number in range(12):
            await come(server, "192.0.2.1")
            await server.registry.errands.done()
            assert len(await events(server, "limit.near")) == (number >= 7)
        (warned,) = await events(server, "limit.near")
        assert (warned["limit"], warned["reason"]) == ("address", "80 % of 10/minute are used")


async def test_a_flood_from_everywhere_does_not_fill_the_audit_with_warnings() -> None:
    """Early warnings have a quota of their own."""
    async with served(limited('address = "1/minute"')) as server:
        for one in range(100):
            await come(server, f"192.0.2.{one}")
        await server.registry.errands.done()
        assert len(await events(server, "limit.near")) == 60


async def test_programs_of_one_machine_have_no_rate() -> None:
    """Loopback is not limited by its address: it is a proxy that tells none, or a test."""
    async with served(configured(tables='[issuer.main.limits]\naddress = "1/minute"')) as server:
        assert [(await post(server)).status_code for _ in range(3)] == [201] * 3


async def test_windows_are_bounded() -> None:
    """An attacker with any number of addresses takes a bounded amount of memory, and what is over is forgotten."""
    windows = OwnWindows()
    for one in range(REMEMBERED + 1_000):
        await windows.hit(str(one), 60, 1)
    assert len(windows._kept) == REMEMBERED
    for one in range(100_000):
        await windows.hit(f"later {one}", 60, 100)
    assert len(windows._kept) <= REMEMBERED
    assert await windows.look("later 99999", 100) == 1
    assert await windows.look("5000", 100) == 0


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ('address = "often"', "is no rate"),
        ("ipv6_prefix = 129", "from 1 to 128"),
        ("near = 101", "from 0 to 100"),
        ('shared_addresses = ["claude.ai"]', "is no network"),
        ("clients = { owner = -1 }", "not negative"),
    ],
)
def test_a_limit_that_is_none_is_refused_at_start(table: str, named: str) -> None:
    """With the line, and what would be accepted."""
    with pytest.raises(ConfigurationError, match=named):
        parse(Document("test", configured(tables=f"[issuer.main.limits]\n{table}")))


async def test_a_bad_token_costs_its_neighbours_in_a_shared_network_nothing() -> None:
    """Bad tokens are counted for the single address, for registrations and for the administration API alike."""
    text = limited('address = "2/minute"\nshared_addresses = ["160.79.104.0/21"]', issuer="admin_api = true")
    async with served(text) as server:
        token, _ = await issue(server, max_uses=0, scope=("dcr", "admin.clients"))

        async def administer(address: str, token: str) -> int:
            headers = {"x-forwarded-for": address, "x-forwarded-proto": "https", **bearer(token)}
            return (await server.client.get("/admin/api/clients", headers=headers)).status_code

        assert [await administer("160.79.104.1", "guess") for _ in range(3)] == [401, 401, 429]
        assert (await come(server, "160.79.104.1", token=token)).status_code == 429
        assert (await come(server, "160.79.104.2", token=token)).status_code == 201
        assert await administer("160.79.104.2", token) == 200


@pytest.mark.parametrize("path", ["/par", "/device_authorization"])
async def test_what_is_stored_before_anybody_signs_in_has_a_rate(path: str) -> None:
    """Before the body is read, and before the client is looked for."""
    async with served(limited('requests = "2/minute"')) as server:

        async def ask(address: str) -> int:
            headers = {"x-forwarded-for": address, "x-forwarded-proto": "https"}
            return (await server.client.post(path, data={"client_id": "nobody"}, headers=headers)).status_code

        assert [await ask("192.0.2.1") for _ in range(3)] == [401, 401, 429]
        assert await ask("192.0.2.2") == 401


# --- caps -------------------------------------------------------------------------------------------------------------


async def _used(server: Served, client_id: str) -> None:
    await server.registry.store.change([Put(Item("main", KIND, client_id, b"1", client_id=client_id))])


async def _living(server: Served) -> list[str]:
    found = await server.registry.store.clients(ClientQuery("main"), limit=1_000)
    return [one.client_id for one in found if one.state is not State.DELETED]


@pytest.mark.requirement("SEED-67")
async def test_the_oldest_that_was_never_used_makes_room() -> None:
    """Used clients stay; with nothing but used ones, the next is refused with a clear word."""
    async with served(limited(clients="owner = 3")) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        made = [(await register(server, token=token))["client_id"] for _ in range(3) if not server.clock.advance(1)]
        await _used(server, made[0])
        fourth = (await register(server, token=token))["client_id"]

        assert await _living(server) == [made[0], made[2], fourth]
        (evicted,) = await events(server, "client.evicted")
        assert (evicted["client_id"], evicted["limit"]) == (made[1], "clients.owner")
        for one in (made[2], fourth):
            await _used(server, one)
        refused = await post(server, token=token)
        assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
        assert "3 clients of this owner" in refused.json()["error_description"]
        other, _ = await issue(server, owner="bob")
        assert (await post(server, token=other)).status_code == 201


async def test_one_that_is_used_at_that_moment_makes_no_room() -> None:
    """Its first use changes nothing of the client, and counts all the same."""
    async with served(limited(clients="owner = 1")) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        first = await register(server, token=token)
        store = server.registry.store
        update = store.update

        async def used_meanwhile(*given: Any, **more: Any) -> None:
            store.update = update
            await store.change(server.registry.last_use.note("main", first["client_id"], server.clock.now))
            await update(*given, **more)

        store.update = used_meanwhile
        assert (await post(server, token=token)).status_code == 403
        assert await _living(server) == [first["client_id"]]
        assert not await events(server, "client.evicted")


async def test_one_that_makes_room_for_another_at_that_moment_is_not_in_use() -> None:
    """Two come to a full cap and choose the same client: the second one looks again, and is not told that all are in use."""
    async with served(limited(clients="owner = 2")) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        made = [(await register(server, token=token))["client_id"] for _ in range(2) if not server.clock.advance(1)]
        store = server.registry.store
        update = store.update

        async def gone_meanwhile(client: Client, *given: Any, **more: Any) -> None:
            store.update = update
            await update(client, *given, **more)
            raise Conflict(client.client_id)

        store.update = gone_meanwhile
        third = (await register(server, token=token))["client_id"]
        assert {*await _living(server)} == {made[1], third}


@pytest.mark.requirement("SEED-67")
async def test_a_flood_of_what_is_held_does_not_close_the_door() -> None:
    """Whoever waits for a review has been used by nobody: the oldest goes, its review with it; a suspended one stays."""
    held = '[policy.careful]\nextends = ["default"]\n[policy.careful.review]\ngrants = ["refresh_token"]'
    text = _proxied(
        configured(registration='policy = "careful"', tables=f"{held}\n[issuer.main.limits.clients]\ntotal = 3")
    )
    async with served(text) as server:
        flood = {**PUBLIC, "grant_types": ["authorization_code", "refresh_token"]}
        suspended = (await register(server, PUBLIC))["client_id"]
        await suspend(server.registry, server.issuer, server.operator, suspended)
        pending = [await register(server, flood) for _ in range(4) if not server.clock.advance(1)]
        assert {one["registration_state"] for one in pending} == {"pending"}
        plain = await register(server, PUBLIC)
        assert {*await _living(server)} == {suspended, pending[3]["client_id"], plain["client_id"]}
        found = [held.client_id async for held, _ in review.every(server.registry, server.issuer)]
        assert found == [pending[3]["client_id"]]


async def test_clients_from_before_there_was_a_cap_are_counted(tmp_path: Path) -> None:
    """Whatever happens meanwhile: also where another one was faster to have the first of them make room."""
    async with served(_proxied(on_disk(tmp_path))) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        made = [(await register(server, token=token))["client_id"] for _ in range(5) if not server.clock.advance(1)]
    text = _proxied(on_disk(tmp_path, tables="[issuer.main.limits.clients]\nowner = 3"))
    async with served(text, clock=FrozenClock(1_790_000_100_000)) as server:
        store = server.registry.store
        update = store.update

        async def slower(client: Client, *_: Any, **__: Any) -> None:
            store.update = update
            raise Conflict(client.client_id)

        store.update = slower
        sixth = (await register(server, token=token))["client_id"]
        assert await _living(server) == [*made[3:], sixth]


async def test_the_clients_of_a_cap_are_counted_where_it_seems_full() -> None:
    """As long as there is room, a registration costs the same however many there are: who may be refused is counted for."""
    async with served(limited(clients="address = 4")) as server:
        store, counted = server.registry.store, list[int]()
        count_items = store.count_items

        async def counting(*given: Any) -> int:
            counted.append(await count_items(*given))
            return counted[-1]

        store.count_items = counting
        made = [(await come(server, "192.0.2.1")).json() for _ in range(4) if not server.clock.advance(1)]
        assert counted == [0, 3], "the first, for there might be clients of an older program; and the one that warns"
        for one in made[1:3]:
            await _delete(server, one)
        later = [(await come(server, "192.0.2.1")).json()["client_id"] for _ in range(3) if not server.clock.advance(1)]
        assert counted[2:] == [2, 3, 4]
        assert await _living(server) == [made[3]["client_id"], *later]
        assert [one["client_id"] for one in await events(server, "client.evicted")] == [made[0]["client_id"]]


async def _delete(server: Served, client: dict[str, Any]) -> None:
    headers = {"x-forwarded-proto": "https", **bearer(client["registration_access_token"])}
    assert (await server.client.delete(client["registration_client_uri"], headers=headers)).status_code == 204


@pytest.mark.requirement("SEED-67")
@pytest.mark.parametrize("cap", ["owner", "token", "software", "address", "total"])
async def test_a_storm_never_leaves_more_than_the_cap(cap: str, tmp_path: Path) -> None:
    """A hundred at once, on a database where writers really wait: as many live as may, and nobody is turned away."""
    text = on_disk(tmp_path, tables=f"[issuer.main.limits.clients]\n{cap} = 5")
    async with served(_proxied(text)) as server:
        token = (await issue(server, owner="ann", max_uses=0))[0] if cap in ("owner", "token") else ""
        members = {**MEMBERS, "software_id": "reader"}
        answers = await asyncio.gather(*[come(server, "192.0.2.1", members, token) for _ in range(100)])
        assert {one.status_code for one in answers} == {201}
        assert len(await _living(server)) == 5
        if cap in ("software", "address"):
            assert (await come(server, "192.0.2.2", members)).status_code == 201
            assert len(await _living(server)) == 6


@pytest.mark.parametrize("cap", ["owner", "token", "software", "address", "total"])
async def test_those_of_one_cap_do_not_wait_for_one_another(cap: str, tmp_path: Path) -> None:
    """Agents that share an address register together, as long as there is room: in a few commits, and not in one each."""
    text = on_disk(tmp_path, tables=f"[issuer.main.limits.clients]\n{cap} = 1000")
    async with served(_proxied(text)) as server:
        token = (await issue(server, owner="ann", max_uses=0))[0] if cap in ("owner", "token") else ""
        members = {**MEMBERS, "software_id": "reader"}
        await come(server, "192.0.2.1", members, token)
        before = len(await server.registry.store.batches(limit=1_000))
        answers = await asyncio.gather(*[come(server, "192.0.2.1", members, token) for _ in range(100)])
        assert {one.status_code for one in answers} == {201}
        assert len(await server.registry.store.batches(limit=1_000)) - before < 50


async def test_an_update_is_no_way_round_a_cap() -> None:
    """Whoever claims software by an update counts for its cap as whoever registers with it, and counts for the other no more."""
    async with served(limited(clients="software = 2")) as server:

        async def put(client: dict[str, Any], software: str) -> int:
            members = as_update(client, software_id=software)
            headers = bearer(client["registration_access_token"]) | {"x-forwarded-for": "192.0.2.1"}
            headers["x-forwarded-proto"] = "https"
            return (
                await server.client.put(client["registration_client_uri"], json=members, headers=headers)
            ).status_code

        clients = [(await come(server, "192.0.2.1")).json() for _ in range(3)]
        assert [await put(client, "one") for client in clients] == [200, 200, 403]
        assert (await come(server, "192.0.2.1", {**MEMBERS, "software_id": "one"})).status_code == 403
        assert await put(clients[0], "two") == 200
        assert (await come(server, "192.0.2.1", {**MEMBERS, "software_id": "one"})).status_code == 201
        assert (await come(server, "192.0.2.1", {**MEMBERS, "software_id": "two"})).status_code == 201
        assert (await come(server, "192.0.2.1", {**MEMBERS, "software_id": "two"})).status_code == 201
        assert len(await _living(server)) == 5


async def test_a_label_is_no_way_round_what_is_counted_within_it() -> None:
    """Who is labelled afterwards counts where it is then, and is refused where that is full."""
    async with served(limited(clients="owner = 2")) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        acme, _ = await issue(server, owner="ann", max_uses=0, labels={"tenant": "acme"})
        for _ in range(2):
            await _used(server, (await register(server, token=acme))["client_id"])
        late = (await register(server, token=token))["client_id"]  # those of another label are none of its cap
        with pytest.raises(Refused, match="2 clients of this owner"):
            await label(server.registry, server.issuer, server.operator, late, {"tenant": "acme"})
        await label(server.registry, server.issuer, server.operator, late, {"tenant": "other"})
        for _ in range(2):
            server.clock.advance(1)
            other, _ = await issue(server, owner="ann", labels={"tenant": "other"})
            await register(server, token=other)
        assert late not in await _living(server)
        assert len(await _living(server)) == 4


async def test_a_smaller_cap_is_reached_in_steps(tmp_path: Path) -> None:
    """Eight make room for one, so that nobody waits for thousands to go, and there are never more than before."""
    async with served(_proxied(on_disk(tmp_path))) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        for _ in range(30):
            await register(server, token=token)
    text = _proxied(on_disk(tmp_path, tables="[issuer.main.limits.clients]\nowner = 3"))
    async with served(text, clock=FrozenClock(1_790_000_100_000)) as server:
        found = []
        for _ in range(6):
            await register(server, token=token)
            found.append(len(await _living(server)))
        assert found == [23, 16, 9, 3, 3, 3]


@pytest.mark.parametrize("cap", ["address", "total"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_ended_with_its_template_makes_room(cap: str, kind: str, tmp_path: Path) -> None:
    """Nobody is told that all are in use where none is left, used before or not."""
    database = "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/registrar.db"
    await _hold_that_a_template_leaves_room(limited(clients=f"{cap} = 2", database=database, url="http://127.0.0.1:80"))


@pytest.mark.parametrize("cap", ["address", "total"])
async def test_what_ended_with_its_template_makes_room_on_postgresql(cap: str, database: str, tmp_path: Path) -> None:
    """The same."""
    create_key_file(tmp_path / "keys")
    text = limited(clients=f"{cap} = 2", database=database)
    await _hold_that_a_template_leaves_room(text.replace("[server]", f'[server]\nkey_file = "{tmp_path}/keys"', 1))


async def _hold_that_a_template_leaves_room(text: str) -> None:
    async with served(text) as server:
        acts = server.registry, server.issuer, server.operator, "field-app"
        await templates.create(*acts, templates.Wanted(MEMBERS))
        made = [(await come(server, "192.0.2.1", {"software_id": "field-app"})).json() for _ in range(2)]
        await _used(server, made[0]["client_id"])
        await templates.delete(*acts)
        for _ in range(3):
            assert (await come(server, "192.0.2.1")).status_code == 201
        assert len(await _living(server)) == 2
        reasons = [one["reason"] for one in await events(server, "client.evicted")]
        assert reasons == [
            *["its template was deleted, and another one came"] * 2,
            "it was never used, and another one came",
        ]


async def test_what_operators_create_does_not_count_for_their_address() -> None:
    """They vouch for each of them; what an address may have is about who comes with nothing but that."""
    async with served(limited(clients="address = 1\nsoftware = 1")) as server:
        operator = Operator("ann", "administration API", address="192.0.2.1")
        for _ in range(3):
            members = {**MEMBERS, "software_id": "one"}
            await client_administration.create(server.registry, server.issuer, operator, Presented(members))
        assert len(await _living(server)) == 3


@pytest.mark.parametrize("cap", ["address", "total"])
async def test_two_processes_count_the_same_clients(cap: str, tmp_path: Path) -> None:
    """The store decides between processes, so a cap holds over all of them."""
    text = _proxied(on_disk(tmp_path, tables=f"[issuer.main.limits.clients]\n{cap} = 3"))
    async with served(text) as one, served(text, clock=FrozenClock(1_790_000_001_000)) as other:
        both = [come(server, "192.0.2.1") for _ in range(10) for server in (one, other)]
        answers = await asyncio.gather(*both)
        assert {answer.status_code for answer in answers} <= {201, 503}
        assert len(await _living(one)) == 3


async def test_two_replicas_count_the_same_clients(database: str, tmp_path: Path) -> None:
    """The same on PostgreSQL, for clients that a term finds and for those that items do."""
    create_key_file(tmp_path / "keys")
    text = limited(clients="address = 3\nowner = 2", database=database)
    text = text.replace("[server]", f'[server]\nkey_file = "{tmp_path}/keys"', 1)
    async with served(text) as one, served(text, clock=FrozenClock(1_790_000_001_000)) as other:
        token, _ = await issue(one, owner="ann", max_uses=0)
        both = [come(server, "192.0.2.1") for _ in range(10) for server in (one, other)]
        both += [come(server, "192.0.2.2", token=token) for _ in range(10) for server in (one, other)]
        answers = await asyncio.gather(*both)
        assert {answer.status_code for answer in answers} <= {201, 503}
        assert len(await _living(one)) == 3 + 2


async def test_a_client_that_goes_leaves_its_place() -> None:
    """Nothing is counted that lives no more, and nobody is evicted for it."""
    async with served(limited(clients="address = 1")) as server:
        first = (await come(server, "192.0.2.1")).json()
        await _delete(server, first)
        assert (await come(server, "192.0.2.1")).status_code == 201
        assert not await events(server, "client.evicted")


@pytest.mark.requirement("SEED-67")
async def test_all_clients_of_an_issuer_have_a_cap() -> None:
    """A flood through the open door takes the room of its like: who shows a token is not refused, and makes no room."""
    async with served(limited(clients="total = 3")) as server:
        token, _ = await issue(server, owner="ann", max_uses=0)
        hers = (await register(server, token=token))["client_id"]
        made = []
        for number in range(3):
            server.clock.advance(1)
            made.append((await come(server, f"192.0.2.{number}")).json()["client_id"])
        assert await _living(server) == [hers, *made[1:]]
        (evicted,) = await events(server, "client.evicted")
        assert (evicted["client_id"], evicted["limit"]) == (made[0], "clients.total")

        for one in made:
            await _used(server, one)
        server.clock.advance(1)
        refused = await come(server, "192.0.2.9")
        assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
        assert "3 clients of this issuer" in refused.json()["error_description"]
        other = (await register(server, token=token))["client_id"]
        assert await _living(server) == [hers, *made[1:], other]
        assert (await come(server, "192.0.2.9")).status_code == 403
        assert len(await events(server, "client.evicted")) == 1


@pytest.mark.parametrize("cap", ["address", "total"])
async def test_what_was_looked_at_for_room_is_not_looked_at_by_everybody(
    cap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes to a full cap goes on where the last one stopped.

    An hour later it is looked at from the beginning; all clients, among which the deleted ones stand, only when an operator
    has them counted anew.
    """
    async with served(limited(clients=f"{cap} = 3")) as server:
        made = [(await come(server, "192.0.2.1")).json()["client_id"] for _ in range(3)]
        for one in made:
            await _used(server, one)
        server.clock.advance(61)
        assert (await come(server, "192.0.2.1")).status_code == 403
        looked, found = Counter[str](), server.registry.store.item

        async def item(issuer: str, kind: str, key: str) -> Item | None:
            looked[kind] += 1
            return await found(issuer, kind, key)

        monkeypatch.setattr(server.registry.store, "item", item)
        assert (await come(server, "192.0.2.1")).status_code == 403
        assert looked[KIND] == 0
        server.clock.advance(3_600)
        await server.registry.store.change([Drop("main", KIND, made[1])])
        if cap == "total":
            assert (await come(server, "192.0.2.1")).status_code == 403
            await inventory.reindex(server.registry, server.registry.issuers["main"])
            assert (await come(server, "192.0.2.1")).status_code == 201
        assert (await come(server, "192.0.2.1")).status_code == 201
        assert made[1] not in await _living(server)


async def test_a_flood_does_not_come_back_to_those_it_drove_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were deleted, and whenever: the next one finds its room behind them."""
    monkeypatch.setattr(eviction, "_PAGES", (2, 2))
    async with served(limited(clients="total = 3")) as server:
        for _ in range(12):
            server.clock.advance(1_000)
            assert (await come(server, "192.0.2.1")).status_code == 201
        server.clock.advance(7_200)
        assert (await come(server, "192.0.2.1")).status_code == 201
        assert len(await _living(server)) == 3


async def test_the_clients_of_an_issuer_are_counted_from_any_state(tmp_path: Path) -> None:
    """Whoever ends one leaves a place; a smaller number is reached by and by, and what was not counted is not believed."""
    times = iter(range(1_790_000_000_000, 1_800_000_000_000, 1_000_000))

    def again(cap: str) -> AbstractAsyncContextManager[Served]:
        text = _proxied(on_disk(tmp_path, tables=f"[issuer.main.limits.clients]\n{cap}"))
        return served(text, clock=FrozenClock(next(times)))

    async with again("") as server:
        made = [(await come(server, "192.0.2.1")).json() for _ in range(30)]
    async with again("total = 31") as capped:
        assert (await come(capped, "192.0.2.1")).status_code == 201
        headers = {"x-forwarded-proto": "https", **bearer(made[0]["registration_access_token"])}
        assert (await capped.client.delete(made[0]["registration_client_uri"], headers=headers)).status_code == 204
        assert (await come(capped, "192.0.2.1")).status_code == 201
        assert not await events(capped, "client.evicted")
        assert len(await _living(capped)) == 31
    async with again("total = 20") as smaller:
        assert [(await come(smaller, "192.0.2.1")).status_code for _ in range(3)] == [201] * 3
        assert len(await _living(smaller)) == 20
    async with again("") as uncapped:
        assert [(await come(uncapped, "192.0.2.1")).status_code for _ in range(5)] == [201] * 5
    async with again("total = 26") as counted:
        assert [(await come(counted, "192.0.2.1")).status_code for _ in range(3)] == [201] * 3
        assert len(await _living(counted)) == 26
    async with again(""), again("total = 10") as full:
        assert [(await come(full, "192.0.2.1")).status_code for _ in range(4)] == [201] * 4
        assert len(await _living(full)) == 10


async def test_a_full_issuer_warns_early() -> None:
    """Once an hour, as long as it is nearly full."""
    async with served(limited(clients="total = 5")) as server:
        warned = []
        for number in range(8):
            if number == 7:
                server.clock.advance(3_600)
            await come(server, "192.0.2.1")
            await server.registry.errands.done()
            warned.append([one["limit"] for one in await events(server, "limit.near")])
        assert warned == [[], [], [], *[["clients.total"]] * 4, ["clients.total"] * 2]
