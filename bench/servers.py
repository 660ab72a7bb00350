"""The servers that are measured: how each is prepared, started on its own core, waited for and stopped."""

import asyncio
import base64
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from load import SERVER_CORE, LoadError

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # what starts servers there starts them here
import postgresql
from tied import tied

PEERS = Path(__file__).parent / "peers"
START_SECONDS, STOP_SECONDS = 20, 10
LOG_FILES = 64
"""More than the turns of any server write."""
WARM_UP_SECONDS = 4  # Node.js compiles its hot paths for about that long; less would wrong the peer


@dataclass(frozen=True, slots=True)
class Site:
    """Where one server lives while it is measured."""

    folder: Path
    port: int

    @property
    def config(self) -> Path:
        return self.folder / "registrar.toml"

    @property
    def database(self) -> Path:
        return self.folder / "registrar.db"

    @property
    def requests(self) -> Path:
        return self.folder / "requests"


class Ledger(Protocol):
    """What a database holds, counted from the outside and from where it was counted last."""

    def new_clients(self) -> int:
        """Clients stored since the last count."""
        ...


def nothing_to_prepare(_site: Site) -> list[dict[str, str]]:
    """One request, with nothing to fill in."""
    return [{}]


@dataclass(frozen=True, slots=True)
class Server:
    """A server's command, the path that answers 200 once it is up, and what must be there before it starts.

    `prepare` says with what the row's request is filled in: one request is sent for each of its mappings.
    `database` is there as long as the server is needed, and counts what is in it; where it is a server too, it works
    `beside`, on the core of the load.
    `start_seconds` may pass until it answers, and for `warm_up_seconds` it is loaded before anything is counted.
    """

    command: Callable[[Site], list[str]]
    ready: str
    prepare: Callable[[Site], list[dict[str, str]]] = nothing_to_prepare
    database: Callable[[Site], contextlib.AbstractContextManager[Ledger | None]] = lambda _: contextlib.nullcontext()
    beside: bool = False
    start_seconds: int = START_SECONDS
    warm_up_seconds: int = WARM_UP_SECONDS


@contextlib.contextmanager
def cluster(*settings: str) -> Iterator[postgresql.PostgreSQL]:
    """A PostgreSQL that commits durably, for all that are measured on one alike, as it is after its first checkpoint under load.

    A new one makes each file of its log when it is needed: 16 MiB are written and synchronised while whoever commits waits,
    some 50 ms about once in a second of full load. Later it gives old files new names, as many as `min_wal_size` or the load asks for.
    """
    sizes = ("shared_buffers=256MB", "max_wal_size=4GB", f"min_wal_size={LOG_FILES * 16}MB")
    with postgresql.running(*sizes, *settings, durable=True) as server:
        asyncio.run(filled(server))
        yield server


async def filled(server: postgresql.PostgreSQL) -> None:
    """Fill as many files of its log as will be needed, and have a checkpoint keep them for that."""
    connection = await server.connect()
    for _ in range(LOG_FILES):
        await connection.execute("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
    await connection.execute("CHECKPOINT")
    await connection.close()


@contextlib.contextmanager
def running(server: Server, site: Site) -> Iterator[tuple[int, float]]:
    """Run the server; gives its process id and the seconds from process start to its first 200."""
    with (site.folder / "server.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            tied("taskset", "-c", str(SERVER_CORE), *server.command(site)),
            stdout=log,
            stderr=log,
            env=os.environ | {"NODE_ENV": "production"},
        )
        try:
            while not answers(site.port, server.ready):
                if process.poll() is not None or time.perf_counter() - began > server.start_seconds:
                    raise LoadError(
                        f"{server.command(site)} did not start:\n{(site.folder / 'server.log').read_text()}"
                    )
                time.sleep(0.002)
            yield process.pid, time.perf_counter() - began
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port: int, path: str) -> bool:
    """Whether a GET of the path is answered with 200 now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def install_peers() -> None:
    """Install the Node.js peer from its lock file when it is missing."""
    if (PEERS / "node_modules" / "oidc-provider").is_dir():
        return
    if not shutil.which("npm"):
        sys.exit("bench: npm is missing: install Node.js 22 or later (its npm comes along) and start again")
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PEERS, check=True)


OIDC_PROVIDER = Server(
    command=lambda site: ["node", str(PEERS / "oidc_provider.mjs"), str(site.port)],
    ready="/.well-known/openid-configuration",
)

CODES = 200_000
"""Authorization codes that are there to be exchanged; each is used once."""


def peer_client(_site: Site) -> list[dict[str, str]]:
    """The client of the peer that issues tokens."""
    return [{"authorization": basic("bench", "secret-of-the-bench-secret-of-the-bench")}]


def peer_codes(site: Site) -> list[dict[str, str]]:
    """The codes that the peer has from its start on."""
    (client,) = peer_client(site)
    return [{**client, "code": f"code-{number:038}"} for number in range(CODES)]


def basic(client_id: str, secret: str) -> str:
    """An Authorization header (RFC 6749 §2.3.1); neither part has a character that would have to be encoded."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def oidc_provider_tokens(codes: int, prepare: Callable[[Site], list[dict[str, str]]]) -> Server:
    """The peer as a token server that has so many codes."""
    return Server(
        command=lambda site: ["node", str(PEERS / "oidc_provider_tokens.mjs"), str(site.port), str(codes)],
        ready="/.well-known/openid-configuration",
        prepare=prepare,
    )


FASTMCP_LOCK = PEERS / "fastmcp.txt"
FASTMCP_HOME = PEERS.parent.parent / "var" / "peers" / f"fastmcp-{sha256(FASTMCP_LOCK.read_bytes()).hexdigest()[:12]}"
FASTMCP = FASTMCP_HOME / "bin" / "python"
"""Named by the lock file, so that another one is installed anew. The file also has the parts of uvicorn that the registrar
and the MCP SDK run on: without uvloop and httptools it would fall back to slower ones, and be beaten by that alone."""


def install_fastmcp() -> None:
    """Install it from its lock file, in an environment of its own, when it is missing."""
    if FASTMCP.exists():
        return
    try:
        subprocess.run([sys.executable, "-m", "venv", FASTMCP_HOME], check=True)
        install = [FASTMCP, "-m", "pip", "install", "-q", "--require-hashes", "-r", FASTMCP_LOCK]
        subprocess.run(install, check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(FASTMCP_HOME)  # or a half-filled one would count as there
        raise


FAST_MCP = Server(
    command=lambda site: [str(FASTMCP), str(PEERS / "fast_mcp.py"), str(site.port)],
    ready="/.well-known/oauth-authorization-server",
)

MCP_SDK = Server(
    command=lambda site: [sys.executable, str(PEERS / "mcp_sdk.py"), str(site.port)],
    ready="/.well-known/oauth-authorization-server",
)
