"""Refusals of the registration endpoint, read into typed errors (RFC 7591 §3.2.2, RFC 6750 §3)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registrar.client import (
    BearerRefused,
    Challenge,
    Fault,
    InsufficientScope,
    InvalidClientMetadata,
    InvalidRedirectURI,
    InvalidSoftwareStatement,
    InvalidToken,
    ProtocolError,
    RegistrarClientError,
    RegistrationNotOffered,
    RegistrationRefused,
    Response,
    ServerMetadata,
    TemporarilyUnavailable,
    UnapprovedSoftwareStatement,
)
from registrar.client.refusal import bearer_challenge
from registrar.client.wire import read_delete, read_discovery, read_registration

METADATA = ServerMetadata.trusted("https://as.example.com", registration_endpoint="https://as.example.com/register")


def refused(status: int, body: Any = None, headers: dict[str, str] | None = None) -> RegistrarClientError:
    """The error that this answer is read as."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    with pytest.raises(RegistrarClientError) as caught:
        read_registration(METADATA, Response(status, headers or {}, content))
    return caught.value


@pytest.mark.requirement("R7591-C8")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("invalid_redirect_uri", InvalidRedirectURI),
        ("invalid_client_metadata", InvalidClientMetadata),
        ("invalid_software_statement", InvalidSoftwareStatement),
        ("unapproved_software_statement", UnapprovedSoftwareStatement),
        ("invalid_request", RegistrationRefused),
    ],
)
def test_registration_errors(code: str, error: type[RegistrationRefused]) -> None:
    """Each code of RFC 7591 has its class, other codes have the common one; unknown members are ignored."""
    caught = refused(400, {"error": code, "error_description": "why", "hint": ["x"]})

    assert type(caught) is error
    assert isinstance(caught, RegistrationRefused)
    assert (caught.code, caught.description, caught.faults, caught.status) == (code, "why", (), 400)
    assert str(caught) == f"{code}: why"


def test_faults() -> None:
    """The faults for machines are read, and what is not of their form is passed over."""
    caught = refused(
        400,
        {
            "error": "invalid_client_metadata",
            "faults": [
                {"member": "scope", "rule": "subset_of", "reason": "'admin' is not offered", "accepted": "read, write"},
                {
                    "member": "grant_types",
                    "rule": "offered",
                    "reason": "no",
                    "accepted": ["authorization_code", 7, "x\x1b"],
                },
                {"member": 7, "accepted": {"read": 1}, "more": 1},
                "text",
            ],
        },
    )

    assert isinstance(caught, InvalidClientMetadata)
    assert caught.faults == (
        Fault("scope", "subset_of", "'admin' is not offered", "read, write"),
        Fault("grant_types", "offered", "no", "authorization_code, x "),
        Fault(None, None, None, None),
    )
    assert "scope: 'admin' is not offered (accepted: read, write)" in str(caught)


def test_long_list_of_what_is_accepted() -> None:
    """Of a long list of accepted values the end counts too, so it is cut later than a sentence is."""
    values = ", ".join(f"scope-{number}" for number in range(100))
    faults = [{"member": "scope", "accepted": values}, {"member": "scope", "accepted": "a" * 10_000}]
    caught = refused(400, {"error": "invalid_client_metadata", "faults": faults})

    assert isinstance(caught, InvalidClientMetadata)
    assert caught.faults[0].accepted == values
    assert len(caught.faults[1].accepted or "") == 2000


@pytest.mark.parametrize("faults", [None, "x", {}, 7])
def test_faults_of_another_form(faults: object) -> None:
    """A `faults` member that is no array is none."""
    caught = refused(400, {"error": "invalid_client_metadata", "faults": faults})

    assert isinstance(caught, RegistrationRefused)
    assert caught.faults == ()


def test_hostile_text() -> None:
    """Control characters never reach a terminal, and a description has an end."""
    caught = refused(400, {"error": "x\x1b[2J", "error_description": "a\r\n\x1b]0;b\x07" + "c" * 10_000})

    assert str(caught).isprintable()
    assert len(str(caught)) < 1000


@pytest.mark.requirement("R7591-C8")
@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "challenge"),
    [
        (401, {}, None, BearerRefused, Challenge()),
        (401, {"www-authenticate": "Bearer"}, b"<html>", BearerRefused, Challenge()),
        (
            401,
            {"www-authenticate": 'Bearer realm="r", error="invalid_token", error_description="expired"'},
            None,
            InvalidToken,
            Challenge("invalid_token", "expired", None, "r"),
        ),
        (
            403,
            {"www-authenticate": 'Bearer error="insufficient_scope", scope="dcr"'},
            None,
            InsufficientScope,
            Challenge("insufficient_scope", None, "dcr", None),
        ),
        (
            400,
            {"www-authenticate": 'Bearer error="invalid_request"'},
            {"error": "invalid_request"},
            BearerRefused,
            Challenge("invalid_request"),
        ),
        (
            401,
            {"www-authenticate": 'Bearer realm="r"'},
            {"error": "invalid_token"},
            InvalidToken,
            Challenge("invalid_token", realm="r"),
        ),
        (
            400,
            {},
            {"error": "invalid_token", "error_description": "no"},
            InvalidToken,
            Challenge("invalid_token", "no"),
        ),
        (403, {}, None, BearerRefused, Challenge()),
    ],
)
def test_bearer_errors(
    status: int, headers: dict[str, str], body: Any, error: type[BearerRefused], challenge: Challenge
) -> None:
    """A refused initial access token is told by its challenge, or by the body of servers that send none."""
    caught = refused(status, body, headers)

    assert type(caught) is error
    assert isinstance(caught, BearerRefused)
    assert (caught.status, caught.challenge) == (status, challenge)


def test_registration_error_under_another_status() -> None:
    """A registration's code is believed under 403 too, unless a challenge speaks of the token."""
    body = {"error": "invalid_client_metadata"}

    assert type(refused(403, body)) is InvalidClientMetadata
    assert type(refused(403, body, {"www-authenticate": 'Bearer error="insufficient_scope"'})) is InsufficientScope


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ("", None),
        ('Basic realm="Bearer error=x"', None),
        ("bearer", Challenge()),
        ('Basic realm="a, b", Bearer error = "invalid_token" , scope=dcr', Challenge("invalid_token", scope="dcr")),
        ('Bearer error="invalid_token", Basic realm="other", error="x"', Challenge("invalid_token")),
        ('Bearer error_description="say \\"no\\"", DPoP algs="ES256"', Challenge(description='say "no"')),
        ('Bearer error="a", error="b"', Challenge("a")),
        ("Bearer error=", Challenge()),
        ('Bearer error="unclosed', Challenge()),
        ("Negotiate YWJj==, Bearer realm=x", Challenge(realm="x")),
        ("Bearer realm=one, Bearer realm=two, error=invalid_token", Challenge("invalid_token", realm="one")),
    ],
)
def test_challenges(header: str, challenge: Challenge | None) -> None:
    """The Bearer challenge is found among others, and never takes their parameters."""
    assert bearer_challenge(header) == challenge


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "9" * 5000}, 999_999_999),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_temporarily_unavailable(status: int, headers: dict[str, str], seconds: int | None) -> None:
    """The wait is read from seconds, and from a date by the server's own clock."""
    caught = refused(status, {"error": "temporarily_unavailable"}, headers)

    assert isinstance(caught, TemporarilyUnavailable)
    assert (caught.status, caught.retry_after) == (status, seconds)


@pytest.mark.requirement("R7591-C8")
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b"<html>Bad Request</html>", ProtocolError),
        (400, b"\xff", ProtocolError),
        (400, {"error": 7}, ProtocolError),
        (400, ["invalid_client_metadata"], ProtocolError),
        (405, None, ProtocolError),
        (413, b"too large", ProtocolError),
        (500, {"error": "invalid_client_metadata"}, ProtocolError),
        (502, b"<html>", ProtocolError),
        (302, None, ProtocolError),
        (202, {"client_id": "c"}, ProtocolError),
        (404, b"<html>", RegistrationNotOffered),
    ],
)
def test_unreadable_refusals(status: int, body: Any, error: type[RegistrarClientError]) -> None:
    """What is no registration error is told by its status, and a page of a proxy is not an accident."""
    caught = refused(status, body)

    assert type(caught) is error
    assert str(status) in str(caught)


@pytest.mark.requirement("R7591-C8")
@settings(deadline=None)
@given(
    status=st.integers(200, 599),
    headers=st.dictionaries(
        st.sampled_from(["www-authenticate", "retry-after", "date"]),
        st.text(max_size=40)
        | st.from_regex(r"Bearer( [a-z_]+=\"?[^\"]*\"?,?)*")
        | st.from_regex(r"(Mon, )?\d+ \w+ \d+ .*"),
    ),
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda values: (
            st.lists(values, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "error_description", "faults", "member", "client_id", "client_secret", "scope"]
                ),
                values,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_answer(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever a server answers is read, or raised as an error of this library."""
    response = Response(status, headers, body)

    for read in (
        lambda: read_registration(METADATA, response),
        lambda: read_discovery(METADATA.issuer, response),
        lambda: read_delete(response),
    ):
        with suppress(RegistrarClientError):
            read()
