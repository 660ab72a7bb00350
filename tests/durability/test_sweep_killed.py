"""A sweep that is killed half-way, and two that go on with it at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from registrar.config import create_key_file
from registrar.domain.client import State
from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage import open_store
from registrar.testing.store_conformance import a_client, an_event

pytestmark = pytest.mark.anyio

CLIENTS = 6_000


async def swept(folder: Path) -> asyncio.subprocess.Process:
    """`registrar sweep`, begun."""
    line = [sys.executable, "-m", "registrar", "sweep"]
    return await asyncio.create_subprocess_exec(*line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kind", ["file", "database"])
async def test_killed_and_gone_on_with(kind: str, database: str, tmp_path: Path) -> None:
    """Every client takes its step once: with its event, or not at all."""
    where = database if kind == "database" else f"sqlite:///{tmp_path}/registrar.db"
    create_key_file(tmp_path / "registrar.key")
    (tmp_path / "registrar.toml").write_text(
        f'[server]\ndatabase = "{where}"\nkey_file = "{tmp_path}/registrar.key"\n'
        '[issuer.main]\nurl = "https://as.example"\n'
        "[policy.short.lifetime]\nunused = 2592000\nsuspended = 864000\n"
    )
    store = open_store(where)
    plain = {"template": "", "own": (), "state": State.ACTIVE, "policy": "short", "warned_at": 0, "suspended_at": 0}
    plain |= {"created_at": 1_600_000_000, "due_at": 1_600_000_001, "expires_at": 0, "suspended_by": ""}
    names = [f"0{at:05}" for at in range(CLIENTS)]
    for at in range(0, CLIENTS, 500):
        some = names[at : at + 500]
        await asyncio.gather(*(store.create(a_client(one, **plain), an_event(one)) for one in some))

    process = await swept(tmp_path)
    while len(await store.events(EventQuery("main", "client.expiring"), limit=CLIENTS)) < 500:
        assert process.returncode is None, (await process.communicate())[1]
        await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()
    stopped = len(await store.events(EventQuery("main", "client.expiring"), limit=CLIENTS))
    both = [await swept(tmp_path) for _ in range(2)]
    for one in both:
        _, said = await one.communicate()
        assert one.returncode == 0, said

    assert 500 <= stopped < CLIENTS
    events = await store.events(EventQuery("main", "client.expiring"), limit=2 * CLIENTS)
    assert sorted(one.event.client_id for one in events) == names
    found = await store.clients(ClientQuery("main"), limit=CLIENTS)
    assert all(one.warned_at and one.version == 2 for one in found)
    await store.close()
