"""Mutual TLS on real sockets: the port that demands certificates, proxies that hand them on, and what is published."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from real_server import ANSWER_SECONDS, Program, Reply, Start, configuration, parse, replies, request
from registering import MEMBERS, configured

from registrar.config import ConfigurationError, create_key_file
from registrar.config import parse as parse_configuration
from registrar.domain import certificate
from registrar.domain.server_metadata import MUTUAL_TLS
from registrar.policy.document import Document
from registrar.service.ports import EventQuery
from registrar.storage import open_store
from registrar.testing import served
from registrar.testing.authority import Authority, Issued

URL: Final = "https://as.example"
CLIENT: Final = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
CLOSE: Final = "Connection: close"


class Listening:
    """A server with a port for clients with certificates, and what is needed to call it."""

    def __init__(self, start: Start, folder: Path, server: str = "", url: str = URL) -> None:
        self.folder, self.authority = folder, Authority("CN=Clients")
        self._server = Authority("CN=Servers")
        self._server.issue("CN=localhost", dns=["localhost"], ip=["127.0.0.1"]).write(folder, "server")
        self.authority.write(folder, "clients")
        create_key_file(folder / "registrar.key")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        lines = (
            f'{server}\n[server.mutual_tls]\nport = {self.port}\nclient_ca = "clients.pem"\n'
            'certificate = "server.pem"\nkey = "server.key"'
        )
        self.program: Program = start(configuration(lines, url)).listening()
        self._reachable()

    def _reachable(self) -> None:
        """Return once the second port listens, which is right after the first."""
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return
        raise AssertionError(self.program.output)

    def context(self, own: Issued | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """TLS of a client that trusts the server, with or without a certificate of its own."""
        context = ssl.create_default_context(cadata=self._server.pem.decode("ascii"))
        context.minimum_version = context.maximum_version = version
        if own is not None:
            context.load_cert_chain(*own.write(self.folder, "own"))
        return context

    def ask(self, context: ssl.SSLContext, *sent: bytes) -> list[Reply]:
        """Send requests over one connection with a certificate, and read until it is closed."""
        with (
            socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            for piece in sent:
                tls.sendall(piece)
            return replies(tls)

    def events(self, kind: str = "client.registered") -> list[dict[str, Any]]:
        """The events of a kind, once the server has stopped."""
        assert self.program.stop() == 0
        assert "Traceback" not in self.program.output, self.program.output

        async def read() -> list[dict[str, Any]]:
            store = open_store(f"sqlite:///{self.folder / 'registrar.db'}")
            found = [json.loads(one.event.body) for one in await store.events(EventQuery(kind=kind), limit=100)]
            await store.close()
            return found

        return asyncio.run(read())


REGISTER: Final = request("POST", "/register", CLIENT, CLOSE)


# --- the port of its own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_good_certificate_registers(start: Start, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A client with a certificate of a trusted authority registers and manages itself, and its events tell which."""
    server = Listening(start, tmp_path)
    own = server.authority.issue("CN=client,O=Example", dns=["client.example"])
    context = server.context(own, version)
    (answer,) = server.ask(context, REGISTER)
    assert answer.status == 201
    made = json.loads(answer.body)
    bearer = f"Authorization: Bearer {made['registration_access_token']}"
    path = made["registration_client_uri"].removeprefix(URL)
    (read,) = server.ask(context, request("GET", path, None, bearer, CLOSE))
    assert json.loads(read.body) == made
    (event,) = server.events()
    assert event["certificate_thumbprint"] == certificate.read(own.der).thumbprint


def test_every_request_of_a_connection_has_its_certificate(start: Start, tmp_path: Path) -> None:
    """Also those that come at once; another connection has its own."""
    server = Listening(start, tmp_path)
    first, second = server.authority.issue("CN=a"), server.authority.issue("CN=b", key="RSA")
    twice = request("POST", "/register", CLIENT) + REGISTER
    assert [one.status for one in server.ask(server.context(first), twice)] == [201, 201]
    assert [one.status for one in server.ask(server.context(second), REGISTER)] == [201]
    shown = [certificate.read(one.der).thumbprint for one in (first, first, second)]
    assert [event["certificate_thumbprint"] for event in server.events()] == shown


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    "whose", ["nobody's", "a foreign authority's", "its own", "expired", "not yet valid", "a server's"]
)
def test_other_certificates_get_no_connection(
    start: Start, tmp_path: Path, whose: str, version: ssl.TLSVersion
) -> None:
    """Without a certificate, or with one that does not verify, not one byte is answered; others are served as before."""
    server = Listening(start, tmp_path)
    now = int(time.time())
    alone = Authority("CN=Alone")
    presented = {
        "nobody's": None,
        "a foreign authority's": Authority("CN=Clients").issue("CN=client"),
        "its own": alone.own,
        "expired": server.authority.issue("CN=client", not_after=now - 60),
        "not yet valid": server.authority.issue("CN=client", not_before=now + 3600),
        "a server's": server.authority.issue("CN=client", usage=[ExtendedKeyUsageOID.SERVER_AUTH]),
    }[whose]
    received = b""
    with (
        suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(("127.0.0.1", server.port), ANSWER_SECONDS) as plain,
        server.context(presented, version).wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(REGISTER)
        received = tls.recv(1)  # TLS 1.3 tells a client here, or just closes
    assert received == b""
    assert [one.status for one in server.ask(server.context(server.authority.issue()), REGISTER)] == [201]
    assert len(server.events()) == 1


def test_what_is_not_tls_gets_nothing(start: Start, tmp_path: Path) -> None:
    """A plain request to the port is closed, and a header there names no certificate."""
    server = Listening(start, tmp_path)
    own, other = server.authority.issue("CN=a"), server.authority.issue("CN=b")
    with socket.create_connection(("127.0.0.1", server.port), ANSWER_SECONDS) as plain:
        with suppress(ConnectionError):
            plain.sendall(REGISTER)
        assert parse(b"") == replies(plain)
    said = request("POST", "/register", CLIENT, f"Client-Cert: {other.client_cert}", CLOSE)
    assert [one.status for one in server.ask(server.context(own), said)] == [201]
    (event,) = server.events()
    assert event["certificate_thumbprint"] == certificate.read(own.der).thumbprint


def test_an_intermediate_authority_can_be_trusted_alone(start: Start, tmp_path: Path) -> None:
    """Where `client_ca` names an intermediate authority, its clients are admitted and its sisters' are not."""
    server = Listening(start, tmp_path)
    trusted, sister = server.authority.intermediate("CN=One"), server.authority.intermediate("CN=Two")
    server.program.stop()
    trusted.write(tmp_path, "clients")
    server.program = start().listening()
    server._reachable()
    assert [one.status for one in server.ask(server.context(trusted.issue()), REGISTER)] == [201]
    with suppress(ssl.SSLError):
        assert server.ask(server.context(sister.issue()), REGISTER) == []
    assert len(server.events()) == 1


def test_the_other_port_goes_on_without_certificates(start: Start, tmp_path: Path) -> None:
    """Both ports serve the same clients: one that registered with a certificate is read without."""
    server = Listening(start, tmp_path, url="http://127.0.0.1:8000")
    (answer,) = server.ask(server.context(server.authority.issue()), REGISTER)
    made = json.loads(answer.body)
    path, token = f"/register/{made['client_id']}", f"Authorization: Bearer {made['registration_access_token']}"
    (read,) = server.program.send(request("GET", path, None, token, CLOSE))
    assert json.loads(read.body) == made
    assert [one.status for one in server.program.send(REGISTER)] == [201]
    assert ["certificate_thumbprint" in event for event in server.events()] == [True, False]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_both_ports_stop_in_order(start: Start, tmp_path: Path, how: signal.Signals) -> None:
    """An idle connection with a certificate does not keep the server from stopping, and afterwards neither port listens."""
    server = Listening(start, tmp_path)
    with (
        socket.create_connection(("127.0.0.1", server.port), ANSWER_SECONDS) as plain,
        server.context(server.authority.issue()).wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(request("GET", "/healthz"))
        assert tls.recv(12) == b"HTTP/1.1 200"
        began = time.monotonic()
        assert server.program.stop(how) == 0
        assert time.monotonic() - began < 10
    for port in (server.port, server.program.port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert "Traceback" not in server.program.output, server.program.output


def test_a_second_port_in_use_is_told(start: Start, tmp_path: Path) -> None:
    """The operator reads which address is taken, and nothing goes on listening."""
    server = Listening(start, tmp_path)
    again = start()
    assert again.wait() == 3
    assert [line for line in again.lines if str(server.port) in line and "address already in use" in line]
    assert "Traceback" not in again.output


@pytest.mark.parametrize("file", ["clients.pem", "server.pem", "server.key"])
def test_files_that_cannot_be_used_are_told_in_one_line(start: Start, tmp_path: Path, file: str) -> None:
    """A missing or wrong file is named, and nothing listens."""
    server = Listening(start, tmp_path)
    server.program.stop()
    (tmp_path / file).write_text("nothing", "ascii")
    again = start()
    assert again.wait() == 1
    assert [line for line in again.lines if file in line and line.startswith("Error: ")]
    assert "Traceback" not in again.output


# --- through a proxy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxies", "believed"), [("127.0.0.0/8", True), ("192.0.2.1", False)])
def test_a_proxy_hands_certificates_on(start: Start, tmp_path: Path, proxies: str, believed: bool) -> None:
    """Over the real connection too, `Client-Cert` counts from a trusted peer; from another it is as if it were not there."""
    server = Listening(start, tmp_path, f'trusted_proxies = ["{proxies}"]', "http://127.0.0.1:8000")
    own = Authority("CN=Elsewhere").own  # signed by itself: no handshake here would take it
    said = request("POST", "/register", CLIENT, f"Client-Cert: {own.client_cert}", CLOSE)
    assert [one.status for one in server.program.send(said)] == [201]
    bad = request("POST", "/register", CLIENT, "Client-Cert: nonsense", CLOSE)
    assert [one.status for one in server.program.send(bad)] == [400 if believed else 201]
    shown = [event.get("certificate_thumbprint") for event in server.events()]
    assert shown == ([certificate.read(own.der).thumbprint] if believed else [None, None])


# --- what is published and configured -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["", "/tenant"])
async def test_the_aliases_are_published(path: str) -> None:
    """Every endpoint that a client calls by itself has an alias, the registration endpoint too (RFC 8705 §5)."""
    text = configured(url=URL + path, issuer=f'mutual_tls_url = "https://mtls.example:8443{path}"')
    async with served(text) as server:
        found = (await server.client.get(f"{URL}/.well-known/oauth-authorization-server{path}")).json()
        assert found["mtls_endpoint_aliases"] == {
            name: found[name].replace("https://as.example", "https://mtls.example:8443") for name in MUTUAL_TLS
        }
        registration = found["mtls_endpoint_aliases"]["registration_endpoint"]
        assert registration == f"https://mtls.example:8443{path}/register"
        answer = await server.client.post(registration, json=MEMBERS)
        assert answer.status_code == 201
        assert answer.json()["registration_client_uri"].startswith(f"{URL}{path}/register/")


@pytest.mark.anyio
async def test_without_an_address_no_alias_is_published() -> None:
    """Where it is not configured, and for a registration endpoint that is not there."""
    where = f"{URL}/.well-known/oauth-authorization-server"
    async with served(configured()) as server:
        assert "mtls_endpoint_aliases" not in (await server.client.get(where)).json()
    async with served(configured("disabled", issuer='mutual_tls_url = "https://mtls.example"')) as server:
        aliases = (await server.client.get(where)).json()["mtls_endpoint_aliases"]
        assert sorted(aliases) == sorted({*MUTUAL_TLS} - {"registration_endpoint"})


TWO_HOSTS: Final = """
[server]
database = "memory:"
[issuer.one]
url = "https://one.example"
mutual_tls_url = "https://mtls.one.example"
registration = { mode = "open" }
[issuer.two]
url = "https://two.example"
mutual_tls_url = "https://mtls.two.example:8443"
registration = { mode = "open", path = "/clients" }
"""


@pytest.mark.anyio
async def test_an_issuer_is_found_at_its_second_host() -> None:
    """With issuers on several hosts, each answers at both of its own and at no other's."""
    async with served(TWO_HOSTS) as server:
        for host, path, status in (
            ("one.example", "/register", 201),
            ("mtls.one.example", "/register", 201),
            ("mtls.two.example:8443", "/clients", 201),
            ("mtls.two.example:8443", "/register", 404),
            ("mtls.one.example", "/clients", 404),
            ("mtls.two.example", "/clients", 404),
        ):
            answer = await server.client.post(f"https://{host}{path}", json=MEMBERS)
            assert answer.status_code == status, (host, path)


MUTUAL: Final = '[server.mutual_tls]\nport = 8443\nclient_ca = "ca.pem"\n'


@pytest.mark.parametrize(
    ("server", "issuer", "reason"),
    [
        ("", 'mutual_tls_url = "http://127.0.0.1:8000"', "is https"),
        ("", 'mutual_tls_url = "https://mtls.example/other"', "the path of the issuer's url"),
        ("", 'mutual_tls_url = "https://mtls.example/"', "trailing slash"),
        ("", 'mutual_tls_url = "mtls.example"', "needs a url"),
        ("[server.mutual_tls]\nport = 8443", "", "needs client_ca"),
        (MUTUAL, "", "needs certificate and key"),
        (f'{MUTUAL}certificate = "a.pem"', "", "go together"),
        (f'{MUTUAL}certificate = "a.pem"\nkey = "a.key"'.replace("8443", "8000"), "", "a port of its own"),
        (f'{MUTUAL}certificate = "a.pem"\nkey = "a.key"'.replace("8443", "65536"), "", "a port from 1"),
        ('[server.mutual_tls]\nclient_ca = "ca.pem"', "", "needs a port"),
        ('[server.mutual_tls]\nca = "ca.pem"', "", "unknown setting ca"),
    ],
)
def test_what_could_not_work_is_refused(server: str, issuer: str, reason: str) -> None:
    """A port without authorities or certificate, and an address that would reach nobody, keep the server from starting."""
    text = f'[server]\n{server}\n[issuer.main]\nurl = "{URL}"\n{issuer}'
    with pytest.raises(ConfigurationError, match=reason):
        parse_configuration(Document("registrar.toml", text))


@pytest.mark.parametrize("taken", ["https://one.example", "https://mtls.one.example"])
def test_two_issuers_are_not_reached_at_one_address(taken: str) -> None:
    """Whose request it is would be a matter of chance."""
    text = TWO_HOSTS.replace("https://mtls.two.example:8443", taken)
    with pytest.raises(ConfigurationError, match="another issuer"):
        parse_configuration(Document("registrar.toml", text))
