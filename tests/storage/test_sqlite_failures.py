"""What can fail below SQLite, and what is left after it: refused commits, full and broken disks, power cuts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from writing import create, gather, stored

from registrar.service.initial_access import issue_token
from registrar.service.ports import EventQuery, StoreUnavailable
from registrar.storage.sqlite import SQLiteStore
from registrar.testing import OPEN, served
from registrar.testing.store_conformance import a_client, an_event

pytestmark = pytest.mark.anyio


class Disk(apsw.VFS):
    """An SQLite VFS over the real one: it can fail, and at a power cut it forgets what was never synchronised.

    While it is registered, every connection that is opened goes through it.

    Attributes:
        durable: file name -> what the file held when it was last synchronised; a power cut leaves this and no more.
        fails_to_sync: whether synchronising a write-ahead log fails.
        full: whether there is no room for another byte of a write-ahead log.
    """

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}
        self.fails_to_sync = False
        self.full = False
        self._under = apsw.vfs_names()[0]
        super().__init__("failing", self._under, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (SQLite's name)
        """Open a file of the real disk."""
        return _File(self, self._under, name, flags)

    def xDelete(self, path: str, sync_folder: bool) -> None:  # noqa: N802 (SQLite's name)
        """Delete a file for good."""
        super().xDelete(path, sync_folder)
        self.durable.pop(Path(path).name, None)

    def power_cut(self, folder: Path) -> Path:
        """Cut the power, as seen from a copy: in `folder` lies what would be found when it is back."""
        folder.mkdir(parents=True)
        for name, content in self.durable.items():
            (folder / name).write_bytes(content)
        return folder


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, under: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = Path(os.fsdecode(name.filename() if isinstance(name, apsw.URIFilename) else name or ""))
        super().__init__(under, name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's name)
        """Synchronise, and remember what is safe now."""
        if self._disk.fails_to_sync and self._path.name.endswith("-wal"):
            raise apsw.IOError("the disk does not answer")
        super().xSync(flags)
        self._disk.durable[self._path.name] = self._path.read_bytes()

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (SQLite's name)
        """Write, unless there is no room left."""
        if self._disk.full and self._path.name.endswith("-wal"):
            raise apsw.FullError("no space is left")
        super().xWrite(data, offset)


async def fails(store: SQLiteStore, reason: str) -> None:
    """Every one of ten concurrent writers hears StoreUnavailable, and nothing at all is stored."""
    before, told = await stored(store), await store.events(EventQuery(), limit=10_000)
    writes = [create(store, f"lost{number}") for number in range(9)]
    outcomes = await gather([*writes, store.record(an_event("", kind="registration.refused"))])
    assert {type(one) for one in outcomes} == {StoreUnavailable}
    assert all(reason in str(one) for one in outcomes), outcomes
    assert not any(one.overloaded for one in outcomes if isinstance(one, StoreUnavailable))
    assert await stored(store) == before
    assert await store.events(EventQuery(), limit=10_000) == told


async def works(store: SQLiteStore) -> None:
    """The store goes on where it was, and its chain of batches has no gap."""
    before = await store.events(EventQuery(), limit=10_000)
    assert await gather([create(store, f"lost{number}") for number in range(9)]) == [None] * 9
    assert len(await stored(store)) == len(before) + 9
    after = await store.events(EventQuery(), after=before[-1].sequence)
    assert [(one.batch, one.position) for one in after] == [(before[-1].batch + 1, number) for number in range(9)]


async def test_a_commit_that_is_refused(sqlite: SQLiteStore) -> None:
    """A COMMIT that fails reaches every waiter, nothing is stored, and the store works again afterwards."""
    await create(sqlite, "c1")
    sqlite._engine._db.set_commit_hook(lambda: True)
    await fails(sqlite, "ConstraintError")
    sqlite._engine._db.set_commit_hook(None)
    await works(sqlite)


async def test_a_database_that_may_not_grow(sqlite: SQLiteStore) -> None:
    """At the limit of its pages a write fails inside its batch: what is answered is stored, what is not is not."""
    await create(sqlite, "c")
    db = sqlite._engine._db
    db.pragma("max_page_count", db.pragma("page_count") + 2)
    names = [f"n{number:02}" for number in range(60)]
    outcomes = await gather([create(sqlite, name) for name in names])
    assert {type(one) for one in outcomes} == {type(None), StoreUnavailable}
    assert all("FullError" in str(one) for one in outcomes if one is not None)
    assert await stored(sqlite) == ["c", *(name for name, one in zip(names, outcomes, strict=True) if one is None)]
    db.pragma("max_page_count", 2**31)
    await works(sqlite)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that can fail, below everything that is opened while the test runs."""
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.fixture
async def on_disk(disk: Disk, path: Path) -> AsyncIterator[SQLiteStore]:
    """A store on that disk."""
    store = SQLiteStore(path)
    yield store
    disk.fails_to_sync = disk.full = False
    await store.close()


async def test_a_disk_that_does_not_synchronise(on_disk: SQLiteStore, disk: Disk) -> None:
    """When fsync fails nobody is told that anything is stored, and when it works again, so does the store."""
    await create(on_disk, "c1")
    disk.fails_to_sync = True
    await fails(on_disk, "IOError")
    await fails(on_disk, "IOError")
    disk.fails_to_sync = False
    await works(on_disk)


async def test_a_full_disk(on_disk: SQLiteStore, disk: Disk) -> None:
    """When no space is left nobody is told that anything is stored; reading goes on, and space brings it back."""
    await create(on_disk, "c1")
    disk.full = True
    await fails(on_disk, "FullError")
    assert await on_disk.find("main", "c1") == a_client("c1")
    disk.full = False
    await works(on_disk)


@pytest.mark.requirement("SEED-62")
async def test_a_power_cut_loses_nothing_that_was_answered(
    on_disk: SQLiteStore, disk: Disk, tmp_path: Path, path: Path
) -> None:
    """What had been synchronised when a write was answered holds that write, its event, and all before it.

    A killed process leaves the operating system's cache; a power cut does not. So the file is taken as it was last
    synchronised, at each of thirty answers, through checkpoints of the log.
    """
    on_disk._engine._db.execute("PRAGMA wal_autocheckpoint = 5")
    answered: list[list[str]] = []
    for wave in range(15):
        await gather([create(on_disk, f"{wave:02}-{number}") for number in range(4)])
        disk.power_cut(tmp_path / f"cut{len(answered)}")
        answered.append(await stored(on_disk))
        update = a_client(f"{wave:02}-0", version=2)
        await on_disk.update(update, [an_event(f"{wave:02}-0", kind="client.updated")], expected=1)
        disk.power_cut(tmp_path / f"cut{len(answered)}")
        answered.append(await stored(on_disk))
    for at, names in enumerate(answered):
        found = SQLiteStore(tmp_path / f"cut{at}" / path.name)
        assert await stored(found) == names
        updated = await found.events(EventQuery(kind="client.updated"))
        assert len(updated) == (at + 1) // 2
        for one in updated:
            client = await found.find("main", one.event.client_id)
            assert client is not None
            assert client.version == 2
        await found.close()


BY_TOKEN = OPEN.replace('"open"', '"client"')
REGISTRATION = {"redirect_uris": ["https://app.example/cb"], "client_name": "App"}


@pytest.mark.requirement("R7591-72")
async def test_a_store_that_fails_is_answered_503(sqlite: SQLiteStore) -> None:
    """A registration that cannot be made durable is 503 with Retry-After, leaves nothing, and can be made later."""
    async with served(BY_TOKEN, store=sqlite) as server:
        value, _ = await issue_token(server.registry, server.issuer, server.operator)
        headers = {"authorization": f"Bearer {value}"}
        sqlite._engine._db.set_commit_hook(lambda: True)
        answer = await server.client.post("/register", json=REGISTRATION, headers=headers)
        sqlite._engine._db.set_commit_hook(None)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "client_id" not in answer.json()
        assert await stored(sqlite) == []
        assert [one.uses for one in await sqlite.tokens()] == [0]
        assert (await server.client.post("/register", json=REGISTRATION, headers=headers)).status_code == 201
