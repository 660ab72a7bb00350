"""The real server, killed, starved of disk and left by its callers: what it answered is there, and nothing is half there.

`kill -9` takes the process, not the operating system's cache; what a power cut takes is tests/storage's matter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest

from registrar.config import assemble, read
from registrar.domain.client import State
from registrar.domain.credentials import Credentials
from registrar.service import verification
from registrar.service.ports import ClientQuery, EventQuery
from registrar.storage.sqlite import SQLiteStore
from tied import tied

pytestmark = pytest.mark.anyio

KILLS = 25
"""In each of two storms, which can rage side by side."""
WORKERS = 16
START_SECONDS = 30

CONFIGURATION = """
[server]
host = "127.0.0.1"
port = {port}
database = "sqlite:///{database}"
[issuer.main]
url = "http://127.0.0.1:{port}"
[issuer.main.registration]
mode = "open"
"""


class Server:
    """`registrar serve` in a process of its own, on one file, as often as it is started."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = folder / "registrar.db"
        self._log = folder / "server.log"
        self._configuration = folder / "registrar.toml"
        self._configuration.write_text(CONFIGURATION.format(port=self.port, database=self.database))
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process, and do not wait for it."""
        command = [sys.executable, "-m", "registrar", "serve", "--config", str(self._configuration)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(tied(*command), stdout=log, stderr=subprocess.STDOUT)
        return self._process

    @asynccontextmanager
    async def started(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Start, and give a client once the server answers; at the end it is stopped, if it is not dead already."""
        process = self.launch()
        limits = httpx2.Limits(max_connections=WORKERS)
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False, limits=limits, timeout=30) as client:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers(client):
                    assert process.poll() is None, self._log.read_text()
            yield client
        self.stop()

    @staticmethod
    async def _answers(client: httpx2.AsyncClient) -> bool:
        with suppress(httpx2.TransportError):
            return (await client.get("/healthz")).status_code == 200
        await asyncio.sleep(0.01)  # not listening yet
        return False

    def kill(self) -> None:
        """Kill it at once, as the out-of-memory killer would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it in order, unless it is dead; it must then end without an error."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(timeout=30) == 0, self._log.read_text()

    async def verified(self) -> None:
        """Fail unless the chains of all its starts are whole, whatever they were doing when they ended."""
        registry = assemble(read(self._configuration))
        report = await verification.verify(registry)
        await registry.store.close()
        assert report.sound, report.problems
        assert report.writers > 1

    def limit_files(self, size: int) -> None:
        """Let no file of the process grow beyond `size`: to it, the disk is full."""
        assert self._process is not None
        _, most = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, most))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that is not started yet."""
    server = Server(tmp_path)
    yield server
    if server._process is not None and server._process.poll() is None:
        server.kill()


@dataclasses.dataclass
class Known:
    """A client whose 201 was received whole, and what its answers allow it to be."""

    uri: str
    headers: dict[str, str]
    secret: str | None
    redirect_uris: list[str]
    names: set[str]
    """More than one while an update has not been answered."""
    gone: set[bool] = dataclasses.field(default_factory=lambda: {False})
    """Both while a deletion has not been answered."""

    def check(self, answer: httpx2.Response) -> None:
        """Fail unless a read answers what was promised; what was open is known from here on."""
        assert answer.status_code == 200 or (answer.status_code == 401 and True in self.gone), answer.text
        if answer.status_code == 401:
            self.gone = {True}
            return
        shown = answer.json()
        assert False in self.gone, "a deleted client came back"
        assert shown["client_name"] in self.names
        assert shown.get("client_secret") == self.secret
        assert shown["redirect_uris"] == self.redirect_uris
        assert shown["registration_client_uri"] == self.uri
        self.names, self.gone = {shown["client_name"]}, {False}


METHODS = ("none", "client_secret_basic", "client_secret_post", "client_secret_jwt")


class Storm:
    """Callers who register, update and delete as fast as they are answered, until the server is gone."""

    def __init__(self, client: httpx2.AsyncClient, chance: random.Random) -> None:
        self._client, self._chance = client, chance
        self.known: dict[str, Known] = {}
        self.answers: Counter[str] = Counter()
        self._wanted, self._enough = 0, asyncio.Event()

    async def rage(self, answers: int, end: Callable[[], object]) -> None:
        """Let `WORKERS` callers work; `end` the server some time after `answers` answers."""
        self._wanted = answers
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())
            await self._enough.wait()
            await asyncio.sleep(self._chance.random() / 50)
            end()

    async def _work(self) -> None:
        with suppress(httpx2.TransportError):
            while True:
                client_id = await self._register()
                if self._chance.random() < 0.3:
                    await self._update(client_id)
                if self._chance.random() < 0.15:
                    await self._delete(client_id)

    async def _register(self) -> str:
        name = f"App {self._chance.getrandbits(64):x}"
        body = {
            "client_name": name,
            "redirect_uris": [f"https://app.example/{name[4:]}"],
            "token_endpoint_auth_method": self._chance.choice(METHODS),
        }
        answer = await self._client.post("/register", json=body)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        self.known[told["client_id"]] = Known(
            told["registration_client_uri"],
            {"authorization": f"Bearer {told['registration_access_token']}"},
            told.get("client_secret"),
            body["redirect_uris"],
            {name},
        )
        self._count("registered")
        return told["client_id"]

    async def _update(self, client_id: str) -> None:
        known = self.known[client_id]
        name = f"New {self._chance.getrandbits(64):x}"
        known.names.add(name)
        method = "none" if known.secret is None else "client_secret_basic"
        body = {
            "client_id": client_id,
            "client_name": name,
            "redirect_uris": known.redirect_uris,
            "token_endpoint_auth_method": method,
        }
        answer = await self._client.put(known.uri, json=body, headers=known.headers)
        assert answer.status_code == 200, answer.text
        known.names = {name}
        self._count("updated")

    async def _delete(self, client_id: str) -> None:
        known = self.known[client_id]
        known.gone = {True, False}
        answer = await self._client.delete(known.uri, headers=known.headers)
        assert answer.status_code == 204, answer.text
        known.gone = {True}
        self._count("deleted")

    def _count(self, what: str) -> None:
        self.answers[what] += 1
        if self.answers.total() >= self._wanted:
            self._enough.set()


async def check(client: httpx2.AsyncClient, known: list[Known]) -> None:
    """Read every client with its own token."""
    waiting = iter(known)

    async def work() -> None:
        for one in waiting:
            one.check(await client.get(one.uri, headers=one.headers))

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())


async def whole(database: Path) -> set[str]:
    """The identifiers of all clients in a database, after it was found to hold nothing that is half there."""
    db = apsw.Connection(str(database))
    assert db.pragma("integrity_check") == "ok"
    db.close()
    store = SQLiteStore(database)
    # That every record decodes is part of this.
    clients = {client.client_id: client for client in await store.clients(ClientQuery(), limit=1_000_000)}
    events = await store.events(EventQuery(), limit=1_000_000)
    await store.close()
    told: dict[str, Counter[str]] = {}
    for one in events:
        assert one.event.client_id == json.loads(one.event.body).get("client_id", "")
        if one.event.client_id:
            told.setdefault(one.event.client_id, Counter())[one.event.kind] += 1
    assert told.keys() == clients.keys()
    for client_id, kinds in told.items():
        client = clients[client_id]
        assert kinds["client.registered"] == 1
        assert client.version == 1 + kinds["client.updated"] + kinds["client.deleted"]
        assert (
            (client.state is State.DELETED) == (kinds["client.deleted"] == 1) == (client.credentials == Credentials())
        )
    for writer in {one.writer for one in events}:
        places = [(one.batch, one.position) for one in events if one.writer == writer]
        last = (0, 0)
        for place in places:
            assert place in ((last[0], last[1] + 1), (last[0] + 1, 0))
            last = place
    return set(clients)


@pytest.mark.requirement("R7591-72", "SEED-62")
@pytest.mark.parametrize("storm_number", [1, 2])
async def test_what_was_answered_survives_kill_9(
    server: Server, announce: Callable[[str], None], storm_number: int
) -> None:
    """Killed again and again in a storm of requests, the server keeps all that it answered, and nothing is half there."""
    chance = random.Random()
    known: dict[str, Known] = {}
    answers: Counter[str] = Counter()
    last: dict[str, Known] = {}
    for _ in range(KILLS):
        async with server.started() as client:
            await check(client, list(last.values()))
            storm = Storm(client, chance)
            await storm.rage(chance.randrange(1, 100), server.kill)
        last = storm.known
        assert not known.keys() & last.keys()
        known |= last
        answers += storm.answers
    async with server.started() as client:
        await check(client, list(known.values()))
    stored = await whole(server.database)
    assert known.keys() <= stored
    await server.verified()
    deleted = sum(one.gone == {True} for one in known.values())
    announce(
        f"storm {storm_number}, {KILLS} kills: {len(known)} of {len(known)} answered clients are whole ({answers['updated']} updates, "
        f"{answers['deleted']} deletions answered, {deleted} tombstones), 0 are half there; "
        f"{len(stored) - len(known)} were stored before their answer arrived"
    )


async def test_a_start_that_is_killed_can_be_made_again(server: Server) -> None:
    """Killed at any moment of its first start, the server leaves nothing that keeps the next one from starting."""
    chance = random.Random()
    for _ in range(8):
        process = server.launch()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, timeout=chance.uniform(0.1, 0.6))
        server.kill()
    async with server.started() as client:
        assert (await client.post("/register", json={"redirect_uris": ["https://app.example/cb"]})).status_code == 201
    assert len(await whole(server.database)) == 1


@pytest.mark.requirement("R7591-72")
async def test_a_full_disk_is_answered_503(server: Server, announce: Callable[[str], None]) -> None:
    """Where the disk is full, every answer is a 201 that is stored or a 503 that is not; with room it goes on.

    Twice: once the room comes back while the server runs, once it is killed where it stands and started again.
    """
    told: set[str] = set()
    counted: Counter[int] = Counter()

    async def register(client: httpx2.AsyncClient, count: int) -> set[int]:
        """Register `count` clients, a few at a time, and give the statuses that came."""
        seen: Counter[int] = Counter()
        waiting = iter(range(count))

        async def work() -> None:
            for number in waiting:
                body = {"client_name": f"{number}", "redirect_uris": ["https://app.example/cb"]}
                answer = await client.post("/register", json=body)
                seen[answer.status_code] += 1
                if answer.status_code == 201:
                    told.add(answer.json()["client_id"])
                    continue
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"] == "temporarily_unavailable"

        await asyncio.gather(*(work() for _ in range(WORKERS)))
        counted.update(seen)
        return set(seen)

    async with server.started() as client:
        assert await register(client, 20) == {201}
        largest = max(path.stat().st_size for path in server.database.parent.iterdir())
        server.limit_files(largest + 768 * 1024)
        assert await register(client, 400) == {201, 503}
        assert await register(client, 40) == {503}
        assert (await client.get("/healthz")).status_code == 200
        server.limit_files(resource.RLIM_INFINITY)
        assert await register(client, 100) == {201}
        server.limit_files(4096)
        assert await register(client, 40) == {503}
        server.kill()
    assert await whole(server.database) == told
    async with server.started() as client:
        assert await register(client, 20) == {201}
    assert await whole(server.database) == told
    announce(f"full disk: {counted[201]} answered 201 and stored, {counted[503]} answered 503 and not stored")


@pytest.mark.requirement("R7591-72")
async def test_a_caller_that_goes_away_leaves_nothing_half_done(
    server: Server, announce: Callable[[str], None]
) -> None:
    """Callers that hang up, after their request or in its middle, leave whole clients or none, and hinder nobody."""
    body = json.dumps({"redirect_uris": ["https://app.example/cb"]}).encode()
    head = f"POST /register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body

    async def hang_up(sent: bytes, *, abort: bool) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        await writer.drain()
        if abort:
            writer.transport.abort()
        else:
            writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def stay(client: httpx2.AsyncClient) -> str:
        answer = await client.post("/register", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 201
        return answer.json()["client_id"]

    async with server.started() as client:
        halves = [hang_up(request[:-cut], abort=bool(cut % 2)) for cut in range(1, len(body) + 40)]
        await asyncio.gather(*halves)
        stayed = await asyncio.gather(*(stay(client) for _ in range(10)))
        wholes: list[Any] = [hang_up(request, abort=bool(number % 2)) for number in range(60)]
        outcomes = await asyncio.gather(*wholes, *(stay(client) for _ in range(40)))
        stayed += outcomes[60:]
    stored = await whole(server.database)
    assert set(stayed) <= stored
    left = len(stored) - len(stayed)
    assert left <= 60
    announce(f"hanging up: {len(halves)} in mid-request left nothing, 60 after it left {left} whole clients")
