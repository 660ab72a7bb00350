"""Measures the registrar beside its peers on one machine and in one run: `make bench`, or `bench/run.py --quick`."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bodies import CREDENTIALS, EXCHANGE, client, others
from hydra import HYDRA
from hydra import install as install_hydra
from keycloak import KEYCLOAK
from keycloak import install as install_keycloak
from load import CONNECTIONS, LOAD_CORE, SERVER_CORE, LoadError, Run, install_wrk, load, resident_mib
from machine import description, stolen_and_all
from ours import (
    initial_access_token,
    on_postgresql,
    registered,
    registrar,
    with_codes,
    with_codes_for_es256,
    with_credentials,
)
from report import Measured, write
from servers import (
    CODES,
    FAST_MCP,
    MCP_SDK,
    OIDC_PROVIDER,
    WARM_UP_SECONDS,
    Ledger,
    Server,
    Site,
    free_port,
    install_fastmcp,
    install_peers,
    oidc_provider_tokens,
    peer_client,
    peer_codes,
    running,
)

HERE = Path(__file__).parent
WORK = HERE.parent / "var" / "bench"
RESULTS = HERE / "RESULTS.md"
STARTS = 3
VARIED = 20_000
"""Bodies that differ, sent in turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured request. Header values and the path are filled in with what the server's `prepare` gave."""

    name: str
    title: str
    server: Server
    method: str
    path: str
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    form: bool = False
    """Whether the body is a form, which is filled in too; otherwise it is JSON, as it stands."""
    once: bool = False
    """Whether each request can be sent once alone."""
    varied: bool = False
    """Whether the body is JSON in which texts stand for others, by what the server's `prepare` gave."""

    def request(self, port: int, known: dict[str, str]) -> bytes:
        """The whole request, as bytes on the wire."""
        headers = {"host": f"127.0.0.1:{port}", "accept": "application/json"} | self.headers
        body = self.body.decode().format_map(known).encode() if self.form else self.body
        if self.varied:
            for text, other in known.items():
                body = body.replace(text.encode(), other.encode())
        if body:
            media = "application/x-www-form-urlencoded" if self.form else "application/json"
            headers |= {"content-type": media, "content-length": str(len(body))}
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        return "\r\n".join(lines).format_map(known).encode() + body


BASIC = {"authorization": "{authorization}"}
BEARER = {"authorization": "Bearer {token}"}
ROWS = (
    Row("public", "register a public client", registrar("open"), "POST", "/register", 201, client("none")),
    Row("varied", "register public clients, each of another name and port", registrar("open", lambda _: others(VARIED)), "POST", "/register", 201, client("none"), varied=True),
    Row("confidential", "register a confidential client", registrar("open"), "POST", "/register", 201, client("client_secret_basic")),
    Row("token", "register a public client, initial access token", registrar("client", initial_access_token), "POST", "/register", 201, client("none"), BEARER),
    Row("refused", "refuse a javascript: redirect URI", registrar("open"), "POST", "/register", 400, client("none", "javascript:alert(1)")),
    Row("read-1k", "read a registration among 1,000", registrar("open", registered(1_000)), "GET", "/register/{client_id}", 200, headers=BEARER),
    Row("read-1m", "read a registration among 1,000,000", registrar("open", registered(1_000_000)), "GET", "/register/{client_id}", 200, headers=BEARER),
    Row("pg-public", "PostgreSQL: register a public client", on_postgresql("open"), "POST", "/register", 201, client("none")),
    Row("pg-confidential", "PostgreSQL: register a confidential client", on_postgresql("open"), "POST", "/register", 201, client("client_secret_basic")),
    Row("pg-token", "PostgreSQL: register a public client, initial access token", on_postgresql("client", initial_access_token), "POST", "/register", 201, client("none"), BEARER),
    Row("pg-read-1k", "PostgreSQL: read a registration among 1,000", on_postgresql("open", registered(1_000)), "GET", "/register/{client_id}", 200, headers=BEARER),
    Row("credentials", "issue a token for client credentials", registrar("open", with_credentials), "POST", "/token", 200, CREDENTIALS, BASIC, form=True),
    Row("codes", "exchange an authorization code, ID token included", registrar("open", with_codes), "POST", "/token", 200, EXCHANGE, BASIC, form=True, once=True),
    Row("codes-es256", "exchange an authorization code, ID token by ES256", registrar("open", with_codes_for_es256), "POST", "/token", 200, EXCHANGE, BASIC, form=True, once=True),
    Row("peer-credentials", "node-oidc-provider, in memory: client credentials", oidc_provider_tokens(0, peer_client), "POST", "/token", 200, CREDENTIALS, BASIC, form=True),
    Row("peer-codes", "node-oidc-provider, in memory: exchange a code", oidc_provider_tokens(CODES, peer_codes), "POST", "/token", 200, EXCHANGE, BASIC, form=True, once=True),
    Row("oidc-provider", "node-oidc-provider, in memory: register a public client", OIDC_PROVIDER, "POST", "/reg", 201, client("none")),
    Row("mcp-sdk", "MCP Python SDK, in memory: register a public client", MCP_SDK, "POST", "/register", 201, client("none")),
    Row("fastmcp", "FastMCP, in memory: register a public client", FAST_MCP, "POST", "/register", 201, client("none")),
    Row("hydra", "Ory Hydra on PostgreSQL: register a public client", HYDRA, "POST", "/oauth2/register", 201, client("none")),
    Row("keycloak", "Keycloak on PostgreSQL: register a public client, less application_type and software_version", KEYCLOAK, "POST", "/realms/bench/clients-registrations/openid-connect", 201, client("none")),
)  # fmt: skip
ASKED_FOR = {"hydra", "keycloak"}
"""Rows whose server takes minutes to build: they are measured where somebody names them."""


@dataclass(slots=True)
class Bench:
    """One row's server while it runs, and what was seen of it so far."""

    row: Row
    site: Site
    pid: int
    starts: list[float]
    ledger: Ledger | None
    runs: list[Run] = field(default_factory=list)
    sent: int = 0
    """How many of the requests that can be sent once were sent."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Its turn: it goes on, and stands still again. Idle servers collect garbage and warm up compilers on the same core."""
        os.kill(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGSTOP)

    def run(self, seconds: int) -> Run:
        """One load run, after a second that is not counted: while other servers had their turn, caches went cold."""
        self.load(1)
        return self.load(seconds)

    def load(self, seconds: int) -> Run:
        """Load the server; its database must then hold what was answered, no more and no less."""
        run = load(self.pid, self.site.port, self.site.requests, self.row.status, seconds, self.sent)
        if self.row.once:  # those that were under way when wrk ended were sent too
            self.sent += run.answers + CONNECTIONS
        if self.ledger:
            created = run.answers if self.row.status == 201 else 0
            # wrk drops its connections at the end: what they had under way may be stored, and was never counted.
            under_way = CONNECTIONS if created else 0
            stored = self.ledger.new_clients()
            if not created <= stored <= created + under_way:
                raise LoadError(f"{created} registrations were answered, and {stored} are in the database")
        return run

    def measured(self) -> Measured:
        row = self.row
        return Measured(
            row.name,
            row.title,
            self.ledger is not None,
            row.status == 201,
            row.server.beside,
            self.runs,
            self.starts,
            resident_mib(self.pid),
        )


def started(row: Row, stack: contextlib.ExitStack) -> Bench:
    """Prepare the row's server, start it a few times for the clock, and leave it running."""
    site = Site(WORK / row.name, free_port())
    site.folder.mkdir()
    ledger = stack.enter_context(row.server.database(site))
    known = row.server.prepare(site)
    site.requests.write_bytes(b"\0".join(row.request(site.port, one) for one in known))
    starts = []
    for _ in range(STARTS - 1):
        with running(row.server, site) as (_, seconds):
            starts.append(seconds)
    pid, seconds = stack.enter_context(running(row.server, site))
    stack.callback(os.kill, pid, signal.SIGCONT)  # who stands still does not hear that it should end
    os.kill(pid, signal.SIGSTOP)
    if ledger:
        ledger.new_clients()  # what was prepared is not counted
    return Bench(row, site, pid, [*starts, seconds], ledger)


def measure(benches: list[Bench], runs: int, seconds: int) -> None:
    """All servers stay up and are loaded in turns, so that a noisy moment falls on all alike; whoever waits stands still."""
    for turn in range(runs + 1):
        for bench in benches:
            with bench.alone():
                run = bench.run(seconds if turn else bench.row.server.warm_up_seconds)
            if turn:
                bench.runs.append(run)
            print(
                f"{f'run {turn}' if turn else 'warm-up':8} {bench.row.name:14} {run.per_second:8,.0f} requests/s",
                flush=True,
            )


def bench(rows: list[Row], runs: int, seconds: int) -> tuple[dict[str, Measured], dict[str, str]]:
    """Start every row's server, measure them, and say on what machine and how that was done."""
    with contextlib.ExitStack() as stack:
        benches = [started(row, stack) for row in rows]
        stolen, ticks = stolen_and_all()
        measure(benches, runs, seconds)
        stolen, ticks = stolen_and_all()[0] - stolen, stolen_and_all()[1] - ticks
        about = description(WORK) | {
            "Pinning": f"each server on core {SERVER_CORE}; wrk and the bench on core {LOAD_CORE}",
            "Load": f"wrk -t1 -c{CONNECTIONS}, keep-alive, loopback; {WARM_UP_SECONDS} s of warm-up or what the server needs, then in turns {runs} runs of {seconds} s (after 1 s each that is not counted), of which the median",
            "Disturbance": f"servers that wait stand still (SIGSTOP); the host kept {stolen / ticks:.1%} of the CPU time (steal)",
        }
        return {one.row.name: one.measured() for one in benches}, about


def main() -> None:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="2 runs of 2 s instead of 5 of 4 s; RESULTS.md is left as it is"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=[name for name in names if name not in ASKED_FOR],
        metavar="NAME",
        help=f"of: {', '.join(names)}; RESULTS.md is left as it is",
    )
    options = parser.parse_args()
    if os.cpu_count() == 1:
        sys.exit("bench: two cores are needed, one for the server and one for the load")
    rows = [row for row in ROWS if row.name in options.only]
    install_wrk()
    if "hydra" in options.only:
        install_hydra()
    if "keycloak" in options.only:
        install_keycloak()
    if any("oidc-provider" in row.title for row in rows):
        install_peers()
    if "fastmcp" in options.only:
        install_fastmcp()
    os.sched_setaffinity(0, {LOAD_CORE})
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        measured, about = bench(rows, *((2, 2) if options.quick else (5, 4)))
    except LoadError as error:
        sys.exit(f"bench: {error}")
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    complete = {row.name for row in ROWS} - set(ASKED_FOR) <= {row.name for row in rows} and not options.quick
    write(measured, about, RESULTS if complete else None)


if __name__ == "__main__":
    main()
