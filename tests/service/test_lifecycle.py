"""What has ended is taken away."""

from __future__ import annotations

import asyncio
import time

import pytest

from registrar.service import lifecycle
from registrar.service.ports import Item, Put
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio


async def keep(server: Served, count: int, expires_at: int) -> None:
    """Items that expire."""
    items = [Item("main", "session", f"{expires_at}-{at}", b"{}", expires_at=expires_at) for at in range(count)]
    await server.registry.store.change([Put(item) for item in items])


async def test_what_expired_goes_and_what_lives_stays() -> None:
    """All of it in one round, however much it is."""
    async with served() as server:
        await keep(server, 2_001, server.clock.now + 10)
        await keep(server, 1, server.clock.now + 11)
        await keep(server, 1, 0)
        server.clock.advance(10)
        assert await lifecycle.clean(server.registry) == 2_001
        assert len(await server.registry.store.items("main", "session")) == 2
        assert await lifecycle.clean(server.registry) == 0


async def test_pages_of_it_rest() -> None:
    """At a busy token endpoint hundreds of thousands expire in a minute: others are answered between the pages."""
    async with served() as server:
        await keep(server, 1_001, server.clock.now)
        began = time.perf_counter()
        assert await lifecycle.clean(server.registry) == 1_001
        assert time.perf_counter() - began >= 4 * 0.01


async def test_it_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A store that does not answer is told in the log, and asked again."""
    monkeypatch.setattr(lifecycle, "INTERVAL", 0)
    async with served() as server:
        await server.registry.store.close()
        task = asyncio.get_running_loop().create_task(lifecycle.keep_clean(server.registry, 0))
        while len(caplog.records) < 2:  # noqa: ASYNC110 (the log says when)
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "what has expired is still there" in caplog.text
