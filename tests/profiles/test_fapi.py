"""FAPI 2.0, its message signing, and FAPI 1.0 Advanced: what a client's metadata has to be, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from ecosystem import made, refused, send

from registrar.testing import Served, served
from registrar.testing.directory import new_key

pytestmark = pytest.mark.anyio

KEY = {**new_key("ES256").as_dict(private=False), "use": "sig"}
SMALL = {"kty": "RSA", "n": "x" * 171, "e": "AQAB"}
CLIENT: dict[str, Any] = {
    "client_name": "Accounts",
    "redirect_uris": ["https://tpp.example/cb"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": "PS256",
    "jwks": {"keys": [KEY]},
}
BOUND: dict[str, Any] = {**CLIENT, "tls_client_certificate_bound_access_tokens": True}
MUTUAL: dict[str, Any] = {
    **{name: value for name, value in BOUND.items() if not name.startswith("token_endpoint")},
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_auth_subject_dn": "CN=tpp,O=Bank,C=GB",
}


def under(profile: str) -> str:
    """A configuration of one open issuer under a profile."""
    return f"""
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
policy = "{profile}"
"""


async def post(server: Served, **members: Any) -> Any:
    """Register the bound client with other members; None leaves one out."""
    whole = {name: value for name, value in {**BOUND, **members}.items() if value is not None}
    return await send(server, whole)


FAPI2 = [
    ("token_endpoint_auth_method", "none"),
    ("token_endpoint_auth_method", "client_secret_basic"),
    ("token_endpoint_auth_method", "client_secret_post"),
    ("token_endpoint_auth_method", "client_secret_jwt"),
    ("token_endpoint_auth_method", None),
    ("token_endpoint_auth_signing_alg", "RS256"),
    ("token_endpoint_auth_signing_alg", "none"),
    ("token_endpoint_auth_signing_alg", "HS256"),
    ("response_types", ["code id_token"]),
    ("response_types", ["token"]),
    ("grant_types", ["password"]),
    ("grant_types", ["urn:ietf:params:oauth:grant-type:device_code"]),
    ("tls_client_certificate_bound_access_tokens", None),
    ("tls_client_certificate_bound_access_tokens", False),
    ("id_token_signed_response_alg", "RS256"),
    ("id_token_signed_response_alg", "none"),
    ("userinfo_signed_response_alg", "RS256"),
    ("request_object_signing_alg", "RS256"),
    ("request_object_signing_alg", "none"),
    ("introspection_signed_response_alg", "RS256"),
    ("redirect_uris", ["http://tpp.example/cb"]),
    ("redirect_uris", ["http://127.0.0.1/cb"]),
    ("redirect_uris", ["com.example.app:/cb"]),
    ("redirect_uris", ["https://localhost/cb"]),
    ("redirect_uris", None),
    ("jwks", None),
    ("jwks", {"keys": [SMALL]}),
    ("jwks_uri", "http://tpp.example/jwks"),
]
FAPI1 = [row for row in FAPI2 if row[0] != "tls_client_certificate_bound_access_tokens"] + [
    ("token_endpoint_auth_signing_alg", "EdDSA"),
    ("id_token_signed_response_alg", "EdDSA"),
    ("userinfo_signed_response_alg", "EdDSA"),
    ("request_object_signing_alg", "EdDSA"),
    ("introspection_signed_response_alg", "EdDSA"),
    ("authorization_signed_response_alg", "none"),
    ("authorization_signed_response_alg", "RS256"),
    ("authorization_signed_response_alg", "EdDSA"),
    ("dpop_bound_access_tokens", True),
]
SIGNING = [*FAPI2, ("authorization_signed_response_alg", "none"), ("authorization_signed_response_alg", "RS256")]


@pytest.mark.parametrize(
    ("profile", "member", "value"),
    [
        *(("fapi2", *row) for row in FAPI2),
        *(("fapi2-message-signing", *row) for row in SIGNING),
        *(("fapi1-advanced", *row) for row in FAPI1),
    ],
)
async def test_what_no_profile_of_fapi_registers(profile: str, member: str, value: Any) -> None:
    """Each row of the table has a value that is refused, with the error of its kind and the member named."""
    async with served(under(profile)) as server:
        answer = await post(server, **{member: value})

        body = refused(answer, "invalid_redirect_uri" if member == "redirect_uris" else "invalid_client_metadata")
        told = {one["member"].partition("[")[0].partition(".")[0] for one in body["faults"]}
        assert told & {member, "token_endpoint_auth_method" if member == "jwks" else member}
        assert await server.registry.store.clients(_everybody()) == []


def _everybody() -> Any:
    from registrar.service.ports import ClientQuery

    return ClientQuery()


@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing", "fapi1-advanced"])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"token_endpoint_auth_signing_alg": "ES256", "id_token_signed_response_alg": "ES256"},
        {"jwks": None, "jwks_uri": "https://tpp.example/jwks"},
        {"grant_types": ["authorization_code", "password"]},
        MUTUAL,
    ],
)
async def test_what_every_profile_of_fapi_registers(profile: str, members: dict[str, Any]) -> None:
    """A confidential client with a key or a certificate, over https, is registered."""
    async with served(under(profile)) as server:
        client = made(await post(server, **members))

        assert client["tls_client_certificate_bound_access_tokens"] is True
        assert client["response_types"] == ["code"]
        assert set(client["grant_types"]) <= {"authorization_code", "refresh_token"}
        assert client["id_token_signed_response_alg"] in ("PS256", "ES256")
        assert "client_secret" not in client


async def test_fapi2_pushes_requests_and_binds_tokens_either_way() -> None:
    """PAR is written into the registration whatever was asked; DPoP is as good as a certificate."""
    async with served(under("fapi2")) as server:
        client = made(
            await post(
                server,
                tls_client_certificate_bound_access_tokens=None,
                dpop_bound_access_tokens=True,
                require_pushed_authorization_requests=False,
            )
        )

        assert client["require_pushed_authorization_requests"] is True
        assert client["dpop_bound_access_tokens"] is True
        assert client["require_signed_request_object"] is False
        assert "authorization_signed_response_alg" not in client


async def test_fapi2_lets_native_applications_listen_on_loopback() -> None:
    """Http is for loopback and native applications alone; a private scheme is for nobody."""
    async with served(under("fapi2")) as server:
        made(await post(server, application_type="native", redirect_uris=["http://127.0.0.1/cb"]))
        answer = await post(server, application_type="native", redirect_uris=["http://tpp.example/cb"])
        refused(answer, "invalid_redirect_uri", "redirect_uris")
    async with served(under("fapi1-advanced")) as server:
        answer = await post(server, application_type="native", redirect_uris=["http://127.0.0.1/cb"])
        refused(answer, "invalid_redirect_uri", "redirect_uris")


async def test_message_signing_signs_both_ways() -> None:
    """Requests have to be signed, and answers are, though the client asked for neither; the choice is the client's."""
    async with served(under("fapi2-message-signing")) as server:
        plain = made(await post(server, require_signed_request_object=False))
        chosen = made(await post(server, request_object_signing_alg="ES256", authorization_signed_response_alg="ES256"))

        assert plain["require_signed_request_object"] is True
        assert plain["request_object_signing_alg"] == "PS256"
        assert plain["authorization_signed_response_alg"] == "PS256"
        assert plain["require_pushed_authorization_requests"] is True  # what fapi2 says holds as well
        assert (chosen["request_object_signing_alg"], chosen["authorization_signed_response_alg"]) == ("ES256", "ES256")
        answer = await post(server, authorization_encrypted_response_enc="A256GCM")
        refused(answer, "invalid_client_metadata", "authorization_encrypted_response_enc")


async def test_fapi1_signs_and_binds() -> None:
    """Requests are signed, responses too (JARM), and tokens are bound to certificates, whatever was asked."""
    async with served(under("fapi1-advanced")) as server:
        client = made(await post(server, tls_client_certificate_bound_access_tokens=False))

        assert client["tls_client_certificate_bound_access_tokens"] is True
        assert client["require_signed_request_object"] is True
        assert client["request_object_signing_alg"] == "PS256"
        assert client["authorization_signed_response_alg"] == "PS256"
        assert (
            "jwt" in (await server.client.get("/.well-known/openid-configuration")).json()["response_modes_supported"]
        )


@pytest.mark.requirement("SEED-95")
@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing", "fapi1-advanced"])
async def test_an_update_is_judged_by_the_same_profile(profile: str) -> None:
    """The server's own answer is taken back; an update beyond the profile is refused and changes nothing."""
    async with served(under(profile)) as server:
        client = made(await post(server))
        path, token = f"/register/{client['client_id']}", client["registration_access_token"]
        issued = ("registration_access_token", "registration_client_uri", "client_id_issued_at")
        own = {name: value for name, value in client.items() if name not in issued}

        again = made(await send(server, own, method="PUT", path=path, token=token), 200)
        assert again == client
        answer = await send(server, {**own, "response_types": ["token"]}, method="PUT", path=path, token=token)
        refused(answer, "invalid_client_metadata", "response_types")
        assert made(await send(server, None, method="GET", path=path, token=token), 200) == client
        refused(await send(server, None, method="GET", path=path, token="wrong"), "invalid_token", status=401)


async def test_discovery_offers_what_the_profile_takes() -> None:
    """No method with a shared secret, no weak algorithm and no response type beyond code is published."""
    async with served(under("fapi2")) as server:
        published = (await server.client.get("/.well-known/openid-configuration")).json()

        assert published["token_endpoint_auth_methods_supported"] == [
            "private_key_jwt",
            "tls_client_auth",
            "self_signed_tls_client_auth",
        ]
        assert "RS256" not in published["id_token_signing_alg_values_supported"]
        assert published["response_types_supported"] == ["code"]
