"""Who writes to SQLite: several callers, several processes, and what is written by its keys."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import apsw
import pytest
from writing import create, gather, stored

from registrar.domain.client import State
from registrar.domain.metadata import Registered
from registrar.service.ports import Count, Date, Drop, DropAll, EventQuery, Look, Put, Spend, StoreUnavailable
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import NOW, a_client, a_token, an_event, an_item

pytestmark = pytest.mark.anyio

Open = Callable[..., SQLiteStore]


async def turns(count: int = 200) -> None:
    """Let the loop go round, so that whatever can happen without waiting has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


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
    monkeypatch.setattr("registrar.storage.sqlite.engine.PATIENCE_MS", 20)
    outcomes = await gather([create(sqlite, f"c{number}") for number in range(10)])
    assert {type(one) for one in outcomes} == {StoreUnavailable}
    assert {str(one) for one in outcomes} == {"BusyError: database is locked"}
    await asyncio.to_thread(another_program.communicate, "\n", timeout=30)
    await create(sqlite, "later")
    assert await stored(sqlite) == ["later"]


# --- how much is written, and how it is found --------------------------------------------------------------------------


@pytest.mark.parametrize("held", [2, 3, 40])
async def test_nobody_waits_while_much_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """What many people have allowed one client goes with it in one write, and on the loop only where it is little."""
    monkeypatch.setattr("registrar.storage.sqlite.store._DROPPED", 3)
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
