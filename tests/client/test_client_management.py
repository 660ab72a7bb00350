"""The management pairs: read, update, delete (RFC 7592 §2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registrar.client import (
    ClientInformation,
    ForeignConfigurationEndpoint,
    InvalidClientMetadata,
    ManagementNotOffered,
    ProtocolError,
    RegistrationLost,
    RequestInvalid,
    Response,
    TemporarilyUnavailable,
)
from registrar.client.wire import (
    build_delete,
    build_read,
    build_update,
    read_delete,
    read_read,
    read_update,
)

ISSUER = "https://as.example.com"
MEMBERS = {
    "client_id": "c1",
    "client_secret": "secret-1",
    "client_secret_expires_at": 0,
    "client_id_issued_at": 1,
    "registration_access_token": "token-1",
    "registration_client_uri": f"{ISSUER}/manage?client_id=c%2F1+a",
    "client_name": "Example",
    "client_name#fr": "Exemple",
    "logo_uri": "https://client.example.org/logo",
    "request_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
}


def information(**changes: Any) -> ClientInformation:
    """A registered client."""
    return ClientInformation(ISSUER, f"{ISSUER}/register", {**MEMBERS, **changes})


def answer(status: int = 200, /, **members: Any) -> Response:
    """An answer of the client configuration endpoint."""
    return Response(status, {}, json.dumps(members).encode())


@pytest.mark.requirement("R7592-C1")
def test_requests_use_the_address_verbatim() -> None:
    """Read and delete go to the address as it was given, with the registration access token and no body."""
    for method, build in (("GET", build_read), ("DELETE", build_delete)):
        request = build(information())

        assert (request.method, request.url, request.body) == (method, MEMBERS["registration_client_uri"], None)
        assert request.headers["authorization"] == "Bearer token-1"


@pytest.mark.requirement("R7592-C1")
@pytest.mark.parametrize("missing", ["registration_access_token", "registration_client_uri"])
@pytest.mark.parametrize("build", [build_read, build_delete, lambda client: build_update(client, {})])
def test_management_off(missing: str, build: Any) -> None:
    """A registration that came without address or token cannot be managed, and no address is made up."""
    with pytest.raises(ManagementNotOffered):
        build(information(**{missing: None}))


@pytest.mark.requirement("R7592-C6")
@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/register/c1",
        "https://as.example.com:8443/register/c1",
        "http://as.example.com/register/c1",
        "https://as.example.com@evil.example/c1",
        "http://127.0.0.1/c1",
        "/register/c1",
        "register/c1",
    ],
)
def test_foreign_configuration_endpoint(uri: str) -> None:
    """The token goes to no other scheme, host or port than the registration endpoint's."""
    with pytest.raises(ForeignConfigurationEndpoint):
        build_read(information(registration_client_uri=uri))


@pytest.mark.requirement("R7592-C6")
def test_allowed_configuration_endpoint() -> None:
    """An origin that the caller allows is used; plain http stays refused."""
    elsewhere = information(registration_client_uri="https://manage.example.com/c1")
    plain = information(registration_client_uri="http://manage.example.com/c1")

    assert build_read(elsewhere, allowed_origins=["https://manage.example.com"]).url == "https://manage.example.com/c1"
    with pytest.raises(ForeignConfigurationEndpoint):
        build_read(plain, allowed_origins=["http://manage.example.com"])


@pytest.mark.requirement("R7592-C3", "R7592-C4")
def test_update_request() -> None:
    """An update sends all that is registered with the changes, deletes what is unset, and strips what the server issues."""
    request = build_update(information(), {"client_name": "New", "logo_uri": None, "scope": "read"})

    assert (request.method, request.url) == ("PUT", MEMBERS["registration_client_uri"])
    assert json.loads(request.body or b"") == {
        "client_id": "c1",
        "client_secret": "secret-1",
        "client_name": "New",
        "client_name#fr": "Exemple",
        "request_uris": [],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "read",
    }
    assert "secret-1" not in repr(request)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "c2"},
        {"client_secret": "mine"},
        {"registration_access_token": "mine"},
        {"jwks": {"keys": []}, "jwks_uri": "https://client.example.org/jwks"},
    ],
)
def test_update_that_is_not_sent(changes: dict[str, Any]) -> None:
    """An update that chooses what the server issues, or contradicts itself, is refused before it is sent."""
    with pytest.raises(RequestInvalid):
        build_update(information(), changes)


@pytest.mark.requirement("R7591-C3")
def test_change_of_keys() -> None:
    """A client with keys by value moves to keys by reference when it deletes the former in the same update."""
    by_value = information(jwks={"keys": [{"kty": "OKP"}]})

    with pytest.raises(RequestInvalid):
        build_update(by_value, {"jwks_uri": "https://client.example.org/jwks"})
    request = build_update(by_value, {"jwks_uri": "https://client.example.org/jwks", "jwks": None})

    assert "jwks" not in json.loads(request.body or b"")


@pytest.mark.requirement("R7592-C2")
def test_rotated_credentials() -> None:
    """A new secret and token in the answer replace the former ones."""
    rotated = {**MEMBERS, "client_secret": "secret-2", "registration_access_token": "token-2"}

    for read in (read_read, read_update):
        current = read(information(), answer(**rotated))

        assert (current.client_secret, current.registration_access_token) == ("secret-2", "token-2")


def test_credentials_left_out() -> None:
    """Credentials that an answer leaves out are unchanged; other members that it leaves out are gone."""
    current = read_read(information(), answer(client_id="c1", token_endpoint_auth_method="client_secret_basic"))

    assert current.client_secret == "secret-1"
    assert current.client_secret_expires_at == 0
    assert current.registration_access_token == "token-1"
    assert current.registration_client_uri == MEMBERS["registration_client_uri"]
    assert "client_name" not in current.members


def test_secret_revoked_with_its_method() -> None:
    """A client that has become public has no secret any more."""
    current = read_update(information(), answer(client_id="c1", token_endpoint_auth_method="none"))

    assert current.client_secret is None
    assert current.client_secret_expires_at is None
    assert current.registration_access_token == "token-1"


def test_another_client_in_the_answer() -> None:
    """An identifier never changes, so an answer about another client is not believed."""
    with pytest.raises(ProtocolError):
        read_read(information(), answer(**{**MEMBERS, "client_id": "c2"}))


def test_a_read_finds_the_lost() -> None:
    """A registration that was taken for lost and answers again is not lost."""
    lost = ClientInformation(ISSUER, f"{ISSUER}/register", MEMBERS, lost=True)

    assert not read_read(lost, answer(**MEMBERS)).lost


@pytest.mark.parametrize("status", [204, 200])
def test_deleted(status: int) -> None:
    """204 is a deletion, and so is the 200 of older servers."""
    read_delete(Response(status))


@pytest.mark.requirement("R7592-C5")
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(401), RegistrationLost),
        (Response(401, {"www-authenticate": 'Bearer error="invalid_token"'}), RegistrationLost),
        (answer(401, error="invalid_client_metadata"), RegistrationLost),
        (answer(400, error="invalid_token"), RegistrationLost),
        (Response(403), ManagementNotOffered),
        (answer(403, error="access_denied", error_description="a template's client"), ManagementNotOffered),
        (Response(404), ManagementNotOffered),
        (Response(405), ManagementNotOffered),
        (answer(400, error="invalid_client_metadata"), InvalidClientMetadata),
        (answer(403, error="invalid_client_metadata"), InvalidClientMetadata),
        (Response(503, {"retry-after": "3"}), TemporarilyUnavailable),
        (Response(500), ProtocolError),
        (Response(302, {"location": "https://evil.example"}), ProtocolError),
    ],
)
def test_refusals(response: Response, error: type[Exception]) -> None:
    """401 is a lost registration, 403 to 405 a missing capability, the rest as at registration."""
    for read in (lambda: read_read(information(), response), lambda: read_delete(response)):
        with pytest.raises(error) as caught:
            read()

        assert type(caught.value) is error
