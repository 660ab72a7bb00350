"""Somebody who is told of events, on a real socket: verifies every signature by itself, and answers as the test says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from listening import listening

Answer = Callable[["Delivered"], Awaitable[bytes]]


def key_line(key: bytes) -> str:
    """A key as it stands in a file."""
    return f"whsec_{base64.b64encode(key).decode()}"


def key_file(folder: Path, *keys: bytes) -> Path:
    """A file with keys that only its owner reads."""
    path = folder / "webhook.keys"
    path.write_text("\n".join(map(key_line, keys)) + "\n")
    path.chmod(0o600)
    return path


def says(status: int, *headers: str) -> bytes:
    """A whole answer."""
    return "\r\n".join([f"HTTP/1.1 {status} Said", "Content-Length: 0", *headers, "", ""]).encode()


@dataclass
class Delivered:
    """A message that came, its signature verified."""

    identifier: str
    timestamp: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """What it says."""
        return json.loads(self.content)

    @property
    def client_id(self) -> str:
        """The client that it is about."""
        client_id: str = self.body["data"]["client_id"]
        return client_id


@dataclass
class Receiver:
    """What came so far, and how the next message is answered."""

    port: int
    key: bytes = field(default_factory=lambda: os.urandom(32))
    answer: Answer | bytes = says(204)
    came: list[Delivered] = field(default_factory=list)
    together: int = 0
    most_together: int = 0
    unverified: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    @property
    def identifiers(self) -> list[str]:
        """Of what came, in order."""
        return [one.identifier for one in self.came]

    def table(self, folder: Path, name: str = "gateway", more: str = "") -> str:
        """The configuration that leads here; `server.fetch.allow` is needed beside it."""
        return f'[webhook.{name}]\nurl = "{self.url}"\nsecret_file = "{key_file(folder, self.key)}"\n{more}\n'

    @property
    def origin(self) -> str:
        """What `server.fetch.allow` has to name."""
        return f"http://127.0.0.1:{self.port}"

    async def until(self, count: int, seconds: float = 20) -> None:
        """Return once so many messages came."""
        until = time.monotonic() + seconds
        while len(self.came) < count:
            assert time.monotonic() < until, f"{len(self.came)} of {count} came"
            await asyncio.sleep(0.01)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one message."""
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                assert head[0].startswith("POST "), head[0]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                content = await reader.readexactly(int(headers["content-length"]))
                message = Delivered(headers["webhook-id"], int(headers["webhook-timestamp"]), headers, content)
                if not self.verifies(message):
                    self.unverified += 1
                self.came.append(message)
                writer.write(await self._answered(message, reader))
                await writer.drain()
        finally:
            self.together -= 1
            writer.close()

    async def _answered(self, message: Delivered, reader: asyncio.StreamReader) -> bytes:
        """The answer, or nothing once nobody waits for it any more."""
        if isinstance(self.answer, bytes):
            return self.answer
        answering, left = asyncio.ensure_future(self.answer(message)), asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answering, left}, return_when=asyncio.FIRST_COMPLETED)
        for one in (answering, left):
            one.cancel()
        return answering.result() if answering.done() else b""

    def verifies(self, message: Delivered) -> bool:
        """Whether one of the signatures is that of the key (Standard Webhooks, symmetric signatures)."""
        signed = f"{message.identifier}.{message.timestamp}.".encode() + message.content
        expected = base64.b64encode(hmac.new(self.key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in message.headers["webhook-signature"].split(" ")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver while it listens."""
    receiver = Receiver(0)
    async with listening(receiver.serve) as receiver.port:
        yield receiver
