"""The sweep: what nobody uses is warned, suspended and deleted; what is used, changed or protected is left alone."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain.access_token import GRANT
from registrar.domain.client import State
from registrar.domain.lifecycle import DAY, Step
from registrar.domain.metadata import Presented
from registrar.policy.document import Document
from registrar.service import administration, operators, sweep
from registrar.service.audit import Caller
from registrar.service.ports import Conflict, EventQuery, Item, Put
from registrar.service.registration import register
from registrar.testing import FrozenClock, Served, served

pytestmark = pytest.mark.anyio

TEXT = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
policy = "short"
[policy.short]
[policy.short.lifetime]
unused = 2592000
idle = 7776000
warning = 604800
suspended = 1728000
"""
APP = {"client_name": "Reader", "redirect_uris": ["https://app.example/callback"]}


async def registered(server: Served, **members: Any) -> dict[str, Any]:
    """A client."""
    answer = await server.client.post("/register", json={**APP, **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def state(server: Served, made: dict[str, Any]) -> State:
    """The state that is stored."""
    client = await server.registry.store.find("main", made["client_id"])
    assert client is not None
    return client.state


async def after(server: Served, days: float) -> Counter[Step]:
    """Sweep so many days later."""
    server.clock.advance(days * DAY)
    return await sweep.sweep(server.registry)


async def kinds(server: Served, made: dict[str, Any]) -> list[str]:
    """What the audit tells of a client."""
    return [one.event.kind for one in await server.registry.store.events(EventQuery(client_id=made["client_id"]))]


def read(made: dict[str, Any]) -> dict[str, str]:
    """The header with its token."""
    return {"authorization": f"Bearer {made['registration_access_token']}"}


@pytest.mark.requirement("SEED-74", "WILD-14")
async def test_the_whole_way() -> None:
    """Warned, suspended, deleted, each told; the token works until then, and the identifier stays taken."""
    async with served(TEXT) as server:
        made = await registered(server)
        assert await after(server, 22) == Counter()
        assert (await after(server, 1))[Step.WARN] == 1
        assert (await after(server, 1)) == Counter()
        assert (await after(server, 6))[Step.SUSPEND] == 1
        assert await state(server, made) is State.SUSPENDED
        assert (await after(server, 20))[Step.DELETE] == 1
        assert await state(server, made) is State.DELETED
        assert await kinds(server, made) == [
            "client.registered",
            "client.expiring",
            "client.suspended",
            "client.deleted",
        ]
        assert (await server.client.get(f"/register/{made['client_id']}", headers=read(made))).status_code == 401
        assert await after(server, 500) == Counter()


@pytest.mark.requirement("SEED-74")
async def test_being_used_brings_it_back() -> None:
    """By its own token, at the token endpoint or by a person's browser; and from then on it counts anew."""
    async with served(TEXT) as server:
        made = await registered(server)
        await after(server, 23)
        await after(server, 7)
        assert await state(server, made) is State.SUSPENDED
        answer = await server.client.get(f"/register/{made['client_id']}", headers=read(made))
        assert answer.status_code == 200
        assert await state(server, made) is State.ACTIVE
        assert (await kinds(server, made))[-2:] == ["client.resumed", "client.read"]
        assert await after(server, 80) == Counter()
        assert (await after(server, 10))[Step.WARN] == 1


async def test_one_that_comes_back_ends_when_it_was_to_end() -> None:
    """What it was registered for is over at the same time, however often it is used."""
    async with served(TEXT.replace("unused = 2592000", "unused = 2592000\nclient = 3456000")) as server:
        made = await registered(server)
        await after(server, 23)
        await after(server, 7)
        assert (await server.client.get(f"/register/{made['client_id']}", headers=read(made))).status_code == 200
        assert (await after(server, 10))[Step.EXPIRE] == 1
        assert await state(server, made) is State.DELETED


@pytest.mark.parametrize("lifetime", ["unused = 0", "unused = 31536000"])
async def test_idleness_ends_what_was_used_once(lifetime: str) -> None:
    """Also where nothing ends what was never used, or not for long; and what was never used goes on."""
    async with served(TEXT.replace("unused = 2592000", lifetime)) as server:
        made, other = await registered(server), await registered(server)
        server.clock.advance(10 * DAY)
        assert (await server.client.get(f"/register/{made['client_id']}", headers=read(made))).status_code == 200
        told = [await after(server, 10) for _ in range(11)]
        assert sum(one[Step.WARN] for one in told) == 1
        assert await state(server, made) is State.SUSPENDED
        assert await state(server, other) is State.ACTIVE


async def test_an_operators_suspension_stays() -> None:
    """It is not ended by being used, nor by time."""
    async with served(TEXT) as server:
        made = await registered(server)
        await administration.suspend(server.registry, server.issuer, server.operator, made["client_id"])
        for _ in range(4):
            await after(server, 200)
        assert (await server.client.get(f"/register/{made['client_id']}", headers=read(made))).status_code == 403
        assert await state(server, made) is State.SUSPENDED
        await administration.resume(server.registry, server.issuer, server.operator, made["client_id"])
        assert (await after(server, 2))[Step.WARN] == 1


async def test_an_operator_may_keep_down_what_time_suspended() -> None:
    """From then on it does not come back by being used."""
    async with served(TEXT) as server:
        made = await registered(server)
        await after(server, 23)
        await after(server, 7)
        await administration.suspend(server.registry, server.issuer, server.operator, made["client_id"], "spam")
        assert (await server.client.get(f"/register/{made['client_id']}", headers=read(made))).status_code == 403
        assert await state(server, made) is State.SUSPENDED
        assert (await kinds(server, made))[1:4] == ["client.expiring", "client.suspended", "client.suspended"]
        with pytest.raises(operators.Refused):
            await administration.suspend(server.registry, server.issuer, server.operator, made["client_id"])


async def test_what_a_person_allowed_protects_it() -> None:
    """While it lives; afterwards it is warned like any other."""
    async with served(TEXT) as server:
        made = await registered(server)
        grant = Item("main", GRANT, "g", b"{}", client_id=made["client_id"], expires_at=server.clock.now + 60 * DAY)
        await server.registry.store.change([Put(grant)])
        for _ in range(5):
            counts = await after(server, 11)
            assert counts[Step.NOTHING] == counts.total()
        assert await state(server, made) is State.ACTIVE
        assert (await after(server, 10))[Step.WARN] == 1


async def test_one_that_lives_is_found_among_many_that_have_ended() -> None:
    """However many there are: they come in no order of their ends."""
    async with served(TEXT) as server:
        made = await registered(server)
        end = server.clock.now + DAY
        ended = [
            Put(Item("main", GRANT, f"a{at:03}", b"{}", client_id=made["client_id"], expires_at=end))
            for at in range(250)
        ]
        lives = Put(Item("main", GRANT, "b", b"{}", client_id=made["client_id"], expires_at=end + 90 * DAY))
        await server.registry.store.change([*ended, lives])
        assert await after(server, 40) == Counter({Step.NOTHING: 1})


async def test_an_end_that_was_registered_becomes_a_tombstone() -> None:
    """Which frees what belongs to it."""
    text = TEXT.replace("unused = 2592000", "client = 86400")
    async with served(text) as server:
        made = await registered(server)
        assert (await after(server, 1))[Step.EXPIRE] == 1
        assert await state(server, made) is State.DELETED


async def test_a_dry_run_does_nothing() -> None:
    """It says what would be."""
    async with served(TEXT) as server:
        made = await registered(server)
        server.clock.advance(40 * DAY)
        for _ in range(2):
            assert (await sweep.sweep(server.registry, dry=True))[Step.WARN] == 1
        assert await kinds(server, made) == ["client.registered"]


async def test_a_clock_that_jumps_ends_nobody_at_once() -> None:
    """Forwards by a year, a client is warned first; back again, nothing happens to it."""
    async with served(TEXT) as server:
        made = await registered(server)
        assert (await after(server, 365))[Step.WARN] == 1
        assert await after(server, -364) == Counter()
        assert await state(server, made) is State.ACTIVE


async def test_a_policy_that_is_gone_leaves_its_clients_alone() -> None:
    """They are looked at again later."""
    async with served(TEXT) as server:
        made = await registered(server)
        client = await server.registry.store.find("main", made["client_id"])
        assert client is not None
        other = msgspec.structs.replace(client, version=2, policy="gone")
        await server.registry.store.update(other, [], expected=1)
        assert (await after(server, 400)) == Counter({Step.NOTHING: 1})
        assert await after(server, 0.5) == Counter()


async def test_clients_from_before_get_dates() -> None:
    """Once for each set of lifetimes; and a shorter lifetime comes into force for those that are there."""
    async with served(
        TEXT.replace("[policy.short.lifetime]", "[policy.short.lifetime]\nclient = 0")
        .replace("unused = 2592000", "unused = 0")
        .replace("idle = 7776000", "idle = 0")
    ) as server:
        made = await registered(server)
        assert await sweep.adopt(server.registry) == 0
        assert await after(server, 400) == Counter()
        async with served(TEXT) as other:
            registry = dataclasses.replace(other.registry, store=server.registry.store, clock=server.clock)
            assert await sweep.adopt(registry) == 1
            assert await sweep.adopt(registry) == 0
            assert (await sweep.sweep(registry))[Step.WARN] == 1
        assert (await kinds(server, made))[-1] == "client.expiring"


async def test_looking_at_all_clients_rests() -> None:
    """A million of them are minutes of the loop, in which others want to be answered."""
    async with served(TEXT) as server:
        for _ in range(120):
            await registered(server)
        began = time.perf_counter()
        pages: list[int] = []
        await sweep.adopt(server.registry, rest=0.001, told=pages.append)
        assert pages == [100, 20]
        assert time.perf_counter() - began >= 0.12


# --- beside others --------------------------------------------------------------------------------------------------------


def on_disk(folder: Path, clock: FrozenClock, database: str = "") -> Any:
    """A registry in a file or another database, with the clock of the test."""
    database = database or f"sqlite:///{folder}/registrar.db"
    text = TEXT.replace('"memory:"', f'"{database}"\nkey_file = "{folder}/registrar.key"')
    registry = assemble(parse(Document("registrar.toml", text)))
    return dataclasses.replace(registry, clock=clock)


async def test_many_sweep_at_once(tmp_path: Path) -> None:
    """Every client takes each step once, whoever takes it, and beside updates that come between."""
    create_key_file(tmp_path / "registrar.key")
    clock = FrozenClock()
    stores = [on_disk(tmp_path, clock) for _ in range(3)]
    try:
        first = stores[0]
        issuer = first.issuers["main"]
        caller = Caller("https://as.example/register")
        made = [(await register(first, issuer, Presented(dict(APP)), caller)).information for _ in range(60)]
        clock.advance(23 * DAY)
        found = await asyncio.gather(*(sweep.sweep(one) for one in stores))
        assert sum(one[Step.WARN] for one in found) == 60
        clock.advance(7 * DAY)

        async def renamed(client_id: str) -> bool:
            client = await stores[1].store.find("main", client_id)
            assert client is not None
            after = msgspec.structs.replace(client, version=client.version + 1, metadata=client.metadata)
            try:
                await stores[1].store.update(after, [], expected=client.version)
            except Conflict:
                return False
            return True

        changed, *found = await asyncio.gather(
            asyncio.gather(*(renamed(one["client_id"]) for one in made[:20])), *(sweep.sweep(one) for one in stores)
        )
        await sweep.sweep(stores[2])
        suspended = await first.store.events(EventQuery(kind="client.suspended"), limit=1000)
        assert len(suspended) == 60
        assert any(changed)
    finally:
        for one in stores:
            await one.store.close()


async def test_a_client_that_is_used_while_it_is_deleted_lives() -> None:
    """Whatever uses a suspended client changes it, and the sweep leaves it alone then."""
    async with served(TEXT.replace("suspended = 1728000", "suspended = 0")) as server:
        made = await registered(server)
        await after(server, 23)
        assert (await after(server, 7))[Step.SUSPEND] == 1
        server.clock.advance(2 * DAY)
        store = server.registry.store
        items = store.items

        async def used_meanwhile(*given: Any, **more: Any) -> Any:
            store.items = items  # type: ignore[method-assign]
            answer = await server.client.get(f"/register/{made['client_id']}", headers=read(made))
            assert answer.status_code == 200
            return await items(*given, **more)

        store.items = used_meanwhile  # type: ignore[method-assign]
        assert (await sweep.sweep(server.registry))[Step.DELETE] == 0
        assert await state(server, made) is State.ACTIVE


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest) -> str:
    """A database; empty for a file."""
    return request.getfixturevalue("database") if request.param == "postgresql" else ""


@pytest.mark.parametrize("before", [False, True])
async def test_a_client_that_is_used_between_the_look_and_the_write_goes_on(
    before: bool, where: str, tmp_path: Path
) -> None:
    """Whether it was used before or never was: to issue a token changes no client, and counts all the same."""
    create_key_file(tmp_path / "registrar.key")
    clock = FrozenClock()
    registry = on_disk(tmp_path, clock, where)
    try:
        issuer = registry.issuers["main"]
        client_id = (
            await register(registry, issuer, Presented(dict(APP)), Caller("https://as.example/register"))
        ).information["client_id"]
        if before:
            await registry.store.change(registry.last_use.note("main", client_id, clock.now))
        clock.advance(84 * DAY)
        assert (await sweep.sweep(registry))[Step.WARN] == 1
        clock.advance(7 * DAY)
        items = registry.store.items

        async def used_meanwhile(*given: Any, **more: Any) -> Any:
            found = await items(*given, **more)
            registry.store.items = items
            await registry.store.change(registry.last_use.note("main", client_id, clock.now))
            return found

        registry.store.items = used_meanwhile
        assert (await sweep.sweep(registry))[Step.SUSPEND] == 0
        client = await registry.store.find("main", client_id)
        assert client is not None
        assert client.state is State.ACTIVE
    finally:
        await registry.store.close()
