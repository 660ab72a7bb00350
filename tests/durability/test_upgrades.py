"""The schema is brought forward while replicas of the older program serve: they go on where it only grew, and say so otherwise."""

from __future__ import annotations

import asyncio
import random
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from replicas import Replica, Replicas

import postgresql
from registrar.service.ports import ClientQuery
from registrar.storage import migrate, migrations, open_store
from registrar.storage.copying import TABLES
from registrar.storage.migrations import scripts
from tied import tied

pytestmark = pytest.mark.anyio

KNOWN = len(scripts("postgres"))
BODY = {"redirect_uris": ["https://app.example/cb"]}
ADDS = "-- adds: what only newer programs look at.\nCREATE TABLE extra (one TEXT);"
CHANGES = "-- What older programs would write wrongly.\nALTER TABLE client RENAME COLUMN template TO of_template;"
Migrate = Callable[..., object]


@pytest.fixture
def newer_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let this process be a program that knows one script more; those that it starts are not."""

    def knows(script: str) -> None:
        folder = tmp_path / "schema" / "postgres"
        folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(scripts("postgres")[:KNOWN], 1):
            (folder / f"{number:04}.sql").write_text(one)
        (folder / f"{KNOWN + 1:04}.sql").write_text(script)
        monkeypatch.setattr(migrations.resources, "files", lambda _: tmp_path)

    return knows


@asynccontextmanager
async def registering(client: httpx2.AsyncClient, replica: Replica) -> AsyncIterator[tuple[set[str], Counter[int]]]:
    """Callers that register all the time; what they were told, and with which statuses."""
    told: set[str] = set()
    statuses: Counter[int] = Counter()

    async def work() -> None:
        while True:
            answer = await client.post(f"{replica.url}/register", json=BODY)
            statuses[answer.status_code] += 1
            if answer.status_code == 201:
                told.add(answer.json()["client_id"])
                continue
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "1"
            await asyncio.sleep(0.01)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    try:
        yield told, statuses
    finally:
        for one in workers:
            one.cancel()
        ends = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ends), ends


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (there is nothing that would tell)
            await asyncio.sleep(0.01)


async def stored(database: str) -> set[str]:
    """All clients."""
    store = open_store(database)
    try:
        return {one.client_id for one in await store.clients(ClientQuery(), limit=1_000_000)}
    finally:
        await store.close()


@pytest.fixture
async def replicas(tmp_path: Path, own_database: str) -> AsyncIterator[Replicas]:
    """None yet, open to everybody."""
    async with Replicas(tmp_path, own_database) as several:
        text = several.configuration.read_text()
        several.configuration.write_text(text.replace('["client", "user"]', '"open"'))
        yield several


async def test_older_replicas_go_on_where_the_schema_only_grows(
    replicas: Replicas, own_database: str, postgres: postgresql.PostgreSQL, newer_program: Callable[[str], None]
) -> None:
    """With new sessions too, and one that starts meanwhile; so replicas can be replaced one after another."""
    [replica] = await replicas.start(1)
    name = own_database.rpartition("/")[2]
    newer_program(ADDS)
    async with registering(replicas.client, replica) as (told, statuses):
        await until(lambda: len(told) >= 50)
        assert await migrate(own_database) == (KNOWN, KNOWN + 1)
        before = len(told)
        await until(lambda: len(told) >= before + 50)
        assert set(statuses) == {201}  # nobody has noticed
        await postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        before = len(told)
        await until(lambda: len(told) >= before + 50)
        assert (await replicas.client.get(f"{replica.url}/readyz")).status_code == 200
        await replicas.start(1)
    assert told <= await stored(own_database)


async def test_older_replicas_stop_writing_where_the_schema_becomes_another(
    replicas: Replicas, own_database: str, postgres: postgresql.PostgreSQL, newer_program: Callable[[str], None]
) -> None:
    """At once, sessions that they had included, with a clear word; and they serve again where the schema is theirs again."""
    [replica] = await replicas.start(1)
    name = own_database.rpartition("/")[2]
    newer_program(CHANGES)
    async with registering(replicas.client, replica) as (told, statuses):
        await until(lambda: len(told) >= 50)
        await migrate(own_database)
        refused = statuses[503]
        await until(lambda: statuses[503] >= refused + 50)
        count = len(told)
        assert (await replicas.client.get(f"{replica.url}/readyz")).status_code == 503
        assert (await replicas.client.get(f"{replica.url}/healthz")).status_code == 200
        await until(lambda: statuses[503] >= refused + 100)
        assert len(told) == count
        said = f"the database has schema {KNOWN + 1}, and this program knows {KNOWN}: a newer program wrote it"
        assert said in replica.log.read_text()
        # As if the backup from before had been restored.
        await postgres.execute("ALTER TABLE client RENAME COLUMN of_template TO template", name)
        await postgres.execute(f"DELETE FROM registrar_schema WHERE version > {KNOWN}", name)
        await until(lambda: len(told) >= count + 50)
        assert (await replicas.client.get(f"{replica.url}/readyz")).status_code == 200
    late = Replica(replicas.configuration)
    await postgres.execute(f"INSERT INTO registrar_schema VALUES ({KNOWN + 1})", name)
    assert await asyncio.to_thread(late.launch().process.wait, 30) == 1  # type: ignore[union-attr]
    assert said in late.log.read_text()
    await postgres.execute(f"DELETE FROM registrar_schema WHERE version > {KNOWN}", name)


async def test_migrating_is_killed_at_any_moment(tmp_path: Path, postgres: postgresql.PostgreSQL) -> None:
    """Of five processes at once some are killed, again and again: there is no schema, or all of it, and the others say which."""
    name = f"killed_{secrets.token_hex(4)}"
    await postgres.execute(f"CREATE DATABASE {name}")
    async with Replicas(tmp_path, postgres.url(name)) as several:
        command = [sys.executable, "-m", "registrar", "migrate", "--config", str(several.configuration)]
        ends: Counter[str] = Counter()
        for victims in (5, 4, 0):
            five = [subprocess.Popen(tied(*command), stdout=subprocess.PIPE, text=True) for _ in range(5)]  # noqa: ASYNC220 (it takes no time)
            await asyncio.sleep(random.uniform(0.5, 1.5))
            for one in five[:victims]:
                one.kill()
            said = [(await asyncio.to_thread(one.communicate))[0] for one in five]
            assert all(one.returncode == 0 for one in five[victims:])
            ends.update(said[victims:])
            connection = await postgres.connect(name)
            tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            assert tables in (0, len(TABLES) + 1)
            if tables:
                assert await connection.fetchval(
                    "SELECT array_agg(version ORDER BY version) FROM registrar_schema"
                ) == [*range(1, KNOWN + 1)]
            await connection.close()
    assert set(ends) <= {f"schema 0 is now {KNOWN}\n", f"schema {KNOWN} is the newest already\n"}
    assert ends[f"schema 0 is now {KNOWN}\n"] <= 1
    await postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
