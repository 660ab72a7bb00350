"""Webhooks of real processes: what was acknowledged is told, once by two of them, and also after one is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from replicas import Replica, Replicas

from webhook_receiver import Receiver, receiving, says

pytestmark = pytest.mark.anyio

MEMBERS = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}


@asynccontextmanager
async def telling(folder: Path, url: str) -> AsyncIterator[tuple[Replicas, Receiver]]:
    """Replicas that are about to start, and the receiver that they tell."""
    async with receiving() as receiver, Replicas(folder, url) as replicas:
        text = replicas.configuration.read_text().replace('["client", "user"]', '"open"')
        text = text.replace("[issuer.main]\n", f'[server.fetch]\nallow = ["{receiver.origin}"]\n[issuer.main]\n')
        replicas.configuration.write_text(text + receiver.table(folder, more="seconds = 3"))
        yield replicas, receiver


async def register(replicas: Replicas, at: Replica) -> str:
    """Register; the identifier, once it is acknowledged."""
    answer = await replicas.client.post(f"{at.url}/register", json=MEMBERS)
    assert answer.status_code == 201, answer.text
    client_id: str = answer.json()["client_id"]
    return client_id


async def test_two_replicas_tell_each_event_once(tmp_path: Path, either: str) -> None:
    """Under load, whichever of them it came in by."""
    async with telling(tmp_path, either) as (replicas, receiver):
        both = await replicas.start(2)
        made = await asyncio.gather(*(register(replicas, both[at % 2]) for at in range(200)))
        await receiver.until(200)
        await asyncio.sleep(1.5)

        assert sorted(one.client_id for one in receiver.came) == sorted(made)
        assert len(set(receiver.identifiers)) == 200
        assert receiver.unverified == 0


async def test_one_that_is_killed_loses_nothing(tmp_path: Path, either: str) -> None:
    """Killed while it delivers; the other goes on once the lease is over, and whoever restarts does too."""
    async with telling(tmp_path, either) as (replicas, receiver):
        (first,) = await replicas.start(1)
        answered = asyncio.Event()

        async def slow(_: object) -> bytes:
            answered.set()
            await asyncio.sleep(0.05)
            return says(204)

        receiver.answer = slow
        acknowledged: list[str] = []

        async def load() -> None:
            while True:
                with suppress(httpx2.TransportError):
                    acknowledged.append(await register(replicas, first))
                    continue
                return

        loading = [asyncio.create_task(load()) for _ in range(8)]
        await answered.wait()
        await asyncio.sleep(0.5)
        first.kill()
        await asyncio.gather(*loading)
        before = len(set(receiver.identifiers))
        assert before < len(acknowledged)
        receiver.answer = says(204)
        await replicas.start(1)
        until = time.monotonic() + 60
        while missing := {*acknowledged} - {one.client_id for one in receiver.came}:
            assert time.monotonic() < until, f"{len(missing)} are missing"
            await asyncio.sleep(0.1)

        # What came twice is the same message, and of each event there is one.
        by_client = {one.client_id: one.identifier for one in receiver.came}
        assert all(by_client[one.client_id] == one.identifier for one in receiver.came)
        assert receiver.unverified == 0
