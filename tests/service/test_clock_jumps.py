"""A clock that jumps: forward by a year nothing is lost that could not be mended, back by an hour nothing comes twice or stops."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from registrar.domain.client import State
from registrar.domain.settings import KeySetCaching
from registrar.service import (
    initial_access,
    leases,
    lifecycle,
    outbox,
    passage,
    retention,
    sweep,
    verification,
)
from registrar.service.agreement import Agreement
from registrar.service.attempts import LONGEST, Attempts
from registrar.service.delivery import Line
from registrar.service.key_sets import KeySets
from registrar.service.last_use import LastUse
from registrar.service.opened_keys import AGAIN_MS, OpenedKeys
from registrar.service.passage import may_end_things
from registrar.service.pictures import Pictures
from registrar.service.ports import ClientQuery, EventQuery, Fetched, Item, Put, Store
from registrar.service.windows import OwnWindows
from registrar.storage import open_store
from registrar.testing import OPEN, Documents, FrozenClock, Served, served
from webhook_receiver import receiving

pytestmark = pytest.mark.anyio

HOUR, DAY, YEAR = 3_600, 86_400, 31_536_000
NOW = 1_790_000_000
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
client = 2592000
"""
CLOSED = TEXT.replace('"open"', '"client"')
BODY = {"redirect_uris": ["https://app.example/cb"]}


async def register(server: Served, token: str = "", expect: int = 201) -> dict[str, Any]:
    """Register a client, or be refused."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await server.client.post("/register", json=BODY, headers=headers)
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read(server: Served, made: dict[str, Any]) -> int:
    """The status of a read with the client's own token."""
    headers = {"authorization": f"Bearer {made['registration_access_token']}"}
    return (await server.client.get(made["registration_client_uri"], headers=headers)).status_code


# --- what deletes -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def at_work(server: Served, monkeypatch: pytest.MonkeyPatch, rest: int = DAY) -> AsyncIterator[Any]:
    """The tasks of a server that take things away; what is given lets each of them go round several times."""
    for module in (lifecycle, sweep):
        monkeypatch.setattr(module, "INTERVAL", 0)
    monkeypatch.setattr(retention, "_EVERY", 0)
    monkeypatch.setattr(sweep, "_REST", 0)
    # A lease of no length is never held by the one that looks at it.
    work: list[Coroutine[Any, Any, None]] = [
        lifecycle.keep_clean(server.registry, rest),
        sweep.keep_sweeping(server.registry, rest),
        retention.keep(server.registry, 30, rest),
    ]
    tasks = [asyncio.create_task(one) for one in work]

    async def rounds() -> None:
        for _ in range(60):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    try:
        await rounds()
        yield rounds
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def held(server: Served, made: dict[str, Any]) -> tuple[State, int, int]:
    """What is stored of a client, of a session, and how many events."""
    client = await server.registry.store.find("main", made["client_id"])
    assert client is not None
    items = await server.registry.store.items("main", "session")
    events = await server.registry.store.events(EventQuery(kind="client.registered"))
    return client.state, len(items), len(events)


async def a_year_ahead(server: Served, made: dict[str, Any]) -> None:
    """What is there for tasks that take away: a client, a session and an event; then the clock goes wrong."""
    await server.registry.store.change([Put(Item("main", "session", "s1", b"{}", expires_at=NOW + HOUR))])
    assert await held(server, made) == (State.ACTIVE, 1, 1)
    server.clock.advance(YEAR)


async def test_nothing_is_taken_away_by_a_clock_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once; and where the clock is put right, everything counts again as if nothing had been."""
    async with served(TEXT) as server:
        made = await register(server)
        async with at_work(server, monkeypatch) as rounds:
            await a_year_ahead(server, made)
            await rounds()
            assert await held(server, made) == (State.ACTIVE, 1, 1)
            (told,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
            assert told.startswith("no server ran for 8760.0 hours, or the clock went ahead by them")
            assert told.endswith("for 24.0 hours, unless `registrar sweep` says that the clock is right")
            server.clock.advance(-YEAR)
            await rounds()
            assert await held(server, made) == (State.ACTIVE, 1, 1)
            assert await read(server, made) == 200
            for _ in range(3):  # and time that really passes ends it
                server.clock.advance(HOUR)
                await rounds()
            assert await held(server, made) == (State.ACTIVE, 0, 1)


@pytest.mark.parametrize("how", ["told", "waited", "never"])
async def test_a_clock_that_is_right_after_all(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an operator's word, or so long that nobody objected, or at once where that is configured."""
    async with served(TEXT) as server:
        made = await register(server)
        async with at_work(server, monkeypatch, 0 if how == "never" else DAY) as rounds:
            await a_year_ahead(server, made)
            await rounds()
            if how == "told":
                await passage.believe(server.registry)
            elif how == "waited":
                server.clock.advance(DAY - 1)
                await rounds()
                assert await held(server, made) == (State.ACTIVE, 1, 1)
                server.clock.advance(1)
            await rounds()
            state, sessions, _ = await held(server, made)
            assert (state, sessions) == (State.DELETED, 0)


async def test_one_clock_of_several_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """The others go on; the wrong one never comes to be believed, however long it waits."""
    async with served(TEXT) as right:
        wrong = dataclasses.replace(right.registry, clock=FrozenClock((NOW + YEAR) * 1_000))
        for _ in range(60):
            assert await may_end_things(right.registry, DAY)
            assert not await may_end_things(wrong, DAY)
            right.clock.advance(HOUR)
            wrong.clock.advance(HOUR)  # type: ignore[attr-defined]  # it is a frozen one
    assert "the clock went ahead" in caplog.text


async def test_servers_that_did_not_run(caplog: pytest.LogCaptureFixture) -> None:
    """For less than an hour is nothing. For a week is a jump as any other: nobody was warned meanwhile."""
    async with served(TEXT) as server:
        assert await may_end_things(server.registry, DAY)
        server.clock.advance(HOUR)
        assert await may_end_things(server.registry, DAY)
        assert not caplog.records
        server.clock.advance(7 * DAY)
        assert not await may_end_things(server.registry, DAY)
        server.clock.advance(DAY)
        assert await may_end_things(server.registry, DAY)


# --- registration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-YEAR, -3 * HOUR, 3 * HOUR, YEAR])
async def test_registration_goes_on(jump: int) -> None:
    """To either side: clients are registered, read and deleted, identifiers are not made twice, and none is hidden."""
    async with served(OPEN) as server:
        made = [await register(server)]
        server.clock.advance(jump)
        made.append(await register(server))
        server.clock.advance(-jump)
        made.append(await register(server))
        assert len({one["client_id"] for one in made}) == 3
        assert [await read(server, one) for one in made] == [200, 200, 200]
        found = await server.registry.store.clients(ClientQuery("main"))
        assert [one.client_id for one in found] == sorted(one["client_id"] for one in made)
        headers = {"authorization": f"Bearer {made[1]['registration_access_token']}"}
        assert (await server.client.delete(made[1]["registration_client_uri"], headers=headers)).status_code == 204


async def test_a_token_is_refused_and_comes_back() -> None:
    """Its end counts by the clock of the moment, and nothing is written that would outlast a wrong one."""
    async with served(CLOSED) as server:
        token, _ = await initial_access.issue_token(server.registry, server.issuer, server.operator, lifetime=HOUR)
        server.clock.advance(2 * HOUR)
        await register(server, token, expect=401)
        server.clock.advance(-2 * HOUR)
        await register(server, token)
        server.clock.advance(-YEAR)  # a use that was made stays made
        await register(server, token, expect=401)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_the_audit_stays_whole(
    engine: str, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains are of numbers and not of times: they verify, events of a writer stay in their order, and none is lost."""
    url = f"sqlite:///{tmp_path / 'registrar.db'}" if engine == "sqlite" else database
    store: Store = open_store(url)
    real, clock = time.time_ns, FrozenClock()
    async with served(TEXT, store=store, clock=clock) as server:
        made = []
        for jump in (0, YEAR, -2 * YEAR, 0):
            clock.advance(jump)
            monkeypatch.setattr(time, "time_ns", lambda: real() + (clock.now - NOW) * 1_000_000_000)
            made.append((await register(server))["client_id"])
        found = await store.events(EventQuery(kind="client.registered"))
        assert [one.event.client_id for one in found] == made
        report = await verification.verify(server.registry)
        assert report.sound, report.problems
        assert report.events >= len(made)


# --- between processes ------------------------------------------------------------------------------------------------


async def test_a_lease_from_the_future() -> None:
    """Of a clock that is a little ahead it holds; of one that was wrong it does not, or nobody would work for a year."""
    async with served(TEXT) as server:
        store = server.registry.store
        assert await leases.take(store, "sweep", "ahead", NOW + 60, 30)
        assert not await leases.take(store, "sweep", "right", NOW, 30)
        assert await leases.take(store, "sweep", "ahead", NOW + YEAR, 30)
        assert await leases.take(store, "sweep", "right", NOW, 30)
        assert not await leases.take(store, "sweep", "another", NOW, 30)


async def test_what_was_configured_in_the_future(caplog: pytest.LogCaptureFixture) -> None:
    """By a process whose clock was wrong, and which is gone: it is nothing to differ from."""
    async with served(TEXT) as one, served(CLOSED) as two:
        clock = FrozenClock((NOW + YEAR) * 1_000)
        await Agreement(dataclasses.replace(two.registry, store=one.registry.store, clock=clock)).look()
        caplog.clear()
        assert await Agreement(one.registry).look() == frozenset()
    assert not caplog.records


async def test_a_message_that_was_put_off_by_a_year(tmp_path: Path) -> None:
    """It comes as soon as the clock is right again, and one that is put off for a reason does not."""
    async with receiving() as receiver:
        tables = f'[server.fetch]\nallow = ["{receiver.origin}"]\n'
        text = TEXT.replace("[issuer.main]", f"{tables}[issuer.main]") + receiver.table(tmp_path)
        async with served(text) as server:
            line = Line(server.registry, "main", "gateway")
            assert not await line.deliver()
            server.clock.advance(YEAR)
            assert not await line.deliver()
            made = await register(server)
            server.clock.advance(-YEAR)
            soon = outbox.decode((await server.registry.store.items("main", outbox.waiting("gateway")))[0].body)
            later = outbox.item("main", outbox.waiting("gateway"), soon, server.clock() + 60_000)
            await server.registry.store.change([Put(later)])
            assert await line.deliver()
            assert [one.client_id for one in receiver.came] == [made["client_id"]]
            assert not await line.deliver()


# --- within a process -------------------------------------------------------------------------------------------------


async def test_limits_do_not_stand_for_a_year() -> None:
    """A window that began in the future is none; forward, it is over, and the next begins."""
    windows = OwnWindows()
    assert [await windows.hit("a", 60, NOW + YEAR) for _ in range(3)] == [1, 2, 3]
    assert await windows.look("a", NOW) == 0
    assert await windows.left("a", NOW) == 1
    assert [await windows.hit("a", 60, NOW) for _ in range(2)] == [1, 2]
    assert await windows.left("a", NOW) == 60
    assert await windows.hit("a", 60, NOW + HOUR) == 1


async def test_nobody_is_locked_out_for_a_year() -> None:
    """Whoever guessed while the clock was wrong waits no longer than others do."""
    attempts = Attempts()
    for _ in range(20):
        await attempts.failed(("a",), NOW + YEAR)
    assert (await attempts.of(("a",), NOW + YEAR)).wait == LONGEST
    assert (await attempts.of(("a",), NOW)).wait == 0
    waits = []
    for _ in range(20):
        await attempts.failed(("a",), NOW)
        waits.append((await attempts.of(("a",), NOW)).wait)
    assert (waits[0], waits[-1]) == (0, LONGEST)


async def test_uses_and_refusals_are_told_again() -> None:
    """What is told once in a while is told at the time that the clock now shows."""
    uses = LastUse()
    assert uses.note("main", "c1", NOW + YEAR)
    assert not uses.note("main", "c1", NOW + YEAR)
    assert uses.note("main", "c1", NOW)
    async with served(TEXT) as server:
        server.clock.advance(YEAR)
        audit = server.registry.audit
        assert audit.read_is_due("main", "c1", server.clock())
        assert not audit.read_is_due("main", "c1", server.clock())
        for _ in range(80):  # more than are recorded in a minute
            await register(server, "no-such-token", expect=401)
        count = len(await server.registry.store.events(EventQuery(kind="registration.refused"), limit=1_000))
        server.clock.advance(-YEAR)
        assert audit.read_is_due("main", "c1", server.clock())
        await register(server, "no-such-token", expect=401)
        assert (
            len(await server.registry.store.events(EventQuery(kind="registration.refused"), limit=1_000)) == count + 1
        )


async def test_what_others_publish_is_fetched_anew() -> None:
    """Keys, pictures, and the signing keys that another process may have replaced: kept for a while, and not for a year."""
    documents = Documents(
        {"https://a.example/jwks": b'{"keys": []}', "https://a.example/p": Fetched("", "image/png", b"x")}
    )
    clock = FrozenClock((NOW + YEAR) * 1_000)
    sets, pictures, signers = KeySets(documents, clock, KeySetCaching()), Pictures(), OpenedKeys()
    signers.keep("main", {}, clock())
    await sets.keys("https://a.example/jwks")
    await pictures.find(documents, "https://a.example/p", clock.now)
    clock.advance(-YEAR)
    assert signers.get("main", clock()) is None
    await sets.keys("https://a.example/jwks")
    await pictures.find(documents, "https://a.example/p", clock.now)
    assert len(documents.fetched) == 4
    signers.keep("main", {}, clock())
    assert signers.get("main", clock() + AGAIN_MS - 1) is not None
