"""Leases: one of several holders at a time, and another when its time is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from registrar.service import leases
from registrar.storage.memory import MemoryStore
from registrar.storage.sqlite import SQLiteStore

pytestmark = pytest.mark.anyio


async def test_one_holds_a_task_until_its_time_is_over() -> None:
    """Whoever has it may go on with it; the next one has it when the time is over, and at once when it is given up."""
    store = MemoryStore()
    assert await leases.take(store, "sweep", "a", 100, 30)
    assert not await leases.take(store, "sweep", "b", 129, 30)
    assert await leases.take(store, "sweep", "a", 129, 30)
    assert not await leases.take(store, "sweep", "b", 158, 30)
    assert await leases.take(store, "other", "b", 129, 30)
    assert await leases.take(store, "sweep", "b", 159, 30)
    await leases.give_up(store, "sweep", "a")
    assert not await leases.take(store, "sweep", "a", 160, 30)
    await leases.give_up(store, "sweep", "b")
    assert await leases.take(store, "sweep", "a", 160, 30)


async def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    """A lease that would last far longer than any is of another time; one of a clock that is a little ahead counts."""
    store = MemoryStore()
    assert await leases.take(store, "sweep", "a", 1_000_000, 30)
    assert not await leases.take(store, "sweep", "b", 999_970, 30)
    assert await leases.take(store, "sweep", "b", 100, 30)
    assert not await leases.take(store, "sweep", "a", 110, 30)


async def test_of_many_at_once_one_has_it(tmp_path: Path) -> None:
    """Also where they are processes with a store of their own on one database."""
    stores = [SQLiteStore(tmp_path / "registrar.db") for _ in range(3)]
    try:
        for now in (100, 200, 300):
            took = await asyncio.gather(
                *(leases.take(store, "sweep", f"{at}", now, 30) for at, store in enumerate(stores * 5))
            )
            assert sum(took) == 1
    finally:
        for store in stores:
            await store.close()
