"""PostgreSQL without room: for its tables, and for its write-ahead log. What is answered is stored, and it heals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from postgresql import PostgreSQL as Server
from postgresql import SmallDisk, running
from registrar.domain.settings import PostgreSQL
from registrar.service.ports import ClientQuery, EventQuery, Store, StoreUnavailable
from registrar.storage import migrate
from registrar.storage.postgres import PostgresStore
from registrar.testing.store_conformance import _spend, a_client, a_token, an_event

pytestmark = pytest.mark.anyio

QUICK = PostgreSQL(connections=4, connect_seconds=0.5, statement_seconds=2)
Full = tuple[Server, SmallDisk, str]


@pytest.fixture
def small_tablespace() -> Iterator[Full]:
    """A registry whose tables are on a small disk, and the write-ahead log on another."""
    with running() as server:
        place = server.data.parent / "small"
        place.mkdir()
        disk = _mounted(place, 32)
        try:
            asyncio.run(server.execute(f"CREATE TABLESPACE small LOCATION '{place}'"))
            asyncio.run(server.execute("CREATE DATABASE registry TABLESPACE small"))
            asyncio.run(migrate(server.url("registry")))
            yield server, disk, server.url("registry")
        finally:
            server.kill()
            disk.unmount()


@pytest.fixture
def small_log() -> Iterator[Full]:
    """A registry whose write-ahead log is on a small disk, and everything else on another."""
    server = Server("max_wal_size=4MB", "min_wal_size=2MB", "wal_recycle=off")
    place = server.data.parent / "small"
    place.mkdir()
    disk = _mounted(place, 16)
    try:
        server.create("--waldir", str(place / "log"), "--wal-segsize=1")
        server.start()
        asyncio.run(server.execute("CREATE DATABASE registry"))
        asyncio.run(migrate(server.url("registry")))
        yield server, disk, server.url("registry")
    finally:
        server.kill()
        disk.unmount()
        server.remove()


def _mounted(place: object, megabytes: int) -> SmallDisk:
    try:
        return SmallDisk(place, megabytes)  # type: ignore[arg-type]
    except (PermissionError, FileNotFoundError) as problem:
        pytest.skip(f"a full disk needs one that can be filled: {problem}")


class Crowd:
    """Callers that register, eight at a time; what was acknowledged and what was refused."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.token = a_token(max_uses=0, expires_at=0)
        self.acknowledged: set[str] = set()
        self.refused: list[StoreUnavailable] = []
        self._number = 0

    async def register(self, count: int) -> None:
        """So many more come."""
        waiting = iter(range(count))

        async def work() -> None:
            for _ in waiting:
                self._number += 1
                name = f"c{self._number}"
                try:
                    await self._store.create(a_client(name), an_event(name), _spend(self.token))
                except StoreUnavailable as problem:
                    self.refused.append(problem)
                else:
                    self.acknowledged.add(name)

        await asyncio.gather(*(work() for _ in range(8)))

    async def until_refused(self) -> None:
        """They come until there is no room."""
        async with asyncio.timeout(60):
            while not self.refused:
                await self.register(64)

    async def until_served(self) -> None:
        """They come until there is room again; no store is opened anew for that."""
        before = len(self.acknowledged)
        async with asyncio.timeout(60):
            while len(self.acknowledged) < before + 64:
                await self.register(8)
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        """All that was acknowledged is there, each with its event and its use of the token, and nothing is half there."""
        names = {one.client_id for one in await self._store.clients(ClientQuery(), limit=1_000_000)}
        events = await self._store.events(EventQuery(kind="client.registered"), limit=1_000_000)
        [token] = await self._store.tokens()
        assert self.acknowledged <= names
        assert sorted(one.event.client_id for one in events) == sorted(names)
        assert token.uses == len(names)


async def test_a_full_tablespace_is_told_and_heals(small_tablespace: Full) -> None:
    """Nothing that was refused is stored, reads go on, and with room the same store writes again."""
    _, disk, url = small_tablespace
    store = PostgresStore(url, QUICK)
    crowd = Crowd(store)
    await store.add_token(crowd.token, an_event("", kind="token.issued"))
    await crowd.register(64)
    assert len(crowd.acknowledged) == 64
    for _ in range(2):
        disk.fill()
        crowd.refused.clear()
        await crowd.until_refused()
        assert {str(one) for one in crowd.refused if "No space left on device" in str(one)}
        assert await store.find("main", "c1") is not None
        await store.ready()
        names = {one.client_id for one in await store.clients(ClientQuery(), limit=1_000_000)}
        assert names == crowd.acknowledged
        disk.empty()
        await crowd.until_served()
    await crowd.check()
    await store.close()


async def test_a_full_write_ahead_log_ends_the_server_and_loses_nothing(small_log: Full) -> None:
    """PostgreSQL stops itself where it cannot log; started again with room, the same store goes on."""
    server, disk, url = small_log
    store = PostgresStore(url, QUICK)
    crowd = Crowd(store)
    await store.add_token(crowd.token, an_event("", kind="token.issued"))
    await crowd.register(64)
    disk.fill()
    await crowd.until_refused()
    assert await asyncio.to_thread(server.ended, 20)
    await crowd.register(8)
    assert len(crowd.refused) >= 8
    assert f"127.0.0.1:{server.port}" in str(crowd.refused[-1])
    disk.empty()
    await server.started()
    await crowd.until_served()
    await crowd.check()
    await store.close()
