"""What the tests of SQLite share: concurrent writers, and what is stored after them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import a_client, an_event


def create(store: SQLiteStore, name: str) -> Coroutine[Any, Any, None]:
    """Register a client."""
    return store.create(a_client(name), an_event(name))


async def gather(writes: list[Coroutine[Any, Any, None]]) -> list[BaseException | None]:
    """What became of writes that are made at the same time."""
    return list(await asyncio.gather(*writes, return_exceptions=True))


async def stored(store: SQLiteStore) -> list[str]:
    """The names of all clients, each of which has exactly one event, which no other has."""
    names = [client.client_id for client in await store.clients(ClientQuery(), limit=10_000)]
    events = await store.events(EventQuery(kind="client.registered"), limit=10_000)
    assert sorted(one.event.client_id for one in events) == names
    return names
