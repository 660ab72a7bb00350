"""Discovery: where to ask, and what to believe (RFC 8414)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from registrar.client import (
    IssuerMismatch,
    MetadataInvalid,
    MetadataNotFound,
    RegistrationNotOffered,
    RequestInvalid,
    Response,
    ServerMetadata,
    TemporarilyUnavailable,
)
from registrar.client.wire import build_discovery, build_register, read_discovery

ISSUER = "https://as.example.com"
RFC8414 = "/.well-known/oauth-authorization-server"
OIDC = "/.well-known/openid-configuration"


def answer(status: int = 200, /, **members: Any) -> Response:
    """A metadata answer."""
    return Response(status, {}, json.dumps(members).encode())


@pytest.mark.requirement("DISC-23", "WILD-12")
@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        (ISSUER, [ISSUER + RFC8414, ISSUER + OIDC]),
        (f"{ISSUER}/", [ISSUER + RFC8414, ISSUER + OIDC]),
        (f"{ISSUER}/t1", [f"{ISSUER}{RFC8414}/t1", f"{ISSUER}{OIDC}/t1", f"{ISSUER}/t1{OIDC}"]),
        (f"{ISSUER}/t1/", [f"{ISSUER}{RFC8414}/t1", f"{ISSUER}{OIDC}/t1", f"{ISSUER}/t1{OIDC}"]),
        ("http://localhost:8000", [f"http://localhost:8000{RFC8414}", f"http://localhost:8000{OIDC}"]),
        ("http://[::1]:8000", [f"http://[::1]:8000{RFC8414}", f"http://[::1]:8000{OIDC}"]),
    ],
)
def test_probe_order(issuer: str, addresses: list[str]) -> None:
    """The probes are RFC 8414 inserted, OpenID inserted, OpenID appended, each address once."""
    requests = build_discovery(issuer)

    assert [request.url for request in requests] == addresses
    assert {request.method for request in requests} == {"GET"}


@pytest.mark.requirement("R7591-C9")
@pytest.mark.parametrize(
    "issuer",
    [
        "http://as.example.com",
        "http://127.0.0.1.example.com",
        "https://as.example.com?x=1",
        "https://as.example.com#x",
        "https://user@as.example.com",
        "https://as.example.com:0",
        "https://as.example.com:99999",
        "https://as.example.com/a/../b",
        "https://as.example.com\\@evil.example",
        "https://as.example.com\n",
        "https://äs.example.com",
        "https:///t1",
        "https://[::1",
        "ftp://as.example.com",
        "as.example.com",
        "",
    ],
)
def test_unusable_issuers(issuer: str) -> None:
    """An issuer that is no plain https URL is refused before anything is sent."""
    with pytest.raises(RequestInvalid):
        build_discovery(issuer)


def test_metadata_is_read() -> None:
    """A document of exactly the named issuer gives its registration endpoint; unset members are gone."""
    metadata = read_discovery(
        ISSUER, answer(issuer=ISSUER, registration_endpoint=f"{ISSUER}/r", scopes_supported=["a"], op_tos_uri=None)
    )

    assert metadata.issuer == ISSUER
    assert metadata.registration_endpoint == f"{ISSUER}/r"
    assert metadata.members == {
        "issuer": ISSUER,
        "registration_endpoint": f"{ISSUER}/r",
        "scopes_supported": ["a"],
    }


@pytest.mark.requirement("DISC-7", "DISC-8", "SEED-66")
@pytest.mark.parametrize(
    "found", [f"{ISSUER}/", "https://AS.example.com", "https://as.example.com:443", "https://evil.example"]
)
def test_another_issuer(found: str) -> None:
    """One code point of difference makes the document another issuer's, and it is not used."""
    with pytest.raises(IssuerMismatch):
        read_discovery(ISSUER, answer(issuer=found, registration_endpoint=f"{ISSUER}/r"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"issuer": 7}',
        b'{"issuer": "https://evil.example", "issuer": "https://as.example.com"}',
        b'{"issuer": "https://as.example.com", "x": NaN}',
        b'{"issuer": "https://as.example.com"} x',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
def test_not_a_metadata_document(body: bytes) -> None:
    """What is not one JSON object that names an issuer is not metadata."""
    with pytest.raises(MetadataInvalid):
        read_discovery(ISSUER, Response(200, {}, body))


@pytest.mark.requirement("R7591-C9", "SEED-66")
@pytest.mark.parametrize("member", ["registration_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url",
    ["http://as.example.com/r", "http://127.0.0.1/r", "/register", 7, ["https://x"], "https://a@b/", "https://h/#f"],
)
def test_unusable_endpoints(member: str, url: object) -> None:
    """A document with an endpoint that is not https is refused whole, also when it points at this machine."""
    with pytest.raises(MetadataInvalid, match=member):
        read_discovery(ISSUER, answer(**{"issuer": ISSUER, member: url}))


def test_endpoints_of_a_local_issuer() -> None:
    """An issuer on this machine may have its endpoints here in plain http."""
    local = "http://127.0.0.1:8000"

    metadata = read_discovery(local, answer(issuer=local, registration_endpoint=f"{local}/register"))

    assert metadata.registration_endpoint == f"{local}/register"


@pytest.mark.parametrize("status", [204, 301, 401, 404, 500])
def test_no_document(status: int) -> None:
    """Any status but 200 is an address without metadata, even with a valid body."""
    with pytest.raises(MetadataNotFound):
        read_discovery(ISSUER, answer(status, issuer=ISSUER))


def test_discovery_unavailable() -> None:
    """429 at discovery tells how long to wait."""
    with pytest.raises(TemporarilyUnavailable) as caught:
        read_discovery(ISSUER, Response(429, {"retry-after": "7"}))

    assert caught.value.retry_after == 7


@pytest.mark.requirement("SEED-57")
def test_no_registration_endpoint() -> None:
    """Without a registration endpoint the error says so, and none is guessed."""
    metadata = read_discovery(ISSUER, answer(issuer=ISSUER))

    with pytest.raises(RegistrationNotOffered):
        build_register(metadata, {"client_name": "Example"})


@pytest.mark.requirement("DISC-8", "SEED-66")
def test_metadata_cannot_be_made_up() -> None:
    """Neither construction nor a changed copy gives metadata that a request is built from."""
    metadata = ServerMetadata.trusted(ISSUER, registration_endpoint=f"{ISSUER}/r")

    with pytest.raises(TypeError):
        ServerMetadata(ISSUER, "https://evil.example/r", {}, object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(metadata, registration_endpoint="https://evil.example/r")  # type: ignore[call-arg]  # that it fails is what is tested
    with pytest.raises(dataclasses.FrozenInstanceError):
        metadata.registration_endpoint = "https://evil.example/r"  # type: ignore[misc]  # that it fails is what is tested


@pytest.mark.requirement("R7591-C9", "SEED-66")
@pytest.mark.parametrize(
    ("issuer", "endpoint"), [("http://as.example.com", None), (ISSUER, "http://as.example.com/r"), (ISSUER, "/r")]
)
def test_trusted_metadata_is_still_https(issuer: str, endpoint: str | None) -> None:
    """An operator may configure the endpoint, but not plain http to another machine."""
    with pytest.raises(RequestInvalid):
        ServerMetadata.trusted(issuer, registration_endpoint=endpoint)
