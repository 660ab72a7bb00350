"""What is counted of requests, what of it Prometheus is told, and to whom."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Final

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from real_server import Program, Start, configuration, request

from registrar.config import ConfigurationError, parse
from registrar.domain.metrics import METRICS
from registrar.http.metrics import Exposition
from registrar.policy.document import Document
from registrar.service.ports import FetchError, StoreUnavailable
from registrar.testing import OPEN, Served, served

CLIENT: Final = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
COUNTING: Final = f"[server.metrics]\nport = 9464\n{OPEN}"
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Numbers:
    """What an exposition says, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def number(numbers: Numbers, name: str, **labels: str) -> float:
    """The sum of a metric over the series that have these labels."""
    return sum(value for (one, its), value in numbers.items() if one == name and labels.items() <= dict(its).items())


async def told(server: Served) -> Numbers:
    """What Prometheus would be told at this moment."""
    assert server.registry.metrics is not None
    exposition = Exposition(server.registry, server.registry.metrics)
    given = await exposition.answer({"path": "/metrics", "method": "GET"})
    assert given.status == 200
    return read(given.body.decode())


@pytest.mark.anyio
async def test_requests_are_counted_by_what_came_of_them() -> None:
    """Registered, refused with its rules, read, and a token that was not issued."""
    async with served(COUNTING) as server:
        made = await server.client.post("/register", json={**CLIENT, "unheard_of": 1})
        await server.client.post("/register", json={"redirect_uris": ["ftp:x", "javascript:x"]})
        bearer = {"Authorization": f"Bearer {made.json()['registration_access_token']}"}
        await server.client.get(f"/register/{made.json()['client_id']}", headers=bearer)
        await server.client.delete(f"/register/{made.json()['client_id']}")
        await server.client.post("/token", data={"grant_type": "client_credentials", "client_id": "nobody"})
        await server.client.post("/token", data={"grant_type": "x" * 1000})
        await server.client.request("BREW", "/token")
        await server.client.get("/healthz")
        await server.client.get("/nowhere")
        numbers = await told(server)

    def counted(name: str, **labels: str) -> float:
        return number(numbers, name, **labels)

    at = {"issuer": "main", "endpoint": "registration_endpoint", "method": "POST"}
    assert counted("registrar_requests_total", **at, status="201") == 1
    assert counted("registrar_requests_total", **at, status="400") == 1
    assert counted("registrar_request_seconds_count", **at) == 2
    assert 0 < counted("registrar_request_seconds_sum", **at) < 10
    own = {"issuer": "main", "endpoint": "registration_client_uri"}
    assert counted("registrar_requests_total", **own, method="GET", status="200") == 1
    assert counted("registrar_requests_total", **own, method="DELETE", status="401") == 1
    assert counted("registrar_requests_total", method="other", status="405") == 1
    assert counted("registrar_requests_total", endpoint="health", status="200") == 1
    assert counted("registrar_requests_total", issuer="", status="404") == 1
    assert counted("registrar_registrations_total", issuer="main", policy="default", mode="open") == 1
    assert counted("registrar_refusals_total", endpoint="registration_endpoint", error="invalid_redirect_uri") == 1
    assert counted("registrar_refusals_total", endpoint="registration_client_uri", error="token_required") == 1
    assert counted("registrar_findings_total", rule="redirect_uri.scheme", verdict="refused") == 2
    assert counted("registrar_findings_total", rule="metadata.unknown", verdict="ignored") == 1
    assert counted("registrar_tokens_total", grant="client_credentials", outcome="invalid_client") == 1
    assert counted("registrar_tokens_total", grant="other", outcome="unsupported_grant_type") == 1
    assert counted("registrar_events_total", kind="client.registered") == 1
    assert counted("registrar_requests_in_progress") == 0
    assert counted("registrar_ready") == 1


@pytest.mark.anyio
async def test_refusals_beyond_the_quota_are_counted_all_the_same() -> None:
    """What the audit only counts, a metric shows rule by rule."""
    async with served(f"{COUNTING}\n[issuer.main.audit]\nrefusals_per_minute = 2") as server:
        for _ in range(5):
            await server.client.post("/register", json={"redirect_uris": ["ftp:x"]})
        numbers = await told(server)

    assert number(numbers, "registrar_findings_total", rule="redirect_uri.scheme") == 5
    assert number(numbers, "registrar_refusals_total") == 5


@pytest.mark.anyio
async def test_a_store_that_does_not_answer_is_told() -> None:
    """`registrar_ready` is 0, and the numbers are there nevertheless."""
    async with served(COUNTING) as server:
        await server.registry.store.close()
        with pytest.raises(StoreUnavailable):
            await server.registry.store.ready()
        assert (await server.client.post("/register", json=CLIENT)).status_code == 503
        numbers = await told(server)

    assert number(numbers, "registrar_ready") == 0
    assert number(numbers, "registrar_refusals_total", error="temporarily_unavailable") == 1


@pytest.mark.anyio
async def test_labels_hold_nothing_that_a_caller_chose() -> None:
    """Whatever stands in paths, methods, forms and bodies, no more series come of it and none of it is told."""
    async with served(COUNTING) as server:
        for at in range(50):
            word = f"hostile{at}"
            await server.client.request(word.upper(), f"/{word}", headers={"Host": word})
            await server.client.get(f"/register/{word}")
            await server.client.get(f"/statements/{word}")
            await server.client.post("/token", data={"grant_type": word, "client_id": word})
            await server.client.post("/register", json={word: word, "redirect_uris": [f"{word}:x"], "scope": word})
            if at == 0:
                before = await told(server)
        after = await told(server)
        assert server.registry.metrics is not None
        text = (
            await Exposition(server.registry, server.registry.metrics).answer({"path": "/metrics", "method": "GET"})
        ).body

    assert before.keys() == after.keys()
    assert b"hostile" not in text.lower()


@pytest.mark.anyio
async def test_nothing_is_counted_where_nobody_asks() -> None:
    """Without a port for it there are no numbers at all."""
    async with served(OPEN) as server:
        assert server.registry.metrics is None
        assert (await server.client.post("/register", json=CLIENT)).status_code == 201


@pytest.mark.anyio
async def test_only_metrics_are_told() -> None:
    """The port for Prometheus is a door to nothing else."""
    async with served(COUNTING) as server:
        assert server.registry.metrics is not None
        exposition = Exposition(server.registry, server.registry.metrics)
        for path, method, status in (
            ("/", "GET", 404),
            ("/register", "POST", 404),
            ("/metrics/", "GET", 404),
            ("/metrics", "POST", 405),
            ("/metrics", "HEAD", 200),
        ):
            assert (await exposition.answer({"path": path, "method": method})).status == status
        assert (await server.client.get("/metrics")).status_code == 404, "clients have no business there"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("port = 8000", "is a port of its own"),
        ("port = -1", "is a port from 1 to 65535"),
        ("port = 65536", "is a port from 1 to 65535"),
        ('port = 9464\nhost = "everywhere"', "is an address such as"),
    ],
)
def test_a_port_that_cannot_be_is_refused(settings: str, said: str) -> None:
    """At the start, naming the line."""
    with pytest.raises(ConfigurationError, match=said):
        parse(Document("test", f"[server.metrics]\n{settings}\n{OPEN}"))


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(23_000 + os.getpid() % 5_000, 32_000, count):
        sockets = []
        try:
            sockets = [socket.create_server(("127.0.0.1", first + at)) for at in range(count)]
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return first
    raise AssertionError("no ports are free")


def scrape(port: int) -> Numbers:
    """What is told at a port."""
    return read(httpx2.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text)


@pytest.fixture
def metrics_port() -> int:
    """A port that is free, and the two after it."""
    return free_ports(3)


def test_a_real_server_tells_everything(start: Start, metrics_port: int) -> None:
    """Each row of the table is there, and the commits and events of a registration are counted."""
    program = start(f"{configuration()}\n[server.metrics]\nport = {metrics_port}").listening()
    [made] = program.send(request("POST", "/register", CLIENT, "Connection: close"))
    assert made.status == 201
    while not any("metrics are told" in line for line in program.lines):
        time.sleep(0.01)
    numbers = scrape(metrics_port)

    answer = httpx2.get(f"http://127.0.0.1:{metrics_port}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    told = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE ")}
    assert told >= set(METRICS)
    assert number(numbers, "registrar_events_total", kind="client.registered") == 1
    assert number(numbers, "registrar_commit_operations_sum") >= 2
    assert number(numbers, "registrar_commit_seconds_count", outcome="durable") >= 2
    assert number(numbers, "process_resident_memory_bytes") > 1_000_000
    assert number(numbers, "registrar_build_info") == 1
    assert program.stop() == 0


def test_each_worker_has_a_port(start: Start, metrics_port: int) -> None:
    """What all of them did is the sum, and the one that takes the place of another takes its port too."""
    text = f"{configuration()}\n[server.metrics]\nport = {metrics_port}"
    program = start(text, "--workers", "2").listening()
    ports = (metrics_port, metrics_port + 1)
    wait_for(program, 2)
    for _ in range(20):
        [made] = program.send(request("POST", "/register", CLIENT, "Connection: close"))
        assert made.status == 201
    assert sum(number(scrape(port), "registrar_events_total", kind="client.registered") for port in ports) == 20

    worker = re.findall(r"Started server process \[(\d+)\]", program.output)[0]
    os.kill(int(worker), signal.SIGKILL)
    wait_for(program, 3)
    for port in ports:
        assert number(scrape(port), "registrar_ready") == 1
    assert program.stop() == 0


def wait_for(program: Program, count: int) -> None:
    """Return when so many processes have told where their metrics are."""
    until = time.monotonic() + 30
    while sum("metrics are told" in line for line in program.lines) < count:
        assert time.monotonic() < until, program.output
        time.sleep(0.01)


def test_a_port_that_is_taken_keeps_the_server_from_starting(start: Start, tmp_path: Path) -> None:
    """Numbers that nobody can read are no good, and it shows at once."""
    del tmp_path
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start(f"{configuration()}\n[server.metrics]\nport = {port}")
        assert program.wait() == 3
    assert "address already in use" in program.output


@pytest.mark.anyio
async def test_fetches_are_counted() -> None:
    """Those that fail too, without the address that was asked for."""
    from registrar.domain.settings import Fetching
    from registrar.http.fetch import Fetcher
    from registrar.service.metrics import Metrics

    metrics = Metrics()
    fetch = Fetcher(Fetching(), metrics=metrics)
    for url in ("http://inside.example/keys", "https://user@inside.example/keys"):
        with pytest.raises(FetchError):
            await fetch(url, accept=("application/json",))
    await fetch.close()

    assert metrics.fetches.cells == {("failed",): [2]}
    assert sum(metrics.fetch_seconds.cells[()][:-1]) == 2
