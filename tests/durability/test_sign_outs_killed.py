"""Sign-outs of real processes: what one was killed with before it told it, another one tells."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from replicas import Replicas

from registrar.authorization import logout, people, sessions
from registrar.authorization.sessions import Visit
from registrar.config import assemble, read
from registrar.domain import jws
from registrar.service import clients
from registrar.service.registry import Registry

pytestmark = pytest.mark.anyio


class Application:
    """An application that wants to hear of sign-outs, on a real socket: what it was sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one logout token."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.heard.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def application() -> AsyncIterator[Application]:
    """The application while it listens."""
    one = Application()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listening.close()


async def signed_in(registry: Registry, client_id: str) -> Visit:
    """Alice, in a session that a client knows of."""
    issuer = registry.issuers["main"]
    person = await people.add(registry, issuer, "alice", "correct horse battery")
    _, visit = await sessions.begin(registry, issuer, person, amr=("pwd",))
    client = await clients.find(registry, issuer, client_id)
    assert client is not None
    await registry.store.change(logout.remembered(issuer, client, visit.session.authentication))
    return visit


async def test_a_sign_out_is_told_by_another_process(tmp_path: Path) -> None:
    """The session ended, and the process with it, before anything was sent."""
    async with application() as heard, Replicas(tmp_path, f"sqlite:///{tmp_path}/registrar.db") as replicas:
        text = replicas.configuration.read_text().replace('["client", "user"]', '"open"')
        text = text.replace("[issuer.main]\n", f'[server.fetch]\nallow = ["{heard.url}"]\n[issuer.main]\n')
        replicas.configuration.write_text(text + "[issuer.main.authorization]\n")
        (first,) = await replicas.start(1)
        members = {"redirect_uris": ["https://app.example/cb"], "backchannel_logout_uri": f"{heard.url}/out"}
        made = (await replicas.client.post(f"{first.url}/register", json=members)).json()
        first.kill()
        registry = assemble(read(replicas.configuration))
        minute_ago = dataclasses.replace(registry, clock=lambda: int(time.time() * 1000) - 60_000)
        visit = await signed_in(minute_ago, made["client_id"])
        await logout.end(minute_ago, minute_ago.issuers["main"], visit)
        await registry.errands.close()
        await registry.store.close()
        assert heard.heard == []

        (second,) = await replicas.start(1)
        until = time.monotonic() + 20
        while not heard.heard:
            assert time.monotonic() < until, "nobody told it"
            await asyncio.sleep(0.05)

        published = (await replicas.client.get(f"{second.url}/jwks")).json()["keys"]
        compact = parse_qs(heard.heard[0].decode())["logout_token"][0]
        token = jws.verify(jws.read(compact), published, ("RS256",))
        assert (token.claims["aud"], token.claims["sid"]) == (made["client_id"], visit.session.session_id)
