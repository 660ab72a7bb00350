"""Overload: a store that hangs, and more callers than it could ever serve."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from registering import MEMBERS

from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.http.application import create_app
from registrar.service.ports import Change, Load, Spend
from registrar.storage.batches import Batches, Waiter, settle
from registrar.storage.memory import MemoryStore
from registrar.testing import served

pytestmark = pytest.mark.anyio

QUEUE = 4_096
CALLERS = 20_000
MEGABYTES = 200
"""What the callers that wait may take: some 20 kB each, and nothing for those that were sent away."""


class Hanging(Batches[Client]):
    """A writer whose database says nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(QUEUE)
        self.answers = asyncio.Event()
        self.written: set[str] = set()

    async def _write_batch(self, batch: list[Waiter[Client]]) -> None:
        await self.answers.wait()
        self.written |= {client.client_id for client, _ in batch}
        settle(batch, [None] * len(batch))


class Slow(MemoryStore):
    """A store whose writes hang."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = Hanging()

    async def create(
        self, client: Client, event: Event, spend: Spend | None = None, changes: Sequence[Change] = ()
    ) -> None:
        await self.writes.write(client)
        await super().create(client, event, spend, changes)

    def load(self) -> Load:
        return self.writes.load


async def test_a_flood_on_a_store_that_hangs_is_sent_away_at_once() -> None:
    """As many wait as may, the others get 503 with Retry-After, readiness says so, and all that was promised is there."""
    store = Slow()
    async with served(store=store) as server:
        application = create_app(server.registry)
        body = msgspec.json.encode(MEMBERS)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def ask(method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
            scope = {"type": "http", "method": method, "path": path, "query_string": b"", "scheme": "https"}
            given = await application.answer({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive)
            return given.status, dict(given.headers), given.body

        assert (await ask("GET", "/readyz"))[0] == 200
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        callers = [asyncio.create_task(ask("POST", "/register")) for _ in range(CALLERS)]
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            if sum(one.done() for one in callers) >= CALLERS - QUEUE - 256:
                break
        answered = [one.result() for one in callers if one.done()]

        assert len(answered) >= CALLERS - QUEUE - 256
        assert Counter(status for status, _, _ in answered) == {503: len(answered)}
        assert all(given[b"retry-after"] == b"1" for _, given, _ in answered)
        assert time.monotonic() - began < 20
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1_024 < MEGABYTES
        # While the first batch hangs, others take its places.
        callers += [asyncio.create_task(ask("POST", "/register")) for _ in range(256)]
        await asyncio.sleep(0.1)
        assert store.load() == Load(QUEUE, QUEUE)
        status, _, said = await ask("GET", "/readyz")
        assert (status, said) == (503, b'{"status":"as many writes wait for the store as may"}')

        store.writes.answers.set()
        late = [await one for one in callers]
        assert (await ask("GET", "/readyz"))[0] == 200
        promised = {msgspec.json.decode(given)["client_id"] for status, _, given in late if status == 201}
        assert promised == store.writes.written
        assert QUEUE <= len(promised) <= QUEUE + 256
