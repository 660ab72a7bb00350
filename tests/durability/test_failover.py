"""The database fails over under load, with real servers in front of it: they go on by themselves, and nothing is missing."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx2
import pytest
from replicas import Replica, Replicas

from postgresql import PostgreSQL, either_of, replicated
from registrar.config import assemble, read
from registrar.domain.access_token import Kind
from registrar.domain.credentials import digest
from registrar.service import verification
from registrar.service.initial_access import issue_token
from registrar.service.operators import Operator
from registrar.service.ports import ClientQuery, EventQuery
from registrar.service.registry import Registry
from registrar.storage import migrate

pytestmark = pytest.mark.anyio

CALLERS = 12
USES = 40
BODY = {"redirect_uris": ["https://app.example/cb"]}


@pytest.fixture
def pair() -> Iterator[tuple[PostgreSQL, PostgreSQL]]:
    """A primary and its synchronous standby."""
    with replicated(lambda url: asyncio.run(migrate(url))) as both:
        yield both


class Crowd:
    """Callers of several replicas that come again until they are told."""

    def __init__(self, client: httpx2.AsyncClient, replicas: list[Replica]) -> None:
        self._client, self._replicas, self._turn = client, replicas, count()
        self.told: dict[str, tuple[str, str]] = {}
        """What was answered with 201: the identifier, with the path and the token of its registration."""
        self.by: Counter[str] = Counter()
        """How many each replica answered so."""
        self.statuses: Counter[int] = Counter()
        self.going = True
        self.longest = 0.0
        """Seconds between two registrations at the most."""
        self._last = time.monotonic()

    async def come(self, token: str) -> int:
        """One registration at the next replica; 0 where that is gone."""
        replica = self._replicas[next(self._turn) % len(self._replicas)]
        try:
            answer = await self._client.post(
                f"{replica.url}/register", json=BODY, headers={"authorization": f"Bearer {token}"}
            )
        except httpx2.TransportError:
            assert replica.process is None or replica.process.poll() is not None, "it lives, and broke a connection"
            return 0
        self.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            now, made = time.monotonic(), answer.json()
            self.longest, self._last = max(self.longest, now - self._last), now
            path = httpx2.URL(made["registration_client_uri"]).path
            self.told[made["client_id"]] = path, made["registration_access_token"]
            self.by[replica.url] += 1
        elif answer.status_code == 503:
            assert answer.headers["retry-after"], "whoever is told to come back is told when"
            await asyncio.sleep(0.02)
        return answer.status_code

    async def work(self, token: str) -> None:
        """Register until told to stop."""
        while self.going:
            await self.come(token)

    async def until(self, more: int) -> None:
        """Return once every replica that lives has answered so many more."""
        before = Counter(self.by)
        alive = [one.url for one in self._replicas if one.process is not None and one.process.poll() is None]
        async with asyncio.timeout(60):
            while any(self.by[url] < before[url] + more for url in alive):  # noqa: ASYNC110 (others do the work)
                await asyncio.sleep(0.01)


async def issued(registry: Registry, uses: int) -> str:
    """The value of a new token that registers so many clients; 0 is any number."""
    operator = Operator("tester", "test")
    value, _ = await issue_token(registry, registry.issuers["main"], operator, kind=Kind.CLIENT, max_uses=uses)
    return value


async def registered_with(registry: Registry, token: str) -> set[str]:
    """The clients of a token, as many as it was used, each with its event."""
    found = await registry.store.find_token("main", digest(token))
    assert found is not None
    clients = await registry.store.clients(ClientQuery(token_id=found.token_id), limit=100_000)
    names = {one.client_id for one in clients}
    events = await registry.store.events(EventQuery(kind="client.registered"), limit=100_000)
    assert found.uses == len(names) == sum(one.event.client_id in names for one in events)
    return names


async def test_replicas_go_on_at_the_standby(
    pair: tuple[PostgreSQL, PostgreSQL], tmp_path: Path, announce: Callable[[str], None]
) -> None:
    """The primary is killed with -9 under load, its standby promoted, and then one of three replicas is killed too.

    Whatever was answered with 201 is there and can be read at a replica that is left, a token of so many uses has
    registered so many, and the audit is whole. No server was started anew.
    """
    primary, standby = pair
    async with Replicas(tmp_path, either_of(primary, standby)) as several:
        three = await several.start(3)
        registry = assemble(read(several.configuration))
        endless, few = await issued(registry, 0), await issued(registry, USES)
        crowd = Crowd(several.client, three)
        workers = [asyncio.create_task(crowd.work(endless)) for _ in range(CALLERS)]

        async def spend() -> None:
            while await crowd.come(few) != 401:  # noqa: ASYNC110 (others use it up meanwhile)
                await asyncio.sleep(0.05)

        await crowd.until(30)
        spenders = [asyncio.create_task(spend()) for _ in range(3)]
        await asyncio.sleep(0.2)  # some of its uses are used before, and some are under way
        primary.kill()
        await asyncio.to_thread(standby.promote)
        await crowd.until(30)
        async with asyncio.timeout(60):
            await asyncio.gather(*spenders)
        victim: Replica = random.choice(three)
        victim.kill()
        await crowd.until(30)
        crowd.going = False
        await asyncio.gather(*workers)

        assert set(crowd.statuses) <= {201, 401, 503}
        assert [one.process.poll() for one in three if one is not victim and one.process is not None] == [None, None]
        stored = await registered_with(registry, few)
        assert len(stored) == USES
        stored |= await registered_with(registry, endless)
        assert set(crowd.told) <= stored
        left = next(one for one in three if one is not victim)
        for path, token in random.sample(sorted(crowd.told.values()), 50):
            answer = await several.client.get(f"{left.url}{path}", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
        report = await verification.verify(registry)
        assert report.sound, report.problems
        await registry.store.close()
        announce(
            f"primary killed, standby promoted, a replica killed: {len(crowd.told)} answered 201 of {len(stored)} stored, "
            f"{crowd.statuses[503]} answered 503, at the longest {crowd.longest:.1f} s without a registration"
        )
