"""A server on PostgreSQL that is stopped, or killed, while many register; and one that says first that it will be."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from replicas import CONFIGURATION, Replica, free_port

from registrar.config import create_key_file
from registrar.domain.settings import PostgreSQL
from registrar.service.ports import ClientQuery
from registrar.storage import open_store

pytestmark = pytest.mark.anyio

CALLERS = 16
ENOUGH = 200
STOP_SECONDS = 25
DRAIN_SECONDS = 4
MEMBERS = {"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}


def configured(folder: Path, database: str, *lines: str) -> Path:
    """The configuration of an open issuer, with more lines for `[server]`."""
    create_key_file(folder / "keys")
    text = CONFIGURATION.format(port=free_port(), database=database, keys=folder / "keys")
    text = text.replace('["client", "user"]', '"open"').replace("[server]", "\n".join(["[server]", *lines]))
    path = folder / "registrar.toml"
    path.write_text(text, "utf-8")
    return path


async def stored(database: str) -> set[str]:
    """The identifiers of all clients."""
    store = open_store(database, queue=16, postgresql=PostgreSQL())
    found: set[str] = set()
    while page := await store.clients(ClientQuery("main"), after=("main", max(found, default="")), limit=1_000):
        found |= {one.client_id for one in page}
    await store.close()
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_what_was_promised_is_there(how: signal.Signals, database: str, tmp_path: Path) -> None:
    """Each 201 is a client in the database; one that is asked to stop answers what is under way, and is soon gone."""
    replica = Replica(configured(tmp_path, database)).launch()
    promised: list[str] = []
    odd: set[int] = set()
    enough = asyncio.Event()
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        await replica.ready(client)

        async def register() -> None:
            while True:
                try:
                    answer = await client.post(f"{replica.url}/register", json=MEMBERS)
                except httpx2.TransportError:  # it listens no more
                    return
                if answer.status_code == 201:
                    promised.append(answer.json()["client_id"])
                    if len(promised) >= ENOUGH:
                        enough.set()
                else:
                    odd.add(answer.status_code)

        callers = [asyncio.create_task(register()) for _ in range(CALLERS)]
        assert replica.process is not None
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await enough.wait()
            began = time.monotonic()
            replica.process.send_signal(how)
            status = await asyncio.to_thread(replica.process.wait, STOP_SECONDS)
            assert time.monotonic() - began < STOP_SECONDS
        finally:
            replica.kill()
        await asyncio.gather(*callers)

    assert status == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    assert odd == set()
    assert len(promised) >= ENOUGH
    assert set(promised) <= await stored(database)


# --- told before it comes ---------------------------------------------------------------------------------------------


async def status_of(replica: Replica) -> int:
    """How `/readyz` answers on a connection of its own, as a balancer asks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1])


async def refused(replica: Replica, until: float) -> None:
    """Return when nobody listens any more, so that nobody is let in to wait for an answer that never comes."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", replica.port), 1).close()
        except ConnectionError:
            return
        assert time.monotonic() < until, "there is still somebody who listens"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def begun(replica: Replica) -> AsyncIterator[tuple[socket.socket, bytes]]:
    """A registration of which the head and a part of the body were sent, and the rest."""
    body = json.dumps(MEMBERS).encode()
    head = (
        f"POST /register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", replica.port), STOP_SECONDS)
    connection.sendall(head.encode() + body[:10])
    with connection:
        yield connection, body[10:]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_balancer_that_looks_loses_nothing(workers: int, database: str, tmp_path: Path) -> None:
    """After SIGTERM it is not ready and serves on, whoever comes; who goes elsewhere then has never had a bad answer.

    What began before the end is answered after it, and as many signals as systemd sends to all processes do no harm.
    """
    replica = Replica(
        configured(tmp_path, database, f"drain_seconds = {DRAIN_SECONDS}", "body_seconds = 60"),
        "--workers",
        str(workers),
    ).launch()
    promised: list[str] = []
    after: list[str] = []
    enough, elsewhere = asyncio.Event(), asyncio.Event()
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        await replica.ready(client)
        assert replica.process is not None
        assert workers == 1 or len(replica.workers()) == workers

        async def register() -> None:
            while not elsewhere.is_set():
                answer = await client.post(
                    f"{replica.url}/register", json=MEMBERS
                )  # a broken connection fails the test
                assert answer.status_code == 201, answer.text
                promised.append(answer.json()["client_id"])
                if len(promised) >= ENOUGH:
                    enough.set()

        callers = [asyncio.create_task(register()) for _ in range(CALLERS)]
        try:
            async with asyncio.timeout(STOP_SECONDS), begun(replica) as (slow, rest):
                await enough.wait()
                assert await status_of(replica) == 200
                told = time.monotonic()
                for process in (replica.process.pid, *(replica.workers() if workers > 1 else ())):
                    os.kill(process, signal.SIGTERM)
                while await status_of(replica) != 503:
                    assert time.monotonic() - told < DRAIN_SECONDS
                before = len(promised)
                await asyncio.sleep(DRAIN_SECONDS / 2)
                assert len(promised) > before + CALLERS, "it serves while it drains"
                assert {await status_of(replica) for _ in range(10)} == {503}
                answer = await client.get(f"{replica.url}/healthz")
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
                elsewhere.set()
                await asyncio.gather(*callers)
                await refused(replica, told + DRAIN_SECONDS + 5)
                assert time.monotonic() - told >= DRAIN_SECONDS
                assert replica.process.poll() is None, "something is under way"
                slow.sendall(rest)
                received = await anyio.to_thread.run_sync(lambda: b"".join(iter(lambda: slow.recv(65_536), b"")))
                assert received.startswith(b"HTTP/1.1 201 ")
                after.append(json.loads(received.partition(b"\r\n\r\n")[2])["client_id"])
            assert await asyncio.to_thread(replica.process.wait, STOP_SECONDS) == 0, replica.log.read_text()
        finally:
            for one in callers:
                one.cancel()
            replica.kill()
    assert replica.log.read_text().count("draining: ") == workers
    assert "Traceback" not in replica.log.read_text()
    assert {*promised, *after} <= await stored(database)


async def test_whoever_presses_the_keys_waits_for_nobody(database: str, tmp_path: Path) -> None:
    """Ctrl-C stops at once, and ends the draining of a server that was told before."""
    path = configured(tmp_path, database, "drain_seconds = 60")
    for signals in ([signal.SIGINT], [signal.SIGTERM, signal.SIGINT]):
        replica = Replica(path).launch()
        async with httpx2.AsyncClient(trust_env=False) as client:
            await replica.ready(client)
        assert replica.process is not None
        began = time.monotonic()
        for one in signals:
            replica.process.send_signal(one)
            await asyncio.sleep(0.3)
        assert await asyncio.to_thread(replica.process.wait, STOP_SECONDS) == 0, replica.log.read_text()
        assert time.monotonic() - began < 5
