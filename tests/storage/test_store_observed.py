"""A store that is counted and timed is the store itself, and what is counted is what is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from registrar.domain.settings import PostgreSQL, Tracing
from registrar.http.tracing import OpenTelemetry
from registrar.service.metrics import Metrics
from registrar.service.ports import Conflict, EventQuery, Load, Put, Store, StoreError, StoreUnavailable, Tell
from registrar.storage import open_store
from registrar.storage.counted import counted
from registrar.storage.group_commit import GroupCommit
from registrar.storage.memory import MemoryStore
from registrar.storage.postgres import PostgresStore
from registrar.storage.sqlite import SQLiteStore
from registrar.storage.traced import traced
from registrar.testing.store_conformance import StoreConformance, a_client, a_key, a_token, an_event, an_item


class TestObservedStore(StoreConformance):
    """Counted and timed, on SQLite: whatever the store does, it does still."""

    @pytest.fixture
    async def store(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        """A store that is observed in every way; at the end, the events that it has are those that were counted."""
        metrics, tracer = Metrics(), OpenTelemetry(Tracing(), InMemorySpanExporter())
        inner = SQLiteStore(tmp_path / "registrar.db", metrics=metrics, tracer=tracer)
        yield traced(counted(inner, metrics), tracer)
        try:
            with suppress(StoreUnavailable):  # a test may have closed it
                stored = Counter(
                    (one.event.issuer, one.event.kind) for one in await inner.events(EventQuery(), limit=100_000)
                )
                if "erased" not in request.node.name:
                    assert {labels: [number] for labels, number in stored.items()} == metrics.events.cells
        finally:
            await inner.close()
            await asyncio.to_thread(tracer.close)


@pytest.mark.anyio
async def test_events_are_counted_where_they_are_stored() -> None:
    """Beside every write, alone, among its changes; and not where the write was refused."""
    metrics = Metrics()
    store = counted(MemoryStore(), metrics)
    await store.create(a_client(), an_event(), None, [Tell(an_event(kind="statement.used"))])
    with pytest.raises(Conflict):
        await store.create(a_client(), an_event())
    await store.record(an_event(kind="client.read"))
    await store.add_token(a_token(), an_event(kind="token.issued"))
    await store.add_key(a_key(), an_event(kind="issuer.key_created"))
    await store.change([Put(an_item()), Tell(an_event(kind="consent.given"))], [an_event(kind="grant.revoked")])
    with pytest.raises(StoreError):
        await store.update(a_client(version=2), [an_event(kind="client.updated")], expected=7)
    await store.update(a_client(version=2), [an_event(kind="client.updated")], expected=a_client().version)

    assert {kind: number for (_, kind), [number] in metrics.events.cells.items()} == {
        "client.registered": 1,
        "statement.used": 1,
        "client.read": 1,
        "token.issued": 1,
        "issuer.key_created": 1,
        "consent.given": 1,
        "grant.revoked": 1,
        "client.updated": 1,
    }
    [(labels, number)] = metrics.registrations.cells.items()
    client = a_client()
    assert (labels, number) == ((client.issuer, client.policy, client.admission.assurance), [1])


class Engine:
    """An engine whose disk may fail."""

    def __init__(self) -> None:
        self.broken = False

    def try_begin(self) -> bool:
        """At once."""
        return True

    def begin(self) -> None:
        """Never waited for."""

    def commit(self) -> None:
        """Make durable, or fail."""
        if self.broken:
            raise OSError("the disk is full")

    def rollback(self) -> None:
        """Nothing is kept."""


@pytest.mark.anyio
async def test_commits_are_counted_by_what_came_of_them() -> None:
    """How many writes shared each; a write that is refused shares one all the same, and one that fails is told apart."""
    metrics, engine = Metrics(), Engine()
    commits = GroupCommit(engine, 100, metrics)

    def refused() -> None:
        raise Conflict

    done = await asyncio.gather(
        *(commits.write(lambda: None) for _ in range(5)), commits.write(refused), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in done) == 1
    engine.broken = True
    with pytest.raises(StoreUnavailable):
        await commits.write(lambda: None)
    engine.broken = False
    await commits.write(lambda: None)
    await commits.close()

    outcomes = {labels: sum(cell[:-1]) for labels, cell in metrics.commit_seconds.cells.items()}
    assert outcomes[("failed",)] == 1
    assert metrics.commit_operations.cells[()][-1] == 8, "writes"
    assert outcomes[("durable",)] + 1 == sum(metrics.commit_operations.cells[()][:-1]), "commits"


@pytest.mark.anyio
async def test_how_busy_a_store_is(tmp_path: Path) -> None:
    """Writes that wait, against those that may."""
    assert MemoryStore().load() == Load()
    store = open_store(f"sqlite:///{tmp_path / 'registrar.db'}", queue=10)
    assert store.load() == Load(0, 10)
    writes = [asyncio.ensure_future(store.record(an_event())) for _ in range(12)]
    await asyncio.sleep(0)
    assert store.load() == Load(10, 10)
    done: list[Any] = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(one, StoreUnavailable) for one in done) == 2
    assert store.load() == Load(0, 10)
    await store.close()


@pytest.mark.anyio
async def test_how_busy_the_sessions_are(database: str) -> None:
    """Those that read, and those that could."""
    store = PostgresStore(database, PostgreSQL(connections=3), queue=10)
    assert store.load() == Load(0, 10)
    await store.ready()
    assert store.load() == Load(0, 10, used=0, free=3)
    pool = await store._opened()
    async with pool.acquire():
        assert store.load() == Load(0, 10, used=1, free=2)
        async with pool.acquire():
            assert store.load() == Load(0, 10, used=2, free=1)
    assert store.load() == Load(0, 10, used=0, free=3)
    await store.close()
    assert store.load() == Load(0, 10)
