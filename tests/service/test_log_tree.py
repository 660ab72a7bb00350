"""The tree of a long log as it is stored: proofs that read little of it, and are right whatever was done to it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from registrar.config import assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain import chain, checkpoint, merkle
from registrar.domain.checkpoint import Signed
from registrar.domain.events import Actor
from registrar.policy.document import Document
from registrar.service import checkpoints, receipts, tree, verification
from registrar.service.ports import EventQuery
from registrar.service.registry import Registry
from registrar.storage.sqlite.migration import migrate

pytestmark = pytest.mark.anyio

LONG = tree.WIDE * tree.WIDE + 3 * tree.WIDE + 5
"""Batches: enough for nodes of two heights, and some beyond the last of each."""


def batches(path: Path, count: int, before: bytes = chain.BEGINNING, after: int = 0) -> bytes:
    """Rows of batches of one event each, as a writer leaves them. The last link."""
    body = b'{"client_id":"","issuer":"main","kind":"client.read","time":1}'
    db = apsw.Connection(str(path))
    with db:
        for number in range(after + 1, after + count + 1):
            made = chain.batch(before, "writer", number, [merkle.leaf(body)])
            before = made.link
            db.execute("INSERT INTO audit_batch VALUES ('writer', ?, 1, ?, ?, 0)", (number, made.root, made.link))
            db.execute(
                "INSERT INTO event (writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
                "VALUES ('writer', ?, 0, 'main', 'client.read', 1, '', ?, x'')",
                (number, body),
            )
    db.close()
    return before


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry of many batches, all of them unplaced."""
    folder = tmp_path_factory.mktemp("long")
    create_key_file(folder / "registrar.key")
    migrate(folder / "registrar.db")
    batches(folder / "registrar.db", LONG)
    return folder


def opened(folder: Path) -> Registry:
    """The registry of a folder."""
    text = f"""
[server]
database = "sqlite:///{folder}/registrar.db"
key_file = "{folder}/registrar.key"
[issuer.main]
url = "http://127.0.0.1:8000"
"""
    return assemble(parse(Document("registrar.toml", text)))


@pytest.fixture
async def registry(long_log: Path) -> AsyncIterator[Registry]:
    """That registry, with a checkpoint over all of it."""
    found = opened(long_log)
    await checkpoints.make(found)
    yield found
    await found.store.close()


async def entries(registry: Registry) -> list[bytes]:
    """The whole log."""
    found: list[bytes] = []
    while page := await registry.store.log(after=len(found), limit=10_000):
        found += map(chain.entry, page)
    return found


async def sealed(registry: Registry) -> Signed:
    """The newest checkpoint."""
    found = await checkpoints.latest(registry)
    assert found is not None
    return found


async def test_proofs_are_those_of_the_whole_log(registry: Registry) -> None:
    """Those that are made of stored nodes are, hash for hash, what the log itself would give."""
    leaves = await entries(registry)
    said = (await sealed(registry)).checkpoint
    assert said.size == len(leaves) > LONG
    roll = random.Random(1)
    for index in (0, 255, 256, 65_535, 65_536, said.size - 1, *(roll.randrange(said.size) for _ in range(5))):
        made = await tree.Proofs(registry.store).roots(merkle.inclusion_spans(said.size, index))
        assert made == merkle.inclusion(leaves, index)
        assert merkle.includes(leaves[index], index, said.size, made, checkpoint.hashed(said.root))
    for before in (1, 256, 65_536, 65_537, said.size, roll.randrange(1, said.size)):
        _, grown = await receipts.consistency(registry, before)
        assert [*map(checkpoint.hashed, grown)] == merkle.consistency(leaves, before)


async def test_a_proof_reads_little_of_a_long_log(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks for its receipt again and again must not keep everybody else waiting."""
    rows = 0
    log = registry.store.log

    async def counted(*, after: int = 0, limit: int = 1000) -> Sequence[Any]:
        nonlocal rows
        found = await log(after=after, limit=limit)
        rows += len(found)
        return found

    monkeypatch.setattr(registry.store, "log", counted)
    said = (await sealed(registry)).checkpoint
    await tree.Proofs(registry.store).roots(merkle.inclusion_spans(said.size, 1000))
    await receipts.consistency(registry, 40_000)
    assert 0 < rows <= 4 * tree.WIDE


async def test_what_tiles_lack_is_made_once(registry: Registry, long_log: Path) -> None:
    """Of a log from before there were any, or where some are gone: afterwards they are what they were."""
    size = (await sealed(registry)).checkpoint.size
    assert await tree.complete(registry.store, size) == 0
    db = apsw.Connection(str(long_log / "registrar.db"))
    columns = "key, body FROM item WHERE kind = ? ORDER BY key"
    before = list(db.execute(f"SELECT {columns}", (tree.KIND,)))
    db.execute("DELETE FROM item WHERE kind = ? AND key <> ?", (tree.KIND, tree.key(8, 1)))
    db.execute("UPDATE item SET body = substr(body, 1, 32) WHERE kind = ?", (tree.KIND,))
    assert await tree.complete(registry.store, size) == len(before)
    assert list(db.execute(f"SELECT {columns}", (tree.KIND,))) == before
    db.close()


async def test_an_event_of_a_long_log_is_proved(registry: Registry, long_log: Path) -> None:
    """Also where its nodes are gone; where they are others, nothing false is handed out, and it is found."""
    await registry.store.record(
        registry.audit.event("client.suspended", "main", Actor("operator", "local"), client_id="c")
    )
    await checkpoints.make(registry)
    (stored, *_) = await registry.store.events(EventQuery("main", client_id="c"))
    good = await receipts.prove(registry, stored)
    assert good is not None
    db = apsw.Connection(str(long_log / "registrar.db"))
    kept = list(
        db.execute(
            "SELECT issuer, kind, key, version, client_id, owner, expires_at, body FROM item WHERE kind = ?",
            (tree.KIND,),
        )
    )
    assert {row[2][:2] for row in kept} == {"08", "16"}
    try:
        db.execute("DELETE FROM item WHERE kind = ?", (tree.KIND,))
        assert await receipts.prove(registry, stored) == good
        # What is completed from then on is stored beside what was made anew.
        batches(
            long_log / "registrar.db",
            tree.WIDE,
            (await registry.store.batches(after=("writer", LONG - 1)))[0].link,
            LONG,
        )
        await checkpoints.make(registry)
        assert list(db.execute("SELECT length(body) FROM item WHERE kind = ?", (tree.KIND,))) == [(32 * 4,)]
        db.execute("DELETE FROM item WHERE kind = ?", (tree.KIND,))
        db.executemany(
            "INSERT INTO item (issuer, kind, key, version, client_id, owner, expires_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            kept,
        )
        db.execute(
            "UPDATE item SET body = zeroblob(length(body)) WHERE kind = ? AND key = ?", (tree.KIND, tree.key(16, 0))
        )
        with pytest.raises(checkpoints.Tampered):
            await receipts.prove(registry, stored)
        report = await verification.verify(registry)
        assert [one.what for one in report.problems] == ["node 0 of height 16, which proofs are made from, is another"]
    finally:
        db.close()
