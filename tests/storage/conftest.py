"""The stores under test, and records to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from registrar.storage.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "registry" / "registrar.db"


@pytest.fixture
async def open_sqlite(path: Path) -> AsyncIterator[Callable[..., SQLiteStore]]:
    """Open a store on the database, as often as is needed; all are closed at the end."""
    opened: list[SQLiteStore] = []

    def open_one(**settings: int) -> SQLiteStore:
        opened.append(SQLiteStore(path, **settings))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def sqlite(open_sqlite: Callable[..., SQLiteStore]) -> SQLiteStore:
    """One open store."""
    return open_sqlite()
