"""oidcc-discovery-endpoint-verification, and the two modules of third-party initiated login."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from suite import CONFIGURATION, ISSUER, RP, suite

pytestmark = pytest.mark.anyio

REGISTERED = {
    # RFC 8414, OpenID Connect Discovery and its companions, RFC 8705, RFC 9101, RFC 9126, RFC 9207, RFC 9396, RFC 9449, RFC 9701.
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "registration_endpoint",
    "scopes_supported",
    "response_types_supported",
    "response_modes_supported",
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "service_documentation",
    "ui_locales_supported",
    "op_policy_uri",
    "op_tos_uri",
    "revocation_endpoint",
    "revocation_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_signing_alg_values_supported",
    "introspection_endpoint",
    "introspection_endpoint_auth_methods_supported",
    "introspection_endpoint_auth_signing_alg_values_supported",
    "code_challenge_methods_supported",
    "signed_metadata",
    "device_authorization_endpoint",
    "tls_client_certificate_bound_access_tokens",
    "mtls_endpoint_aliases",
    "userinfo_endpoint",
    "acr_values_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
    "id_token_encryption_alg_values_supported",
    "id_token_encryption_enc_values_supported",
    "userinfo_signing_alg_values_supported",
    "userinfo_encryption_alg_values_supported",
    "userinfo_encryption_enc_values_supported",
    "request_object_signing_alg_values_supported",
    "request_object_encryption_alg_values_supported",
    "request_object_encryption_enc_values_supported",
    "display_values_supported",
    "claim_types_supported",
    "claims_supported",
    "claims_locales_supported",
    "claims_parameter_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "require_request_uri_registration",
    "require_signed_request_object",
    "pushed_authorization_request_endpoint",
    "require_pushed_authorization_requests",
    "introspection_signing_alg_values_supported",
    "introspection_encryption_alg_values_supported",
    "introspection_encryption_enc_values_supported",
    "authorization_response_iss_parameter_supported",
    "check_session_iframe",
    "frontchannel_logout_supported",
    "frontchannel_logout_session_supported",
    "backchannel_logout_supported",
    "backchannel_logout_session_supported",
    "end_session_endpoint",
    "dpop_signing_alg_values_supported",
    "authorization_details_types_supported",
    "authorization_signing_alg_values_supported",
    "authorization_encryption_alg_values_supported",
    "authorization_encryption_enc_values_supported",
    "prompt_values_supported",
    "protected_resources",
}


def is_https(url: str) -> bool:
    """Whether a URL is an absolute https one."""
    parsed = httpx2.URL(url)
    return parsed.scheme == "https" and bool(parsed.host)


async def test_oidcc_discovery_endpoint_verification() -> None:
    """What the document has to say, and that each endpoint is https."""
    async with suite() as op:
        told: dict[str, Any] = op.discovery
        assert told["issuer"] == ISSUER
        assert is_https(told["issuer"])
        assert {"code", "id_token", "token id_token"} <= set(told["response_types_supported"])
        assert {"authorization_code", "implicit"} <= set(told["grant_types_supported"])
        assert set(told["subject_types_supported"]) <= {"public", "pairwise"} != set()
        assert "RS256" in told["id_token_signing_alg_values_supported"]
        assert isinstance(told["userinfo_signing_alg_values_supported"], list)
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "registration_endpoint",
            "jwks_uri",
        ):
            assert is_https(told[name]), name
        for name in [name for name in told if name.endswith("_endpoint")]:
            assert is_https(told[name]), name
        assert {"RS256", "none"} <= set(told["request_object_signing_alg_values_supported"])
        assert isinstance(told["claims_supported"], list)
        assert "openid" in told["scopes_supported"]
        assert isinstance(told.get("code_challenge_methods_supported", []), list)
        assert told.get("request_uri_parameter_supported") is True


async def test_the_documents_members_have_registered_names_and_their_types() -> None:
    """No member that nobody registered; lists of distinct strings, booleans, and URLs as their names say."""
    async with suite() as op:
        assert op.discovery.keys() <= REGISTERED
        for name, value in op.discovery.items():
            if name.endswith(("_values_supported", "types_supported", "methods_supported")):
                assert all(isinstance(one, str) for one in value)
                assert len(set(value)) == len(value) > 0
            elif isinstance(value, bool):
                assert name.endswith(("_supported", "_registration", "_tokens", "_object", "_requests"))
        assert all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in op.discovery["scopes_supported"])


async def test_without_the_profile_nothing_of_it_is_offered() -> None:
    """Implicit and hybrid response types and unsigned objects exist under oidc-dynamic alone."""
    async with suite(CONFIGURATION.replace('policy = "oidc-dynamic"', "")) as op:
        assert op.discovery["response_types_supported"] == ["code"]
        assert "implicit" not in op.discovery["grant_types_supported"]
        assert not [
            name
            for name, value in op.discovery.items()
            if isinstance(value, list)
            and name != "token_endpoint_auth_methods_supported"
            and name.endswith("alg_values_supported")
            and "none" in value
        ]
        await op.refused({"invalid_client_metadata"}, response_types=["id_token"], grant_types=["implicit"])
        await op.refused({"invalid_client_metadata"}, id_token_signed_response_alg="none")
        await op.refused({"invalid_client_metadata"}, request_object_signing_alg="none")


@pytest.mark.parametrize(
    ("response_type", "grant_types"),
    [
        ("code", ["authorization_code"]),
        ("id_token", ["implicit"]),
        ("id_token token", ["implicit"]),
        ("code id_token", ["authorization_code", "implicit"]),
        ("code token", ["authorization_code", "implicit"]),
        ("code id_token token", ["authorization_code", "implicit"]),
    ],
)
async def test_every_response_type_can_be_registered(response_type: str, grant_types: list[str]) -> None:
    """Each of the plan's variants registers, with the grants that it needs and not without."""
    async with suite() as op:
        client = await op.register(response_types=[response_type], grant_types=grant_types)
        assert client.registered["response_types"] == [response_type]
        assert client.registered["grant_types"] == grant_types
        for lacking in grant_types if len(grant_types) > 1 else ():
            kept = [grant for grant in grant_types if grant != lacking]
            await op.refused({"invalid_client_metadata"}, response_types=[response_type], grant_types=kept)


async def test_oidcc_3rd_party_init_login() -> None:
    """initiate_login_uri comes back unchanged, from the registration and from a read."""
    uri = f"{RP}/initiate?a=b"
    async with suite() as op:
        client = await op.register(initiate_login_uri=uri)
        assert client.registered["initiate_login_uri"] == uri
        answer = await op.server.client.get(
            client.registered["registration_client_uri"],
            headers={"authorization": f"Bearer {client.registered['registration_access_token']}"},
        )
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "application/json"
        assert answer.json()["initiate_login_uri"] == uri
        await op.clean_up(client)


async def test_oidcc_3rd_party_init_login_nohttps() -> None:
    """With http it is refused, as client metadata."""
    async with suite() as op:
        await op.refused({"invalid_client_metadata"}, initiate_login_uri="http://rp.example/initiate")
