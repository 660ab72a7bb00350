"""Verifying the audit: whatever is done to the database by another hand is found, and named."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from postgresql import PostgreSQL
from registrar.config import Configuration, assemble, parse
from registrar.config.key_file import create_key_file
from registrar.domain import chain, checkpoint, merkle
from registrar.domain.chain import Batch
from registrar.domain.checkpoint import Signed
from registrar.domain.events import Actor
from registrar.policy.document import Document
from registrar.service import checkpoints, receipts, retention, verification
from registrar.service.ports import Erase, EventQuery, Item, Put
from registrar.service.registry import Registry
from registrar.service.verification import Report
from registrar.storage.copying import copy, open_rows
from registrar.storage.migrations import scripts

pytestmark = pytest.mark.anyio

ACTOR = Actor("operator", "local", person="ann", address="192.0.2.7")
EVENTS = 40


def configured(folder: Path, database: str = "") -> Configuration:
    """A registry in a file of the folder, or elsewhere."""
    text = f"""
[server]
database = "{database or f"sqlite:///{folder}/registrar.db"}"
key_file = "{folder}/registrar.key"
[issuer.main]
url = "http://127.0.0.1:8000"
"""
    return parse(Document("registrar.toml", text))


async def write(registry: Registry, count: int = EVENTS) -> None:
    """Events, some of them in one batch."""
    for at in range(count // 4):
        await asyncio.gather(*(tell(registry, f"c{at}-{one}") for one in range(4)))


async def tell(registry: Registry, client_id: str, kind: str = "client.suspended") -> None:
    """One event."""
    event = registry.audit.event(kind, "main", ACTOR, client_id=client_id, detail={"reason": "test"})
    await registry.store.record(event)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry with events, a checkpoint over most of them, and some after it."""
    create_key_file(tmp_path / "registrar.key")
    opened = assemble(configured(tmp_path))
    await write(opened)
    await checkpoints.make(opened)
    await write(opened, 8)
    yield opened
    await opened.store.close()


def tampered(folder: Path, *statements: str) -> None:
    """Do something to the file that no program of ours does."""
    db = apsw.Connection(str(folder / "registrar.db"))
    for sql in statements:
        db.execute(sql)
    db.close()


def told(report: Report) -> str:
    """All that was found."""
    return "\n".join(f"{one.where}: {one.what}" for one in report.problems)


async def test_what_nobody_touched_is_sound(registry: Registry) -> None:
    """Everything is counted, also what no checkpoint covers yet."""
    report = await verification.verify(registry)
    assert report.sound, told(report)
    assert (report.writers, report.unchained, report.pruned) == (1, 0, 0)
    assert report.events == EVENTS + 8 + 1  # the key's own
    assert 0 < report.placed < report.batches
    assert report.checkpoints >= 1


ATTACKS: dict[str, tuple[str, str]] = {
    "a bit of a body": (
        "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'test', 'tesu') AS BLOB) WHERE client_id = 'c3-1'",
        "an event is not what was written",
    ),
    "an event deleted": ("DELETE FROM event WHERE client_id = 'c3-1'", "events are there, and 4 were written"),
    "a whole batch of events deleted": (
        "DELETE FROM event WHERE (writer, batch) = (SELECT writer, batch FROM event WHERE client_id = 'c3-1')",
        "0 events are there, and 4 were written",
    ),
    "two bodies swapped": (
        (
            "UPDATE event SET body = (SELECT other.body FROM event AS other WHERE other.client_id = CASE event.client_id WHEN 'c3-1' THEN 'c3-2' ELSE 'c3-1' END) "
            "WHERE client_id IN ('c3-1', 'c3-2')"
        ),
        "an event is not what was written",
    ),
    "filed under another client": (
        "UPDATE event SET client_id = 'other' WHERE client_id = 'c3-1'",
        "is filed as something else than it is",
    ),
    "filed at another time": ("UPDATE event SET time_ms = 1 WHERE client_id = 'c3-1'", "filed as something else"),
    "another person disclosed": (
        "UPDATE event SET personal = CAST(replace(CAST(personal AS TEXT), 'ann', 'bob') AS BLOB) WHERE client_id = 'c3-1'",
        "does not open what it commits to",
    ),
    "whom an event names taken away": (
        "UPDATE event SET personal = substr(personal, 1, 0) WHERE client_id IN ('c3-1', 'c3-2')",
        "of 2, whom they name is gone, and events tell of 0",
    ),
    "batches listed in another order": (
        "UPDATE event SET sequence = sequence + (SELECT 1 + max(sequence) - min(sequence) FROM event) WHERE batch = 4",
        "which came first",
    ),
    "hidden from whoever lists them": (
        "UPDATE event SET sequence = sequence - (SELECT max(sequence) FROM event) WHERE batch = 1",
        "is filed before event 0, which came first",
    ),
    "an event added": (
        (
            "INSERT INTO event (sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
            "SELECT (SELECT max(sequence) + 1 FROM event), writer, batch, 9, issuer, kind, time_ms, client_id, body, personal FROM event WHERE client_id = 'c3-1'"
        ),
        "are stored, and",
    ),
    "a batch deleted with its events": (
        "DELETE FROM event WHERE batch = 4; DELETE FROM audit_batch WHERE number = 4",
        "batch 4 is missing",
    ),
    "the end of the chain cut off": (
        "DELETE FROM event WHERE batch > 4; DELETE FROM audit_batch WHERE number > 4",
        "its end is missing",
    ),
    "a writer gone": ("DELETE FROM event; DELETE FROM audit_batch", "its end is missing"),
    "a batch taken out of the log": ("UPDATE audit_batch SET place = 0 WHERE number = 4", "place 4 is empty"),
    "two places swapped": (
        (
            "UPDATE audit_batch SET place = 1000 WHERE number = 4; UPDATE audit_batch SET place = 4 WHERE number = 5; "
            "UPDATE audit_batch SET place = 5 WHERE number = 4"
        ),
        "the log does not have this root",
    ),
    "a checkpoint with another root": (
        "UPDATE item SET body = CAST(replace(CAST(body AS TEXT), '\"payload\":\"e', '\"payload\":\"f') AS BLOB) WHERE kind = 'checkpoint' AND key <> 'head'",
        "it is none, or of another size",
    ),
    "an event added as one from before there were chains": (
        (
            "INSERT INTO audit_unchained VALUES ('early'); "
            "INSERT INTO event (sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
            "SELECT (SELECT max(sequence) + 1 FROM event), 'early', 1, 0, issuer, kind, time_ms, client_id, body, personal "
            "FROM event WHERE client_id = 'c3-1'"
        ),
        "0 events were from before there were chains, and 1 are said to be",
    ),
    "the head of the log gone": (
        "DELETE FROM item WHERE kind = 'checkpoint' AND key = 'head'",
        "batches have places in it, and there is no checkpoint",
    ),
    "the head of the log unreadable": (
        "UPDATE item SET body = substr(body, 1, 40) WHERE kind = 'checkpoint' AND key = 'head'",
        "cannot be read",
    ),
    "the head of the log moved on": (
        "UPDATE item SET body = CAST(replace(CAST(body AS TEXT), '\"size\":', '\"size\":9') AS BLOB) WHERE kind = 'checkpoint' AND key = 'head'",
        "its head was changed",
    ),
    "the keys of the audit replaced": (
        "UPDATE signing_key SET record = CAST(replace(CAST(record AS TEXT), '\"public\":\"e', '\"public\":\"f') AS BLOB) WHERE issuer = '*'",
        "",
    ),
}


@pytest.mark.requirement("SEED-65")
@pytest.mark.parametrize("name", ATTACKS)
async def test_what_was_done_to_it_is_found(registry: Registry, tmp_path: Path, name: str) -> None:
    """Bit flips, deletions, swaps, additions, truncation: each is found, and it is said where."""
    sql, expected = ATTACKS[name]
    tampered(tmp_path, sql)
    try:
        report = await verification.verify(registry)
    except (checkpoint.Malformed, msgspec.DecodeError, ValueError):
        assert not expected  # what is signed, or the key, cannot even be read
        return
    assert not report.sound
    assert expected in told(report)


@pytest.mark.requirement("SEED-65")
@pytest.mark.parametrize("name", [name for name, (_, expected) in ATTACKS.items() if expected])
async def test_what_was_done_to_postgresql_is_found(
    tmp_path: Path, database: str, postgres: PostgreSQL, name: str
) -> None:
    """There too, and while its writer goes on."""
    create_key_file(tmp_path / "registrar.key")
    registry = assemble(configured(tmp_path, database))
    try:
        await write(registry)
        await checkpoints.make(registry)
        assert (await verification.verify(registry)).sound
        sql, expected = ATTACKS[name]
        await postgres.execute(
            re.sub(
                r"CAST\(replace\(CAST\((\w+) AS TEXT\), ('[^']+'), ('[^']+')\) AS BLOB\)",
                r"convert_to(replace(convert_from(\1, 'UTF8'), \2, \3), 'UTF8')",
                sql,
            ),
            database.rpartition("/")[2],
        )
        await write(registry, 8)
        assert expected in told(await verification.verify(registry))
    finally:
        await registry.store.close()


@pytest.mark.requirement("SEED-65")
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("event.body", "CAST(body AS TEXT)", "an event is not what was written"),
        ("event.body", "7", "an event is not what was written"),
        ("event.personal", "7", "does not open what it commits to"),
        ("event.personal", "CAST('{}' AS BLOB)", "whom they name is gone"),
        ("event.time_ms", "'then'", "filed as something else"),
        ("event.position", "'first'", "filed at another place"),
        ("event.position", "position + 4", "filed at another place"),
        ("audit_batch.root", "'root'", "it is no batch"),
        ("audit_batch.link", "'link'", "it is no batch"),
        ("audit_batch.events", "'many'", "it is no batch"),
        ("audit_batch.place", "'anywhere'", "it is no batch"),
        ("audit_batch.writer", "CAST(writer AS BLOB)", "it is no batch"),
    ],
)
async def test_rows_of_another_type_are_found(
    registry: Registry, tmp_path: Path, column: str, value: str, expected: str
) -> None:
    """SQLite keeps whatever is put into a column: the verification names it, and does not fall over it."""
    table, _, name = column.partition(".")
    row = "client_id = 'c3-3'" if table == "event" else "number = 4"
    tampered(tmp_path, f"UPDATE {table} SET {name} = {value} WHERE {row}")
    assert expected in told(await verification.verify(registry))


async def test_a_key_that_cannot_be_read_is_found(registry: Registry, tmp_path: Path) -> None:
    """With the keys that were kept, everything else is verified all the same."""
    keys = (await checkpoints.published(registry))["keys"]
    tampered(tmp_path, "UPDATE signing_key SET record = x'00' WHERE issuer = '*'")
    assert told(await verification.verify(registry, keys=keys)) == "keys: a key of the audit cannot be read"
    assert "no key of the audit has signed it" in told(await verification.verify(registry))


async def test_an_event_that_cannot_be_read_is_found(registry: Registry, tmp_path: Path) -> None:
    """Added at the end as a writer does, with a root and a link that are right."""
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    made = chain.batch(chain.BEGINNING, "stranger", 1, [merkle.leaf(b"{")])
    db.execute("INSERT INTO audit_batch VALUES ('stranger', 1, 1, ?, ?, 0)", (made.root, made.link))
    db.execute(
        "INSERT INTO event (writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
        "VALUES ('stranger', 1, 0, 'main', 'audit.redacted', 1, '', ?, x'')",
        (b"{",),
    )
    db.close()
    assert "is none: it cannot be read" in told(await verification.verify(registry))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM item WHERE kind = 'checkpoint' AND key = 'head'",
        "UPDATE item SET body = x'00' WHERE kind = 'checkpoint' AND key = 'head'",
        "UPDATE item SET body = CAST(replace(CAST(body AS TEXT), '\"size\":', '\"size\":9') AS BLOB) WHERE kind = 'checkpoint' AND key = 'head'",
        "UPDATE item SET body = CAST(replace(CAST(body AS TEXT), '\"signature\":\"', '\"signature\":\"AAAA') AS BLOB) WHERE kind = 'checkpoint' AND key = 'head'",
    ],
)
async def test_nothing_is_signed_on_top_of_another_log(registry: Registry, tmp_path: Path, sql: str) -> None:
    """The registry does not vouch for what another hand made of the head of the log, and does not try for ever."""
    tampered(tmp_path, sql)
    with pytest.raises(checkpoints.Tampered):
        await asyncio.wait_for(checkpoints.make(registry), 5)


async def test_a_log_made_anew_is_not_signed(registry: Registry, tmp_path: Path) -> None:
    """Whoever recomputes the head too, for a log of their own, gets no signature of the registry for it."""
    held = await registry.store.item("*", checkpoints.KIND, "head")
    assert held is not None
    head = msgspec.json.decode(held.body, type=checkpoints.Head)
    growing = merkle.Growing()
    for _ in range(head.size):
        growing.append(merkle.leaf(b"another"))
    assert head.signed is not None
    said = msgspec.structs.replace(head.signed.checkpoint, root=checkpoint.text(growing.root))
    forged = Signed(checkpoint.text(msgspec.json.encode(said)), head.signed.signatures)
    body = msgspec.json.encode(checkpoints.Head(head.log, head.size, tuple(growing.peaks), forged, head.unchained))
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    db.execute("UPDATE item SET body = ? WHERE kind = 'checkpoint' AND key = 'head'", (body,))
    db.close()
    with pytest.raises(checkpoints.Tampered, match="no key of the audit has signed it"):
        await checkpoints.make(registry)


async def test_a_chain_made_anew_does_not_agree_with_what_was_signed(registry: Registry, tmp_path: Path) -> None:
    """Whoever recomputes every later root and link still lacks the key of the checkpoints."""
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    db.execute(
        "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'test', 'tesu') AS BLOB) WHERE client_id = 'c3-1'"
    )
    before = chain.BEGINNING
    for writer, number in list(db.execute("SELECT writer, number FROM audit_batch ORDER BY number")):
        rows = db.execute("SELECT body FROM event WHERE writer = ? AND batch = ? ORDER BY position", (writer, number))
        made = chain.batch(before, writer, number, [merkle.leaf(body) for (body,) in rows])
        db.execute("UPDATE audit_batch SET root = ?, link = ? WHERE number = ?", (made.root, made.link, number))
        before = made.link
    db.close()
    report = await verification.verify(registry)
    assert "the log does not have this root" in told(report)


async def test_a_backup_that_was_restored_is_found(registry: Registry, tmp_path: Path) -> None:
    """It is sound by itself; a checkpoint that was kept elsewhere says what is missing."""
    backup = tmp_path / "backup"
    backup.mkdir()
    source = apsw.Connection(str(tmp_path / "registrar.db"))
    target = apsw.Connection(str(backup / "registrar.db"))
    with target.backup("main", source, "main") as copying:
        copying.step()
    source.close()
    target.close()
    shutil.copy(tmp_path / "registrar.key", backup)
    await write(registry, 8)
    kept = await checkpoints.make(registry)
    assert kept is not None
    restored = assemble(configured(backup))
    try:
        assert (await verification.verify(restored)).sound
        report = await verification.verify(restored, kept=[kept])
        assert "its end is missing" in told(report)
        await write(restored, 40)  # and going on from there does not heal it
        await checkpoints.make(restored)
        report = await verification.verify(restored, kept=[kept])
        assert "does not have this root" in told(report)
    finally:
        await restored.store.close()


async def test_a_forged_checkpoint_is_found(registry: Registry) -> None:
    """Signed by nobody, by somebody else, or by the right key as something else."""
    made = await checkpoints.latest(registry)
    assert made is not None
    nobody = Signed(made.payload, ())
    said = msgspec.structs.replace(made.checkpoint, size=1)
    other = checkpoint.signed(await checkpoints.sign(registry, said, "something+else"))
    for forged in (nobody, other):
        report = await verification.verify(registry, kept=[forged])
        assert "no key of the audit has signed it" in told(report)
    assert (await verification.verify(registry, kept=[made])).sound
    report = await verification.verify(registry, keys=[])
    assert "no key of the audit has signed it" in told(report)


async def test_a_witnessed_checkpoint_is_verified_too(registry: Registry) -> None:
    """It is what receipts lead to: put there by another hand, it is found."""
    made = await checkpoints.latest(registry)
    assert made is not None
    said = msgspec.structs.replace(made.checkpoint, root=checkpoint.text(merkle.EMPTY))
    forged = Signed(checkpoint.text(msgspec.json.encode(said)), made.signatures)
    item = Item("*", checkpoints.WITNESSED, checkpoints.WITNESSED, msgspec.json.encode(forged))
    await registry.store.change([Put(item)])
    found = told(await verification.verify(registry))
    assert f"the witnessed checkpoint of {said.size} batches: no key of the audit has signed it" in found
    assert f"the witnessed checkpoint of {said.size} batches: the log does not have this root" in found


async def test_old_checkpoints_verify_after_the_key_was_replaced(registry: Registry) -> None:
    """The old public key stays."""
    await checkpoints.rotate(registry, ACTOR, "test")
    await checkpoints.make(registry)
    report = await verification.verify(registry)
    assert report.sound, told(report)
    kids = {
        signer
        async for _, one in checkpoints.every(registry)
        if one is not None
        for signer in checkpoint.signers(one, (await checkpoints.published(registry))["keys"])
    }
    assert len(kids) == 2


async def test_many_writers_have_one_log(registry: Registry, tmp_path: Path) -> None:
    """Processes that write and seal at the same time: every batch has one place, and all verify together."""
    others = [assemble(configured(tmp_path)) for _ in range(2)]
    try:
        await asyncio.gather(
            *(write(one, 40) for one in (registry, *others)),
            *(checkpoints.make(one) for one in (registry, *others) for _ in range(3)),
        )
        await checkpoints.make(others[0])
        report = await verification.verify(registry)
        assert report.sound, told(report)
        assert report.writers == 3
        assert report.placed == report.batches
    finally:
        for one in others:
            await one.store.close()


async def test_what_is_written_meanwhile_is_no_finding(registry: Registry, tmp_path: Path) -> None:
    """Others write, seal and prune while the audit is verified: nothing of it is taken for an attack."""
    other = assemble(configured(tmp_path))
    stopped = asyncio.Event()

    async def going_on() -> None:
        while not stopped.is_set():
            await write(other, 8)
            await checkpoints.make(other)

    def between(_done: int, _of: int) -> None:
        """In the middle of a verification, whatever the loop would have done: new batches, places and a checkpoint."""
        beside = assemble(configured(tmp_path))

        async def more() -> None:
            await write(beside, 8)
            await checkpoints.make(beside)
            await retention.prune(beside, beside.clock() // 1000 - 3_600)
            await beside.store.close()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, more()).result()

    report = await verification.verify(registry, told=between)
    assert report.sound, told(report)
    writing = asyncio.create_task(going_on())
    try:
        for _ in range(20):
            report = await verification.verify(registry)
            assert report.sound, told(report)
            await asyncio.sleep(0)
    finally:
        stopped.set()
        await writing
        await other.store.close()


async def test_progress_is_told_to_the_end(registry: Registry) -> None:
    """In events, of all that there are."""
    seen: list[tuple[int, int]] = []
    report = await verification.verify(registry, told=lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert seen[-1] == (report.events, report.events)


async def test_places_that_no_checkpoint_covers(registry: Registry, tmp_path: Path) -> None:
    """Taking the last checkpoint away, and putting an earlier one in its place, leaves places behind."""
    first = await checkpoints.latest(registry)
    assert first is not None
    held = await registry.store.item("*", checkpoints.KIND, "head")
    assert held is not None
    await checkpoints.make(registry)
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    db.execute("UPDATE item SET body = ? WHERE kind = 'checkpoint' AND key = 'head'", (held.body,))
    db.execute(
        "DELETE FROM item WHERE kind = 'checkpoint' AND key <> 'head' AND key > ?", (f"{first.checkpoint.size:016d}",)
    )
    db.close()
    report = await verification.verify(registry)
    assert f"places after the {first.checkpoint.size} that the last checkpoint covers" in told(report)


async def test_nothing_is_sealed_twice(registry: Registry) -> None:
    """Where nothing was written since, the last checkpoint stands."""
    made = await checkpoints.make(registry)
    assert await checkpoints.make(registry) == made
    assert await checkpoints.latest(registry) == made


async def test_sealing_ends_while_others_write(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed before is sealed; whoever waited until nothing is left would go on for as long as there is load."""
    await write(registry)
    before = await registry.store.batches(unplaced=True)
    batches, seen = registry.store.batches, []

    async def busy(**asked: Any) -> Sequence[Batch]:
        seen.append(found := await batches(**asked))
        await write(registry, 8)
        return found

    monkeypatch.setattr(registry.store, "batches", busy)
    made = await asyncio.wait_for(checkpoints.make(registry), 5)
    assert made is not None
    assert len(seen) == 1
    placed = {(one.writer, one.number) for one in await registry.store.log()}
    assert placed >= {(one.writer, one.number) for one in before}
    assert await batches(unplaced=True)
    monkeypatch.undo()
    await checkpoints.make(registry)
    assert (await verification.verify(registry)).sound


async def test_pages_of_a_seal_rest(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who waited for a page are answered before the next: a rest for each that is full, and all in one log."""
    monkeypatch.setattr(checkpoints, "_PAGE", 3)
    for at in range(8):
        await tell(registry, f"c{at}")
    began = time.perf_counter()
    await checkpoints.make(registry, rest=0.05)
    assert time.perf_counter() - began >= 2 * 0.05
    assert await registry.store.batches(unplaced=True) == []
    assert (await verification.verify(registry)).sound


async def test_a_copy_verifies_as_its_source_does(registry: Registry, tmp_path: Path, own_database: str) -> None:
    """The chains, the log and the checkpoints come along, and what was kept elsewhere still holds."""
    kept = await checkpoints.make(registry)
    assert kept is not None
    keys = (await checkpoints.published(registry))["keys"]
    before = await verification.verify(registry)
    source, target = await open_rows(f"sqlite:///{tmp_path}/registrar.db"), await open_rows(own_database)
    await copy(source, target, lambda *_: None)
    await source.close()
    await target.close()
    copied = assemble(configured(tmp_path, own_database))
    try:
        after = await verification.verify(copied, kept=[kept], keys=keys)
        assert after.sound, told(after)
        assert (after.events, after.batches, after.placed) == (before.events, before.batches, before.placed)
        await write(copied, 8)
        await checkpoints.make(copied)
        assert (await verification.verify(copied, kept=[kept], keys=keys)).sound
    finally:
        await copied.store.close()


async def test_events_from_before_there_were_chains(tmp_path: Path) -> None:
    """They are counted apart; everything that is written from then on is held together."""
    db = apsw.Connection(str(tmp_path / "registrar.db"))
    for script in scripts("sqlite")[:4]:
        db.execute(script)
    db.pragma("user_version", 4)
    body = b'{"client_id":"old","issuer":"main","kind":"client.suspended","time":1}'
    db.execute(
        "INSERT INTO event (writer, batch, position, issuer, kind, time_ms, client_id, body, personal) "
        "VALUES ('early', 1, 0, 'main', 'client.suspended', 1, 'old', ?, x'')",
        (body,),
    )
    db.close()
    create_key_file(tmp_path / "registrar.key")
    registry = assemble(configured(tmp_path))
    try:
        await write(registry)
        await checkpoints.make(registry)
        report = await verification.verify(registry)
        assert report.sound, told(report)
        assert (report.unchained, report.events) == (1, EVENTS + 1)
        tampered(tmp_path, "UPDATE event SET writer = 'early', batch = 2 WHERE client_id = 'c3-1'")
        assert not (await verification.verify(registry)).sound  # nothing becomes old afterwards
        tampered(tmp_path, "DELETE FROM event WHERE writer = 'early'")
        assert "1 events were from before there were chains, and 0 are" in told(await verification.verify(registry))
    finally:
        await registry.store.close()


# --- what is taken away on purpose ----------------------------------------------------------------------------------------


async def test_who_is_named_can_be_erased(registry: Registry) -> None:
    """The commitments and the chain stay, and it is on record."""
    query = EventQuery("main", client_id="c3-1")
    assert await retention.redact(registry, ACTOR, "test", query) == 1
    assert await retention.redact(registry, ACTOR, "test", EventQuery("main"), person="nobody") == 0
    assert await retention.redact(registry, ACTOR, "test", EventQuery("main"), person="ann") > EVENTS
    assert not any(one.event.personal for one in await registry.store.events(EventQuery("main", "client.suspended")))
    assert (await verification.verify(registry)).sound
    (first, *_) = await registry.store.events(EventQuery("main", "audit.redacted"))
    assert msgspec.json.decode(first.event.body)["count"] == 1


async def test_old_events_are_taken_away(registry: Registry, tmp_path: Path) -> None:
    """Those that a checkpoint covers; the rest verifies, and so does that nothing else is missing."""
    later = registry.clock() // 1000 + 60
    covered = await checkpoints.latest(registry)
    assert covered is not None
    assert await retention.prune(registry, 1) == 0
    assert await retention.prune(registry, later) > 0
    report = await verification.verify(registry)
    assert report.sound, told(report)
    assert report.pruned == covered.checkpoint.size
    assert await retention.prune(registry, later) == 0
    await checkpoints.make(registry)
    assert (await verification.verify(registry)).sound
    tampered(tmp_path, "DELETE FROM event WHERE kind <> 'audit.pruned'")
    assert "events are there, and" in told(await verification.verify(registry))


async def test_what_was_taken_away_is_not_looked_for_again(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches stay when their events go: an hourly look at all of them would take ever longer."""
    later, read, taken = registry.clock() // 1000 + 60, list[int](), list[int]()
    told, change = registry.store.told, registry.store.change

    async def seen(writer: str, first: int, last: int) -> Any:
        read.append(first)
        return await told(writer, first, last)

    async def made(changes: Any, events: Any = ()) -> None:
        taken.append(sum(isinstance(one, Erase) for one in changes))
        await change(changes, events)

    monkeypatch.setattr(registry.store, "told", seen)
    monkeypatch.setattr(registry.store, "change", made)
    monkeypatch.setattr(retention, "_EVENTS", 4)
    count = await retention.prune(registry, later)
    assert count == sum(taken) > max(taken)
    assert max(taken) <= max(4, *[one.events for one in await registry.store.batches()])
    assert read
    read.clear()
    assert await retention.prune(registry, later) == 0
    assert read == []
    report = await verification.verify(registry)
    assert report.sound, report


async def test_a_clock_that_was_wrong_keeps_nothing_for_ever(tmp_path: Path) -> None:
    """Events that are dated ahead of now go with their neighbours; by themselves, with nothing old behind them, they stay."""
    create_key_file(tmp_path / "registrar.key")
    registry = assemble(configured(tmp_path))
    now = registry.clock() // 1000
    for client_id, days in (("old", 9), ("ahead", -4_000), ("older", 8), ("far ahead", -8_000), ("young", 1)):
        time_ms = (now - days * 86_400) * 1000
        event = registry.audit.event("client.suspended", "main", ACTOR, client_id=client_id, time_ms=time_ms)
        await registry.store.record(event)
    await checkpoints.make(registry)
    assert await retention.prune(registry, now - 10 * 86_400) == 0
    assert await retention.prune(registry, now - 7 * 86_400) == 3
    left = [one.event.client_id for one in await registry.store.events(EventQuery("main"))]
    assert left == ["far ahead", "young"]
    assert (await verification.verify(registry)).sound
    await registry.store.close()


async def test_a_key_that_was_added_signs_nothing(registry: Registry) -> None:
    """Whoever can write the database can add a public key of their own; it counts neither here nor for what is signed next."""
    made = await checkpoints.latest(registry)
    (genuine,) = await registry.store.keys("*")
    assert made is not None
    own = OKPKey.generate_key("Ed25519")
    public = {**own.as_dict(private=False), "kid": "theirs", "use": "sig", "alg": "Ed25519"}
    added = msgspec.structs.replace(genuine, kid="theirs", generation=0, public=msgspec.json.encode(public))
    event = registry.audit.event("issuer.key_created", "*", ACTOR, detail={"kid": "theirs"})
    await registry.store.add_key(added, event)
    growing = merkle.Growing()
    for _ in range(made.checkpoint.size):
        growing.append(merkle.leaf(b"another"))
    said = msgspec.structs.replace(made.checkpoint, root=checkpoint.text(growing.root))
    header = {"alg": "Ed25519", "kid": "theirs", "typ": checkpoint.TYPE}
    compact = jws.serialize_compact(header, msgspec.json.encode(said), own, algorithms=["Ed25519"])
    forged = checkpoint.signed(compact)
    assert checkpoint.signers(forged, (await checkpoints.published(registry))["keys"]) == ("theirs",)
    head = checkpoints.Head(said.log, said.size, tuple(growing.peaks), forged, said.unchained)
    held = await registry.store.item("*", checkpoints.KIND, "head")
    assert held is not None
    await registry.store.change([Put(msgspec.structs.replace(held, body=msgspec.json.encode(head)))])
    with pytest.raises(checkpoints.Tampered, match="that opens here"):
        await checkpoints.make(registry)
    assert "no key of the audit has signed it" in told(await verification.verify(registry))


async def test_the_log_goes_on_after_a_key_encryption_key_was_lost(registry: Registry, tmp_path: Path) -> None:
    """Nothing is signed on top of what nothing here can vouch for, until an operator says so by rotating the key."""
    keys = (await checkpoints.published(registry))["keys"]
    (tmp_path / "registrar.key").unlink()
    create_key_file(tmp_path / "registrar.key")
    later = assemble(configured(tmp_path))
    with pytest.raises(checkpoints.Tampered):
        await checkpoints.make(later)
    assert not (await verification.verify(later)).sound
    assert (await verification.verify(later, keys=keys)).sound
    await checkpoints.rotate(later, ACTOR, "test")
    made = await checkpoints.make(later)
    assert made is not None
    newer = (await checkpoints.published(later))["keys"]
    assert (await verification.verify(later, keys=newer)).sound
    await write(later, 8)
    assert (await checkpoints.make(later)) != made
    await later.store.close()


async def test_what_is_missing_is_excused_by_a_signature_alone(registry: Registry, tmp_path: Path) -> None:
    """Whoever writes the event of a retention into the database, as a writer does, has no key to sign it with."""
    tampered(tmp_path, "DELETE FROM event WHERE client_id LIKE 'c3-%'")
    until = 1000
    mine = await checkpoints.sign(registry, retention.Pruned("another log", until, 1), retention.PRUNED)
    other = await checkpoints.sign(registry, retention.Pruned("", until, 1), "something+else")
    for signed in ("", "a.b.c", mine, other):
        event = registry.audit.event("audit.pruned", "*", ACTOR, detail={"count": until, "signed": signed})
        await registry.store.record(event)
        report = await verification.verify(registry)
        assert report.pruned == 0
        assert "0 events are there, and 4 were written" in told(report)


async def test_erasing_is_counted(registry: Registry, tmp_path: Path) -> None:
    """As many as events tell of, and none more; those that the retention may take away excuse themselves."""
    await retention.redact(registry, ACTOR, "test", EventQuery("main", client_id="c3-1"))
    report = await verification.verify(registry)
    assert (report.sound, report.erased) == (True, 1), told(report)
    tampered(tmp_path, "UPDATE event SET personal = x'' WHERE client_id = 'c3-2'")
    assert "of 2, whom they name is gone, and events tell of 1" in told(await verification.verify(registry))
    now = registry.clock() // 1000
    tampered(tmp_path, "UPDATE event SET personal = x'' WHERE kind = 'audit.redacted'")
    await retention.redact(registry, ACTOR, "test", EventQuery("main"))
    await checkpoints.make(registry)
    assert await retention.prune(registry, now + 60) > 0
    report = await verification.verify(registry)
    assert (report.sound, report.erased) == (True, 0), told(report)


async def test_each_issuer_has_its_own_time_for_whom_events_name(registry: Registry, tmp_path: Path) -> None:
    """Erased up to then and no further, once; the next time goes on from there, whoever does it."""
    now = registry.clock() // 1000
    for client_id, days in (("old", 9), ("of a wrong clock", -400), ("older", 8), ("young", 1), ("back", 30)):
        time_ms = (now - days * 86_400) * 1000
        event = registry.audit.event("client.suspended", "first", ACTOR, client_id=client_id, time_ms=time_ms)
        await registry.store.record(event)
    assert await retention.forget(registry, "first", now - 10 * 86_400) == 0
    other = assemble(configured(tmp_path))
    both = [retention.forget(one, "first", now - 7 * 86_400) for one in (registry, other)]
    assert sum(await asyncio.gather(*both)) == 3
    assert await retention.forget(other, "first", now - 7 * 86_400) == 0
    named = {one.event.client_id: bool(one.event.personal) for one in await registry.store.events(EventQuery("first"))}
    assert named == {"old": False, "of a wrong clock": False, "older": False, "young": True, "back": True, "": False}
    assert all(one.event.personal for one in await registry.store.events(EventQuery("main", "client.suspended")))
    assert await retention.forget(other, "first", now) == 2
    assert await retention.forget(other, "first", now + 1) == 0
    report = await verification.verify(registry)
    assert (report.sound, report.erased) == (True, 5), told(report)
    await other.store.close()


async def test_the_events_of_others_are_read_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that has few events must not have all that lies behind them looked through every hour."""
    now, asked = registry.clock() // 1000, list[tuple[EventQuery, int]]()
    for at, issuer in enumerate(("first", *["main"] * 8, "first", *["main"] * 8)):
        time_ms = (now - (100 - at) * 86_400) * 1000
        await registry.store.record(registry.audit.event("client.suspended", issuer, ACTOR, time_ms=time_ms))
    events = registry.store.events

    async def seen(query: EventQuery, *, after: int = 0, limit: int = 100) -> Any:
        asked.append((query, after))
        return await events(query, after=after, limit=limit)

    monkeypatch.setattr(registry.store, "events", seen)
    monkeypatch.setattr(retention, "_PAGE", 4)
    await retention.forget(
        registry, "main", now + 60
    )  # so that the young ones, which the fixture made before, are behind
    assert await retention.forget(registry, "first", now + 60) == 2
    assert {query for query, _ in asked} == {EventQuery()}
    last = asked[-1][1]
    asked.clear()
    assert await retention.forget(registry, "first", now + 60) == 0
    assert [after >= last for _, after in asked] == [True]


async def test_time_takes_away_whom_events_name(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the round of a server, for the issuers that say so, and for no other."""
    assert not retention.needed(registry, 0)
    issuer = registry.issuers["main"]
    audit = dataclasses.replace(issuer.settings.audit, personal_days=1)
    monkeypatch.setattr(issuer, "settings", dataclasses.replace(issuer.settings, audit=audit))
    monkeypatch.setitem(registry.issuers, "first", issuer)
    assert retention.needed(registry, 0)
    old = (registry.clock() // 1000 - 2 * 86_400) * 1000
    await registry.store.record(registry.audit.event("client.suspended", "first", ACTOR, client_id="x", time_ms=old))
    monkeypatch.setattr(retention, "_EVERY", 0.01)
    keeping = asyncio.create_task(retention.keep(registry, 0, 0))
    for _ in range(500):
        if not (await registry.store.events(EventQuery("first", client_id="x")))[0].event.personal:
            break
        await asyncio.sleep(0.01)
    keeping.cancel()
    (one,) = await registry.store.events(EventQuery("first", client_id="x"))
    assert not one.event.personal


# --- receipts -------------------------------------------------------------------------------------------------------------


async def proof_of(registry: Registry, client_id: str) -> receipts.Proof | None:
    """The way from an event to the newest checkpoint."""
    (stored,) = await registry.store.events(EventQuery("main", client_id=client_id))
    return await receipts.prove(registry, stored)


async def test_an_event_is_proved_once_it_is_sealed(registry: Registry) -> None:
    """Before, there is no proof; afterwards it leads from the event to the root that was signed."""
    await tell(registry, "late")
    assert await proof_of(registry, "late") is None
    await checkpoints.make(registry)
    for client_id in ("late", "c5-0", "c9-3"):
        proof = await proof_of(registry, client_id)
        assert proof is not None
        said = proof.checkpoint.checkpoint
        (stored,) = await registry.store.events(EventQuery("main", client_id=client_id))
        in_batch = [*map(checkpoint.hashed, proof.in_batch)]
        root = merkle.led(merkle.leaf(stored.event.body), proof.index, proof.events, in_batch)
        assert root is not None
        link = chain.link(checkpoint.hashed(proof.before), proof.writer, proof.number, proof.events, root)
        path = [*map(checkpoint.hashed, proof.in_log)]
        assert merkle.includes(merkle.leaf(link), proof.place, said.size, path, checkpoint.hashed(said.root))


async def test_the_log_is_shown_to_have_only_grown(registry: Registry) -> None:
    """From any checkpoint to the newest, without the log."""
    old = await checkpoints.latest(registry)
    new = await checkpoints.make(registry)
    assert old is not None
    assert new is not None
    before, after = old.checkpoint, new.checkpoint
    assert before.size < after.size
    signed, proof = await receipts.consistency(registry, before.size)
    assert signed == new
    path = [*map(checkpoint.hashed, proof)]
    roots = checkpoint.hashed(before.root), checkpoint.hashed(after.root)
    assert merkle.extends(before.size, roots[0], after.size, roots[1], path)
    for size in (0, after.size + 1):
        with pytest.raises(IndexError):
            await receipts.consistency(registry, size)


async def test_a_receipt_is_believed_for_its_keys_alone(registry: Registry) -> None:
    """Not one that was changed, nor one of another type, nor with a proof of something else."""
    keys = (await checkpoints.published(registry))["keys"]
    for client_id in ("mine", "another"):
        await tell(registry, client_id, "client.registered")
    (own,), (other,) = [
        await registry.store.events(EventQuery("main", client_id=client_id)) for client_id in ("mine", "another")
    ]
    good: dict[str, Any] = {
        "client_id": "mine",
        "metadata": {},
        "policy": "",
        "policy_digest": "",
        "registered_at": own.event.time_ms // 1000,
        "event": {"body": own.event.body.decode()},
    }
    assert receipts.verify(await checkpoints.sign(registry, good, receipts.TYPE), keys).proof is None
    compact = await checkpoints.sign(registry, good, receipts.TYPE)
    wrong: list[tuple[str, Callable[[], str]]] = [
        ("altered", lambda: compact[:-3] + ("AAA" if not compact.endswith("AAA") else "BBB")),
    ]
    for _, make in wrong:
        with pytest.raises((checkpoint.Malformed, checkpoint.Refused)):
            receipts.verify(make(), keys)
    with pytest.raises(checkpoint.Malformed):
        receipts.verify(await checkpoints.sign(registry, good), keys)
    with pytest.raises(checkpoint.Refused):
        receipts.verify(compact, [])
    await checkpoints.make(registry)
    proof = await proof_of(registry, "mine")
    assert proof is not None
    proved = {**good, "proof": msgspec.to_builtins(proof)}
    assert receipts.verify(await checkpoints.sign(registry, proved, receipts.TYPE), keys).proof == proof
    (suspended,) = await registry.store.events(EventQuery("main", client_id="c5-0"))
    forgeries: list[tuple[str, dict[str, Any]]] = [
        ("does not lead", {"event": {"body": own.event.body.decode() + " "}}),
        ("not of this registration", {"event": {"body": other.event.body.decode()}}),
        ("not of this registration", {"client_id": "another"}),
        ("not of this registration", {"client_id": "c5-0", "event": {"body": suspended.event.body.decode()}}),
    ]
    for reason, forged in forgeries:
        with pytest.raises(checkpoint.Refused, match=reason):
            receipts.verify(await checkpoints.sign(registry, {**proved, **forged}, receipts.TYPE), keys)
    odds: list[dict[str, Any]] = [
        {"proof": 1},
        {"proof": {}},
        {"event": 7},
        {"event": {"body": 7}},
        {"event": {"body": "{"}},
    ]
    odds += [{"metadata": 7}, {"metadata": {"jwks": 7}}, {"metadata": {"jwks": {"keys": [{"kty": "EC"}]}}}]
    for odd in odds:
        with pytest.raises(checkpoint.Malformed):
            receipts.verify(await checkpoints.sign(registry, {**proved, **odd}, receipts.TYPE), keys)
