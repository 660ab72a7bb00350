"""Replicas: several processes on one database are one registrar, whichever of them is asked and whichever is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from replicas import Replica, Replicas

import postgresql
from registrar.config import assemble, read
from registrar.domain.access_token import Kind
from registrar.domain.metadata import Presented
from registrar.service import checkpoints, templates, verification
from registrar.service.initial_access import issue_token
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery, EventQuery
from registrar.service.registry import Registry
from registrar.service.templates import Wanted
from registrar.storage import migrate, open_store

pytestmark = pytest.mark.anyio

USES = 12
ROUNDS = 20
BODY = {"redirect_uris": ["https://app.example/cb"]}


@pytest.fixture
async def replicas(tmp_path: Path, database: str) -> AsyncIterator[Replicas]:
    """None yet, on an empty PostgreSQL database."""
    async with Replicas(tmp_path, database) as several:
        yield several


async def a_token(registry: Registry, uses: int) -> str:
    """The value of a new token that registers so many clients."""
    operator = Operator("tester", "test")
    value, _ = await issue_token(
        registry, registry.issuers["main"], operator, kind=Kind.CLIENT, max_uses=uses, label="tests"
    )
    return value


async def crowd(
    client: httpx2.AsyncClient, places: list[str], token: str, count: int, end: Callable[[], object]
) -> tuple[Counter[int], set[str]]:
    """Let so many register at once, spread over the replicas; `end` one of them when the first few are answered."""
    statuses: Counter[int] = Counter()
    told: set[str] = set()

    async def register(number: int) -> None:
        headers = {"authorization": f"Bearer {token}"}
        try:
            answer = await client.post(f"{places[number % len(places)]}/register", json=BODY, headers=headers)
        except httpx2.TransportError:
            statuses[0] += 1
            return
        statuses[answer.status_code] += 1
        if answer.status_code == 201:
            told.add(answer.json()["client_id"])
        if sum(statuses.values()) == killed_after:
            end()

    killed_after = random.randrange(1, 6)
    await asyncio.gather(*(register(number) for number in range(count)))
    return statuses, told


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds, in another process."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (there is nothing that would tell)
            await asyncio.sleep(0.01)


async def stored_with(registry: Registry, token: str) -> set[str]:
    """The clients that a token has registered, after the books were found to balance."""
    from registrar.domain.credentials import digest

    found = await registry.store.find_token("main", digest(token))
    assert found is not None
    clients = await registry.store.clients(ClientQuery(token_id=found.token_id), limit=1000)
    assert found.uses == len(clients) == USES
    events = await registry.store.events(EventQuery(kind="client.registered"), limit=100_000)
    names = {client.client_id for client in clients}
    assert sum(one.event.client_id in names for one in events) == USES
    return names


async def test_a_token_is_used_exactly_as_often_as_it_may(replicas: Replicas, announce: Callable[[str], None]) -> None:
    """Ten times as many come as may register, to three replicas of which one is killed: the count is exact in every round.

    The audit of all of them verifies together, while they go on and after each of them was killed.
    """
    *three, spare = await replicas.start(4)
    registry = assemble(read(replicas.configuration))
    totals: Counter[int] = Counter()
    for _ in range(ROUNDS):
        token = await a_token(registry, USES)
        victim: Replica = random.choice(three)
        places = [one.url for one in three]
        statuses, told = await crowd(replicas.client, places, token, 10 * USES, victim.kill)
        assert set(statuses) <= {0, 201, 401}
        assert told <= await stored_with(registry, token)
        totals += statuses
        await spare.ready(replicas.client)
        three[three.index(victim)], spare = spare, victim.launch()  # it starts while the next round goes on without it
        report = await verification.verify(registry)
        assert report.sound, report.problems
    await spare.ready(replicas.client)
    await checkpoints.make(registry)
    report = await verification.verify(registry)
    assert report.sound, report.problems
    assert report.placed == report.batches
    assert report.writers > len(three)
    await registry.store.close()
    announce(
        f"{ROUNDS} rounds of {10 * USES} at 3 replicas, one killed in each: {ROUNDS * USES} clients of {ROUNDS * USES} uses; "
        f"{totals[201]} answered 201, {totals[401]} answered 401, {totals[0]} not answered"
    )


async def test_a_template_is_in_force_everywhere_at_once(replicas: Replicas) -> None:
    """A change of one row is in the next answer of every replica, for an instance that was registered before."""
    three = await replicas.start(3)
    registry = assemble(read(replicas.configuration))
    issuer, operator = registry.issuers["main"], Operator("tester", "test")

    def wanted(name: str) -> Wanted:
        return Wanted(Presented({**BODY, "client_name": name}))

    await templates.create(registry, issuer, operator, "app", wanted("First"))
    token = await a_token(registry, 1)
    answer = await replicas.client.post(
        f"{three[0].url}/register", json={"template_id": "app"}, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 201, answer.text
    path = httpx2.URL(answer.json()["registration_client_uri"]).path
    own = {"authorization": f"Bearer {answer.json()['registration_access_token']}"}

    async def names() -> list[str]:
        answers = [await replicas.client.get(f"{one.url}{path}", headers=own) for one in three]
        return [one.json()["client_name"] for one in answers]

    assert await names() == ["First"] * 3
    for name in ("Second", "Third", "Fourth"):
        await templates.change(registry, issuer, operator, "app", wanted(name))
        assert await names() == [name] * 3
    await registry.store.close()


async def test_signing_keys_are_shared(replicas: Replicas) -> None:
    """Replicas that start at the same moment on an empty database publish the same keys, one of each algorithm."""
    three = await replicas.start(3)
    sets = [(await replicas.client.get(f"{one.url}/jwks")).json()["keys"] for one in three]
    assert sets[0] == sets[1] == sets[2]
    kinds = [(key["kty"], key.get("crv")) for key in sets[0]]
    assert len(kinds) == len(set(kinds)) > 1


@pytest.fixture
def stopped() -> Iterator[postgresql.PostgreSQL]:
    """A server with an empty registry on it, which is not running."""
    with postgresql.running() as server:
        asyncio.run(server.execute("CREATE DATABASE registry"))
        asyncio.run(migrate(server.url("registry")))
        server.stop()
        yield server


async def test_replicas_wait_for_their_database(tmp_path: Path, stopped: postgresql.PostgreSQL) -> None:
    """Started before its database, a replica says what it waits for and serves once it is there; gone again, likewise."""
    async with Replicas(tmp_path, stopped.url("registry")) as several:
        replica = Replica(several.configuration).launch()
        several.all.append(replica)
        await until(lambda: "trying again" in replica.log.read_text())
        await stopped.started()
        await replica.ready(several.client)
        await asyncio.to_thread(stopped.stop)
        assert (await several.client.get(f"{replica.url}/readyz")).status_code == 503
        assert (await several.client.get(f"{replica.url}/healthz")).status_code == 200
        await stopped.started()
        await replica.ready(several.client)


async def test_workers_share_a_port(tmp_path: Path, either: str, announce: Callable[[str], None]) -> None:
    """`--workers 3`: a token's uses are exact though one worker is killed, it is replaced, and stopping loses nothing."""
    async with Replicas(tmp_path, either) as several:
        [replica] = await several.start(1, "--workers", "3")
        registry = assemble(read(several.configuration))
        await until(lambda: len(replica.workers()) == 3)
        before = replica.workers()
        token = await a_token(registry, USES)

        def end() -> None:
            os.kill(before[0], signal.SIGKILL)

        statuses, told = await crowd(several.client, [replica.url], token, 10 * USES, end)
        assert set(statuses) <= {0, 201, 401}
        assert told <= await stored_with(registry, token)
        await until(lambda: len(replica.workers()) == 3 and before[0] not in replica.workers())
        assert len(set(replica.workers()) & set(before)) == 2

        # Told to stop under load: whoever is answered 201 is stored, and all processes are gone.
        endless = await a_token(registry, 0)
        answered: set[str] = set()

        async def register() -> None:
            headers = {"authorization": f"Bearer {endless}"}
            while True:
                try:
                    answer = await several.client.post(f"{replica.url}/register", json=BODY, headers=headers)
                except httpx2.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                answered.add(answer.json()["client_id"])
                if len(answered) == 60:
                    assert replica.process is not None
                    replica.process.terminate()

        await asyncio.gather(*(register() for _ in range(12)))
        assert replica.process is not None
        assert await asyncio.to_thread(replica.process.wait, 30) == 0, replica.log.read_text()
        await registry.store.close()
        store = open_store(either)
        stored = {one.client_id for one in await store.clients(ClientQuery(), limit=100_000)}
        await store.close()
        assert answered <= stored
        announce(
            f"{either.partition(':')[0]}, 3 workers: {len(answered)} answered until the last was gone, all of them stored"
        )


async def test_a_worker_that_ends_while_the_database_is_gone_is_replaced(
    tmp_path: Path, stopped: postgresql.PostgreSQL
) -> None:
    """Who takes its place cannot start yet, and is tried again: the others go on, and all serve once the database is back."""
    await stopped.started()
    async with Replicas(tmp_path, stopped.url("registry")) as several:
        [replica] = await several.start(1, "--workers", "2")
        # One of the first that cannot start stops all, and rightly so: both must have come that far.
        await until(lambda: replica.log.read_text().count("Application startup complete") == 2)
        victim, other = replica.workers()
        await asyncio.to_thread(stopped.stop)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: "failed with" in replica.log.read_text())
        assert (await several.client.get(f"{replica.url}/healthz")).status_code == 200
        assert other in replica.workers()
        await stopped.started()
        await until(
            lambda: len(replica.workers()) == 2 and "Application startup complete" in since(replica, "failed with")
        )
        await replica.ready(several.client)
        assert other in replica.workers()
        # Told to stop while it waits to try again, it does not.
        await asyncio.to_thread(stopped.stop)
        failed = replica.log.read_text().count("failed with")
        os.kill(next(one for one in replica.workers() if one != other), signal.SIGKILL)
        await until(lambda: replica.log.read_text().count("failed with") > failed)
        replica.stop()
        assert "all workers stopped" in replica.log.read_text()
        await stopped.started()


def since(replica: Replica, words: str) -> str:
    """What the log says after the last time that it said something."""
    return replica.log.read_text().rpartition(words)[2]
