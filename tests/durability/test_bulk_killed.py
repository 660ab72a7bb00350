"""A command that does something to many clients, killed half-way and gone on with."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registrar.config import create_key_file
from registrar.domain.client import State
from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage import open_store
from registrar.testing.store_conformance import a_client, an_event

pytestmark = pytest.mark.anyio

CLIENTS = 6_000


async def command(folder: Path, *arguments: str, kill_when: int = 0) -> tuple[Any, str]:
    """Run `registrar client bulk`, or kill it once so many clients are suspended; what it prints as JSON, and refuses with."""
    line = [sys.executable, "-m", "registrar", "client", "bulk", *arguments, "--json"]
    process = await asyncio.create_subprocess_exec(*line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if kill_when:
        store = open_store(f"sqlite:///{folder}/registrar.db")
        while len(await store.events(EventQuery("main", "client.suspended"), limit=CLIENTS)) < kill_when:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        process.kill()
        await store.close()
    printed, said = await process.communicate()
    assert process.returncode == (-9 if kill_when else 1 if said else 0)
    return (json.loads(printed) if printed else None), said.decode()


@pytest.mark.requirement("SEED-59")
async def test_killed_and_gone_on_with(tmp_path: Path) -> None:
    """Every client is suspended in the end, once, and the job knows how far it came."""
    create_key_file(tmp_path / "registrar.key")
    (tmp_path / "registrar.toml").write_text(
        f'[server]\ndatabase = "sqlite:///{tmp_path}/registrar.db"\nkey_file = "{tmp_path}/registrar.key"\n'
        '[issuer.main]\nurl = "https://as.example"\n'
    )
    store = open_store(f"sqlite:///{tmp_path}/registrar.db")
    plain = {"template": "", "own": (), "state": State.ACTIVE}
    names = [f"0{at:05}" for at in range(CLIENTS)]
    for at in range(0, CLIENTS, 500):
        some = names[at : at + 500]
        await asyncio.gather(*(store.create(a_client(one, **plain), an_event(one)) for one in some))
    await command(tmp_path, "suspend", "--all", "--yes", "--reason", "drill", kill_when=500)
    (job,), _ = await command(tmp_path, "list")
    done, refusal = await command(tmp_path, "continue", job["job_id"])
    assert "killed at it some seconds ago" in refusal
    for _ in range(30):
        done, refusal = await command(tmp_path, "continue", job["job_id"])
        if done:
            break
        assert "killed at it some seconds ago" in refusal
        await asyncio.sleep(2)

    assert job["state"] == "open"
    assert 400 <= job["changed"] < CLIENTS
    assert (done["state"], done["looked_at"]) == ("finished", CLIENTS)
    found = await store.clients(ClientQuery("main"), limit=CLIENTS)
    assert {one.state for one in found} == {State.SUSPENDED}
    events = await store.events(EventQuery("main", "client.suspended"), limit=2 * CLIENTS)
    assert sorted(one.event.client_id for one in events) == names
    assert len(await store.events(EventQuery("main", "bulk.finished"))) == 1
    await store.close()
