"""A server on PostgreSQL that is stopped, or killed, while many register."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import httpx2
import pytest
from replicas import CONFIGURATION, Replica, free_port

from registrar.config import create_key_file
from registrar.domain.settings import PostgreSQL
from registrar.service.ports import ClientQuery
from registrar.storage import open_store

pytestmark = pytest.mark.anyio

CALLERS = 16
ENOUGH = 200
STOP_SECONDS = 25


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_what_was_promised_is_there(how: signal.Signals, database: str, tmp_path: Path) -> None:
    """Each 201 is a client in the database; one that is asked to stop answers what is under way, and is soon gone."""
    create_key_file(tmp_path / "keys")
    text = CONFIGURATION.format(port=free_port(), database=database, keys=tmp_path / "keys")
    (tmp_path / "registrar.toml").write_text(text.replace('["client", "user"]', '"open"'), "utf-8")
    replica = Replica(tmp_path / "registrar.toml").launch()
    promised: list[str] = []
    odd: set[int] = set()
    enough = asyncio.Event()
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        await replica.ready(client)

        async def register() -> None:
            members = {"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}
            while True:
                try:
                    answer = await client.post(f"{replica.url}/register", json=members)
                except httpx2.TransportError:  # it listens no more
                    return
                if answer.status_code == 201:
                    promised.append(answer.json()["client_id"])
                    if len(promised) >= ENOUGH:
                        enough.set()
                else:
                    odd.add(answer.status_code)

        callers = [asyncio.create_task(register()) for _ in range(CALLERS)]
        assert replica.process is not None
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await enough.wait()
            began = time.monotonic()
            replica.process.send_signal(how)
            status = await asyncio.to_thread(replica.process.wait, STOP_SECONDS)
            assert time.monotonic() - began < STOP_SECONDS
        finally:
            replica.process.kill()
        await asyncio.gather(*callers)

    assert status == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    assert odd == set()
    store = open_store(database, queue=16, postgresql=PostgreSQL())
    stored: set[str] = set()
    while page := await store.clients(ClientQuery("main"), after=("main", max(stored, default="")), limit=1_000):
        stored |= {one.client_id for one in page}
    await store.close()
    assert len(promised) >= ENOUGH
    assert set(promised) <= stored
