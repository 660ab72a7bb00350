"""The clients on real sockets of this machine: certificates and proxies."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registrar.client import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Handler(BaseHTTPRequestHandler):
    """Serves its own metadata at every address."""

    def do_GET(self) -> None:
        """Answer with metadata of the server that was asked."""
        body = json.dumps({"issuer": self.server.issuer}).encode()  # type: ignore[attr-defined]  # the server is ours
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Quiet about handshakes that clients break off."""

    issuer = ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def serve(context: ssl.SSLContext | None) -> Iterator[str]:
    """A server on a free port, until the test is over."""
    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.issuer = f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.issuer
        server.shutdown()
        thread.join()


@pytest.fixture
def plain() -> Iterator[str]:
    """An issuer in plain http."""
    yield from serve(None)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that no authority knows, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> Iterator[str]:
    """An issuer behind that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve(context)


@pytest.mark.requirement("R7591-C9", "R7592-C6", "DISC-8")
async def test_certificate_is_verified(
    connect: Callable[..., Any], settled: Callable[[Any], Awaitable[Any]], tls: str, certificate: Path
) -> None:
    """A certificate of no known authority is refused, and accepted when the caller names its authority."""
    with pytest.raises(Unreachable, match=r"(?i)certificate"):
        await settled(connect().discover(tls))

    context = ssl.create_default_context(cafile=certificate)
    metadata = await settled(connect(ssl_context=context).discover(tls))

    assert metadata.issuer == tls


async def test_this_machine_needs_no_proxy(
    connect: Callable[..., Any],
    settled: Callable[[Any], Awaitable[Any]],
    plain: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is sent in plain http to this machine never goes to a proxy that the environment names."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    metadata = await settled(connect().discover(plain))

    assert metadata.issuer == plain
    # The proxy is in force for other hosts: port 9 refuses the connection before any name is looked up.
    with pytest.raises(Unreachable):
        await settled(connect().discover("https://as.example.com"))
