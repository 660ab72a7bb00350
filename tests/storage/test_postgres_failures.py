"""PostgreSQL killed, stopped, read-only, slow, and cut off at the worst moment: what was acknowledged is there, and it heals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from postgresql import PostgreSQL as Server
from postgresql import either_of, replicated, running
from registrar.domain.settings import PostgreSQL
from registrar.service.ports import ClientQuery, Conflict, EventQuery, Store, StoreUnavailable
from registrar.storage import migrate
from registrar.storage.postgres import PostgresStore
from registrar.storage.postgres.connection import Address, connect
from registrar.testing.store_conformance import _spend, a_client, a_token, an_event

pytestmark = pytest.mark.anyio

QUICK = PostgreSQL(connections=4, connect_seconds=0.5, statement_seconds=0.5)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Server]:
    """A server that may be killed."""
    with running() as server:
        asyncio.run(server.execute("CREATE DATABASE registry"))
        asyncio.run(migrate(server.url("registry")))
        asyncio.run(server.execute("ALTER DATABASE registry RENAME TO migrated"))
        yield server


@pytest.fixture
def address(mortal: Server) -> Iterator[str]:
    """An empty registry on it."""
    with mortal.database("migrated") as url:
        yield url


class Wire:
    """Between the store and the server: passes on what is said, until told to cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._cut = ""
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut_before(self) -> None:
        """Hang up as soon as the next thing is said to the server, which does not hear it."""
        self._cut = "before"

    def cut_after(self) -> None:
        """Hang up when the server has answered the next thing that is said to it; the answer is lost."""
        self._cut = "after"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection("127.0.0.1", self._port)
        said = asyncio.create_task(self._pass(reader, to_server[1], "before"))
        answered = asyncio.create_task(self._pass(to_server[0], writer, "after"))
        await asyncio.wait([said, answered], return_when=asyncio.FIRST_COMPLETED)
        for one in (to_server[1], writer):
            one.close()
        for task in (said, answered):
            task.cancel()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, when: str) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._cut == when:
                    self._cut = ""
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def wired(mortal: Server, address: str) -> AsyncIterator[tuple[PostgresStore, Wire]]:
    """A store that reaches its server over a wire, and has written already."""
    async with Wire(mortal.port) as wire:
        store = PostgresStore(address.replace(f":{mortal.port}", f":{wire.port}"), QUICK)
        await store.create(a_client("c0"), an_event("c0"))
        yield store, wire
        await store.close()


async def outcome(act: Coroutine[Any, Any, Any]) -> BaseException | None:
    """What an operation fails with."""
    try:
        await act
    except Exception as problem:  # noqa: BLE001 (whatever it is, it is looked at)
        return problem
    return None


async def until(holds: Callable[[], bool]) -> None:
    """Let the others go on until something holds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (what is waited for happens in a server)
            await asyncio.sleep(0)


async def stored(store: Store) -> set[str]:
    """The names of all clients, each of which has exactly one event of its registration."""
    names = [client.client_id for client in await store.clients(ClientQuery(), limit=100_000)]
    events = await store.events(EventQuery(kind="client.registered"), limit=100_000)
    assert sorted(one.event.client_id for one in events) == sorted(names)
    return set(names)


async def until_it_answers(store: Store) -> None:
    """Return once the store is ready; it must not need more than its server."""
    async with asyncio.timeout(20):
        while await outcome(store.ready()):  # noqa: ASYNC110 (as in until)
            await asyncio.sleep(0.01)


async def test_a_batch_that_landed_is_acknowledged_although_its_answer_was_lost(
    wired: tuple[PostgresStore, Wire],
) -> None:
    """The connection breaks after COMMIT: the batch is looked up, and every caller hears what became of its own."""
    store, wire = wired
    token = a_token(max_uses=1)
    await store.add_token(token, an_event("", kind="token.issued"))
    wire.cut_after()
    outcomes = await asyncio.gather(
        *(outcome(store.create(a_client(f"c{at}"), an_event(f"c{at}"))) for at in range(1, 21))
    )
    assert outcomes == [None] * 20
    assert wire.cuts == 1
    assert await stored(store) == {f"c{at}" for at in range(21)}
    await store.create(a_client("next"), an_event("next"), _spend(token))


async def test_a_batch_that_never_arrived_is_not_acknowledged(wired: tuple[PostgresStore, Wire]) -> None:
    """The connection breaks before the server has heard of the batch: all are told to come back, and nothing is stored."""
    store, wire = wired
    wire.cut_before()
    outcomes = await asyncio.gather(
        *(outcome(store.create(a_client(f"c{at}"), an_event(f"c{at}"))) for at in range(1, 21))
    )
    assert {type(one) for one in outcomes} == {StoreUnavailable}
    assert "connection to the database was lost" in str(outcomes[0])
    assert await stored(store) == {"c0"}
    await store.create(a_client("next"), an_event("next"))


async def test_a_read_that_loses_its_connection_is_made_again(wired: tuple[PostgresStore, Wire]) -> None:
    """Once, on another connection, and nobody notices; there is nothing that could happen twice."""
    store, wire = wired
    for cuts, cut in enumerate((wire.cut_before, wire.cut_after), 1):
        assert await store.find("main", "c0") == a_client("c0")
        cut()
        assert await store.find("main", "c0") == a_client("c0")
        assert wire.cuts == cuts


async def test_refusals_survive_a_lost_answer(wired: tuple[PostgresStore, Wire], address: str) -> None:
    """A batch of which one operation is refused is looked up like any other: the refused one hears its refusal."""
    store, wire = wired
    direct = PostgresStore(address, QUICK)
    for lost in range(1, 12):  # the answer of each of the steps in turn, from BEGIN to COMMIT
        name = f"c{lost}"
        writes = [
            store.create(a_client("c0"), an_event("c0")),
            store.create(a_client(name), an_event(name)),
        ]
        task = asyncio.gather(*(outcome(one) for one in writes))
        for _ in range(lost):
            await asyncio.sleep(0)  # somewhere in the middle of it
        wire.cut_after()
        refused, created = await task
        assert type(refused) in (Conflict, StoreUnavailable)
        landed = await direct.find("main", name) is not None
        assert landed if created is None else type(created) is StoreUnavailable
        await until_it_answers(store)
    await stored(direct)
    await direct.close()


async def test_a_session_that_is_ended_is_replaced(mortal: Server, address: str) -> None:
    """The administrator ends every session, again and again under load: nothing acknowledged is missing, nothing is half there."""
    store = PostgresStore(address, QUICK)
    await store.ready()
    name = address.rpartition("/")[2]
    acknowledged: set[str] = set()
    going = True

    async def work(worker: int) -> None:
        at = 0
        while going:
            at += 1
            client_id = f"w{worker}-{at}"
            problem = await outcome(store.create(a_client(client_id), an_event(client_id)))
            if problem is None:
                acknowledged.add(client_id)
            else:
                assert type(problem) is StoreUnavailable, problem
            await outcome(store.find("main", client_id))

    workers = asyncio.gather(*(work(at) for at in range(8)))
    for round_number in range(1, 6):
        wanted = 20 * round_number
        await until(lambda: len(acknowledged) >= wanted)  # noqa: B023 (it is called in this round)
        await mortal.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    going = False
    await workers
    assert acknowledged <= await stored(store)
    await store.close()


async def test_a_server_that_is_killed_comes_back(mortal: Server, address: str) -> None:
    """Killed under load: a clear word meanwhile, at once; after its restart the same stores go on, and nothing is lost."""
    stores = [PostgresStore(address, QUICK), PostgresStore(address, QUICK)]
    acknowledged: set[str] = set()
    refused: list[BaseException] = []
    going = True

    async def work(store: PostgresStore, worker: int) -> None:
        at = 0
        while going:
            at += 1
            client_id = f"w{worker}-{at}"
            problem = await outcome(store.create(a_client(client_id), an_event(client_id)))
            if problem is None:
                acknowledged.add(client_id)
                continue
            assert type(problem) is StoreUnavailable, problem
            refused.append(problem)
            await asyncio.sleep(0.001)  # whoever is told to come back later does not come back at once

    workers = asyncio.gather(*(work(stores[at % 2], at) for at in range(8)))
    for wanted in (50, 120):
        await until(lambda: len(acknowledged) >= wanted)  # noqa: B023 (it is called in this round)
        mortal.kill()
        told = len(refused)
        await until(lambda: len(refused) >= told + 20)  # noqa: B023 (as above)
        unreachable = await outcome(stores[0].ready())
        assert type(unreachable) is StoreUnavailable
        assert f"127.0.0.1:{mortal.port}" in str(unreachable)
        await mortal.started()
        await asyncio.gather(*(until_it_answers(store) for store in stores))
    await until(lambda: len(acknowledged) >= 200)
    going = False
    await workers
    assert acknowledged <= await stored(stores[0])
    for store in stores:
        await store.close()


async def test_a_database_that_takes_no_writes_is_answered_with_a_clear_word(mortal: Server, address: str) -> None:
    """While the database is read-only nothing is acknowledged; when it takes writes again the store does too."""
    store = PostgresStore(address, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    name = address.rpartition("/")[2]
    connection = store._writes._connection
    assert connection is not None
    await connection.execute("SET default_transaction_read_only = on")  # as a primary that became a standby answers
    await mortal.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    problem = await outcome(store.create(a_client("c1"), an_event("c1")))
    assert type(problem) is StoreUnavailable
    assert "takes no writes" in str(problem)
    again = await outcome(store.create(a_client("c1"), an_event("c1")))
    assert type(again) is StoreUnavailable
    await mortal.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await store.create(a_client("c2"), an_event("c2"))
    assert await stored(store) == {"c0", "c2"}
    await store.close()


async def test_a_statement_that_takes_too_long_is_given_up(mortal: Server, address: str) -> None:
    """Somebody holds a table: writers and readers hear so within the limit, nothing is stored, and later it goes on."""
    store = PostgresStore(address, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    other = await mortal.connect(address.rpartition("/")[2])
    async with other.transaction():
        await other.execute("LOCK TABLE client IN ACCESS EXCLUSIVE MODE")
        problems = await asyncio.gather(
            outcome(store.create(a_client("c1"), an_event("c1"))), outcome(store.find("main", "c0"))
        )
        assert [type(one) for one in problems] == [StoreUnavailable] * 2
        assert all("statement timeout" in str(one) for one in problems)
    await other.close()
    assert await stored(store) == {"c0"}
    await store.create(a_client("c1"), an_event("c1"))
    await store.close()


@pytest.mark.parametrize("code", ["40001", "40P01"], ids=["serialisation", "deadlock"])
async def test_what_was_undone_for_another_is_tried_again(mortal: Server, address: str, code: str) -> None:
    """As often as is of use, and then whoever waits is told to come back; neither way is anything there twice or half."""
    store = PostgresStore(address, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    name = address.rpartition("/")[2]
    await mortal.execute(
        "CREATE SEQUENCE tried MINVALUE -1000 START 1; CREATE FUNCTION unlucky() RETURNS trigger AS $$ BEGIN IF nextval('tried') <= 3 THEN "
        f"RAISE EXCEPTION 'the other goes first' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER unlucky BEFORE INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION unlucky()",
        name,
    )
    await asyncio.gather(*(store.create(a_client(f"c{at}"), an_event(f"c{at}")) for at in range(1, 6)))
    assert await stored(store) == {f"c{at}" for at in range(6)}
    await mortal.execute("ALTER SEQUENCE tried RESTART -1000", name)
    problem = await outcome(store.create(a_client("late"), an_event("late")))
    assert type(problem) is StoreUnavailable
    assert "other writers were always first" in str(problem)
    await mortal.execute("ALTER SEQUENCE tried RESTART 4", name)
    assert "late" not in await stored(store)
    await store.create(a_client("late"), an_event("late"))
    assert "late" in await stored(store)
    await store.close()


async def test_a_replica_that_stands_still_does_not_hold_the_others_up(address: str) -> None:
    """Stopped in the middle of a transaction, it loses its session; the row that it had locked is written by another."""
    store = PostgresStore(address, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    still = await connect(Address(address, QUICK))
    await still.execute("BEGIN")
    await still.execute("UPDATE client SET version = 7 WHERE client_id = 'c0'")
    after = a_client("c0", version=2)
    async with asyncio.timeout(20):
        while await outcome(store.update(after, [an_event("c0", kind="client.updated")], expected=1)):
            pass
    assert await store.find("main", "c0") == after
    still.terminate()
    await store.close()


async def test_a_server_that_says_nothing_is_given_up(mortal: Server, address: str) -> None:
    """The machine hangs, and no connection breaks: callers are told all the same, and it heals when the machine goes on."""
    store = PostgresStore(address, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    mortal.pause()
    try:
        problems = await asyncio.gather(
            *(outcome(store.create(a_client(f"c{at}"), an_event(f"c{at}"))) for at in range(1, 5)),
            outcome(store.find("main", "c0")),
        )
        assert {type(one) for one in problems} == {StoreUnavailable}
    finally:
        mortal.resume()
    await until_it_answers(store)
    await store.create(a_client("next"), an_event("next"))
    # What was answered with 503 may have landed after all: nobody was told that it had not.
    assert {"c0", "next"} <= await stored(store) <= {"c0", "next", "c1", "c2", "c3", "c4"}
    await store.close()


async def test_readers_wait_for_a_session_and_not_for_ever(address: str) -> None:
    """With every session taken, a read is told to come back; once one is free it is served."""
    store = PostgresStore(address, QUICK)
    await store.ready()
    pool = store._pool
    assert pool is not None
    held = [await pool.acquire() for _ in range(QUICK.connections)]
    problem = await outcome(store.find("main", "c0"))
    assert type(problem) is StoreUnavailable
    assert "no connection became free" in str(problem)
    for one in held:
        await pool.release(one)
    assert await store.find("main", "c0") is None
    await store.close()


async def test_of_several_hosts_the_one_that_takes_writes_is_found(mortal: Server, address: str) -> None:
    """Hosts that do not answer, and those that take no writes, are passed over."""
    url = address.replace(f"127.0.0.1:{mortal.port}", f"127.0.0.1:1,127.0.0.1:{mortal.port}")
    store = PostgresStore(url, QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    assert await stored(store) == {"c0"}
    await store.close()


async def test_a_host_that_says_nothing_leaves_the_others_their_time(mortal: Server, address: str) -> None:
    """A machine that is gone refuses nothing: connecting to it never ends. Whoever comes hears from the next host all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        store = PostgresStore(address.replace("127.0.0.1:", f"{at},127.0.0.1:"), QUICK)
        await store.create(a_client("c0"), an_event("c0"))
        assert await stored(store) == {"c0"}
        await store.close()
        alone = PostgresStore(address.replace(f"127.0.0.1:{mortal.port}", f"127.0.0.1:1,{at}"), QUICK)
        problem = await outcome(alone.ready())
        assert type(problem) is StoreUnavailable
        assert "127.0.0.1:1/" in str(problem)
        assert f"{at}/{address.rpartition('/')[2]} does not answer" in str(problem)
        await alone.close()


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary and a standby that has everything before the primary says that it is committed."""
    with replicated(lambda url: asyncio.run(migrate(url))) as both:
        yield both


async def test_a_standby_alone_is_no_database_until_it_is_promoted(pair: tuple[Server, Server]) -> None:
    """A store that knows only a hot standby says why it does nothing, and goes on by itself once it may write."""
    _, standby = pair
    store = PostgresStore(standby.url("registry"), QUICK)
    for act in (store.ready(), store.find("main", "c0"), store.create(a_client("c0"), an_event("c0"))):
        problem = await outcome(act)
        assert type(problem) is StoreUnavailable
        assert f"127.0.0.1:{standby.port}/registry answers, and takes no writes" in str(problem)
    await asyncio.to_thread(standby.promote)
    await until_it_answers(store)
    await store.create(a_client("c0"), an_event("c0"))
    assert await stored(store) == {"c0"}
    await store.close()


async def test_a_standby_takes_over_with_all_that_was_acknowledged(pair: tuple[Server, Server]) -> None:
    """The primary is killed under load and its standby promoted: the same stores go on there, and nothing is missing."""
    primary, standby = pair
    url = either_of(primary, standby)
    stores = [PostgresStore(url, QUICK), PostgresStore(url, QUICK)]
    await asyncio.gather(*(until_it_answers(store) for store in stores))
    token = a_token(max_uses=0, expires_at=0)
    await stores[0].add_token(token, an_event("", kind="token.issued"))
    acknowledged: set[str] = set()
    going = True

    async def work(worker: int) -> None:
        at = 0
        while going:
            at += 1
            client_id = f"w{worker}-{at}"
            created = stores[worker % 2].create(a_client(client_id), an_event(client_id), _spend(token))
            problem = await outcome(created)
            if problem is None:
                acknowledged.add(client_id)
            else:
                assert type(problem) is StoreUnavailable, problem
                await asyncio.sleep(0.001)

    workers = asyncio.gather(*(work(at) for at in range(8)))
    await until(lambda: len(acknowledged) >= 200)
    primary.kill()
    before = len(acknowledged)
    await asyncio.to_thread(standby.promote)
    await until(lambda: len(acknowledged) >= before + 200)
    going = False
    await workers
    names = await stored(stores[0])
    assert acknowledged <= names
    [found] = await stores[1].tokens()
    assert found.uses == len(names)
    for store in stores:
        await store.close()


async def test_what_the_standby_has_not_is_not_acknowledged(pair: tuple[Server, Server]) -> None:
    """A commit that waits for its standby and is cut off there can be seen at once: it is no answer until the standby has it."""
    primary, standby = pair
    store = PostgresStore(primary.url("registry"), QUICK)
    await store.create(a_client("c0"), an_event("c0"))
    standby.pause()
    writing = asyncio.create_task(outcome(store.create(a_client("c1"), an_event("c1"))))
    other = await primary.connect("registry")
    waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'registrar' AND wait_event = 'SyncRep'"
    async with asyncio.timeout(20):
        while not (waiting := await other.fetchval(waits)):
            pass
    await other.fetchval("SELECT pg_terminate_backend($1)", waiting)
    assert type(await writing) is StoreUnavailable
    assert await other.fetchval("SELECT count(*) FROM client") == 2  # it may be seen, and was promised to nobody
    await other.close()
    primary.kill()
    standby.resume()
    await asyncio.to_thread(standby.promote)
    heir = PostgresStore(standby.url("registry"), QUICK)
    await until_it_answers(heir)
    assert "c0" in await stored(heir)
    for one in (store, heir):
        await one.close()
