"""Several server processes on one database."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

import httpx2

from registrar.config import create_key_file
from tied import tied

START_SECONDS = 30

CONFIGURATION = """
[server]
host = "127.0.0.1"
port = {port}
database = "{database}"
key_file = "{keys}"
[issuer.main]
url = "http://127.0.0.1:{port}"
[issuer.main.registration]
mode = ["client", "user"]
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Replica:
    """`registrar serve` in a process of its own, on a port of its own."""

    def __init__(self, configuration: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "registrar", "serve", "--config", str(configuration)]
        self._command += ["--port", str(self.port), *options]
        self.log = configuration.with_name(f"{self.port}.log")
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> Replica:
        """Start the process, and do not wait for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(tied(*self._command), stdout=log, stderr=subprocess.STDOUT)
        return self

    async def ready(self, client: httpx2.AsyncClient, path: str = "/readyz") -> None:
        """Return once it answers."""
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self.process.poll() is None, self.log.read_text()
                with suppress(httpx2.TransportError):
                    if (await client.get(f"{self.url}{path}")).status_code == 200:
                        return
                await asyncio.sleep(0.01)  # not listening yet

    def kill(self) -> None:
        """Kill it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        """The processes that it has started."""
        assert self.process is not None
        return [
            int(one) for one in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> None:
        """Stop it in order, unless it is dead; it must then end without an error."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(timeout=30) == 0, self.log.read_text()


class Replicas:
    """Some of them, with a client that knows them all."""

    def __init__(self, folder: Path, database: str) -> None:
        self.configuration = folder / "registrar.toml"
        keys = folder / "registrar.key"
        create_key_file(keys)
        self.configuration.write_text(CONFIGURATION.format(port=free_port(), database=database, keys=keys))
        self.all: list[Replica] = []
        self.client = httpx2.AsyncClient(
            trust_env=False, timeout=30, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50)
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        for one in self.all:
            one.stop()

    async def start(self, count: int, *options: str) -> list[Replica]:
        """Start so many at the same moment."""
        started = [Replica(self.configuration, *options).launch() for _ in range(count)]
        self.all += started
        await asyncio.gather(*(one.ready(self.client) for one in started))
        return started
