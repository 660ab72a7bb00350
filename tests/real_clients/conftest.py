"""A live server, the npm clients from their lock, and a line of output for what each client obtained."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from person import PASSWORD, USERNAME, at_hand

from registrar.testing.authority import Authority
from tied import tied

if TYPE_CHECKING:
    pass

NODE = Path(__file__).parent / "node"
STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 15
INSTALL_SECONDS = 300


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return once `url` answers 200; fail with the server's output if it exits or stays silent."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url, trust_env=False).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            pass  # not listening yet
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the server exited with {process.returncode} before it was healthy:\n{log.read_text()}")
    pytest.fail(f"{url} did not answer 200 within {STARTUP_SECONDS} s:\n{log.read_text()}")


@contextmanager
def running(directory: Path, url: str, *command: str, told: str = "") -> Iterator[None]:
    """A server in a process of its own, once `url` answers, until the end of the block.

    Args:
        directory: where it runs, and where its output goes.
        url: what answers 200 when it is ready.
        command: the arguments of Python.
        told: what it reads from standard input.
    """
    log = directory / "server.log"
    # The output goes to a file: a pipe that nobody reads would fill and stop the server.
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied(sys.executable, *command),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(told.encode())
    try:
        await_answer(process, url, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the server did not stop within {SHUTDOWN_SECONDS} s of SIGTERM:\n{log.read_text()}")


def registrar(directory: Path, *arguments: str, told: str = "") -> str:
    """What a command of Registrar prints; it must succeed."""
    command = [sys.executable, "-m", "registrar", *arguments]
    done = subprocess.run(command, cwd=directory, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add_person(directory: Path, *options: str) -> None:
    """Make the account that `person` signs in with."""
    email = f"{USERNAME}@example.com"
    registrar(directory, "user", "add", USERNAME, *options, "--email", email, "--password-file", "-", told=PASSWORD)


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuer URL of a development server in a process and a directory of its own."""
    directory = tmp_path_factory.mktemp("server")
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    add_person(directory, "--dev")
    with running(directory, f"{issuer}/healthz", "-m", "registrar", "serve", "--dev", "--port", str(port)):
        yield issuer


@dataclass(frozen=True)
class Protected:
    """An MCP server that Registrar protects, and what a test needs to reach it."""

    issuer: str
    resource: str
    other_resource: str
    machine: tuple[str, str]
    """The identifier and secret of a client that gets tokens without a person."""
    person: str
    document: str
    """The URL of a document that describes a client, which is its identifier."""


CONFIGURATION = """
[server]
port = {port}
database = "sqlite:///registrar.db"
key_file = "registrar.key"

[issuer.main]
url = "{issuer}"

[issuer.main.registration]
mode = "open"

[server.fetch]
allow = ["https://localhost:{documents_port}"]
ca_file = "{ca_file}"

[issuer.main.metadata_documents]
enabled = true

[issuer.main.scopes]
catalogue = ["openid", "profile", "email", "offline_access", "notes", "calendar"]

[issuer.main.scopes.descriptions]
notes = "read your notes"
calendar = "read your calendar"

[issuer.main.authorization.resources.notes]
uri = "{resource}"
scopes = ["notes", "calendar"]
clients = [{clients}]

[issuer.main.authorization.resources.calendar]
uri = "{other_resource}"
clients = [{clients}]
"""


@pytest.fixture(scope="session")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protected]:
    """An MCP server and the Registrar that protects it, each in a process of its own."""
    directory, port, mcp_port = tmp_path_factory.mktemp("protected"), free_port(), free_port()
    issuer, resource = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mcp_port}/mcp"
    other_resource = "https://calendar.example/mcp"
    authority = Authority()
    values = {"port": port, "issuer": issuer, "resource": resource, "other_resource": other_resource}
    values |= {"documents_port": free_port(), "ca_file": authority.write(directory)}
    configuration = directory / "registrar.toml"
    registrar(directory, "init", ".")
    configuration.write_text(CONFIGURATION.format(clients="", **values))
    add_person(directory)
    create = ["client", "create", "--json", "--grant-type", "client_credentials"]
    server = json.loads(registrar(directory, *create, "--name", "Notes server"))
    machine = json.loads(registrar(directory, *create, "--name", "Night job", "--scope", "notes calendar"))
    # The server may ask about tokens of both resources, so that it is the one who has to tell them apart.
    configuration.write_text(CONFIGURATION.format(clients=json.dumps(server["client_id"]), **values))
    metadata = f"http://127.0.0.1:{mcp_port}/.well-known/oauth-protected-resource/mcp"
    script = [str(Path(__file__).parent / "mcp_server.py"), str(mcp_port), issuer, server["client_id"]]
    mcp_directory = tmp_path_factory.mktemp("mcp")
    with (
        running(directory, f"{issuer}/healthz", "-m", "registrar", "serve"),
        running(mcp_directory, metadata, *script, told=server["client_secret"]),
        at_hand(issuer) as address,
        publishing(authority, directory, values["documents_port"]) as document,
    ):
        credentials = (machine["client_id"], machine["client_secret"])
        yield Protected(issuer, resource, other_resource, credentials, address, document)


@contextmanager
def publishing(authority: Authority, directory: Path, port: int) -> Iterator[str]:
    """A server of one Client ID Metadata Document over TLS; gives its URL."""
    url = f"https://localhost:{port}/client.json"
    document = {
        "client_id": url,
        "client_name": "MCP Python SDK, described",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the output is that of the tests."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(dns=["localhost"]).write(directory, "documents"))
    with ThreadingHTTPServer(("127.0.0.1", port), Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def person(live_server: str) -> Iterator[str]:
    """Where clients send the addresses that a person has to go to; see `person.at_hand`."""
    with at_hand(live_server) as address:
        yield address


def program(name: str) -> str:
    """The full path of a Node.js program, whose absence is a failure: these clients are part of the suite."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"`{name}` was not found: these tests run real npm clients and need Node.js 20 or newer with npm")
    return path


def installed() -> bool:
    """Whether npm finished an installation after the lock file last changed."""
    # npm writes this copy of the lock last, so an interrupted installation does not count.
    receipt = NODE / "node_modules" / ".package-lock.json"
    return receipt.exists() and receipt.stat().st_mtime >= (NODE / "package-lock.json").stat().st_mtime


@pytest.fixture(scope="session")
def node() -> str:
    """The path of `node`, with the locked npm packages installed beside the scripts."""
    path = program("node")
    command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    # The lock file doubles as the lock between parallel test processes.
    with (NODE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed():
            return path
        npm = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if npm.returncode != 0:
        pytest.fail(f"`npm ci` exited with {npm.returncode}:\n{npm.stdout}{npm.stderr}")
    return path
