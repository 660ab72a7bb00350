"""A backup of PostgreSQL that is taken while replicas serve, and restored elsewhere: whole, verified, and served again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from replicas import Replica, Replicas

from postgresql import PostgreSQL
from registrar.config import assemble, read
from registrar.service import checkpoints, verification
from registrar.service.initial_access import issue_token
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery

pytestmark = pytest.mark.anyio

BODY = {"redirect_uris": ["https://app.example/cb"]}


Told = dict[str, tuple[str, str]]
"""Clients that were answered with 201: the path and the token of each registration."""


@asynccontextmanager
async def registering(client: httpx2.AsyncClient, replica: Replica, token: str) -> AsyncIterator[Told]:
    """Callers that register all the time."""
    told: Told = {}

    async def register() -> None:
        while True:
            headers = {"authorization": f"Bearer {token}"}
            answer = await client.post(f"{replica.url}/register", json=BODY, headers=headers)
            assert answer.status_code == 201, answer.text
            made = answer.json()
            told[made["client_id"]] = (
                httpx2.URL(made["registration_client_uri"]).path,
                made["registration_access_token"],
            )

    callers = [asyncio.create_task(register()) for _ in range(8)]
    yield told
    for one in callers:
        one.cancel()
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ends), ends


async def until(told: Told, count: int) -> None:
    """Return once so many are told."""
    async with asyncio.timeout(60):
        while len(told) < count:  # noqa: ASYNC110 (the callers do the work)
            await asyncio.sleep(0.01)


@pytest.fixture
def elsewhere(postgres: PostgreSQL) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with postgres.database() as url:
        yield url


async def test_a_dump_under_load_is_a_registry(
    postgres: PostgreSQL, own_database: str, elsewhere: str, tmp_path: Path
) -> None:
    """What was answered before it began is in it, nothing is half there, and the audit proves that it is what was written."""
    dump = postgres.data.parent / f"{tmp_path.name}.dump"  # where the programs of the server may write
    async with Replicas(tmp_path, own_database) as several:
        [replica] = await several.start(1)
        registry = assemble(read(several.configuration))
        token, _ = await issue_token(
            registry, registry.issuers["main"], Operator("tester", "test"), max_uses=0, label="tests"
        )
        async with registering(several.client, replica, token) as told:
            await until(told, 50)
            kept = await checkpoints.make(registry)
            before = dict(told)
            await asyncio.to_thread(
                postgres.run, "pg_dump", "--format=custom", f"--dbname={own_database}", "--file", str(dump)
            )
            await until(told, len(told) + 50)
            late = await checkpoints.make(registry)
        assert kept is not None
        assert late is not None
        await registry.store.close()

    await asyncio.to_thread(postgres.run, "pg_restore", f"--dbname={elsewhere}", str(dump))
    text = several.configuration.read_text().replace(own_database, elsewhere)
    restored = tmp_path / "restored.toml"
    restored.write_text(text)
    registry = assemble(read(restored))
    report = await verification.verify(registry, kept=[kept])
    assert report.sound, report.problems
    assert not (await verification.verify(registry, kept=[late])).sound, "what came after the backup is missing"
    clients = {one.client_id for one in await registry.store.clients(ClientQuery(), limit=100_000)}
    assert set(before) <= clients
    [issued] = await registry.store.tokens()
    assert issued.uses == len(clients)
    await registry.store.close()

    again = Replica(restored).launch()
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        await again.ready(client)
        path, own = next(iter(before.values()))
        answer = await client.get(f"{again.url}{path}", headers={"authorization": f"Bearer {own}"})
        assert answer.status_code == 200, answer.text
    await asyncio.to_thread(again.stop)
