"""A rewrapping that is killed again and again, beside a server under load."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from replicas import Replicas

from registrar.config import assemble, read
from registrar.domain.client import Client
from registrar.service import issuance, rewrapping
from registrar.service.ports import ClientQuery

pytestmark = pytest.mark.anyio

MEMBERS = {"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "client_secret_jwt"}


async def command(configuration: Path, *arguments: str, kill_after: float = 0) -> int:
    """Run `registrar key-file`, or kill it half-way; the exit status."""
    line = [sys.executable, "-m", "registrar", "key-file", *arguments, "--config", str(configuration)]
    process = await asyncio.create_subprocess_exec(*line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if kill_after:
        await asyncio.sleep(kill_after)
        if process.returncode is None:
            process.kill()
    printed, _ = await process.communicate()
    assert kill_after or process.returncode == 0, printed.decode()
    return int(process.returncode or 0)


async def test_killed_and_run_again(tmp_path: Path) -> None:
    """In the end everything lies under the newest key, and every secret that was acknowledged is what it was."""
    async with Replicas(tmp_path, f"sqlite:///{tmp_path}/registrar.db") as replicas:
        configuration = replicas.configuration
        configuration.write_text(configuration.read_text().replace('["client", "user"]', '"open"'))
        (server,) = await replicas.start(1)
        secrets: dict[str, str] = {}
        ended = asyncio.Event()

        async def load() -> None:
            while not ended.is_set():
                answer = await replicas.client.post(f"{server.url}/register", json=MEMBERS)
                assert answer.status_code == 201, answer.text
                secrets[answer.json()["client_id"]] = answer.json()["client_secret"]

        loading = [asyncio.create_task(load()) for _ in range(4)]
        await asyncio.sleep(2)
        await command(configuration, "rotate")
        killed = [await command(configuration, "rewrap", kill_after=0.7 + at / 10) for at in range(4)]
        ended.set()
        await asyncio.gather(*loading)
        await command(configuration, "rewrap")
        path = tmp_path / "registrar.key"
        os.utime(path, (time.time() - 120, time.time() - 120))
        registry = assemble(read(configuration))
        newest, oldest = (one.hex() for one in registry.keys.labels)
        await command(configuration, "retire", oldest)

        assert -9 in killed
        assert set((await rewrapping.counted(registry)).by_label) == {newest}
        found: list[Client] = []
        after = ("", "")
        while page := await registry.store.clients(ClientQuery("main"), after=after, limit=1000):
            found += page
            after = ("main", page[-1].client_id)
        known = {one.client_id: issuance.readable_secret(registry, registry.issuers["main"], one) for one in found}
        await registry.store.close()
        assert len(secrets) > 100
        assert {client_id: known[client_id] for client_id in secrets} == secrets
        assert Counter(one.version for one in found)[2] > 0
