"""Traces: the steps of a request as spans, and nothing personal, no secret and nobody else's trace in them."""

from __future__ import annotations

import asyncio
import builtins
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from real_server import Start, configuration, request

from registrar.config import ConfigurationError, assemble, parse
from registrar.http import tracing
from registrar.policy.document import Document
from registrar.testing import OPEN, served

CLIENT: Final = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = f"00-{TRACE}-b7ad6b7169203331-01"
TRACING: Final = "[server.tracing]\nendpoint = 'http://127.0.0.1:1/v1/traces'"

pytestmark = pytest.mark.anyio


class Kept(InMemorySpanExporter):
    """What was exported, by name."""

    last: Kept

    def __init__(self, **_: Any) -> None:
        super().__init__()
        Kept.last = self

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of a name."""
        return [span for span in self.get_finished_spans() if span.name == name]


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "OTLPSpanExporter", Kept)


def on_sqlite(tmp_path: Path, server: str = "", more: str = "") -> str:
    """A traced server that writes in batches."""
    text = OPEN.replace('database = "memory:"', f'database = "sqlite:///{tmp_path / "registrar.db"}"\n{server}')
    return f"{text}\n{TRACING}\n{more}"


def exported(server: Any) -> Kept:
    """What was exported by now."""
    server.registry.tracer._provider.force_flush()
    return Kept.last


async def test_a_registration_is_its_steps(tmp_path: Path) -> None:
    """One trace: the request, and within it admission, gathering, judging and storing; the commit that it shared."""
    async with served(on_sqlite(tmp_path)) as server:
        assert (await server.client.post("/register", json=CLIENT)).status_code == 201
        kept = exported(server)

    [whole] = kept.named("POST registration_endpoint")
    assert whole.context is not None
    assert whole.attributes is not None
    assert whole.attributes["http.response.status_code"] == 201
    assert whole.attributes["registrar.issuer"] == "main"
    for name in ("admission", "gather", "judge", "store create"):
        [step] = kept.named(name)
        assert step.parent is not None
        assert (step.parent.span_id, step.parent.trace_id) == (whole.context.span_id, whole.context.trace_id)
    [created] = kept.named("store create")
    commits = [span for span in kept.named("commit") if span.links and span.links[0].context == created.context]
    assert len(commits) == 1


async def test_a_commit_is_linked_with_all_that_share_it(tmp_path: Path) -> None:
    """Fifty registrations at once, and every one of them finds its commit."""
    async with served(on_sqlite(tmp_path)) as server:
        answers = await asyncio.gather(*(server.client.post("/register", json=CLIENT) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert server.registry.store._writes._steps == {}  # type: ignore[attr-defined]
        kept = exported(server)

    made = {span.context.span_id for span in kept.named("store create") if span.context}
    linked = [link.context.span_id for span in kept.named("commit") for link in span.links]
    assert len(made) == 50
    assert made <= set(linked)
    assert len(linked) == len(set(linked))
    assert len(kept.named("commit")) < 50


async def test_a_proxys_trace_goes_on_and_a_strangers_is_linked(tmp_path: Path) -> None:
    """W3C Trace Context, believed from those alone who are believed about anything."""
    for trusted in (True, False):
        proxies = f"trusted_proxies = ['{'127.0.0.1' if trusted else '10.9.9.9'}']"
        async with served(on_sqlite(tmp_path, proxies)) as server:
            await server.client.get("/healthz", headers={"traceparent": PARENT})
            [span] = exported(server).named("GET health")
        assert span.context is not None
        assert (format(span.context.trace_id, "032x") == TRACE) == trusted
        assert (span.parent is not None) == trusted
        assert [format(link.context.trace_id, "032x") for link in span.links] == ([] if trusted else [TRACE])


@pytest.mark.parametrize(
    "said", ["", "x", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01", PARENT * 100, "\xff"]
)
async def test_what_is_no_trace_is_ignored(tmp_path: Path, said: str) -> None:
    """A header of any kind changes nothing."""
    async with served(on_sqlite(tmp_path, "trusted_proxies = ['127.0.0.1']")) as server:
        answer = await server.client.get("/healthz", headers={b"traceparent": said.encode("latin-1")})
        [span] = exported(server).named("GET health")

    assert answer.status_code == 200
    assert span.parent is None
    assert span.links == ()


async def test_nothing_personal_and_no_secret_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent, and whatever fails with it in its words."""
    from registrar.service import registration

    async with served(on_sqlite(tmp_path)) as server:
        made = await server.client.post(
            "/register", json={**CLIENT, "client_name": "hush", "contacts": ["hush@x.example"]}
        )
        bearer = {"Authorization": "Bearer hush-token"}
        await server.client.get(f"/register/{made.json()['client_id']}?code=hush", headers=bearer)
        await server.client.post("/register", json={"redirect_uris": ["hush:x"]}, headers=bearer)
        await server.client.request("HUSH", "/hush", headers={"User-Agent": "hush"})
        await server.client.post("/token", data={"grant_type": "client_credentials", "client_id": "hush"})

        async def broken(*_: Any) -> None:
            raise RuntimeError("hush")

        monkeypatch.setattr(registration, "decide", broken)
        assert (await server.client.post("/register", json=CLIENT)).status_code == 500
        kept = exported(server)

    told = "".join(span.to_json() for span in kept.get_finished_spans())
    assert "hush" not in told.lower()
    assert made.json()["client_id"] not in told
    [failed] = [one for one in kept.named("judge") if not one.status.is_ok and one.status.status_code.name == "ERROR"]
    assert failed.attributes == {"error.type": "RuntimeError"}
    errors = {str((one.attributes or {}).get("error.type")) for one in kept.named("POST registration_endpoint")}
    assert {"invalid_token", "server_error"} <= errors


async def test_a_share_is_traced(tmp_path: Path) -> None:
    """With 0, only what a trusted proxy asks for."""
    text = on_sqlite(tmp_path, "trusted_proxies = ['127.0.0.1']").replace(
        "[server.tracing]", "[server.tracing]\nshare = 0"
    )
    async with served(text) as server:
        for _ in range(20):
            await server.client.post("/register", json=CLIENT)
        assert exported(server).get_finished_spans() == ()
        await server.client.post("/register", json=CLIENT, headers={"traceparent": PARENT})
        kept = exported(server)

    assert len(kept.named("POST registration_endpoint")) == 1
    assert len(kept.named("commit")) >= 1


async def test_nothing_is_traced_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then OpenTelemetry is not even loaded."""
    monkeypatch.setattr(builtins, "__import__", _without_opentelemetry)
    registry = assemble(parse(Document("test", OPEN)))
    assert registry.tracer is None
    with pytest.raises(ConfigurationError, match=r"needs the extra traces: pip install"):
        assemble(parse(Document("test", f"{TRACING}\n{OPEN}")))
    await registry.store.close()


_import = builtins.__import__


def _without_opentelemetry(name: str, *rest: Any) -> Any:
    if name.startswith(("opentelemetry", "registrar.http.tracing")):
        raise ImportError(f"No module named {name!r}")
    return _import(name, *rest)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("endpoint = 'localhost:4318'", "is a URL such as"),
        ("endpoint = 'ftp://x/y'", "is a URL such as"),
        ("endpoint = 'https://user:secret@x/y'", "holds no credentials"),
        ("share = 2", "is a share from 0 to 1"),
        ("seconds = 0", "is more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: str, said: str) -> None:
    """At the start, without repeating them."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        parse(Document("test", f"[server.tracing]\n{settings}\n{OPEN}"))
    assert "secret" not in str(refused.value)


class Receiver(BaseHTTPRequestHandler):
    """An OTLP receiver over HTTP."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Any]:
    """An OTLP receiver that keeps what it receives."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_server_sends_them(start: Start, receiver: Any) -> None:
    """By OTLP over HTTP, what is left when it stops too."""
    endpoint = f"http://127.0.0.1:{receiver.server_port}/v1/traces"
    program = start(f"{configuration()}\n[server.tracing]\nendpoint = '{endpoint}'").listening()
    [made] = program.send(request("POST", "/register", CLIENT, f"traceparent: {PARENT}", "Connection: close"))
    assert made.status == 201
    assert program.stop() == 0

    resources = [one for _, sent in receiver.received for one in sent.resource_spans]
    named = {item.key: item.value.string_value for item in resources[0].resource.attributes}
    names = {span.name for one in resources for scope in one.scope_spans for span in scope.spans}
    assert {path for path, _ in receiver.received} == {"/v1/traces"}
    assert named["service.name"] == "registrar"
    assert {"POST registration_endpoint", "admission", "gather", "judge", "store create", "commit"} <= names


def test_a_receiver_that_is_not_there_harms_nobody(start: Start) -> None:
    """Clients are served, and the server stops in time."""
    program = start(
        f"{configuration()}\n[server.tracing]\nseconds = 0.5\nendpoint = 'http://127.0.0.1:1/v1/traces'"
    ).listening()
    [made] = program.send(request("POST", "/register", CLIENT, "Connection: close"))
    assert made.status == 201
    assert program.stop() == 0
