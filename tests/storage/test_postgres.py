"""The PostgreSQL store beyond the public suite: its batches, its schema, and what it says of its address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from postgresql import PostgreSQL as Server
from registrar.config import ConfigurationError, parse
from registrar.domain.client import State
from registrar.domain.settings import PostgreSQL
from registrar.policy.document import Document
from registrar.service.ports import (
    TALLY,
    Advance,
    Change,
    ClientQuery,
    Conflict,
    Count,
    Drop,
    DropAll,
    EventQuery,
    Put,
    Store,
    StoreError,
    StoreUnavailable,
    TokenSpent,
)
from registrar.storage import migrate, open_store
from registrar.storage.memory import MemoryStore
from registrar.storage.migrations import SchemaMismatch, scripts
from registrar.storage.postgres import PostgresStore
from registrar.storage.postgres.batch import Company, Write
from registrar.storage.postgres.connection import Address
from registrar.storage.postgres.migration import _LOCK
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import NOW, StoreParallel, _spend, a_client, a_token, an_event, an_item

pytestmark = pytest.mark.anyio

KNOWN = len(scripts("postgres"))
Open = Callable[..., PostgresStore]


@pytest.fixture
async def opened(database: str) -> AsyncIterator[Open]:
    """Open a store on the database, as often as is needed; all are closed at the end."""
    stores: list[PostgresStore] = []

    def one(settings: PostgreSQL | None = None, **rest: int) -> PostgresStore:
        stores.append(PostgresStore(database, settings, **rest))
        return stores[-1]

    yield one
    for store in stores:
        await store.close()


class Replicas:
    """Several stores on one database, of which each call takes the next."""

    def __init__(self, *stores: Store) -> None:
        self._stores = list(stores)

    def __getattr__(self, name: str) -> Any:
        self._stores.append(self._stores.pop(0))
        return getattr(self._stores[0], name)


class TestReplicas(StoreParallel):
    """Three processes' stores on one database are like one."""

    @pytest.fixture
    def store(self, opened: Open) -> Any:
        """A caller that comes to another replica each time."""
        return Replicas(opened(), opened(), opened())


# --- what is read ------------------------------------------------------------------------------------------------------

_MANY = 60_000
_FILL = f"""
INSERT INTO client (issuer, client_id, version, state, owner, token_id, template, due_at, record)
SELECT 'main', 'c' || lpad(i::text, 6, '0'), 1, 'active', '', '', '', 0, '{{}}' FROM generate_series(1, {_MANY}) AS i;
INSERT INTO client_term SELECT 'main', 'label.tenant=t' || i % 3, 'c' || lpad(i::text, 6, '0') FROM generate_series(1, {_MANY}) AS i;
INSERT INTO client_term SELECT 'main', 'owner=o' || i, 'c' || lpad(i::text, 6, '0') FROM generate_series(1, {_MANY}) AS i;
INSERT INTO initial_access_token SELECT 'main', 't' || lpad(i::text, 6, '0'), i::text::bytea, 0, 0, 0, 0, '{{}}'
FROM generate_series(1, {_MANY}) AS i;
INSERT INTO event SELECT i, 'w', i, 0, 'main', 'client.registered', i, 'c' || lpad(i::text, 6, '0'), '', '' FROM generate_series(1, {_MANY}) AS i;
INSERT INTO event SELECT {_MANY} + i, 'w', {_MANY} + i, 0, 'main', 'client.read', i, 'c000001', '', '' FROM generate_series(1, {_MANY}) AS i;
ANALYZE;
"""


@pytest.fixture(scope="module")
def large(postgres: Server) -> Iterator[str]:
    """The URL of a registry in which reading everything shows."""
    with postgres.database("migrated") as url:
        asyncio.run(postgres.execute(_FILL, url.rpartition("/")[2]))
        yield url


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.clients(ClientQuery("main", terms=("owner=o19000",))),
        lambda store: store.clients(ClientQuery("main", terms=("owner=none",))),
        lambda store: store.clients(ClientQuery("main", State.ACTIVE, terms=("owner=o19000",))),
        lambda store: store.clients(ClientQuery("main", terms=("label.tenant=t1", "owner=o19000"), newest=True)),
        lambda store: store.clients(
            ClientQuery("main", terms=("label.tenant=t1",)), after=("main", "c015000"), limit=5
        ),
        lambda store: store.clients(ClientQuery("main", terms=("label.tenant=t1",), newest=True), limit=5),
        lambda store: store.clients(ClientQuery("main"), after=("main", "c015000"), limit=5),
        lambda store: store.count(ClientQuery("main", terms=("owner=o19000",))),
        lambda store: store.count(ClientQuery("main", terms=("label.tenant=t1",)), most=5),
        lambda store: store.events(EventQuery(kind="audit.pruned")),
        lambda store: store.events(EventQuery("main", "token.issued")),
        lambda store: store.events(EventQuery("main", "client.read", "c000002")),
        lambda store: store.tokens("main", after=("main", "t015000"), limit=5),
    ],
)
@pytest.mark.parametrize("planned", ["force_custom_plan", "force_generic_plan"])
async def test_few_pages_are_looked_at(
    large: str, ask: Callable[[PostgresStore], Awaitable[object]], planned: str
) -> None:
    """However many there are, and whether or not the planner knows the values: a page is as quick in a large registry."""
    store, told = PostgresStore(large), await asyncpg.connect(large)

    async def explained(sql: str, *values: Any) -> list[tuple[int]]:
        await told.execute(f"SET plan_cache_mode = {planned}")
        [(plan,)] = await told.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
        whole = json.loads(plan)[0]["Plan"]
        read.append(whole["Shared Hit Blocks"] + whole["Shared Read Blocks"])
        return [(0,)] if "count(*)" in sql else []

    read: list[int] = []
    store._rows = explained
    await ask(store)
    assert max(read) <= 25
    await told.close()
    await store.close()


async def test_counting_everything_may_take_its_time(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit too long to be counted within the time of other statements can be verified all the same."""
    store = opened(PostgreSQL(statement_seconds=1.0, connect_seconds=1.0))
    monkeypatch.setattr("registrar.storage.postgres.store._TALLY", "SELECT 1, 2, 3 FROM pg_sleep(2.5)")
    assert await store.tally() == (1, 2, 3)
    with pytest.raises(StoreUnavailable):
        await store._rows("SELECT pg_sleep(2.5)")
    assert await store.find("main", "c1") is None


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_writers_that_arrive_together_share_a_commit(opened: Open) -> None:
    """A crowd of registrations needs a few batches, and each of them has its place in one."""
    store = opened()
    await asyncio.gather(*(store.create(a_client(f"c{at}"), an_event(f"c{at}")) for at in range(300)))
    events = await store.events(EventQuery(), limit=1000)
    assert len(events) == 300
    assert len({one.batch for one in events}) <= 3


def test_a_row_is_touched_by_one_operation_of_a_batch() -> None:
    """Two operations on one client or one item wait for each other; so does what sweeps items, and what is alone."""
    client = Write(updated=("main", "c1", 2, "active", "", b"", 1))
    item = Write(changes=[Put(an_item())])
    sweep = Write(changes=[DropAll("main", "c1")])
    alone = Write(alone=asyncio.sleep)
    event = Write((an_event(),))
    counts, forgets = Write(counts=[Count("main")]), Write(changes=[Drop("main", TALLY, TALLY)])

    def admitted(*writes: Write) -> list[bool]:
        company = Company()
        return [company.admits(write) for write in writes]

    assert admitted(client, client, event, Write(created=("main", "c2"))) == [True, False, True, True]
    assert admitted(item, item, Write(changes=[Put(an_item("i2"))])) == [True, False, True]
    assert admitted(sweep, item, client) == [True, False, True]
    assert admitted(item, sweep) == [True, False]
    assert admitted(counts, counts, forgets, Write(created=("main", "c3"), counts=[Count("main")])) == [
        True,
        True,
        False,
        True,
    ]
    assert admitted(forgets, counts) == [True, False]
    assert admitted(forgets, Write(updated=("main", "c1", 2, "deleted", "", 0, b"", 1))) == [True, False]
    assert admitted(alone, event) == [True, False]
    assert admitted(event, alone, event) == [True, False, True]


async def test_whoever_has_to_wait_hinders_nobody(opened: Open) -> None:
    """Updates of one client take one batch each; registrations that arrive behind them go with the first."""
    store = opened()
    await store.create(a_client(), an_event())
    updates = [
        store.update(a_client(version=at + 1), [an_event(kind="client.updated")], expected=at) for at in range(1, 6)
    ]
    await asyncio.gather(*updates, *(store.create(a_client(f"n{at}"), an_event(f"n{at}")) for at in range(20)))
    events = await store.events(EventQuery(), limit=100)
    batch_of = {one.event.client_id: one.batch for one in events if one.event.client_id != "c1"}
    assert set(batch_of.values()) == {2}
    assert [one.batch for one in events if one.event.kind == "client.updated"] == [2, 3, 4, 5, 6]


async def test_processes_never_wait_for_each_other_in_a_circle(opened: Open, database: str) -> None:
    """A token, a cap and the number of all clients are locked in one order, whether the rows were looked at before or not."""
    replicas = [opened() for _ in range(3)]
    token = a_token(max_uses=0)
    await replicas[0].add_token(token, an_event("", kind="token.issued"))

    async def register(number: int) -> None:
        store, client_id = replicas[number % 3], f"c{number:03}"
        # Every fourth is refused, so that its batch is looked at row by row.
        cap = Advance("main", "cap", "one", 1 if number % 4 == 3 else 1_000)
        with suppress(Conflict):
            await store.create(a_client(client_id), an_event(client_id), _spend(token), [Count("main"), cap])
            await store.update(a_client(client_id, version=2, state=State.DELETED), [], expected=1)

    await asyncio.gather(*(register(number) for number in range(240)))
    for store in replicas:
        await store.close()
    connection = await asyncpg.connect(database)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    found = await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    await connection.close()
    assert found == 0


async def test_a_number_that_is_forgotten_meanwhile_is_counted_anew(opened: Open) -> None:
    """Whoever has all clients counted anew stands in no registration's way."""
    one, other = opened(), opened()
    registered = [
        one.create(a_client(f"c{number:02}"), an_event(), changes=[Count("main", 1_000)]) for number in range(40)
    ]
    await asyncio.gather(*registered, *(other.change([Drop("main", TALLY, TALLY)]) for _ in range(40)))
    await one.create(a_client("last"), an_event(), changes=[Count("main", 1_000)])
    stored = await one.item("main", TALLY, TALLY)
    assert stored is not None
    assert stored.version == 41


async def test_changes_to_one_item_follow_each_other(opened: Open, tmp_path: Path) -> None:
    """What one operation does to an item twice happens in its order, as on SQLite."""
    held, other = an_item(version=3), an_item("i2", client_id="c2")
    orders: list[list[Change]] = [
        [Drop("main", "code", "i1", 3), Put(an_item(version=9, body=b"new"), 0, NOW)],
        [Put(an_item(version=4), 3), Put(an_item(version=5), 4), Drop("main", "code", "i1", 5)],
        [Put(an_item("i3"), 0, NOW), DropAll("main", "c1")],
        [DropAll("main", "c1"), Put(an_item("i1", version=1), 0, NOW)],
        [DropAll("main", owner="ålice", kind="code"), DropAll("main", "c2")],
        [Drop("main", "code", "i1", 3), Drop("main", "code", "i1", 3)],
        [DropAll("main", "c1"), Drop("main", "code", "i1", 3)],
        [Put(an_item(version=4), 3), Put(an_item("i2", client_id="c2", version=8), 2)],
    ]
    file = SQLiteStore(tmp_path / "registrar.db")
    store = opened()
    for number, order in enumerate(orders):
        found = []
        for one in (file, store):
            await one.change([DropAll("main", "c1"), DropAll("main", "c2"), Put(held), Put(other)])
            try:
                await one.change(order)
                outcome = "made"
            except StoreError as refusal:
                outcome = repr(refusal)
            found.append((outcome, await one.items("main", "code")))
        assert found[0] == found[1], number
    await file.close()


async def test_what_has_expired_makes_room(opened: Open) -> None:
    """A key of which the item has expired and is not purged yet is free, judged by the clock of whoever asks."""
    store = opened()
    await store.change([Put(an_item(expires_at=NOW), 0, NOW - 5)])
    outcomes = await asyncio.gather(
        store.change([Put(an_item(version=1), 0, NOW - 1)]),
        store.change([Put(an_item(version=2), 0, NOW)]),
        store.change([Put(an_item("free"), 0, NOW)]),
        return_exceptions=True,
    )
    assert [type(one) for one in outcomes] == [Conflict, type(None), type(None)]
    found = await store.item("main", "code", "i1")
    assert found is not None
    assert found.version == 2


async def test_who_cleans_up_waits_for_nobody(opened: Open, database: str) -> None:
    """Of several processes that clean up at the same moment each takes what the others have not: a row that is held is left."""
    store = opened(PostgreSQL(statement_seconds=0.5))
    await store.change([Put(an_item(key, expires_at=NOW)) for key in ("i1", "i2", "i3")])
    other = await asyncpg.connect(database)
    async with other.transaction():
        await other.execute("SELECT 1 FROM item WHERE key = 'i1' FOR UPDATE")
        assert await store.purge(NOW) == 2
    await other.close()
    assert await store.purge(NOW) == 1
    assert sum(await asyncio.gather(*(one.purge(NOW) for one in (store, opened())))) == 0


async def test_uses_go_to_those_who_came_first(opened: Open) -> None:
    """Of a batch that asks for more uses than a token has left, the first are admitted; who fails otherwise takes none."""
    store = opened()
    token, endless = a_token(max_uses=4, uses=1), a_token("t2", max_uses=0, expires_at=0)
    await store.add_token(token, an_event("", kind="token.issued"))
    await store.add_token(endless, an_event("", kind="token.issued"))
    await store.create(a_client("c0"), an_event("c0"))
    outcomes = await asyncio.gather(
        *(store.create(a_client(f"c{at}"), an_event(f"c{at}"), _spend(token)) for at in range(6)),
        *(store.create(a_client(f"e{at}"), an_event(f"e{at}"), _spend(endless)) for at in range(6)),
        return_exceptions=True,
    )
    assert [type(one) for one in outcomes[:6]] == [Conflict, *[type(None)] * 3, TokenSpent, TokenSpent]
    assert outcomes[6:] == [None] * 6
    assert [one.uses for one in await store.tokens()] == [4, 6]


async def test_a_row_that_cannot_be_stored_takes_nobody_with_it(opened: Open) -> None:
    """Text that PostgreSQL has no characters for is refused alone, and there is nothing to find under it."""
    store = opened()
    writes = [store.create(a_client(f"c{at}"), an_event(f"c{at}")) for at in range(5)]
    bad = [
        store.create(a_client("bad\0"), an_event("bad\0")),
        store.change([Put(an_item("\ud800"))], [an_event("bad")]),
    ]
    outcomes = await asyncio.gather(*writes, *bad, return_exceptions=True)
    assert [type(one) for one in outcomes] == [*[type(None)] * 5, StoreUnavailable, StoreUnavailable]
    assert len(await store.clients(ClientQuery())) == len(await store.events(EventQuery())) == 5
    assert await store.find("main", "bad\0") is None
    await store.create(a_client("after"), an_event("after"))


async def test_too_many_that_wait_are_told_to_come_back(opened: Open) -> None:
    """The queue is bounded; who finds it full hears so at once."""
    store = opened(queue=10)
    outcomes = await asyncio.gather(*(store.record(an_event()) for _ in range(30)), return_exceptions=True)
    refused = [one for one in outcomes if one is not None]
    assert len(refused) == 20
    assert all(isinstance(one, StoreUnavailable) and one.overloaded for one in refused)
    found = await asyncio.gather(*(store.find("main", f"c{at}") for at in range(60)), return_exceptions=True)
    assert 0 < sum(isinstance(one, StoreUnavailable) and one.overloaded for one in found) < 60


async def test_lookups_that_arrive_together_are_one_statement(opened: Open) -> None:
    """A crowd of readers needs a few statements, and each gets its own, or nothing where there is none."""
    store = opened()
    await asyncio.gather(*(store.create(a_client(f"c{at}"), an_event(f"c{at}")) for at in range(50)))
    asked: list[int] = []
    rows = store._rows

    async def counting(sql: str, *values: Any) -> Any:
        asked.append(len(values[0]))
        return await rows(sql, *values)

    store._rows = counting
    names = [f"c{at % 60}" for at in range(240)]
    found = await asyncio.gather(*(store.find("main", name) for name in names))
    assert [one.client_id if one else None for one in found] == [name if int(name[1:]) < 50 else None for name in names]
    assert len(asked) <= 3
    assert found[0] is not found[60]


async def test_writers_never_share_a_sequence_number(opened: Open) -> None:
    """Two writers that happen to make the same number are told apart: the later one makes another."""
    one, other = opened(), opened()
    for store in (one, other):
        await store.record(an_event())
        store._writes._chain._lane, store._writes._chain._last = 7, 2**40
        store._writes._chain._last = 1 << 50
    await one.record(an_event("first"))
    await other.record(an_event("second"))
    events = await one.events(EventQuery(), limit=10)
    assert [event.event.client_id for event in events[2:]] in (["first", "second"], ["second", "first"])
    assert len({event.sequence for event in events}) == 4


# --- the schema -------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(postgres: Server) -> Any:
    """A database without a schema."""
    with postgres.database() as url:
        yield url


def test_both_databases_know_the_same_scripts() -> None:
    """A number means the same on SQLite and PostgreSQL: a registry can be copied from one to the other."""
    folder = resources.files("registrar.storage") / "schema"
    names = [sorted(one.name for one in (folder / database).iterdir()) for database in ("sqlite", "postgres")]
    assert names[0] == names[1]


async def test_replicas_migrate_at_the_same_moment(empty: str) -> None:
    """One of them brings the schema forward, the others find it done; later there is nothing left to do."""
    outcomes = await asyncio.gather(*(migrate(empty) for _ in range(6)))
    assert sorted(outcomes) == [(0, KNOWN), *[(KNOWN, KNOWN)] * 5]
    assert await migrate(empty) == (KNOWN, KNOWN)
    store = open_store(empty)
    await store.create(a_client(), an_event())
    await store.close()


async def test_migrating_takes_its_time(empty: str) -> None:
    """A large table, or another's turn, may take longer than any statement of a server."""
    other = await asyncpg.connect(empty)
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        migrating = asyncio.create_task(migrate(empty, PostgreSQL(connect_seconds=0.3, statement_seconds=0.3)))
        await asyncio.sleep(1.5)
        assert not migrating.done()
    assert await migrating == (0, KNOWN)
    await other.close()


async def test_an_older_schema_is_refused(empty: str) -> None:
    """Nothing is changed by itself; the message names the command. Once that was given, the same store goes on."""
    store = open_store(empty)
    for call in (store.ready, lambda: store.create(a_client(), an_event())):
        with pytest.raises(StoreUnavailable, match=rf"has schema 0, .* needs {KNOWN}: run `registrar migrate`"):
            await call()
    await migrate(empty)
    await store.create(a_client(), an_event())
    await store.close()


async def test_a_newer_schema_is_refused(postgres: Server, own_database: str) -> None:
    """A database that a newer program has migrated is left alone, by the store and by migrating."""
    await postgres.execute(f"INSERT INTO registrar_schema VALUES ({KNOWN + 1})", own_database.rpartition("/")[2])
    store = open_store(own_database)
    for call in (store.ready, lambda: store.record(an_event()), lambda: migrate(own_database)):
        with pytest.raises(StoreUnavailable, match=rf"schema {KNOWN + 1}, .* knows {KNOWN}: a newer program"):
            await call()  # type: ignore[operator]
    with pytest.raises(SchemaMismatch):
        await store.ready()
    await store.close()


async def test_a_migration_is_whole_or_not_at_all(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that fails half-way leaves nothing, not even of the scripts before it."""
    folder = tmp_path / "schema" / "postgres"
    folder.mkdir(parents=True)
    for number, script in enumerate(scripts("postgres"), 1):
        (folder / f"{number:04}.sql").write_text(script)
    (folder / "9999.sql").write_text("CREATE TABLE extra (one TEXT); INSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patch:
        patch.setattr(resources, "files", lambda _: tmp_path)
        with pytest.raises(StoreUnavailable, match="nowhere"):
            await migrate(empty)
    assert await migrate(empty) == (0, KNOWN)


async def test_a_database_of_another_encoding_is_refused(postgres: Server) -> None:
    """Names are in every script of the world, so the database has to be in UTF-8."""
    await postgres.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    store = open_store(postgres.url("latin"))
    with pytest.raises(StoreUnavailable, match="encoding LATIN1; it has to be UTF8"):
        await store.ready()
    await store.close()


async def test_a_commit_is_never_weaker_than_local_and_durable(postgres: Server, own_database: str) -> None:
    """Where the database is configured to answer before it has written, the writer asks for more."""
    name = own_database.rpartition("/")[2]
    await postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = PostgresStore(own_database)
    await store.record(an_event())
    connection = store._writes._connection
    assert connection is not None
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await store.close()
    await postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    store = PostgresStore(own_database)
    await store.record(an_event())
    connection = store._writes._connection
    assert connection is not None
    assert await connection.fetchval("SHOW synchronous_commit") == "remote_apply"
    await store.close()


async def test_a_session_asks_for_the_isolation_that_the_store_is_written_for(
    postgres: Server, own_database: str
) -> None:
    """Whatever the database has as its default: who waited for a row then sees it as it is, and nobody is undone for it."""
    name = own_database.rpartition("/")[2]
    await postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    stores = [PostgresStore(own_database, PostgreSQL(statement_seconds=2)) for _ in range(2)]
    await stores[0].create(a_client(), an_event())
    other = await asyncpg.connect(own_database)
    async with other.transaction():
        await other.execute("UPDATE client SET owner = owner")
        update = asyncio.create_task(stores[1].update(a_client(version=2), [an_event()], expected=1))
        await asyncio.sleep(0.3)
    await update
    assert [(await store.find("main", "c1")) == a_client(version=2) for store in stores] == [True, True]
    connection = stores[1]._writes._connection
    assert connection is not None
    assert await connection.fetchval("SHOW transaction_isolation") == "read committed"
    await other.close()
    for store in stores:
        await store.close()


async def test_a_session_that_reads_nothing_is_closed(postgres: Server, own_database: str) -> None:
    """After `idle_seconds`, so that many replicas do not keep what they needed once."""
    store = PostgresStore(own_database, PostgreSQL(connections=3, idle_seconds=0.3))
    other = await postgres.connect()
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{own_database.rpartition('/')[2]}'"
    await asyncio.gather(*(store.clients(ClientQuery()) for _ in range(12)))
    assert await other.fetchval(sessions) == 3
    async with asyncio.timeout(10):
        while await other.fetchval(sessions):  # noqa: ASYNC110 (what is waited for happens in a server)
            await asyncio.sleep(0.05)
    assert await store.find("main", "c1") is None
    await other.close()
    await store.close()


# --- the address ------------------------------------------------------------------------------------------------------

CONFIGURATION = """
[server]
database = "{database}"
{more}
[issuer.main]
url = "http://127.0.0.1:8000"
"""


async def test_a_password_is_never_told() -> None:
    """Neither an address nor the settings nor an error shows it, wherever in the URL it stands."""
    url = "postgresql://ann:s3cr3t@127.0.0.1:1,127.0.0.1:2/registry?password=0th3r"
    address = Address(url, PostgreSQL())
    assert str(address) == "postgresql://127.0.0.1:1,127.0.0.1:2/registry"
    settings = parse(Document("test", CONFIGURATION.format(database=url, more='key_file = "registrar.key"'))).settings
    store = open_store(url)
    with pytest.raises(StoreUnavailable) as raised:
        await store.ready()
    with pytest.raises(StoreUnavailable) as also_raised:
        await store.record(an_event())
    await store.close()
    for text in (repr(address), repr(settings), repr(raised.value), repr(also_raised.value)):
        assert "s3cr3t" not in text
        assert "0th3r" not in text
    assert "127.0.0.1" in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://host",
        "postgresql://host/",
        "postgresql://u:p@ss@host/db",
        "postgresql://u:p/ss@host/db",
        "postgresql://u:p?s@host/db",
        "postgresql://u:p#s@host/db",
        "postgresql://host/db name",
        "mysql://host/db",
    ],
)
def test_an_address_that_is_not_plain_is_refused(url: str) -> None:
    """What could be read in two ways is not taken, and the refusal says how to write it, without repeating it."""
    with pytest.raises(ConfigurationError) as refused:
        parse(Document("test", CONFIGURATION.format(database=url, more='key_file = "registrar.key"')))
    assert "postgresql://user@host/database" in str(refused.value)
    assert "ss@" not in str(refused.value)
    with pytest.raises(ValueError, match="postgresql://user@host/database"):
        open_store(url)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("", "needs key_file"),
        ('key_file = "k"\n[server.postgresql]\nconnections = 0', "is more than 0"),
        ('key_file = "k"\n[server.postgresql]\nstatement_seconds = 0.0004', "is from 0.001 to 2147483"),
        ('key_file = "k"\n[server.postgresql]\nstatement_seconds = 1e10', "is from 0.001 to 2147483"),
        ('key_file = "k"\n[server.postgresql]\nstatement_seconds = inf', "needs a number"),
        ('key_file = "k"\n[server.postgresql]\nconnect_seconds = nan', "needs a number"),
        ('key_file = "k"\n[server.postgresql]\npool = 3', "unknown setting pool"),
    ],
)
def test_settings_that_cannot_work_are_refused(more: str, complaint: str) -> None:
    """Every replica needs the same keys, so where they are has to be said; and no limit is 0."""
    with pytest.raises(ConfigurationError, match=complaint):
        parse(Document("test", CONFIGURATION.format(database="postgresql://host/db", more=more)))


def test_the_url_chooses_the_store() -> None:
    """Both spellings of the scheme mean PostgreSQL, and nothing is connected to before it is used."""
    assert isinstance(open_store("postgresql://user@nowhere.invalid/db"), PostgresStore)
    assert isinstance(open_store("postgres:///db?host=/run/postgresql"), PostgresStore)
    assert isinstance(open_store("memory:"), MemoryStore)
