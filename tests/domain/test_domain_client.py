"""The record of a client, initial access tokens, and what the server says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import msgspec
import pytest
from test_domain_events import SECRET, client

from registrar.domain import settings
from registrar.domain.access_token import InitialAccessToken, Kind
from registrar.domain.client import Client, information
from registrar.domain.credentials import Credentials, digest
from registrar.domain.metadata import MEMBERS
from registrar.domain.server_metadata import (
    ENDPOINTS,
    KEY_METHODS,
    OFFERED,
    SECRET_METHODS,
    SYMMETRIC,
    Offered,
    document,
    endpoint_url,
    well_known_paths,
)


@pytest.mark.requirement("R7591-50", "R7591-51", "R7591-53", "OIDC-40")
def test_information() -> None:
    """The answer holds what is registered; secret and expiry come together, and so do token and URI."""
    one = client(client_name="App", request_uris=[])
    whole = information(one, secret=SECRET, registration_client_uri="https://as/c1", registration_access_token="t")

    assert information(one) == {"client_id": "c1", "client_id_issued_at": 1, "client_name": "App", "request_uris": []}
    assert whole == information(one) | {
        "client_secret": SECRET,
        "client_secret_expires_at": 0,
        "registration_client_uri": "https://as/c1",
        "registration_access_token": "t",
    }


def test_public() -> None:
    """An operator sees how a client came to be and nothing of its credentials."""
    one = client(client_name="App")
    seen = msgspec.to_builtins(one.public())

    assert (seen["client_id"], seen["state"], seen["assurance"], seen["owner"]) == ("c1", "active", "client", "alice")
    assert (seen["token_id"], seen["token_label"], seen["policy"], seen["version"]) == ("t1", "fleet", "default", 3)
    assert seen["client_secret_expires_at"] == 0
    assert "provenance" not in seen
    assert not {"credentials", "client_secret", "tokens", "secrets"} & set(seen)
    assert SECRET not in str(seen)
    bare = msgspec.structs.replace(one, credentials=Credentials()).public()
    assert "client_secret_expires_at" not in msgspec.to_builtins(bare)


def test_a_client_survives_storage() -> None:
    """What is stored of a client reads back as the same client."""
    one = client(client_name="App", request_uris=[])

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Client) == one


def token(**more: Any) -> InitialAccessToken:
    """An initial access token."""
    return InitialAccessToken(issuer="main", token_id="t1", digest=digest("t"), kind=Kind.CLIENT, created_at=0, **more)


@pytest.mark.requirement("SEED-23", "SEED-24")
@pytest.mark.parametrize(
    ("more", "now", "status"),
    [
        ({}, 10**12, "active"),
        ({"expires_at": 100}, 99, "active"),
        ({"expires_at": 100}, 100, "expired"),
        ({"uses": 1}, 0, "spent"),
        ({"max_uses": 3, "uses": 2}, 0, "active"),
        ({"max_uses": 3, "uses": 3}, 0, "spent"),
        ({"max_uses": 0, "uses": 10**6}, 0, "active"),
        ({"revoked_at": 50}, 0, "revoked"),
        ({"revoked_at": 50, "expires_at": 10, "uses": 1}, 20, "revoked"),
        ({"expires_at": 10, "uses": 1}, 20, "expired"),
    ],
)
def test_status_of_an_initial_access_token(more: dict[str, int], now: int, status: str) -> None:
    """A token is for one use and one scope unless told otherwise, and says why it no longer registers anything."""
    assert token(**more).status(now) == status
    assert token().scope == ("dcr",)
    assert token().max_uses == 1


# --- discovery ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-1", "DISC-2", "DISC-3", "DISC-4", "WILD-12")
def test_well_known_paths() -> None:
    """RFC 8414 inserts, OpenID Connect Discovery appends, RFC 8414 §5 inserts the latter too."""
    assert well_known_paths("https://as.example/t1") == (
        "/.well-known/oauth-authorization-server/t1",
        "/.well-known/openid-configuration/t1",
        "/t1/.well-known/openid-configuration",
    )
    assert well_known_paths("https://as.example/t1/") == well_known_paths("https://as.example/t1")
    assert well_known_paths("https://as.example") == (
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    )


@pytest.mark.requirement(
    "DISC-5", "DISC-9", "DISC-10", "DISC-11", "DISC-12", "DISC-13", "DISC-15", "DISC-18", "DISC-19"
)
def test_document() -> None:
    """The document says where everything is and what is offered; what is not there is left out."""
    offered = Offered({**OFFERED, "scopes_supported": ("openid",)})
    made = document(
        "https://as.example/t1",
        offered,
        registration_endpoint="https://as.example/t1/register",
        pages={"service_documentation": "https://d", "op_tos_uri": ""},
    )

    assert made["issuer"] == "https://as.example/t1"
    assert made["registration_endpoint"] == "https://as.example/t1/register"
    assert made["service_documentation"] == "https://d"
    assert all(made[name] == f"https://as.example/t1{path}" for name, path in ENDPOINTS.items())
    assert made["response_types_supported"] == ["code"]
    assert made["scopes_supported"] == ["openid"]
    assert "implicit" not in made["grant_types_supported"]
    assert "none" in made["token_endpoint_auth_methods_supported"]
    assert "none" not in made["token_endpoint_auth_signing_alg_values_supported"]
    assert "RS256" in made["token_endpoint_auth_signing_alg_values_supported"]
    assert made["introspection_endpoint_auth_methods_supported"] == made["token_endpoint_auth_methods_supported"]
    assert made["code_challenge_methods_supported"] == ["S256"]
    assert "RS256" in made["id_token_signing_alg_values_supported"]
    assert made["request_uri_parameter_supported"] is True
    assert "acr_values_supported" not in made
    assert all(value not in (None, "", []) for value in made.values())


@pytest.mark.requirement("DISC-9", "SEED-13")
def test_document_without_registration() -> None:
    """A server on which nobody can register does not say where."""
    made = document("https://as.example", Offered({}))

    assert "registration_endpoint" not in made
    assert "service_documentation" not in made
    assert not [name for name in made if name.endswith("auth_methods_supported")]


@pytest.mark.requirement("R7592-40")
def test_endpoint_url() -> None:
    """An endpoint's URL follows from the issuer's, with one slash between."""
    assert endpoint_url("https://as.example/t1", "/token") == "https://as.example/t1/token"
    assert endpoint_url("https://as.example/", "/token") == "https://as.example/token"


@pytest.mark.requirement("BASE-14", "BASE-15", "R7591-24")
def test_what_is_offered() -> None:
    """No password grant, nothing implicit; each method and algorithm is known to the rules about secrets and keys."""
    assert not {"password", "implicit"} & set(OFFERED["grant_types_supported"])
    assert OFFERED["response_types_supported"] == ("code",)
    methods = set(OFFERED["token_endpoint_auth_methods_supported"])
    assert methods == SECRET_METHODS | KEY_METHODS | {"none", "tls_client_auth"}
    assert set(OFFERED["id_token_signing_alg_values_supported"]) & SYMMETRIC == {"HS256", "HS384", "HS512"}
    assert not {value for values in OFFERED.values() for value in values if value == "none"} - methods
    assert {row.offered for row in MEMBERS.values() if row.offered} <= set(OFFERED)


# --- settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-14", "D-9")
@pytest.mark.parametrize(
    "kind", [settings.Server, settings.Issuer, settings.Registration, settings.Scopes, settings.ClientSecret]
)
def test_settings_say_what_they_mean(kind: type[Any]) -> None:
    """Each setting has a default and a sentence; registration is disabled by default."""
    assert get_type_hints(kind)
    for field in dataclasses.fields(kind):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        assert field.name == "name" or (has_default and field.metadata["meaning"].strip().endswith("."))
    assert settings.Registration().mode == ()
    assert settings.Settings().issuer == {}
    assert settings.Settings().issuer is not settings.Settings().issuer
