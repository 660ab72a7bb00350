"""The last use: to the hour, whatever the clock does."""

from __future__ import annotations

import pytest

from registrar.domain.lifecycle import COARSE
from registrar.service import last_use
from registrar.service.last_use import LastUse
from registrar.storage.memory import MemoryStore

pytestmark = pytest.mark.anyio

NOW = 1_790_000_000


async def test_once_an_hour() -> None:
    """Each client for itself."""
    noted, store = LastUse(), MemoryStore()
    assert await last_use.at(store, "main", "c") == 0
    await store.change(noted.note("main", "c", NOW))
    assert noted.note("main", "c", NOW + COARSE - 1) == ()
    assert len(noted.note("main", "d", NOW + COARSE - 1)) == 1
    assert await last_use.at(store, "main", "c") == NOW
    await store.change(noted.note("main", "c", NOW + COARSE))
    assert await last_use.at(store, "main", "c") == NOW + COARSE


async def test_a_clock_that_was_set_back_forgets_nobody() -> None:
    """A use that was noted in what is the future by now keeps no later one from being noted."""
    noted, store = LastUse(), MemoryStore()
    await store.change(noted.note("main", "c", NOW + 365 * 24 * COARSE))
    await store.change(noted.note("main", "c", NOW))
    assert await last_use.at(store, "main", "c") == NOW
