"""A directory for tests: it vouches for software, publishes key sets and certifies keys, as an ecosystem's directory does.

What it publishes can be had in two ways. `Directory.documents` is a `Fetch` without a network, for `served(fetch=...)`;
`listening()` serves the same on a real https port of this machine, for a server that fetches by itself.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from registrar.service.ports import Clock, Fetched
from registrar.testing import Documents, FrozenClock
from registrar.testing.authority import Authority, Issued

__all__ = ["Directory", "Software", "listening", "new_key", "signed"]

LIFETIME: Final = 300
"""Seconds for which what is signed here is valid, where nobody says otherwise."""


def new_key(algorithm: str = "PS256") -> Key:
    """A private key for an algorithm, whose `kid` is its thumbprint (RFC 7638)."""
    key: Key
    if algorithm.startswith(("RS", "PS")):
        key = RSAKey.generate_key(2048, private=True)
    elif algorithm == "EdDSA":
        key = OKPKey.generate_key("Ed25519", private=True)
    else:
        key = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[algorithm], private=True)
    key.ensure_kid()
    return key


def signed(claims: Mapping[str, Any], key: Key, algorithm: str = "PS256", **header: Any) -> str:
    """Claims as a compact JWS; a member of the header that is None is left out."""
    members = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **header}
    whole = {name: value for name, value in members.items() if value is not None}
    with warnings.catch_warnings(action="ignore"):  # joserfc warns of EdDSA, which RFC 9864 calls Ed25519 from now on
        return str(jwt.encode(whole, dict(claims), key, algorithms=[algorithm]))


@dataclass(frozen=True, slots=True)
class Software:
    """A piece of software that a directory knows: its identifier, its key, and the certificate of its organisation."""

    directory: Directory
    software_id: str
    key: Key
    certificate: Issued
    algorithm: str = "PS256"
    claims: Mapping[str, Any] = field(default_factory=dict)
    """What the directory says of it."""

    @property
    def jwks_uri(self) -> str:
        """Where the directory publishes its keys."""
        return f"{self.directory.url}/{self.software_id}/jwks"

    def statement(self, **claims: Any) -> str:
        """A statement of the directory about it; a claim that is None is left out."""
        return self.directory.statement(**{**self.claims, **claims})

    def request(self, claims: Mapping[str, Any], *, key: Key | None = None, **header: Any) -> str:
        """A registration as a JWT that the software signed, with the claims that say whose it is filled in."""
        filled = {"iss": self.software_id, **self.directory.stamped(), **claims}
        whole = {name: value for name, value in filled.items() if value is not None}
        header = {"algorithm": self.algorithm, **header}
        return signed(whole, key or self.key, **header)

    def own_statement(self, claims: Mapping[str, Any], *, algorithm: str = "ES256", **header: Any) -> str:
        """A statement that the software signs itself with the key of its certificate, its chain in `x5c` (UDAP §1.2)."""
        uri = str(claims.get("iss", self.software_id))
        filled = {"iss": uri, "sub": uri, **self.directory.stamped(), **claims}
        whole = {name: value for name, value in filled.items() if value is not None}
        chain = [base64.b64encode(one).decode("ascii") for one in self.certificate.chain]
        key = (ECKey if algorithm.startswith("ES") else RSAKey).import_key(self.certificate.key_pem)
        return signed(whole, key, algorithm, **{"x5c": chain, "kid": None, **header})


class Directory:
    """An ecosystem's directory, in this process.

    Args:
        url: its address, and the `iss` of its statements.
        clock: now; one that stands still where none is given, to be handed to `served` as well.
        algorithm: what it signs statements with.
        authority: who certifies the software; one of its own where none is given.
    """

    def __init__(
        self,
        url: str = "https://directory.example",
        *,
        clock: Clock | None = None,
        algorithm: str = "PS256",
        authority: Authority | None = None,
    ) -> None:
        self.url, self.algorithm = url, algorithm
        self.clock = clock or FrozenClock()
        self.authority = authority or Authority("CN=Directory authority")
        self.documents = Documents()
        self.key = new_key(algorithm)
        self.publish(self.jwks_uri, self.key)

    @property
    def jwks_uri(self) -> str:
        """Where its own keys are published."""
        return f"{self.url}/jwks"

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.clock() // 1000

    def stamped(self) -> dict[str, Any]:
        """The claims that every JWT has: issued now, valid for a while, with an identifier of its own."""
        return {"iat": self.now, "exp": self.now + LIFETIME, "jti": str(uuid.uuid4())}

    def statement(self, *, key: Key | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A statement with these claims; `iss`, `iat`, `exp` and `jti` are filled in, and a claim that is None is left out.

        Args:
            key: what it is signed with, where it is not the directory's key.
            header: members of the header that are to be others; `algorithm` is the signature's.
            claims: what it says.
        """
        filled = {"iss": self.url, **self.stamped(), **claims}
        whole = {name: value for name, value in filled.items() if value is not None}
        return signed(whole, key or self.key, **{"algorithm": self.algorithm, **(header or {})})

    def software(
        self,
        software_id: str,
        claims: Mapping[str, Any] | None = None,
        *,
        keys_claim: str = "jwks_uri",
        subject: str = "",
        uri: str = "",
        algorithm: str = "PS256",
    ) -> Software:
        """Take a piece of software in: make its key, publish it, and certify the software.

        Args:
            software_id: its identifier.
            claims: what the statements about it say, beside `software_id` and the address of its keys.
            keys_claim: the claim that says where its keys are published.
            subject: the subject of its certificate (RFC 4514); `CN=<software_id>` where none is given.
            uri: a URI in its certificate, as UDAP has it.
            algorithm: what it signs with.
        """
        certificate = self.authority.issue(subject or f"CN={software_id}", uri=[uri] if uri else [])
        known = {"software_id": software_id, keys_claim: f"{self.url}/{software_id}/jwks", **(claims or {})}
        taken = Software(self, software_id, new_key(algorithm), certificate, algorithm, known)
        self.publish(taken.jwks_uri, taken.key)
        return taken

    def publish(self, url: str, *keys: Key) -> None:
        """Publish the public halves of keys as the key set at a URL, in the place of what was there."""
        self.documents.documents[url] = json.dumps(
            {"keys": [{**key.as_dict(private=False), "use": "sig"} for key in keys]}
        ).encode()

    def rotate(self, *, keep: bool = True) -> Key:
        """Sign with a new key from now on, and publish it; the old one beside it, or not. Gives the old one."""
        old, self.key = self.key, new_key(self.algorithm)
        self.publish(self.jwks_uri, *([old, self.key] if keep else [self.key]))
        return old


@contextmanager
def listening(folder: Path, *, clock: Clock | None = None, algorithm: str = "PS256") -> Iterator[Directory]:
    """A directory on an https port of this machine, with a certificate of its own authority.

    `folder` gets that authority as `authority.pem`, to be trusted as `[server.fetch] ca_file`; the address of the directory
    has to be in `[server.fetch] allow`, for it is not public.
    """
    authority = Authority("CN=Directory authority")
    certificate, key = authority.issue("CN=127.0.0.1", ip=["127.0.0.1"]).write(folder, "directory")
    authority.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        url = f"https://127.0.0.1:{server.server_address[1]}"
        directory = Directory(url, clock=clock, algorithm=algorithm, authority=authority)
        server.directory = directory  # type: ignore[attr-defined]  # for the handler, which is given the server alone
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield directory
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers with what the directory publishes under its address."""

    timeout = 5

    def do_GET(self) -> None:
        directory: Directory = self.server.directory  # type: ignore[attr-defined]
        found = directory.documents.documents.get(directory.url + self.path)
        body = found.body if isinstance(found, Fetched) else found
        if not isinstance(body, bytes):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the library's own name for it)
        """Say nothing: a test reads what it asked for."""
