"""`registrar migrate` and `registrar copy`, and a server that will not serve a schema that is not its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from conftest import Desk
from postgresql import PostgreSQL as Server
from postgresql import running
from registrar.domain.settings import PostgreSQL
from registrar.service.leases import EVERYWHERE
from registrar.service.passage import KIND, Seen
from registrar.service.ports import ClientQuery, EventQuery, Item, Put, StoreUnavailable
from registrar.service.registry import Registry
from registrar.storage import migrate, open_store
from registrar.storage.copying import PAGE, TABLES, CopyError, PostgresRows, Row, copy, open_rows
from registrar.storage.migrations import scripts
from registrar.testing.store_conformance import a_client, a_key, a_token, an_event, an_item

KNOWN = len(scripts("postgres"))
QUICK = PostgreSQL(connect_seconds=0.3, statement_seconds=0.3)


@pytest.fixture
def empty(postgres: Server) -> Iterator[str]:
    """A PostgreSQL database without a schema."""
    with postgres.database() as url:
        yield url


def on(desk: Desk, url: str) -> None:
    """Let the configuration name a database."""
    text = desk.configuration.read_text()
    text = re.sub(r"^database = .*$", f'database = "{url}"', text, flags=re.MULTILINE)
    desk.configuration.write_text(text)


async def fill(url: str, clients: int = 5) -> None:
    """A registry with something in every table."""
    store = open_store(url)
    await store.add_token(a_token(uses=2), an_event("", kind="token.issued"))
    await store.add_key(a_key(), an_event("", kind="issuer.key_created"))
    await store.change([Put(an_item("ÿ☃")), Put(an_item("\U0001f9ea", issuer="other", expires_at=0))])
    names = [f"c{at:05}" for at in range(clients)]
    await asyncio.gather(*(store.create(a_client(name), an_event(name)) for name in names))
    await store.close()


async def everything(url: str) -> list[object]:
    """All that a registry holds, as the store tells it."""
    store = open_store(url)
    found = [
        *await store.clients(ClientQuery(), limit=100_000),
        *await store.tokens(),
        *await store.keys("main"),
        *await store.items("main", "code"),
        *await store.items("other", "code"),
        *await store.events(EventQuery(), limit=100_000),
    ]
    await store.close()
    return found


# --- migrate ----------------------------------------------------------------------------------------------------------


def test_a_database_is_migrated_by_command(desk: Desk, empty: str) -> None:
    """Until then commands and the server refuse it, naming the command; a second time there is nothing to do."""
    on(desk, empty)
    assert "run `registrar migrate`" in desk.refused("token", "list")
    assert "run `registrar migrate`" in desk.refused("serve")
    assert desk.done("migrate") == f"schema 0 is now {KNOWN}\n"
    assert desk.done("migrate") == f"schema {KNOWN} is the newest already\n"
    desk.issue()
    assert len(desk.told("token", "list")) == 1


def test_a_newer_schema_is_left_alone(desk: Desk, postgres: Server, own_database: str) -> None:
    """Neither migrating nor serving touches what a newer program has made."""
    asyncio.run(postgres.execute(f"INSERT INTO registrar_schema VALUES ({KNOWN + 1})", own_database.rpartition("/")[2]))
    on(desk, own_database)
    for command in ("migrate", "serve"):
        assert "a newer program wrote it" in desk.refused(command)


def test_a_file_may_be_migrated_too(desk: Desk) -> None:
    """SQLite needs no command, and the command does no harm."""
    assert desk.done("migrate") == f"schema 0 is now {KNOWN}\n"
    assert desk.done("migrate") == f"schema {KNOWN} is the newest already\n"


def test_memory_has_nothing_to_migrate(desk: Desk) -> None:
    """Nor have several workers anything to share there."""
    on(desk, "memory:")
    assert "no database with a schema" in desk.refused("migrate")
    assert "--workers needs a database" in desk.refused("serve", "--workers", "2")


def test_a_database_that_is_not_there_is_named(desk: Desk) -> None:
    """With host and port, and without the password."""
    on(desk, "postgresql://ann:s3cr3t@127.0.0.1:1/registry")
    refusal = desk.refused("migrate")
    assert "postgresql://127.0.0.1:1/registry" in refusal
    assert "s3cr3t" not in refusal


# --- copy -------------------------------------------------------------------------------------------------------------


def test_a_registry_moves_to_postgresql_and_back(desk: Desk, empty: str) -> None:
    """Every row, and with the same keys every client: what was registered on one is managed on the other."""
    asyncio.run(fill("sqlite:///first.db"))
    before = asyncio.run(everything("sqlite:///first.db"))
    there = desk.run("copy", "sqlite:///first.db", empty)
    back = desk.run("copy", empty, "sqlite:///second.db")
    for result in (there, back):
        assert result.exit_code == 0, result.output
        assert result.stdout == "59 rows are copied and compared\n"
        assert "same key_file" in result.stderr
        assert re.search(r"^client +━+ 10/10 ", result.stderr, re.MULTILINE)  # each is copied, and compared
    assert asyncio.run(everything(empty)) == asyncio.run(everything("sqlite:///second.db")) == before


def test_what_is_stored_after_a_copy_comes_after_what_was_copied(desk: Desk, empty: str) -> None:
    """The order of events goes on, on either side."""
    asyncio.run(fill("sqlite:///first.db"))
    for source, target in (("sqlite:///first.db", empty), (empty, "sqlite:///second.db")):
        assert desk.run("copy", source, target).exit_code == 0

        async def record(url: str = target) -> list[str]:
            store = open_store(url)
            await store.record(an_event("last", kind="client.read"))
            events = await store.events(EventQuery(), limit=1000)
            await store.close()
            return [one.event.client_id for one in events]

        assert asyncio.run(record())[-1] == "last"


def test_a_copy_goes_on_where_it_was_broken_off(desk: Desk, empty: str) -> None:
    """Broken off after any page, it copies what is missing and compares everything."""
    asyncio.run(fill("sqlite:///first.db", PAGE * 2 + 7))

    class Enough(Exception):  # noqa: N818 (as what happens)
        """The cable is pulled."""

    async def broken_off(after: int) -> None:
        source, target = await open_rows("sqlite:///first.db"), await open_rows(empty)
        pages = iter(range(after))

        def told(table: str, count: int) -> None:
            del table, count
            if next(pages, None) is None:
                raise Enough

        with pytest.raises(Enough):
            await copy(source, target, told)
        await source.close()
        await target.close()

    for pages in (0, 1, 2, 3):
        asyncio.run(broken_off(pages))
    result = desk.run("copy", "sqlite:///first.db", empty)
    assert result.exit_code == 0, result.output
    assert asyncio.run(everything(empty)) == asyncio.run(everything("sqlite:///first.db"))


@pytest.mark.parametrize("there", [True, False], ids=["to", "from"])
def test_a_database_that_is_killed_while_it_is_copied_is_told(desk: Desk, there: bool) -> None:
    """In one line that says what to do; once it is back, the same command goes on, and every row is there."""
    with running() as server:
        asyncio.run(server.execute("CREATE DATABASE registry"))
        url, file = server.url("registry"), "sqlite:///first.db"
        source, target = (file, url) if there else (url, file)
        asyncio.run(migrate(url))
        asyncio.run(fill(source, PAGE * 2 + 7))

        async def scene() -> None:
            rows, copies = await open_rows(source), await open_rows(target)
            with pytest.raises(StoreUnavailable, match="the same command goes on from here"):
                await copy(rows, copies, lambda *_: server.kill())
            await rows.close()
            await copies.close()
            await server.started()

        asyncio.run(scene())
        result = desk.run("copy", source, target)
        assert result.exit_code == 0, result.output
        assert asyncio.run(everything(source)) == asyncio.run(everything(target))


def test_a_copy_is_the_same_byte_for_byte(desk: Desk, empty: str) -> None:
    """There and back, whatever is written in names: in the order of code points, which both databases keep."""
    odd = [
        "",
        "\x01\t\n\x7f\x85",
        "e\u0301",
        "\u202e\u200b\ufeff",
        "\uffff",
        "\U00010000",
        "\U0010ffff",
        "İßſ",
        "' \\ \"",
        "x" * 2_000,
    ]

    async def written() -> None:
        store = open_store("sqlite:///first.db")
        for name in odd:
            await store.create(a_client(f"c{name}"), an_event(f"c{name}"))
            await store.change([Put(an_item(f"i{name}", issuer=issuer)) for issuer in ("main", f"m{name}")])
        await store.close()

    async def rows(url: str) -> dict[str, list[Row]]:
        opened = await open_rows(url)
        found = {table: await opened.page(table, None, 100_000) for table in TABLES}
        await opened.close()
        return found

    asyncio.run(written())
    before = asyncio.run(rows("sqlite:///first.db"))
    for source, target in (("sqlite:///first.db", empty), (empty, "sqlite:///second.db")):
        assert desk.run("copy", source, target).exit_code == 0
        assert asyncio.run(rows(target)) == before


async def _refused(source: str, target: str) -> str:
    rows, copies = await open_rows(source), await open_rows(target)
    with pytest.raises(CopyError) as refused:
        await copy(rows, copies, lambda *_: None)
    await rows.close()
    await copies.close()
    return str(refused.value)


def test_a_target_with_rows_of_its_own_is_left_alone(desk: Desk, database: str) -> None:
    """Two registries are never mixed."""
    del desk
    asyncio.run(fill("sqlite:///first.db"))

    async def other() -> None:
        store = open_store(database)
        await store.create(a_client("c00002", policy="other"), an_event("c00002"))
        await store.close()

    asyncio.run(other())
    assert asyncio.run(_refused("sqlite:///first.db", database)) == (
        "the target has rows of its own in client; copy into an empty database"
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (
            "UPDATE client SET record = CAST('{}' AS BLOB) WHERE client_id = 'c00003'",
            "client is not the same at main, c00003",
        ),
        ("DELETE FROM client WHERE client_id = 'c00004'", "client"),
        ("UPDATE item SET version = version + 1 WHERE issuer = 'other'", "item"),
        ("UPDATE initial_access_token SET uses = 0", "initial_access_token"),
        ("DELETE FROM event WHERE sequence = 3", "event"),
    ],
)
def test_a_copy_that_is_not_the_same_is_no_copy(desk: Desk, empty: str, change: str, where: str) -> None:
    """Whatever differs in the end, a value or a row, on whichever side it is missing, is told with its place."""
    asyncio.run(fill("sqlite:///first.db"))
    assert desk.run("copy", "sqlite:///first.db", empty).exit_code == 0
    db = apsw.Connection("first.db")
    db.execute(change)
    db.close()
    assert where in asyncio.run(_refused("sqlite:///first.db", empty))


def test_a_server_waits_while_its_file_is_copied(desk: Desk) -> None:
    """Nothing is written to an SQLite file while it is being copied."""
    del desk

    async def scene() -> None:
        await fill("sqlite:///first.db")
        store = open_store("sqlite:///first.db")
        rows = await open_rows("sqlite:///first.db")
        writing = asyncio.create_task(store.create(a_client("late"), an_event("late")))
        await asyncio.sleep(0.3)
        assert await rows.count("client") == 5
        assert not writing.done()
        await rows.close()
        await writing
        await store.close()

    asyncio.run(scene())


def test_a_server_is_held_while_its_database_is_copied(desk: Desk, database: str) -> None:
    """On PostgreSQL likewise: what nobody copies is not answered as stored, and afterwards the same server goes on."""
    del desk

    async def scene() -> None:
        await fill(database)
        store = open_store(database, postgresql=QUICK)
        source, target = await open_rows(database), await open_rows("sqlite:///first.db")
        refused: list[StoreUnavailable] = []

        async def register() -> None:
            with pytest.raises(StoreUnavailable, match="statement timeout") as raised:
                await store.create(a_client("late"), an_event("late"))
            refused.append(raised.value)

        tasks: list[asyncio.Task[None]] = []

        def told(table: str, count: int) -> None:
            del table, count
            if not tasks:
                tasks.append(asyncio.create_task(register()))

        await copy(source, target, told)
        await tasks[0]
        await target.close()
        await source.close()
        assert refused
        await store.create(a_client("late"), an_event("late"))
        await store.close()

    asyncio.run(scene())
    assert len(asyncio.run(everything("sqlite:///first.db"))) == len(asyncio.run(everything(database))) - 2


def test_a_large_registry_takes_its_time(desk: Desk, database: str) -> None:
    """Counting it, and reading a page where others are at work, may take longer than any statement of a server."""
    del desk

    async def scene() -> None:
        rows = await open_rows(database, QUICK)
        assert isinstance(rows, PostgresRows)
        assert await rows._connection.fetchval("SELECT 1 FROM pg_sleep(1.5)") == 1
        await rows.close()

    asyncio.run(scene())


def test_letting_go_of_a_database_that_hangs_ends(desk: Desk) -> None:
    """Whoever copies learns what happened, also where the other side says nothing any more."""
    del desk
    with running() as server:
        asyncio.run(server.execute("CREATE DATABASE registry"))

        async def scene() -> None:
            rows = await open_rows(server.url("registry"), QUICK)
            server.pause()
            async with asyncio.timeout(10):
                await rows.close()
            server.resume()

        asyncio.run(scene())


def test_text_that_postgresql_cannot_hold_is_named(desk: Desk, empty: str) -> None:
    """An SQLite registry may hold a NUL; to try again would not help, so that is not what is said."""

    async def odd() -> None:
        store = open_store("sqlite:///first.db")
        await store.change([Put(an_item("before\0after"))])
        await store.close()

    asyncio.run(odd())
    result = desk.run("copy", "sqlite:///first.db", empty)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        r"Error: item at main, code, before\x00after: PostgreSQL has no text with a NUL in it"
    )


@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ("sqlite:///one.db", "sqlite:///one.db", "FROM and TO are the same database"),
        ("sqlite:///./one.db", "sqlite:///one.db", "FROM and TO are the same database"),
        ("sqlite:///none.db", "sqlite:///one.db", "none.db does not exist"),
        ("memory:", "sqlite:///one.db", "no database"),
        ("sqlite:///registrar.toml", "sqlite:///one.db", "registrar.toml: file is not a database"),
        ("postgresql://ann:s3cr3t@127.0.0.1:1/db", "sqlite:///one.db", "postgresql://127.0.0.1:1/db"),
    ],
)
def test_what_cannot_be_copied_is_said(desk: Desk, source: str, target: str, complaint: str) -> None:
    """In one line, without a password, and nothing is made."""
    refusal = desk.refused("copy", source, target)
    assert complaint in refusal
    assert "s3cr3t" not in refusal
    assert not Path("one.db").exists()


# --- sweep ------------------------------------------------------------------------------------------------------------


def test_clients_are_swept_by_command(desk: Desk) -> None:
    """What would become of them, and what has; a client that is not due is not among them."""
    desk.register()
    nothing = {"nothing": 0, "warn": 0, "suspend": 0, "delete": 0, "expire": 0}
    assert desk.told("sweep", "--dry-run") == nothing
    assert desk.told("sweep") == nothing
    assert "Done." in desk.done("sweep")


def test_a_sweep_says_that_the_clock_is_right(desk: Desk) -> None:
    """Servers that wait because the clock went ahead go on; asking what it would do says nothing."""
    found: list[int] = []

    async def spoil(registry: Registry) -> None:
        await registry.store.change([Put(Item(EVERYWHERE, KIND, KIND, msgspec.json.encode(Seen(1_000, 1_000))))])

    async def look(registry: Registry) -> None:
        item = await registry.store.item(EVERYWHERE, KIND, KIND)
        assert item is not None
        found.append(msgspec.json.decode(item.body, type=Seen).at)

    desk.open(spoil)
    desk.done("sweep", "--dry-run")
    desk.open(look)
    desk.done("sweep")
    desk.open(look)
    assert found == [1_000, pytest.approx(time.time(), abs=60)]
