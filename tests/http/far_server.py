"""A server of somebody else, on a real socket: what the guarded fetcher is turned on, and what it must withstand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from registrar.testing.authority import Authority

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def certified(authority: Authority, folder: Path, name: str, **members: Any) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of this authority for a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(dns=[name], **members).write(folder, "server"))
    return context


class Far:
    """The server while it runs: its port, and the heads of the requests that came."""

    def __init__(self, answer: Answer) -> None:
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
async def far(answer: Answer | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Far]:
    """Serve on 127.0.0.1: bytes are sent as they are, anything else is called with the connection."""
    server = Far(_saying(answer) if isinstance(answer, bytes) else answer)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        task.add_done_callback(handlers.discard)
        with suppress(asyncio.CancelledError):  # the end of the server, not of the test
            await server(reader, writer)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def _saying(answer: bytes) -> Answer:
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
