"""The profiles for clients that register themselves: `mcp`, `oidc`, `oauth21`; a positive case, what each refuses, management."""

from __future__ import annotations

import json
from typing import Any

import pytest
from registering import as_update, configured, manage, payloads, post, refused, register, registers, without

from registrar.testing import Documents, served

pytestmark = pytest.mark.anyio

SCOPES = 'scopes.catalogue = ["openid", "offline_access", "mcp:read", "mcp:write"]'
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


def profile(name: str) -> str:
    """An open issuer under a profile."""
    return configured("open", issuer=SCOPES, registration=f'policy = "{name}"')


BODIES: dict[str, dict[str, Any]] = {
    "mcp": {
        "client_name": "Agent",
        "redirect_uris": ["http://127.0.0.1:33418/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    },
    "oidc": {
        "client_name": "Reader",
        "redirect_uris": ["https://app.example/callback"],
        "contacts": ["ops@app.example"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://app.example/jwks",
        "subject_type": "pairwise",
        "initiate_login_uri": "https://app.example/login",
        "default_max_age": 3600,
        "require_auth_time": True,
        "request_uris": ["https://app.example/request#abc"],
        "id_token_signed_response_alg": "ES256",
        "userinfo_signed_response_alg": "RS256",
    },
    "oauth21": {
        "client_name": "App",
        "redirect_uris": ["com.example.app:/callback", "http://127.0.0.1/callback", "https://app.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    },
}
REFUSED: list[tuple[str, str, str, dict[str, Any]]] = [
    # what an agent may not
    ("mcp", "invalid_redirect_uri", "redirect_uris", {"redirect_uris": []}),
    ("mcp", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["http://agent.example/callback"]}),
    ("mcp", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["javascript:alert(1)"]}),
    ("mcp", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://bit.ly/callback"]}),
    ("mcp", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://*.agent.example/callback"]}),
    ("mcp", "invalid_client_metadata", "grant_types", {"grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"]}),
    ("mcp", "invalid_client_metadata", "response_types", {"response_types": ["token"]}),
    ("mcp", "invalid_client_metadata", "token_endpoint_auth_method", {"token_endpoint_auth_method": "client_secret_jwt"}),
    ("mcp", "invalid_client_metadata", "token_endpoint_auth_method", {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=a"}),
    ("mcp", "invalid_client_metadata", "application_type", {"application_type": "desktop"}),
    # OpenID Connect Registration §2, read strictly: N1 ... N15
    ("oidc", "invalid_redirect_uri", "redirect_uris", {"redirect_uris": None}),
    ("oidc", "invalid_redirect_uri", "redirect_uris", {"redirect_uris": None, "grant_types": ["client_credentials"]}),
    ("oidc", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://app.example/callback#x"]}),
    ("oidc", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["http://localhost/callback"]}),
    ("oidc", "invalid_redirect_uri", "redirect_uris[1]", {"redirect_uris": ["https://app.example/callback", "com.example:/callback"]}),
    ("oidc", "invalid_redirect_uri", "redirect_uris[0]", {"application_type": "native", "redirect_uris": ["https://localhost/callback"]}),
    ("oidc", "invalid_client_metadata", "response_types", {"grant_types": ["authorization_code"], "response_types": ["id_token"]}),
    ("oidc", "invalid_client_metadata", "logo_uri", {"logo_uri": "ftp://app.example/logo"}),
    ("oidc", "invalid_client_metadata", "client_uri#fr", {"client_uri#fr": "app.example"}),
    ("oidc", "invalid_client_metadata", "policy_uri", {"policy_uri": "javascript:x"}),
    ("oidc", "invalid_client_metadata", "tos_uri", {"tos_uri": "data:x"}),
    ("oidc", "invalid_client_metadata", "subject_type", {"subject_type": "private"}),
    ("oidc", "invalid_client_metadata", "id_token_signed_response_alg", {"id_token_signed_response_alg": "none"}),
    ("oidc", "invalid_client_metadata", "id_token_encrypted_response_enc", {"id_token_encrypted_response_enc": "A128GCM"}),
    ("oidc", "invalid_client_metadata", "userinfo_encrypted_response_enc", {"userinfo_encrypted_response_enc": "A128GCM"}),
    ("oidc", "invalid_client_metadata", "request_object_encryption_enc", {"request_object_encryption_enc": "A128GCM"}),
    ("oidc", "invalid_client_metadata", "userinfo_signed_response_alg", {"userinfo_signed_response_alg": "RS1"}),
    ("oidc", "invalid_client_metadata", "request_object_signing_alg", {"request_object_signing_alg": "RS1"}),
    ("oidc", "invalid_client_metadata", "token_endpoint_auth_signing_alg", {"token_endpoint_auth_signing_alg": "none"}),
    ("oidc", "invalid_client_metadata", "token_endpoint_auth_signing_alg", {"token_endpoint_auth_signing_alg": "HS256"}),
    ("oidc", "invalid_client_metadata", "default_max_age", {"default_max_age": "3600"}),
    ("oidc", "invalid_client_metadata", "require_auth_time", {"require_auth_time": "yes"}),
    ("oidc", "invalid_client_metadata", "default_acr_values", {"default_acr_values": "urn:acr"}),
    ("oidc", "invalid_client_metadata", "initiate_login_uri", {"initiate_login_uri": "http://app.example/login"}),
    ("oidc", "invalid_client_metadata", "request_uris[0]", {"request_uris": ["nowhere"]}),
    ("oidc", "invalid_client_metadata", "sector_identifier_uri", {"sector_identifier_uri": "http://app.example/sector"}),
    ("oidc", "invalid_client_metadata", "sector_identifier_uri", {"sector_identifier_uri": "https://app.example/other"}),
    ("oidc", "invalid_client_metadata", "jwks.keys[0]", {"jwks_uri": None, "jwks": {"keys": [{**EC, "d": "x"}]}}),
    ("oidc", "invalid_client_metadata", "jwks.keys[0]", {"jwks_uri": None, "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
    ("oidc", "invalid_client_metadata", "jwks.keys[1]", {"jwks_uri": None, "jwks": {"keys": [{**EC, "kid": "1"}, {**EC, "kid": "1"}]}}),
    ("oidc", "invalid_client_metadata", "contacts", {"contacts": []}),
    ("oidc", "invalid_client_metadata", "contacts[0]", {"contacts": ["our team"]}),
    ("oidc", "invalid_client_metadata", "application_type", {"application_type": "browser"}),
    # OAuth 2.1
    ("oauth21", "invalid_redirect_uri", "redirect_uris", {"redirect_uris": None}),
    ("oauth21", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["http://app.example/callback"]}),
    ("oauth21", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://app.example/*"]}),
    ("oauth21", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://app.example/callback#x"]}),
    ("oauth21", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["myapp:/callback"]}),
    ("oauth21", "invalid_redirect_uri", "redirect_uris[0]", {"redirect_uris": ["https://t.co/callback"]}),
    ("oauth21", "invalid_client_metadata", "grant_types", {"grant_types": ["implicit"]}),
    ("oauth21", "invalid_client_metadata", "grant_types", {"grant_types": ["password"]}),
    ("oauth21", "invalid_client_metadata", "response_types", {"response_types": ["token"]}),
    ("oauth21", "invalid_client_metadata", "token_endpoint_auth_method", {"token_endpoint_auth_method": "magic"}),
    ("oauth21", "invalid_client_metadata", "id_token_signed_response_alg", {"token_endpoint_auth_method": "client_secret_basic", "id_token_signed_response_alg": "HS256"}),
    ("oauth21", "invalid_client_metadata", "userinfo_signed_response_alg", {"token_endpoint_auth_method": "client_secret_basic", "userinfo_signed_response_alg": "HS256"}),
    ("oauth21", "invalid_client_metadata", "jwks", {"jwks": {"keys": [EC]}, "jwks_uri": "https://app.example/jwks"}),
]  # fmt: skip


@pytest.mark.requirement("SEED-95")
@pytest.mark.parametrize("name", sorted(BODIES))
async def test_what_each_profile_is_for(name: str) -> None:
    """The body that a profile is for is registered as it was sent, read back, kept by an update of itself, and deleted."""
    async with served(profile(name)) as server:
        client = await register(server, BODIES[name])
        read = await manage(server, client)
        kept = await manage(server, client, "PUT", as_update(client))
        stored = await server.registry.store.find("main", client["client_id"])
        deleted = await manage(server, client, "DELETE")

    assert {member: client[member] for member in BODIES[name]} == BODIES[name]
    assert read.json() == client
    assert kept.status_code == 200
    assert {member: kept.json()[member] for member in BODIES[name]} == BODIES[name]
    assert stored is not None
    assert stored.policy == name
    assert deleted.status_code == 204


@pytest.mark.requirement("SEED-95")
@pytest.mark.parametrize(("name", "error", "member", "changes"), REFUSED)
async def test_what_each_profile_refuses(name: str, error: str, member: str, changes: dict[str, Any]) -> None:
    """A body that breaks one row is refused at that member, on registration and on an update, which changes nothing."""
    body = {key: value for key, value in (BODIES[name] | changes).items() if value is not None}
    documents = Documents({"https://app.example/other": b'["https://other.example/"]'})
    async with served(profile(name), fetch=documents) as server:
        refused(await post(server, body), error, member)
        client = await register(server, BODIES[name])
        answer = await manage(server, client, "PUT", body | {"client_id": client["client_id"]})
        after = (await manage(server, client)).json()

    refused(answer, error)
    assert after == client


@pytest.mark.requirement("OIDC-16", "OIDC-19")
async def test_oidc_with_a_sector() -> None:
    """Redirect URIs on several hosts are one sector where its document lists them all, and others too."""
    uris = ["https://app.example/callback", "https://other.example/callback"]
    listed = json.dumps([*uris, "https://third.example/"]).encode()
    documents = Documents({"https://app.example/sector": listed})
    async with served(profile("oidc"), fetch=documents) as server:
        sector = {"redirect_uris": uris, "sector_identifier_uri": "https://app.example/sector"}
        client = await register(server, BODIES["oidc"] | sector)
        alone = await post(server, BODIES["oidc"] | {"redirect_uris": uris})

    assert client["sector_identifier_uri"] == "https://app.example/sector"
    refused(alone, "invalid_client_metadata", "subject_type")


async def test_oidc_warns_of_keys_by_value() -> None:
    """A web client that gives its keys by value is registered, and the audit says what would be better (OIDC-15)."""
    from registering import events

    async with served(profile("oidc")) as server:
        await register(server, without(BODIES["oidc"], "jwks_uri") | {"jwks": {"keys": [EC]}})
        (event,) = await events(server, "client.registered")

    assert "rule.prefer_jwks_uri" in [one["rule"] for one in event["findings"]]


# --- mcp ----------------------------------------------------------------------------------------------------------------------

CLIENTS = payloads("clients")


@pytest.mark.requirement("SEED-54")
@pytest.mark.parametrize("name", sorted(CLIENTS))
async def test_every_mcp_client_registers(name: str) -> None:
    """What real clients send is answered under `mcp` as under `default`: no member of theirs is refused or changed."""
    async with served(profile("mcp")) as one, served(profile("default")) as other:
        body = CLIENTS[name]["request"]
        answers = [await post(server, body) for server in (one, other)]
        assert registers(CLIENTS[name], answers[0]) == registers(CLIENTS[name], answers[1])

    mcp, default = (answer.json() for answer in answers)
    assert mcp == default
    assert ("client_secret" in mcp) is (mcp["token_endpoint_auth_method"] != "none")


async def test_mcp_publishes_what_clients_look_for() -> None:
    """S256 and `none` are in the metadata, and the refresh grant; nothing is there that the profile refuses."""
    async with served(profile("mcp")) as server:
        found = (await server.client.get("/.well-known/oauth-authorization-server")).json()

    assert found["code_challenge_methods_supported"] == ["S256"]
    assert "none" in found["token_endpoint_auth_methods_supported"]
    assert "tls_client_auth" not in found["token_endpoint_auth_methods_supported"]
    assert "refresh_token" in found["grant_types_supported"]


@pytest.mark.requirement("BASE-20")
@pytest.mark.parametrize("name", sorted(BODIES))
async def test_an_update_leaves_the_type_of_a_client(name: str) -> None:
    """A public client does not become a confidential one by an update, nor the other way round."""
    other = "client_secret_basic" if BODIES[name]["token_endpoint_auth_method"] == "none" else "none"
    async with served(profile(name)) as server:
        client = await register(server, BODIES[name])
        answer = await manage(server, client, "PUT", as_update(client, token_endpoint_auth_method=other))

    refused(answer, "invalid_client_metadata", "token_endpoint_auth_method")
