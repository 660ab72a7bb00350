"""A replica while its database fails in every way that we know: a clear answer at once, and the same process goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx2
import pytest
from replicas import Replica, Replicas

import postgresql
from registrar.domain.settings import PostgreSQL
from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage import migrate, open_store

pytestmark = pytest.mark.anyio

BODY = {"redirect_uris": ["https://app.example/cb"]}
QUICK = "[server.postgresql]\nconnections = 4\nconnect_seconds = 1\nstatement_seconds = 1\n"
OURS = "pg_stat_activity WHERE application_name = 'registrar' AND pid <> pg_backend_pid()"
Fault = Callable[[postgresql.PostgreSQL], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module")
def mortal() -> Iterator[postgresql.PostgreSQL]:
    """A server that may be killed, with an empty registry."""
    with postgresql.running() as server:
        asyncio.run(server.execute("CREATE DATABASE registry"))
        asyncio.run(migrate(server.url("registry")))
        yield server


@asynccontextmanager
async def gone(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """Killed, and started again."""
    server.kill()
    yield
    await server.started()


@asynccontextmanager
async def hanging(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """It says nothing, and no connection breaks."""
    server.pause()
    yield
    server.resume()


@asynccontextmanager
async def read_only(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """As a primary that an operator has closed for writes."""
    await server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await server.execute("SELECT pg_reload_conf()")
    yield
    connection = await server.connect()
    await connection.execute("SET default_transaction_read_only = off")
    await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


@asynccontextmanager
async def locked(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """Somebody holds the table of clients."""
    connection = await server.connect("registry")
    async with connection.transaction():
        await connection.execute("LOCK TABLE client IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


@asynccontextmanager
async def slow(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """Every new client takes longer than a statement may."""
    await server.execute(
        "CREATE FUNCTION drowsy() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END' LANGUAGE plpgsql; "
        "CREATE TRIGGER drowsy BEFORE INSERT ON client FOR EACH ROW EXECUTE FUNCTION drowsy()",
        "registry",
    )
    yield
    await server.execute("DROP FUNCTION drowsy CASCADE", "registry")


@asynccontextmanager
async def crowded(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """Others have every session that the server gives."""
    held: list[asyncpg.Connection] = []
    while True:
        try:
            held.append(await server.connect())
        except asyncpg.TooManyConnectionsError:
            ended = await held[0].fetchval(f"SELECT count(pg_terminate_backend(pid)) FROM {OURS}")
            if not ended:
                break
    yield
    for one in held:
        await one.close()


@asynccontextmanager
async def closed(server: postgresql.PostgreSQL) -> AsyncIterator[None]:
    """The database lets nobody in, as while it is renamed or restored."""
    await server.execute("ALTER DATABASE registry ALLOW_CONNECTIONS false")
    await server.execute(f"SELECT pg_terminate_backend(pid) FROM {OURS}")
    yield
    await server.execute("ALTER DATABASE registry ALLOW_CONNECTIONS true")


@pytest.fixture
async def replica(tmp_path: Path, mortal: postgresql.PostgreSQL) -> AsyncIterator[tuple[Replica, httpx2.AsyncClient]]:
    """One process, open to everybody."""
    async with Replicas(tmp_path, mortal.url("registry")) as several:
        text = several.configuration.read_text().replace('["client", "user"]', '"open"')
        several.configuration.write_text(text.replace("[issuer.main]\n", f"{QUICK}[issuer.main]\n"))
        [one] = await several.start(1)
        yield one, several.client


@pytest.mark.parametrize(
    ("fault", "ready"),
    [(gone, 503), (hanging, 503), (read_only, 503), (locked, 503), (slow, 200), (crowded, 503), (closed, 503)],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_a_fault_is_answered_and_survived(
    replica: tuple[Replica, httpx2.AsyncClient], mortal: postgresql.PostgreSQL, fault: Fault, ready: int
) -> None:
    """503 with Retry-After for whoever registers, nothing stored of it, and 201 from the same process once it is over."""
    server, client = replica
    told: set[str] = set()

    async def register() -> int:
        answer = await client.post(f"{server.url}/register", json=BODY)
        if answer.status_code == 201:
            told.add(answer.json()["client_id"])
        else:
            assert answer.json()["error"] == "temporarily_unavailable"
            assert answer.headers["retry-after"] == "1"
        return answer.status_code

    assert {await register() for _ in range(5)} == {201}
    async with fault(mortal):
        async with asyncio.timeout(20):
            assert set(await asyncio.gather(*(register() for _ in range(20)))) == {503}
            assert (await client.get(f"{server.url}/readyz")).status_code == ready
        assert (await client.get(f"{server.url}/healthz")).status_code == 200
        assert "the store is unavailable: " in server.log.read_text()
        assert "Traceback" not in server.log.read_text()
    async with asyncio.timeout(20):
        while await register() != 201:  # noqa: ASYNC110 (what is waited for happens in a server)
            await asyncio.sleep(0.05)
    assert await asyncio.gather(*(register() for _ in range(10))) == [201] * 10
    store = open_store(mortal.url("registry"), postgresql=PostgreSQL())
    names = {one.client_id for one in await store.clients(ClientQuery(), limit=100_000)}
    events = await store.events(EventQuery(kind="client.registered"), limit=100_000)
    await store.close()
    assert told <= names
    assert {one.event.client_id for one in events} == names
