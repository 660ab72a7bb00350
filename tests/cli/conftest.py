"""A folder that `registrar init` has filled and the command line in it; a server in a process of its own; an odd issuer."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
import pytest
from click.testing import CliRunner, Result

from registrar.cli import main
from registrar.cli.demonstration import free_port, started
from registrar.config import assemble, read
from registrar.http import create_app
from registrar.service.registry import Registry


@dataclass
class Desk:
    """The command line in a folder."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "registrar.toml"

    def run(self, *arguments: str, **settings: Any) -> Result:
        """Run a command; an exception that it does not tell in a line fails the test."""
        return CliRunner().invoke(main, arguments, catch_exceptions=False, prog_name="registrar", **settings)

    def done(self, *arguments: str, **settings: Any) -> str:
        """What a command that succeeds prints, with nothing on stderr."""
        result = self.run(*arguments, **settings)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def told(self, *arguments: str, **settings: Any) -> Any:
        """What a command that succeeds prints as JSON."""
        return json.loads(self.done(*arguments, "--json", **settings))

    def refused(self, *arguments: str, **settings: Any) -> str:
        """The one line with which a command fails."""
        result = self.run(*arguments, **settings)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("Error: ").strip()

    def misused(self, *arguments: str, **settings: Any) -> str:
        """What a command says that was called in a wrong way."""
        result = self.run(*arguments, **settings)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return result.stderr

    def configure(self, *replacements: tuple[str, str]) -> None:
        """Replace parts of the configuration, each of which stands in it once."""
        text = self.configuration.read_text("utf-8")
        for old, new in replacements:
            assert text.count(old) == 1
            text = text.replace(old, new)
        self.configuration.write_text(text, "utf-8")

    def issue(self, *options: str) -> str:
        """The value of a new initial access token."""
        value: str = self.told("token", "issue", *options)["token"]
        return value

    def register(self, metadata: Mapping[str, Any] | None = None, token: str | None = None) -> dict[str, Any]:
        """The answer to a registration at the first issuer, in this process."""
        token = token or self.issue("--label", "tests")
        wanted = {"client_name": "Example", "redirect_uris": ["https://app.example/cb"], **(metadata or {})}
        answers: list[dict[str, Any]] = []

        async def act(registry: Registry) -> None:
            transport = httpx2.ASGITransport(app=create_app(registry))
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                answer = await client.post("/register", json=wanted, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 201, answer.text
            answers.append(answer.json())

        self.open(act)
        return answers[0]

    def rename(self, client_id: str, name: str) -> None:
        """Give a client a name that no registration would be allowed to have."""

        async def act(registry: Registry) -> None:
            store = registry.store
            client = await store.find("main", client_id)
            assert client is not None
            renamed = msgspec.structs.replace(
                client, version=client.version + 1, metadata={**client.metadata, "client_name": name}
            )
            await store.update(renamed, [], expected=client.version)

        self.open(act)

    def open(self, act: Callable[[Registry], Awaitable[None]]) -> None:
        """Do something with the registry of this folder."""

        async def session() -> None:
            registry = assemble(read(self.configuration))
            try:
                await act(registry)
            finally:
                await registry.store.close()

        anyio.run(session)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A folder with what `registrar init` writes, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGISTRAR_INITIAL_ACCESS_TOKEN", raising=False)
    here = Desk(tmp_path)
    here.done("init")
    return here


@dataclass
class Live(Desk):
    """The command line in the folder in which a server works."""

    url: str

    @property
    def open_url(self) -> str:
        """The issuer at which registration is open; the other one needs a token."""
        return f"{self.url}/open"

    def post(self, metadata: Mapping[str, Any] | None = None, token: str = "", url: str = "") -> httpx2.Response:
        """A registration over HTTP."""
        wanted = {"client_name": "Example", "redirect_uris": ["https://app.example/cb"], **(metadata or {})}
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx2.post(f"{url or self.url}/register", json=wanted, headers=headers)

    def manage(self, method: str, client: Mapping[str, Any], metadata: Any = None) -> httpx2.Response:
        """A request to a client's configuration endpoint with the client's token."""
        headers = {"authorization": f"Bearer {client['registration_access_token']}"}
        return httpx2.request(method, client["registration_client_uri"], json=metadata, headers=headers)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with two issuers, one for all tests of this process."""
    folder, port = tmp_path_factory.mktemp("live"), free_port()
    live = Live(folder, f"http://127.0.0.1:{port}")
    live.done("init", str(folder))
    live.configure(('url = "http://127.0.0.1:8000"', f'url = "{live.url}"'))
    with live.configuration.open("a") as file:
        file.write(f'[issuer.open]\nurl = "{live.open_url}"\n[issuer.open.registration]\nmode = "open"\n')
    with started(folder, port) as ready:
        assert ready, (folder / "log").read_text("utf-8")
        yield live


@pytest.fixture
def live(serving: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    """The command line in the folder of the server."""
    monkeypatch.chdir(serving.folder)
    monkeypatch.delenv("REGISTRAR_INITIAL_ACCESS_TOKEN", raising=False)
    return serving


@dataclass
class OddIssuer:
    """An issuer of no make, which answers as told and remembers what it was asked."""

    url: str
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]] = lambda _: (500, {})
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def odd_issuer() -> Iterator[OddIssuer]:
    """An issuer on loopback, whose registration endpoint answers as the test says."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            issuer.asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, members = 204, {}
            if self.command == "GET" and self.path == "/.well-known/oauth-authorization-server":
                status, members = 200, {"issuer": issuer.url, "registration_endpoint": f"{issuer.url}/register"}
            elif self.command != "DELETE":
                status, members = issuer.answer(json.loads(body or b"{}"))
            content = b"" if status == 204 else json.dumps(members).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = OddIssuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
