"""What SQLite adds to the suite: the file, and the use cases on it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import apsw
import msgspec
import pytest
from writing import create, stored

from registrar.domain.client import State
from registrar.domain.credentials import Credentials
from registrar.service.initial_access import issue_token
from registrar.service.ports import EventQuery, Put, Spend, StoreUnavailable
from registrar.storage import open_store, sqlite_path
from registrar.storage.memory import MemoryStore
from registrar.storage.sqlite import SQLiteStore
from registrar.storage.sqlite.connection import OLDEST
from registrar.testing import OPEN, served
from registrar.testing.store_conformance import a_client, a_key, a_token, an_event, an_item

pytestmark = pytest.mark.anyio

Open = Callable[..., SQLiteStore]


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


async def test_a_successor_of_the_same_client_and_person_writes_two_pages(sqlite: SQLiteStore, path: Path) -> None:
    """Its row, and when it ends; the indexes of whose it is are left alone, and written where that changes."""
    await sqlite.change([Put(an_item(version=1), 0)])
    renewed = an_item(body=b"used", version=2, expires_at=an_item().expires_at + 60)
    for successor, pages in ((renewed, 2), (msgspec.structs.replace(renewed, version=3, owner="bob"), 4)):
        sqlite._engine._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        await sqlite.change([Put(successor, successor.version - 1)])
        assert (await asyncio.to_thread(Path(f"{path}-wal").stat)).st_size == 32 + pages * (24 + 8192)


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


def test_sqlite_itself_is_recent_enough(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled SQLite has the WAL repair, and a program with an older one says so instead of starting."""
    assert OLDEST >= (3, 51, 3)
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= OLDEST
    monkeypatch.setattr("registrar.storage.sqlite.connection.OLDEST", (99, 1))
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
