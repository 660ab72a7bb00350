"""The registration pair: what is sent, and how the answer is read (RFC 7591 §3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registrar.client import (
    ClientInformation,
    Difference,
    Note,
    ProtocolError,
    RequestInvalid,
    Response,
    Secret,
    ServerMetadata,
)
from registrar.client.wire import build_register, read_registration

ISSUER = "https://as.example.com"
METADATA = ServerMetadata.trusted(ISSUER, registration_endpoint=f"{ISSUER}/register")
ISSUED = {
    "client_id": "s6BhdRkqt3",
    "client_secret": "hidden-secret",
    "client_secret_expires_at": 0,
    "registration_access_token": "hidden-token",
    "registration_client_uri": f"{ISSUER}/register/s6BhdRkqt3",
}


def registered(status: int = 201, /, **members: Any) -> ClientInformation:
    """The answer with these members, read."""
    return read_registration(METADATA, Response(status, {}, json.dumps(members).encode()))


@pytest.mark.requirement("R7591-C1", "R7591-C5")
def test_request() -> None:
    """The metadata is posted as one JSON object, without what is unset; False and 0 are set."""
    request = build_register(
        METADATA,
        {
            "client_name": "Exämple",
            "client_name#ja-Jpan-JP": "例",
            "redirect_uris": ["https://client.example.org/cb"],
            "contacts": [],
            "logo_uri": None,
            "tos_uri": "",
            "jwks": {},
            "require_auth_time": False,
            "default_max_age": 0,
        },
    )

    assert (request.method, request.url) == ("POST", f"{ISSUER}/register")
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers
    assert json.loads(request.body or b"") == {
        "client_name": "Exämple",
        "client_name#ja-Jpan-JP": "例",
        "redirect_uris": ["https://client.example.org/cb"],
        "require_auth_time": False,
        "default_max_age": 0,
    }


@pytest.mark.requirement("SEED-27")
def test_initial_access_token() -> None:
    """The initial access token goes into the header, and into no repr."""
    request = build_register(METADATA, {}, initial_access_token="hidden-iat")

    assert request.headers["authorization"] == "Bearer hidden-iat"
    assert "hidden" not in repr(request)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx-evil: 1", "ä", "a\0"])
def test_token_that_no_header_carries(token: str) -> None:
    """A token that would break the header is refused, and the error does not show it."""
    with pytest.raises(RequestInvalid) as caught:
        build_register(METADATA, {}, initial_access_token=token)

    assert "evil" not in str(caught.value)


@pytest.mark.requirement("R7591-C3", "R7591-C11")
@pytest.mark.parametrize(
    "metadata",
    [
        {"jwks": {"keys": []}, "jwks_uri": "https://client.example.org/jwks"},
        {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "private"}]}},
        {"jwks": {"keys": [{"kty": "oct", "k": "symmetric"}]}},
        {"client_id": "mine"},
        {"client_secret": "mine"},
        {"registration_access_token": "another's"},
        {"client_name": object()},
        {"default_max_age": float("nan")},
    ],
)
def test_metadata_that_is_not_sent(metadata: dict[str, Any]) -> None:
    """Contradictory, private, self-issued and unwritable metadata is refused before it is sent."""
    with pytest.raises(RequestInvalid) as caught:
        build_register(METADATA, metadata)

    assert "symmetric" not in str(caught.value).replace("private or symmetric key", "")


@pytest.mark.requirement("R7591-C7", "WILD-4")
@pytest.mark.parametrize("status", [201, 200])
def test_answer(status: int) -> None:
    """201 is read, and so is the 200 of older servers; unknown members are kept."""
    information = registered(status, **ISSUED, client_name="Example", unknown={"a": [1]})

    assert information.issuer == ISSUER
    assert information.client_id == "s6BhdRkqt3"
    assert information.client_secret == "hidden-secret"
    assert information.client_secret_expires_at == 0
    assert information.registration_access_token == "hidden-token"
    assert information.registration_client_uri == f"{ISSUER}/register/s6BhdRkqt3"
    assert information.members["unknown"] == {"a": [1]}
    assert information.notes == ()


@pytest.mark.requirement("R7591-C7", "WILD-3")
def test_absent_members() -> None:
    """Null and "" are read as absent, an empty array as itself."""
    information = registered(
        client_id="c", client_secret=None, logo_uri="", registration_client_uri="", request_uris=[]
    )

    assert dict(information.members) == {"client_id": "c", "request_uris": []}
    assert information.client_secret is None
    assert information.registration_client_uri is None


@pytest.mark.parametrize(("scope", "read"), [("a b", "a b"), (["a", "b"], "a b"), ([], None), (None, None), ([1], [1])])
def test_scope(scope: object, read: object) -> None:
    """A scope that comes as an array is one string again."""
    assert registered(client_id="c", scope=scope).members.get("scope") == read


@pytest.mark.requirement("R7591-C10")
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0, 0),
        (1893452400, 1893452400),
        (0.0, 0),
        ("0", 0),
        ("x", None),
        (True, None),
        (1.5, None),
        ([], None),
        (None, None),
    ],
)
def test_secret_expiry(value: object, read: int | None) -> None:
    """The expiry is read from the forms that servers use; garbage does not cost the registration."""
    information = registered(client_id="c", client_secret="s", client_secret_expires_at=value)

    assert information.client_secret_expires_at == read
    assert information.notes == (() if read is not None else (Note.SECRET_WITHOUT_EXPIRY,))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>created</html>",
        b"[]",
        b"{}",
        b'{"client_id": ""}',
        b'{"client_id": null}',
        b'{"client_id": 7}',
        b'{"client_id": "c", "client_secret": ["hidden"]}',
        b'{"client_id": "c", "registration_access_token": {"hidden": 1}}',
        b'{"client_id": "c", "client_id": "d"}',
    ],
)
def test_unreadable_answers(body: bytes) -> None:
    """An answer without a usable client identifier or with credentials of another type is a protocol error."""
    with pytest.raises(ProtocolError) as caught:
        read_registration(METADATA, Response(201, {}, body))

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "notes"),
    [
        ({}, ()),
        ({"registration_access_token": "t"}, (Note.TOKEN_WITHOUT_CONFIGURATION_ENDPOINT,)),
        ({"registration_client_uri": f"{ISSUER}/c"}, (Note.CONFIGURATION_ENDPOINT_WITHOUT_TOKEN,)),
        (
            {"registration_access_token": "t", "registration_client_uri": "/register/c"},
            (Note.FOREIGN_CONFIGURATION_ENDPOINT,),
        ),
        ({"registration_access_token": "t", "registration_client_uri": f"{ISSUER}:443/c"}, ()),
    ],
)
def test_notes(members: dict[str, Any], notes: tuple[Note, ...]) -> None:
    """Half of the management pair, or an address elsewhere, is noted and does not cost the registration."""
    assert registered(client_id="c", **members).notes == notes


@pytest.mark.requirement("R7592-C4")
def test_no_secret_shows() -> None:
    """Neither the information nor its members show a credential, and the credentials still work as strings."""
    information = registered(**ISSUED)

    assert "hidden" not in f"{information!r} {information} {information.members!r} {information.members}"
    assert "s6BhdRkqt3" in repr(information)
    assert isinstance(information.client_secret, Secret)
    assert json.dumps(information.client_secret) == '"hidden-secret"'


def test_information_is_read_only() -> None:
    """What is registered cannot be changed by assignment."""
    with pytest.raises(TypeError):
        registered(**ISSUED).members["client_id"] = "x"  # type: ignore[index]  # that it fails is what is tested


@pytest.mark.requirement("R7591-C6", "SEED-88")
def test_differences() -> None:
    """What was registered otherwise is told; order, unset requests and additions do not count."""
    information = registered(
        client_id="c",
        grant_types=["authorization_code"],
        redirect_uris=["https://b.example/", "https://a.example/"],
        scope="read write",
        token_endpoint_auth_method="client_secret_basic",
        id_token_signed_response_alg="RS256",
    )

    differences = information.differences(
        {
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["https://a.example/", "https://b.example/"],
            "scope": "write read",
            "token_endpoint_auth_method": "none",
            "logo_uri": "https://a.example/logo",
            "tos_uri": None,
        }
    )

    assert differences == (
        Difference("grant_types", ["authorization_code", "refresh_token"], ["authorization_code"]),
        Difference("token_endpoint_auth_method", "none", "client_secret_basic"),
        Difference("logo_uri", "https://a.example/logo", None),
    )


@pytest.mark.requirement("R7591-C10")
@pytest.mark.parametrize(
    ("members", "within"),
    [
        ({"client_secret": "s", "client_secret_expires_at": 0}, False),
        ({"client_secret": "s"}, False),
        ({"client_secret_expires_at": 1000}, False),
        ({"client_secret": "s", "client_secret_expires_at": 1060}, True),
        ({"client_secret": "s", "client_secret_expires_at": 1061}, False),
    ],
)
def test_secret_expires_within(members: dict[str, Any], within: bool) -> None:
    """A secret expires within a minute when its time is at most a minute away; 0 is never."""
    assert registered(client_id="c", **members).secret_expires_within(60, 1000) is within
