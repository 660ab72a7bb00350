"""What SQLite is asked is found by an index, or beside the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from registrar.domain.client import State
from registrar.service.ports import ClientQuery, EventQuery, Put, StoreUnavailable, Tell
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import NOW, a_client, an_event, an_item

pytestmark = pytest.mark.anyio


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


async def test_no_event_is_looked_at_where_none_is_from_before_chains(tmp_path: Path) -> None:
    """Every new registry is asked for them at its first checkpoint, however many events it has by then."""
    store = SQLiteStore(tmp_path / "registrar.db")
    for _ in range(3):
        await store.change([Tell(an_event()) for _ in range(100)])
    _, beside = asked(store)
    assert await store.unchained() == 0
    ((sql, _),) = beside
    steps = 0

    def stepped() -> bool:
        nonlocal steps
        steps += 1
        return False

    store._read.set_progress_handler(stepped, 1)
    assert store._query(sql, ()) == [(0,)]
    assert 0 < steps < 100
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
    monkeypatch.setattr("registrar.storage.sqlite.store.FEW", 3)
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
