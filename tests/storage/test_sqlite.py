"""What SQLite adds to the suite: the file, its schema, several processes on it, and everything that can fail below."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from itertools import chain, pairwise
from pathlib import Path
from typing import IO

import apsw
import msgspec
import pytest
from writing import create, gather, stored

from registrar.domain.client import State
from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered
from registrar.service.administration import issue_token
from registrar.service.ports import (
    ClientQuery,
    Conflict,
    Count,
    Date,
    Drop,
    DropAll,
    EventQuery,
    Look,
    Put,
    Spend,
    StoreUnavailable,
)
from registrar.storage import open_store, records, sqlite_path
from registrar.storage.memory import MemoryStore
from registrar.storage.sqlite import OLDEST, SQLiteStore
from registrar.testing import OPEN, served
from registrar.testing.store_conformance import NOW, a_client, a_key, a_token, an_event, an_item

pytestmark = pytest.mark.anyio

Open = Callable[..., SQLiteStore]
SCHEMA = sorted(
    (resources.files("registrar.storage") / "schema" / "sqlite").iterdir(),
    key=lambda script: script.name,
)


async def turns(count: int = 200) -> None:
    """Let the loop go round, so that whatever can happen without waiting has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_the_file_is_written_ahead_in_large_pages_and_synchronised(sqlite: SQLiteStore, path: Path) -> None:
    """The header says 8 KiB pages and WAL; the connection that writes synchronises, and never waits on the loop."""
    header = await asyncio.to_thread(path.read_bytes)
    assert int.from_bytes(header[16:18]) == 8192
    assert (header[18], header[19]) == (2, 2)
    assert sqlite._engine._db.pragma("synchronous") == 2
    assert sqlite._engine._db.pragma("busy_timeout") == 0
    assert sqlite._read.pragma("query_only") == 1


async def test_only_the_owner_reads_the_files(open_sqlite: Open, path: Path) -> None:
    """The database, its log, its index and its lock are 0600 and the folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        await create(open_sqlite(), "c1")
    finally:
        os.umask(before)
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == {f"registrar.db{ending}": 0o600 for ending in ("", "-wal", "-shm", ".lock")}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.requirement("SEED-62")
async def test_everything_survives_a_restart(open_sqlite: Open) -> None:
    """Clients, tombstones, tokens with their counts, keys and events are there when the file is opened again."""
    first = open_sqlite()
    token = a_token()
    await first.add_token(token, an_event("", kind="token.issued"))
    await first.add_key(a_key(), an_event("", kind="issuer.key_created"))
    await first.create(a_client("a"), an_event("a"), Spend(token.digest, token.created_at))
    await create(first, "b")
    tombstone = a_client("b", version=2, state=State.DELETED, credentials=Credentials())
    await first.update(tombstone, [an_event("b", kind="client.deleted")], expected=1)
    before = await first.events(EventQuery())
    await first.close()

    second = open_sqlite()
    assert await second.find("main", "a") == a_client("a")
    assert await second.find("main", "b") == tombstone
    assert [(one.token_id, one.uses) for one in await second.tokens()] == [("t1", 1)]
    assert list(await second.keys("main")) == [a_key()]
    assert await second.events(EventQuery()) == before
    await create(second, "c")
    after = await second.events(EventQuery(), after=before[-1].sequence)
    assert [(one.event.client_id, one.batch, one.position) for one in after] == [("c", 1, 0)]
    assert after[0].writer != before[0].writer


async def test_a_closed_store_leaves_one_whole_file(sqlite: SQLiteStore, path: Path) -> None:
    """After close the log is folded in, so that the file alone can be copied away."""
    await create(sqlite, "c1")
    await sqlite.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["registrar.db", "registrar.db.lock"]


def test_a_url_names_the_store(path: Path) -> None:
    """A database URL opens memory or a file, relative or absolute; another one is refused with the forms there are."""
    assert isinstance(open_store("memory:"), MemoryStore)
    store = open_store(f"sqlite:///{path}")
    assert isinstance(store, SQLiteStore)
    asyncio.run(store.close())
    assert sqlite_path("sqlite:///var/registrar.db") == Path("var/registrar.db")
    assert sqlite_path("sqlite:////var/registrar.db") == Path("/var/registrar.db")
    for url in ("sqlite:///", "mysql://host/db", "registrar.db", ""):
        with pytest.raises(ValueError, match=r"sqlite:///path, postgresql://user@host/database or memory:"):
            open_store(url)


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_scripts_are_numbered_without_gaps() -> None:
    """Each script brings the schema from one number to the next."""
    assert [int(script.name.partition("_")[0]) for script in SCHEMA] == list(range(1, len(SCHEMA) + 1))


async def test_a_newer_schema_is_refused(open_sqlite: Open, path: Path) -> None:
    """A file that a newer program wrote is left alone, and the message says so; the lock is not kept either."""
    await open_sqlite().close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", len(SCHEMA) + 1)
    with pytest.raises(
        StoreUnavailable, match=rf"has schema {len(SCHEMA) + 1}, .* knows {len(SCHEMA)}: a newer program"
    ):
        open_sqlite()
    assert db.pragma("user_version") == len(SCHEMA) + 1
    db.pragma("user_version", len(SCHEMA))
    db.close()
    await create(open_sqlite(), "c1")


@pytest.mark.parametrize("version", range(len(SCHEMA)))
async def test_an_older_schema_is_brought_forward(open_sqlite: Open, path: Path, version: int) -> None:
    """A file with the first scripts applied gets the others, and works."""
    path.parent.mkdir()
    db = apsw.Connection(str(path))
    for script in SCHEMA[:version]:
        db.execute(script.read_text("utf-8"))
    db.pragma("user_version", version)
    db.close()
    store = open_sqlite()
    assert store._read.pragma("user_version") == len(SCHEMA)
    await create(store, "c1")
    assert await stored(store) == ["c1"]


async def test_signing_keys_survive_the_move_to_generations(open_sqlite: Open, path: Path) -> None:
    """A key of the time before generations is the first of its algorithm, and the next one can stand beside it."""
    path.parent.mkdir()
    db = apsw.Connection(str(path))
    for script in SCHEMA[:2]:
        db.execute(script.read_text("utf-8"))
    old = msgspec.json.decode(records.encode(a_key(generation=1)))
    del old["generation"]
    columns = ("main", "k1", "RS256", old["created_at"], msgspec.json.encode(old))
    db.execute("INSERT INTO signing_key VALUES (?, ?, ?, ?, ?)", columns)
    db.pragma("user_version", 2)
    db.close()
    store = open_sqlite()
    assert list(await store.keys("main")) == [a_key(generation=1)]
    with pytest.raises(Conflict):
        await store.add_key(a_key("k2", generation=1), an_event("", kind="issuer.key_created"))
    await store.add_key(a_key("k2", generation=2), an_event("", kind="issuer.key_created"))


async def test_a_migration_is_whole_or_not_at_all(
    open_sqlite: Open, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that fails half-way leaves the schema as it was before it, and the next start brings it forward."""
    (tmp_path / "schema" / "sqlite").mkdir(parents=True)
    for script in SCHEMA:
        (tmp_path / "schema" / "sqlite" / script.name).write_text(script.read_text("utf-8"))
    extra = tmp_path / "schema" / "sqlite" / "9999_extra.sql"
    extra.write_text("CREATE TABLE extra (one TEXT); INSERT INTO nowhere VALUES (1);")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(StoreUnavailable, match="nowhere"):
        open_sqlite()
    db = apsw.Connection(str(path))
    assert db.pragma("user_version") == len(SCHEMA)
    assert not db.table_exists(None, "extra")
    db.close()
    extra.write_text("CREATE TABLE extra (one TEXT);")
    await create(open_sqlite(), "c1")


def test_sqlite_itself_is_recent_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled SQLite has the WAL repair, and a program with an older one says so instead of starting."""
    assert OLDEST >= (3, 51, 3)
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= OLDEST
    monkeypatch.setattr("registrar.storage.sqlite.OLDEST", (99, 1))
    with pytest.raises(StoreUnavailable, match=r"SQLite 3\.\S+ is older than 99\.1"):
        SQLiteStore(path)


def test_what_is_no_database_is_refused_by_its_name(path: Path) -> None:
    """Another file, or a folder that cannot be, gives StoreUnavailable with the path in it."""
    path.parent.mkdir()
    path.write_bytes(b"These are my holiday notes." * 400)
    with pytest.raises(StoreUnavailable, match=r"registrar\.db: .*not a database"):
        SQLiteStore(path)
    assert path.read_bytes() == b"These are my holiday notes." * 400
    with pytest.raises(StoreUnavailable, match=r"registrar\.db/below\.db"):
        SQLiteStore(path / "below.db")


# --- several callers --------------------------------------------------------------------------------------------------


async def test_concurrent_writers_share_a_commit(sqlite: SQLiteStore) -> None:
    """Fifty registrations that arrive together are one batch: one synchronisation of the disk for all."""
    assert await gather([create(sqlite, f"c{number}") for number in range(50)]) == [None] * 50
    events = await sqlite.events(EventQuery())
    assert [(one.batch, one.position) for one in events] == [(1, number) for number in range(50)]


async def test_a_full_queue_says_overloaded(open_sqlite: Open) -> None:
    """Beyond the queue's bound writers are told at once; what was taken is stored, the rest leaves nothing."""
    store = open_sqlite(queue=4)
    outcomes = await gather([create(store, f"c{number}") for number in range(10)])
    assert outcomes[:4] == [None] * 4
    assert all(isinstance(one, StoreUnavailable) and one.overloaded for one in outcomes[4:])
    assert await stored(store) == ["c0", "c1", "c2", "c3"]


async def test_cancelled_callers_take_nobody_along(sqlite: SQLiteStore) -> None:
    """Callers that go away, before or while their batch is written, leave whole clients and answered neighbours."""
    tasks = [asyncio.create_task(create(sqlite, f"c{number:02}")) for number in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::4]:
        task.cancel()
    more = [asyncio.create_task(create(sqlite, f"d{number:02}")) for number in range(40)]
    await asyncio.sleep(0)
    for task in (*tasks[1::4], *more[::2]):
        task.cancel()
    outcomes = await asyncio.gather(*tasks, *more, return_exceptions=True)
    assert {type(one) for one in outcomes} == {type(None), asyncio.CancelledError}
    await create(sqlite, "last")
    names = await stored(sqlite)
    answered = [f"{'cd'[at // 40]}{at % 40:02}" for at, outcome in enumerate(outcomes) if outcome is None]
    assert set(answered) | {"last"} <= set(names)


async def test_close_finishes_what_was_submitted(open_sqlite: Open) -> None:
    """Writes that were submitted when close was called are stored and answered."""
    store = open_sqlite()
    tasks = [asyncio.create_task(create(store, f"c{number:03}")) for number in range(600)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*tasks) == [None] * 600
    assert len(await stored(open_sqlite())) == 600


@pytest.mark.parametrize("at", [0, 2, 4])
async def test_an_operation_that_breaks_does_not_fail_its_neighbours(sqlite: SQLiteStore, at: int) -> None:
    """What cannot be written down breaks inside the batch; the others of the batch are stored all the same."""
    await create(sqlite, "c")
    broken = a_client("c", version=2, metadata=Registered({"client_name": object()}))
    writes = [create(sqlite, f"n{number}") for number in range(4)]
    writes.insert(at, sqlite.update(broken, [an_event("c", kind="client.updated")], expected=1))
    outcomes = await gather(writes)
    assert [type(one) for one in outcomes] == [StoreUnavailable if place == at else type(None) for place in range(5)]
    assert await stored(sqlite) == ["c", "n0", "n1", "n2", "n3"]
    assert await sqlite.find("main", "c") == a_client("c")
    events = await sqlite.events(EventQuery())
    assert [one.event.kind for one in events] == ["client.registered"] * 5
    assert [one.batch for one in events] == [1, 2, 3, 4, 5]


# --- several processes ------------------------------------------------------------------------------------------------

REGISTER = """
import asyncio, json, sys
from pathlib import Path
from registrar.domain.credentials import digest
from registrar.service.ports import Spend, TokenSpent
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import NOW, a_client, an_event

async def main(path, name, count):
    store = SQLiteStore(Path(path))
    print("ready", flush=True)
    input()
    stored = []
    async def register(number):
        client_id = f"{name}{number:03}"
        try:
            await store.create(a_client(client_id), an_event(client_id), Spend(digest("t1"), NOW))
        except TokenSpent:
            return
        stored.append(client_id)
    for first in range(0, count, 10):
        await asyncio.gather(*(register(number) for number in range(first, first + 10)))
    await store.close()
    print(json.dumps(stored))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.requirement("R7591-72")
async def test_a_token_holds_across_processes(open_sqlite: Open, path: Path) -> None:
    """Two processes that spend one token of 137 uses store 137 clients in all, and each keeps its own chain."""
    store = open_sqlite()
    await store.add_token(a_token(max_uses=137), an_event("", kind="token.issued"))
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", REGISTER, str(path), name, "200", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    answered = [json.loads(output) for output, _ in outputs]
    assert len(answered[0]) + len(answered[1]) == 137
    assert await stored(store) == sorted(chain(*answered))
    assert [token.uses for token in await store.tokens()] == [137]
    events = await store.events(EventQuery(kind="client.registered"), limit=10_000)
    for writer in {one.writer for one in events}:
        batches = [one.batch for one in events if one.writer == writer]
        assert batches == sorted(batches)
        assert set(batches) == set(range(1, batches[-1] + 1))


async def test_two_stores_on_one_file_see_each_other(open_sqlite: Open) -> None:
    """What one has answered, the other finds at once; of two updates of one version, one wins across them."""
    one, other = open_sqlite(), open_sqlite()
    await create(one, "c1")
    assert await other.find("main", "c1") == a_client("c1")
    for version in range(1, 20):
        outcomes = await gather(
            [store.update(a_client("c1", version=version + 1), [], expected=version) for store in (one, other)]
        )
        assert sorted(outcome is None for outcome in outcomes) == [False, True]


@pytest.fixture
def lock(path: Path) -> Iterator[IO[str]]:
    """The lock of the batches, as another process has it open."""
    path.parent.mkdir()
    with Path(f"{path}.lock").open("x") as lock:
        yield lock


async def test_a_batch_of_another_process_only_delays(lock: IO[str], open_sqlite: Open) -> None:
    """While another process writes its batch, writers wait, readers read, and the loop goes round."""
    sqlite = open_sqlite()
    await create(sqlite, "before")
    fcntl.flock(lock, fcntl.LOCK_EX)
    task = asyncio.create_task(create(sqlite, "during"))
    await turns()
    assert not task.done()
    assert sqlite._engine._db.get_autocommit()  # it has not even begun
    assert await stored(sqlite) == ["before"]
    fcntl.flock(lock, fcntl.LOCK_UN)
    await task
    assert await stored(sqlite) == ["before", "during"]


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
input()
db.execute("ROLLBACK")
"""


@pytest.fixture
def another_program(sqlite: SQLiteStore, path: Path) -> Iterator[subprocess.Popen[str]]:  # noqa: ARG001 (what it locks)
    """A program that knows nothing of our lock and holds SQLite's, until it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        if process.poll() is None:
            process.communicate("\n", timeout=30)


async def test_another_program_only_delays(sqlite: SQLiteStore, another_program: subprocess.Popen[str]) -> None:
    """While a shell or a backup holds the write lock, writers wait, readers read, and then all is stored."""
    tasks = [asyncio.create_task(create(sqlite, name)) for name in ("a", "b")]
    await turns()
    assert not any(task.done() for task in tasks)
    assert await stored(sqlite) == []
    await asyncio.to_thread(another_program.communicate, "\n", timeout=30)
    await asyncio.gather(*tasks)
    assert await stored(sqlite) == ["a", "b"]


async def test_another_program_does_not_delay_for_ever(
    sqlite: SQLiteStore, another_program: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the patience of a writer is over, all who wait hear StoreUnavailable; later the store works again."""
    monkeypatch.setattr("registrar.storage.sqlite._PATIENCE_MS", 20)
    outcomes = await gather([create(sqlite, f"c{number}") for number in range(10)])
    assert {type(one) for one in outcomes} == {StoreUnavailable}
    assert {str(one) for one in outcomes} == {"BusyError: database is locked"}
    await asyncio.to_thread(another_program.communicate, "\n", timeout=30)
    await create(sqlite, "later")
    assert await stored(sqlite) == ["later"]


# --- the use cases on it ----------------------------------------------------------------------------------------------

BY_TOKEN = OPEN.replace('"open"', '"client"')
REGISTRATION = {"redirect_uris": ["https://app.example/cb"], "client_name": "App"}


@pytest.mark.requirement("R7591-72", "SEED-23")
async def test_a_single_use_token_registers_one_of_many(sqlite: SQLiteStore) -> None:
    """Of twenty concurrent requests with a token of one use, one is answered 201 and nineteen 401; so is a later one."""
    async with served(BY_TOKEN, store=sqlite) as server:
        value, token = await issue_token(server.registry, server.issuer, server.operator)
        assert token.max_uses == 1
        headers = {"authorization": f"Bearer {value}"}

        async def register() -> int:
            answer = await server.client.post("/register", json=REGISTRATION, headers=headers)
            return answer.status_code

        assert sorted(await asyncio.gather(*(register() for _ in range(20)))) == [201] + [401] * 19
        assert await register() == 401
        assert len(await stored(sqlite)) == 1
        assert [one.uses for one in await sqlite.tokens()] == [1]


@pytest.mark.requirement("R7592-22")
async def test_concurrent_updates_serialise(sqlite: SQLiteStore) -> None:
    """Of concurrent PUTs each is answered 200 and told by an event, or 503 and without effect; versions form a line."""
    async with served(store=sqlite) as server:
        registered = (await server.client.post("/register", json=REGISTRATION)).json()
        uri, client_id = registered["registration_client_uri"], registered["client_id"]
        headers = {"authorization": f"Bearer {registered['registration_access_token']}"}

        async def update(number: int) -> int:
            body = REGISTRATION | {"client_id": client_id, "client_name": f"App {number}"}
            return (await server.client.put(uri, json=body, headers=headers)).status_code

        statuses = await asyncio.gather(*(update(number) for number in range(8)))
        assert set(statuses) <= {200, 503}
        events = await sqlite.events(EventQuery(kind="client.updated"))
        bodies = [json.loads(one.event.body) for one in events]
        assert [body["version"] for body in bodies] == list(range(2, 2 + statuses.count(200)))
        names = ["App", *(body["client_name"] for body in bodies)]
        assert [body["difference"]["client_name"] for body in bodies] == [list(pair) for pair in pairwise(names)]
        assert {f"App {number}" for number, status in enumerate(statuses) if status == 200} == set(names[1:])
        shown = (await server.client.get(uri, headers=headers)).json()
        assert shown["client_name"] == names[-1]
        assert shown["client_secret"] == registered["client_secret"]


@pytest.mark.requirement("R7592-22")
async def test_a_refused_update_changes_nothing(sqlite: SQLiteStore) -> None:
    """After a PUT that fails its validation the record is, byte for byte, what it was, credentials included."""
    async with served(store=sqlite) as server:
        registered = (await server.client.post("/register", json=REGISTRATION)).json()
        uri, client_id = registered["registration_client_uri"], registered["client_id"]
        headers = {"authorization": f"Bearer {registered['registration_access_token']}"}
        before = await sqlite.find("main", client_id)
        for wrong in (
            {"redirect_uris": ["javascript:alert(1)"]},
            {"client_id": "another"},
            {"client_secret": "mine"},
            {"jwks": 1, "jwks_uri": 2},
        ):
            body = REGISTRATION | {"client_id": client_id} | wrong
            assert (await server.client.put(uri, json=body, headers=headers)).status_code == 400
        assert await sqlite.find("main", client_id) == before
        assert await sqlite.events(EventQuery(kind="client.updated")) == []


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.events(EventQuery(client_id="c")), "event_of_client"),
        (lambda store: store.events(EventQuery("main", "client.read", "c"), after=5), "event_of_client"),
        (lambda store: store.events(EventQuery(kind="audit.pruned"), after=5), "event_of_kind (kind=? AND sequence>?)"),
        (
            lambda store: store.events(EventQuery("main", "audit.pruned"), after=5),
            "event_of_kind (kind=? AND sequence>?)",
        ),
        (lambda store: store.clients(ClientQuery("main", terms=("host=a",))), "SEARCH t0 USING"),
        (lambda store: store.clients(ClientQuery("main", terms=("host=a", "flag=b"))), "SEARCH t1 USING"),
        (lambda store: store.count(ClientQuery("main", terms=("owner=a",))), "SEARCH t0 USING"),
        (lambda store: store.count(ClientQuery("main", terms=("owner=a", "host=a"))), "SEARCH t1 USING"),
        (lambda store: store.clients(ClientQuery("main"), after=("main", "c")), "(issuer=? AND client_id>?)"),
        (lambda store: store.tokens("main", after=("main", "t")), "(issuer=? AND token_id>?)"),
        (lambda store: store.clients(ClientQuery("main", template="t")), "client_of_template"),
        (lambda store: store.due(NOW), "client_due"),
        (lambda store: store.log(after=5), "batch_in_log"),
        (lambda store: store.batches(unplaced=True), "batch_waiting"),
        (lambda store: store.told("w", 1, 5), "event_of_batch"),
        (
            lambda store: store.items("main", "code", client_id="c", after="k"),
            "item_of_client (issuer=? AND client_id=? AND kind=? AND key>?)",
        ),
        (
            lambda store: store.items("main", "grant", owner="ann", after="k"),
            "item_of_owner (issuer=? AND owner=? AND kind=? AND key>?)",
        ),
        (lambda store: store.items("main", "code", client_id="c", owner="ann"), "item_of_owner (issuer=?"),
        (lambda store: store.count_items("main", "cap_client", "cap"), "COVERING INDEX item_of_owner"),
    ],
)
async def test_what_is_asked_for_is_found_by_its_index(
    tmp_path: Path, ask: Callable[[SQLiteStore], Awaitable[object]], index: str
) -> None:
    """However many rows there are: a plan that reads them all would be found out in production alone."""
    store = SQLiteStore(tmp_path / "registrar.db")
    on_loop, beside = asked(store)
    await ask(store)
    sql, values = [*on_loop, *beside][-1]
    plan = " ".join(str(row[3]) for row in store._read.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    assert index in plan
    assert "SCAN event" not in plan
    assert "SCAN client" not in plan
    await store.close()


Asked = list[tuple[str, tuple[object, ...]]]


def asked(store: SQLiteStore) -> tuple[Asked, Asked]:
    """The statements that a store reads by from now on, with their values: those on the loop, and those beside it."""
    on_loop, beside, query, search = Asked(), Asked(), store._query, store._searches.rows

    def queried(sql: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        on_loop.append((sql, values))
        return query(sql, values)

    async def searched(sql: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        beside.append((sql, values))
        return await search(sql, values)

    store._query, store._searches.rows = queried, searched
    return on_loop, beside


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.events(EventQuery(kind="audit.pruned")),
        lambda store: store.events(EventQuery("main")),
        lambda store: store.events(EventQuery("main", "client.updated", "c1")),
        lambda store: store.tally(),
        lambda store: store.count(ClientQuery()),
        lambda store: store.count(ClientQuery("main", State.DELETED)),
        lambda store: store.clients(ClientQuery("main", State.PENDING)),
        lambda store: store.clients(ClientQuery("main", owner="ann")),
        lambda store: store.clients(ClientQuery("main", terms=("host=a", "flag=b"))),
        lambda store: store.clients(ClientQuery("main", template="t", terms=("flag=b",))),
    ],
)
async def test_nobody_waits_while_others_look_for_what_no_index_has(
    tmp_path: Path, ask: Callable[[SQLiteStore], Awaitable[object]]
) -> None:
    """What may look at every row does it on a thread: a registry of a million would stand still for so long."""
    store = SQLiteStore(tmp_path / "registrar.db")
    on_loop, beside = asked(store)
    found, going = store._searches._found, threading.Event()

    def slowly(sql: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        assert going.wait(20)
        return found(sql, values)

    store._searches._found = slowly
    search = asyncio.ensure_future(ask(store))
    await store.create(a_client(), an_event())
    assert await store.find("main", "c1")
    assert not search.done()
    going.set()
    await search
    assert beside
    assert [sql for sql, _ in on_loop if "client_id = ?" not in sql] == []
    await store.close()


async def test_what_caps_ask_is_answered_on_the_loop(tmp_path: Path) -> None:
    """They are asked with registrations, and few rows of an index answer them."""
    store = SQLiteStore(tmp_path / "registrar.db")
    _, beside = asked(store)
    query = ClientQuery("main", terms=("owner=ann",))
    await store.create(a_client(), an_event())
    for most in (0, 1, 5_000):
        await store.count(query, most=most)
    await store.clients(query, limit=4)
    await store.count_items("main", "cap_client", "cap")
    assert not beside
    await store.close()


async def test_many_are_counted_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, or as many as are asked for."""
    monkeypatch.setattr("registrar.storage.sqlite._FEW", 3)
    store = SQLiteStore(tmp_path / "registrar.db")
    for at in range(5):
        await store.create(a_client(f"c{at}", labels={"tenant": "acme"}), an_event(f"c{at}"))
    query = ClientQuery("main", terms=("label.tenant=acme",))
    assert [await store.count(query, most=most) for most in (0, 2, 3, 4, 9)] == [5, 2, 3, 4, 5]
    await store.close()


async def test_the_rarest_term_comes_first(tmp_path: Path) -> None:
    """Whatever the order in which they are asked: of the first, all clients are looked at."""
    store = SQLiteStore(tmp_path / "registrar.db")
    for at in range(20):
        flags = ("rule.brands",) if at == 7 else ()
        await store.create(a_client(f"c{at:02d}", labels={"tenant": "acme"}, flags=flags), an_event(f"c{at:02d}"))
    terms = ("label.tenant=acme", "flag=rule.brands")
    for order in (terms, terms[::-1]):
        query = ClientQuery("main", terms=order)
        assert (await store._rarest_first(query)).terms == terms[::-1]
        assert [one.client_id for one in await store.clients(query)] == ["c07"]
        assert await store.count(query) == 1
    await store.close()


async def test_others_have_their_turn_between_pages(tmp_path: Path) -> None:
    """Who reads page after page, for an export or a list, never waits for anything else."""
    store = SQLiteStore(tmp_path / "registrar.db")
    await store.change([Put(an_item(f"i{at:04d}")) for at in range(1_000)])
    turns_had = 0

    async def other() -> None:
        nonlocal turns_had
        while True:
            turns_had += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    after, pages = "", 0
    while page := await store.items("main", "code", after=after, limit=100):
        after, pages = page[-1].key, pages + 1
    assert turns_had >= pages == 10
    task.cancel()
    await store.close()


@pytest.mark.parametrize("held", [2, 3, 40])
async def test_nobody_waits_while_much_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """What many people have allowed one client goes with it in one write, and on the loop only where it is little."""
    monkeypatch.setattr("registrar.storage.sqlite._DROPPED", 3)
    store = SQLiteStore(tmp_path / "registrar.db")
    await store.create(a_client(), an_event())
    await store.change([Put(an_item(f"i{at}", client_id="c1", owner=f"o{at}")) for at in range(held)])
    await store.change([Put(an_item("other", client_id="c2", owner="ann"))])
    threads: list[bool] = []

    def seen(_: apsw.Cursor, sql: str, __: object) -> bool:
        if sql.startswith("DELETE FROM item"):
            threads.append(threading.current_thread() is threading.main_thread())
        return True

    store._engine._db.exec_trace = seen
    await store.update(a_client(version=2, state=State.DELETED), [an_event(kind="client.deleted")], expected=1)
    store._engine._db.exec_trace = None
    assert threads == [held < 3]
    assert [one.key for one in await store.items("main", "code")] == ["other"]
    await store.close()


async def test_a_store_that_closes_gives_up_what_it_looks_for(tmp_path: Path) -> None:
    """And what waits for its turn behind that: nobody waits for minutes to stop a server."""
    store = SQLiteStore(tmp_path / "registrar.db")
    await store.tally()
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    searches = [asyncio.create_task(store._search(endless, ())) for _ in range(2)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(store.close(), 10)
    for search in searches:
        with pytest.raises(StoreUnavailable):
            await search
    with pytest.raises(StoreUnavailable):
        await store.tally()


async def test_what_is_written_is_found_by_its_keys(tmp_path: Path) -> None:
    """To delete one client among a million must not read what belongs to the others: no write looks at a whole issuer."""
    store = SQLiteStore(tmp_path / "registrar.db")
    written: dict[str, tuple[object, ...]] = {}

    def seen(_: apsw.Cursor, sql: str, values: tuple[object, ...] | None) -> bool:
        written[sql] = values or ()
        return True

    store._engine._db.exec_trace = seen
    token = a_token(max_uses=2)
    await store.add_token(token, an_event("", kind="token.issued"))
    await store.create(a_client(), an_event(), Spend(token.digest, NOW), [Count("main", 5), Put(an_item(), 0)])
    await store.update(a_client(version=2), [an_event()], expected=1, changes=[Put(an_item(), an_item().version)])
    await store.change(
        [DropAll("main", "c1", "ann"), DropAll("main", owner="ann", kind="code"), Drop("main", "code", "i1")]
    )
    await store.change([Look([Date("main", "c1", 5, 7)])])
    await store.update(a_client(version=3, state=State.DELETED), [an_event(kind="client.deleted")], expected=2)
    await store.purge(NOW)
    store._engine._db.exec_trace = None
    deleting = [sql for sql in written if sql.startswith("DELETE FROM item WHERE issuer")]
    assert len(deleting) >= 3
    for sql, values in written.items():
        if sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "INSERT INTO item")):
            continue
        plan = [str(row[3]) for row in store._read.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not [step for step in plan if step.startswith("SCAN") or step.endswith("(issuer=?)")], sql
    await store.close()
