"""A server of somebody else, on a real socket: what the guarded fetcher is turned on, and what it must withstand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from listening import Serve, listening
from registrar.testing.authority import Authority


def certified(authority: Authority, folder: Path, name: str, **members: Any) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of this authority for a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(dns=[name], **members).write(folder, "server"))
    return context


class Far:
    """The server while it runs: its port, and the heads of the requests that came."""

    def __init__(self, answer: Serve) -> None:
        self.port = 0
        self.requests: list[str] = []
        self.connections = 0
        self.together = 0
        self.most_together = 0
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
                await self._answer(reader, writer)
        finally:
            self.together -= 1
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def far(answer: Serve | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Far]:
    """Serve on 127.0.0.1: bytes are sent as they are, anything else is called with the connection."""
    server = Far(_saying(answer) if isinstance(answer, bytes) else answer)
    async with listening(server, tls) as server.port:
        yield server


def _saying(answer: bytes) -> Serve:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return say


def answering(body: bytes = b"{}", *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        *([f"Content-Type: {kind}"] if kind else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
