"""The schema of a file is brought forward, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import apsw
import msgspec
import pytest
from writing import create, stored

from registrar.service.ports import Conflict, StoreUnavailable
from registrar.storage import records
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import a_key, an_event

pytestmark = pytest.mark.anyio

Open = Callable[..., SQLiteStore]
SCHEMA = sorted(
    (resources.files("registrar.storage") / "schema" / "sqlite").iterdir(),
    key=lambda script: script.name,
)


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
