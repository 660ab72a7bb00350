"""Australia's CDR 1.36: the acceptance cases of the authorisation server's own tests (AC01 to AC17, and the JARM set)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
from ecosystem import JOSE, JWT, URL, Tokens, ecosystem, made, manage, refused, send

from registrar.service.ports import ClientQuery, FetchError
from registrar.testing import Served
from registrar.testing.directory import Directory, Software, new_key, signed

pytestmark = pytest.mark.anyio

SCOPES = ("profile", "bank:accounts.basic:read", "common:customer.basic:read", "cdr:registration")
STATEMENT: dict[str, Any] = {
    "org_id": "3B0B0A7B-3E7B-4A2C-9497-E357A71D07C8",
    "org_name": "Mock Company",
    "legal_entity_id": "A1",
    "legal_entity_name": "Mock Company Pty Ltd",
    "client_name": "Mock Software",
    "client_description": "A product to help you manage your budget",
    "client_uri": "https://mocksoftware.example/",
    "redirect_uris": ["https://mocksoftware.example/cb", "https://mocksoftware.example/cb2"],
    "logo_uri": "https://mocksoftware.example/logo.png",
    "tos_uri": "https://mocksoftware.example/terms",
    "policy_uri": "https://mocksoftware.example/policy",
    "revocation_uri": "https://mocksoftware.example/revocation",
    "recipient_base_uri": "https://mocksoftware.example",
    "software_roles": "data-recipient-software-product",
    "scope": "openid profile bank:accounts.basic:read cdr:registration energy:electricity.usage:read",
}
MANDATORY: dict[str, Any] = {
    "aud": "https://as.example",
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": "PS256",
    "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
    "response_types": ["code"],
    "id_token_signed_response_alg": "PS256",
    "authorization_signed_response_alg": "PS256",
}
REQUEST: dict[str, Any] = {
    **MANDATORY,
    "redirect_uris": ["https://mocksoftware.example/cb"],
    "application_type": "web",
    "request_object_signing_alg": "PS256",
}
SHOWN = ("org_id", "org_name", "client_description", "revocation_uri", "recipient_base_uri", "software_roles", "legal_entity_id", "legal_entity_name")  # fmt: skip


@pytest.fixture(scope="module")
def software() -> Software:
    """A software product of an accredited data recipient, as the Register knows it."""
    return Directory("https://register.example").software("c6327f87-687a-4369-99a4-eaacd3bb8210", STATEMENT)


@pytest.fixture
def tokens() -> Tokens:
    """The access tokens of the server."""
    return Tokens()


@pytest.fixture
async def server(software: Software, tokens: Tokens) -> AsyncIterator[Served]:
    """A data holder."""
    async with ecosystem("au-cdr", software.directory, scopes=SCOPES, tokens=tokens) as holder:
        yield holder


def request(software: Software, statement: dict[str, Any] | None = None, **claims: Any) -> str:
    """A signed request with a statement; a claim that is None is left out."""
    return software.request({**REQUEST, "software_statement": software.statement(**(statement or {})), **claims})


async def register(server: Served, software: Software, **claims: Any) -> dict[str, Any]:
    """Register."""
    return made(await send(server, request(software, **claims), certificate=software.certificate, media=JWT))


def entitled(tokens: Tokens, software: Software, client: dict[str, Any], *scope: str) -> dict[str, Any]:
    """What manages a registration: a token of its own that is bound to the certificate, and the certificate."""
    token = tokens.issue(client["client_id"], *(scope or ("cdr:registration",)), certificate=software.certificate)
    return {"token": token, "certificate": software.certificate}


@pytest.mark.requirement("METAX-15", "SEED-93", "SEED-95", "R7591-54")
@pytest.mark.parametrize("media", [JWT, JOSE])
async def test_ac01_register(server: Served, software: Software, media: str) -> None:
    """201: the arrays, the algorithms, the scopes that are known here, and the statement with its claims beside it."""
    statement = software.statement()
    body = software.request({**REQUEST, "software_statement": statement, "unknown": "x", "client_name": "Another"})

    client = made(await send(server, body, certificate=software.certificate, media=media))

    assert client["software_statement"] == statement
    assert client["redirect_uris"] == ["https://mocksoftware.example/cb"]
    assert client["grant_types"] == ["client_credentials", "authorization_code", "refresh_token"]
    assert client["response_types"] == ["code"]
    assert client["application_type"] == "web"
    assert client["token_endpoint_auth_method"] == "private_key_jwt"
    for name in ("token_endpoint_auth_signing_alg", "id_token_signed_response_alg", "request_object_signing_alg"):
        assert client[name] == "PS256"
    # What the Register grants and this holder does not know is ignored.
    assert client["scope"] == "openid profile bank:accounts.basic:read cdr:registration"
    assert {name: client[name] for name in SHOWN} == {name: STATEMENT[name] for name in SHOWN}
    assert client["client_name"] == "Mock Software"
    assert client["jwks_uri"] == software.jwks_uri
    for name in ("unknown", "iss", "aud", "exp", "jti", "registration_access_token", "client_secret"):
        assert name not in client


async def test_ac01b_only_what_is_mandatory(server: Served, software: Software) -> None:
    """Without redirect_uris, all of the statement's are registered; the rest has its defaults."""
    body = software.request({**MANDATORY, "software_statement": software.statement()})

    client = made(await send(server, body, certificate=software.certificate))

    assert client["redirect_uris"] == STATEMENT["redirect_uris"]
    assert (client["application_type"], client["request_object_signing_alg"]) == ("web", "PS256")


@pytest.mark.requirement("R7591-71")
async def test_ac02_a_second_registration(server: Served, software: Software, tokens: Tokens) -> None:
    """A software product has one registration; once that is deleted, it may have another."""
    client = await register(server, software)
    answer = await send(server, request(software), certificate=software.certificate)

    refused(answer, "invalid_client_metadata", "software_id")
    assert "registered already" in answer.json()["error_description"]
    await manage(server, client, "DELETE", **entitled(tokens, software, client))
    assert (await register(server, software))["client_id"] != client["client_id"]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ({"key": new_key()}, "invalid_software_statement"),
        ({"header": {"algorithm": "RS256"}}, "invalid_software_statement"),
        ({"exp": 1}, "invalid_software_statement"),
        ({"exp": 4_000_000_000}, "invalid_software_statement"),
        ({"iss": "https://another.example"}, "unapproved_software_statement"),
        ({"software_roles": "another-role"}, "unapproved_software_statement"),
        *(
            ({name: None}, "invalid_software_statement")
            for name in ("org_id", "org_name", "client_name", "client_description", "client_uri", "redirect_uris", "logo_uri", "jwks_uri", "revocation_uri", "recipient_base_uri", "software_id", "scope", "iat", "exp", "jti", "iss")
        ),
    ],
)  # fmt: skip
async def test_ac03_statements(server: Served, software: Software, statement: dict[str, Any], error: str) -> None:
    """A statement that is not the Register's, of now, and whole, is refused."""
    answer = await send(server, request(software, statement), certificate=software.certificate)

    refused(answer, error, "software_statement")
    assert await server.registry.store.clients(ClientQuery()) == []


async def test_ac06_redirects(server: Served, software: Software) -> None:
    """A redirect URI that the statement does not list is invalid_redirect_uri."""
    answer = await send(
        server,
        request(software, redirect_uris=["https://mocksoftware.example/cb", "https://evil.example/"]),
        certificate=software.certificate,
    )

    refused(answer, "invalid_redirect_uri", "redirect_uris")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token_endpoint_auth_signing_alg", "HS256"),  # AC07
        ("token_endpoint_auth_signing_alg", "RS256"),
        ("token_endpoint_auth_signing_alg", None),
        ("token_endpoint_auth_method", "tls_client_auth"),
        ("token_endpoint_auth_method", "client_secret_basic"),
        ("token_endpoint_auth_method", None),
        ("grant_types", None),
        ("grant_types", ["client_credentials", "refresh_token"]),
        ("grant_types", ["authorization_code"]),
        ("response_types", None),
        ("response_types", ["code id_token"]),
        ("application_type", "native"),
        ("id_token_signed_response_alg", None),
        ("id_token_signed_response_alg", "RS256"),
        ("id_token_encrypted_response_alg", "dir"),
        ("id_token_encrypted_response_enc", "A256GCM"),
        ("request_object_signing_alg", "none"),
        ("request_object_signing_alg", "RS256"),
    ],
)
async def test_rows_that_are_refused(server: Served, software: Software, member: str, value: Any) -> None:
    """Each row has a value, or an absence, that is invalid_client_metadata."""
    answer = await send(server, request(software, **{member: value}), certificate=software.certificate)

    refused(answer, "invalid_client_metadata", member)
    assert await server.registry.store.clients(ClientQuery()) == []


# --- JARM -------------------------------------------------------------------------------------------------------------

JARM = "authorization_signed_response_alg"
ALG, ENC = "authorization_encrypted_response_alg", "authorization_encrypted_response_enc"


@pytest.mark.requirement("METAX-2")
@pytest.mark.parametrize("signed", ["PS256", "ES256"])
async def test_jarm_signed(server: Served, software: Software, signed: str) -> None:
    """Both algorithms of the profile are registered."""
    assert (await register(server, software, **{JARM: signed}))[JARM] == signed


@pytest.mark.parametrize(("value", "reason"), [(None, "missing"), ("", "missing"), ("none", "is none"), ("RS256", "is RS256"), ("Foo", "is Foo")])  # fmt: skip
async def test_jarm_not_signed(server: Served, software: Software, value: str | None, reason: str) -> None:
    """An algorithm that is missing and one that is not of the profile are refused, each with its own text."""
    answer = await send(server, request(software, **{JARM: value}), certificate=software.certificate)

    body = refused(answer, "invalid_client_metadata", JARM)
    assert reason in next(one["reason"] for one in body["faults"] if one["member"] == JARM)


@pytest.mark.parametrize(
    ("signed", "alg", "enc"),
    list(product(["PS256", "ES256"], ["RSA-OAEP", "RSA-OAEP-256"], ["A256GCM", "A128CBC-HS256"])),
)
async def test_jarm_encrypted(server: Served, software: Software, signed: str, alg: str, enc: str) -> None:
    """Each combination of the profile is registered as it was asked for."""
    client = await register(server, software, **{JARM: signed, ALG: alg, ENC: enc})

    assert (client[JARM], client[ALG], client[ENC]) == (signed, alg, enc)


@pytest.mark.parametrize("signed", ["PS256", "ES256"])
@pytest.mark.parametrize("alg", ["RSA-OAEP", "RSA-OAEP-256"])
async def test_jarm_default_enc(server: Served, software: Software, signed: str, alg: str) -> None:
    """An algorithm without a content encryption gets A128CBC-HS256."""
    assert (await register(server, software, **{JARM: signed, ALG: alg}))[ENC] == "A128CBC-HS256"


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({ENC: "A256GCM"}, ENC),
        ({ALG: "RSA1_5"}, ALG),
        ({ALG: "ECDH-ES"}, ALG),
        ({ALG: "Foo"}, ALG),
        ({ALG: "RSA-OAEP", ENC: "A128GCM"}, ENC),
        ({ALG: "RSA-OAEP", ENC: "Foo"}, ENC),
        ({"grant_types": ["client_credentials"]}, "grant_types"),
    ],
)
async def test_jarm_refused(server: Served, software: Software, members: dict[str, Any], member: str) -> None:
    """Encryption without an algorithm, or with one of no use, and no code grant at all."""
    answer = await send(server, request(software, **members), certificate=software.certificate)

    refused(answer, "invalid_client_metadata", member)


# --- what its validator refuses besides --------------------------------------------------------------------------------


async def test_bodies(server: Served, software: Software) -> None:
    """Empty, signed by another, without a statement, over no mutual TLS, or as plain JSON."""
    for body in ("", "a.b.c", software.request({**REQUEST, "software_statement": software.statement()}, key=new_key())):
        answer = await send(server, body, certificate=software.certificate)
        refused(answer, "invalid_client_metadata", "body")
    answer = await send(server, request(software, software_statement=None), certificate=software.certificate)
    refused(answer, "invalid_software_statement", "software_statement")
    refused(await send(server, request(software)), "invalid_request", "certificate")
    answer = await send(
        server, {**REQUEST, "software_statement": software.statement()}, certificate=software.certificate
    )
    refused(answer, "invalid_request", status=415)


async def test_keys_that_cannot_be_had(server: Served, software: Software) -> None:
    """The request is verified with the keys that the statement names, and where they cannot be had it is refused."""
    gone = software.directory.software("gone", {**STATEMENT, "jwks_uri": "https://gone.example/jwks"})
    software.directory.documents.documents["https://gone.example/jwks"] = FetchError("nobody answers")
    answer = await send(server, request(gone), certificate=gone.certificate)
    refused(answer, "invalid_client_metadata", "body")


async def test_sector_identifiers_are_fetched(server: Served, software: Software) -> None:
    """A sector_identifier_uri that does not answer, or does not list the redirect URIs, is refused."""
    uri = "https://sector.example/uris"
    answer = await send(server, request(software, {"sector_identifier_uri": uri}), certificate=software.certificate)
    refused(answer, "invalid_client_metadata", "sector_identifier_uri")
    software.directory.documents.documents[uri] = b'["https://mocksoftware.example/cb"]'
    client = await register(server, software, statement={"sector_identifier_uri": uri})
    assert client["sector_identifier_uri"] == uri


# --- management -------------------------------------------------------------------------------------------------------


async def test_ac08_read(server: Served, software: Software, tokens: Tokens) -> None:
    """200, and what was registered."""
    client = await register(server, software)

    assert made(await manage(server, client, **entitled(tokens, software, client)), 200) == client


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_ac09_ac13_ac17_tokens(server: Served, software: Software, tokens: Tokens, method: str) -> None:
    """A token that has expired, is another's, or is not held with its certificate: 401 with a challenge and JSON."""
    client = await register(server, software)
    body = request(software) if method == "PUT" else None
    expired = entitled(tokens, software, client)
    tokens.expire(expired["token"])
    unbound = {"token": tokens.issue(client["client_id"], "cdr:registration"), "certificate": software.certificate}
    unheld = {"token": entitled(tokens, software, client)["token"]}
    stranger = software.directory.authority.issue("CN=stranger")
    for how in (expired, unbound, unheld, {**unheld, "certificate": stranger}):
        answer = await manage(server, client, method, body, **how)
        refused(answer, "invalid_token", status=401)
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert 'error="invalid_token", error_description="' in answer.headers["www-authenticate"]
    refused(await manage(server, client, method, body, certificate=software.certificate), "invalid_token", status=401)
    less = entitled(tokens, software, client, "openid")
    refused(await manage(server, client, method, body, **less), "insufficient_scope", status=403)
    assert made(await manage(server, client, **entitled(tokens, software, client)), 200) == client


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_ac10_ac14_unknown_clients(server: Served, software: Software, tokens: Tokens, method: str) -> None:
    """A client that nobody knows is 401, as one that is somebody else's."""
    client = await register(server, software)
    body = request(software) if method == "PUT" else None

    answer = await manage(server, {"client_id": "unknown"}, method, body, **entitled(tokens, software, client))

    refused(answer, "invalid_token", status=401)
    assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.requirement("SEED-94")
async def test_ac11_update(server: Served, software: Software, tokens: Tokens) -> None:
    """200, the same client, and what the new request says."""
    client = await register(server, software)
    how = entitled(tokens, software, client)

    after = made(
        await manage(
            server, client, "PUT", request(software, redirect_uris=["https://mocksoftware.example/cb2"]), **how
        ),
        200,
    )

    assert (after["client_id"], after["redirect_uris"]) == (client["client_id"], ["https://mocksoftware.example/cb2"])
    assert made(await manage(server, client, **how), 200) == after


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"redirect_uris": ["https://evil.example/"]}, "invalid_redirect_uri"),  # AC12
        ({"token_endpoint_auth_signing_alg": "HS256"}, "invalid_client_metadata"),
        ({JARM: None}, "invalid_client_metadata"),
        ({"statement": {"exp": 1}}, "invalid_software_statement"),
        ({"statement": {"key": new_key()}}, "invalid_software_statement"),
        ({"statement": {"software_id": "another"}, "iss": "another"}, "invalid_software_statement"),
        ({"software_statement": None}, "invalid_software_statement"),
        ({"aud": "https://another.example"}, "invalid_client_metadata"),
    ],
)
async def test_ac12_updates_that_change_nothing(
    server: Served, software: Software, tokens: Tokens, claims: dict[str, Any], error: str
) -> None:
    """What a registration would not pass, an update does not either, and the record is as it was."""
    client = await register(server, software)
    how = entitled(tokens, software, client)

    refused(await manage(server, client, "PUT", request(software, **claims), **how), error)
    assert made(await manage(server, client, **how), 200) == client


async def test_ac15_delete(server: Served, software: Software, tokens: Tokens) -> None:
    """204 and empty; afterwards nobody is there."""
    client = await register(server, software)
    how = entitled(tokens, software, client)
    answer = await manage(server, client, "DELETE", **how)

    assert (answer.status_code, answer.content) == (204, b"")
    refused(await manage(server, client, **how), "invalid_token", status=401)


async def test_delete_can_be_left_out(software: Software, tokens: Tokens) -> None:
    """A holder that offers no DELETE says 405 and what it offers, in JSON."""
    policy = '[policy.own.management]\noperations = ["read", "update"]'
    async with ecosystem("au-cdr", software.directory, scopes=SCOPES, tokens=tokens, policy=policy) as server:
        client = await register(server, software)
        how = entitled(tokens, software, client)
        answer = await manage(server, client, "DELETE", **how)

        refused(answer, "invalid_request", status=405)
        assert answer.headers["allow"] == "GET, PUT"
        made(await manage(server, client, **how), 200)


@pytest.mark.requirement("SEED-38", "SEED-95")
async def test_management_with_an_earned_token(software: Software) -> None:
    """The whole way: registered, a token earned with the client's own key and certificate, and the registration read."""
    async with ecosystem("au-cdr", software.directory, scopes=SCOPES) as holder:
        client = await register(holder, software)
        now = holder.clock.now
        claims = {"iss": client["client_id"], "sub": client["client_id"], "aud": URL, "jti": "once"}
        form = {
            "grant_type": "client_credentials",
            "scope": "cdr:registration",
            "client_id": client["client_id"],
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": signed({**claims, "iat": now, "exp": now + 60}, software.key),
        }
        header = {"client-cert": software.certificate.client_cert}
        token = (await holder.client.post("/token", data=form, headers=header)).json()

        assert token["scope"] == "cdr:registration"
        held = {"token": token["access_token"], "certificate": software.certificate}
        assert made(await manage(holder, client, **held), status=200)["client_id"] == client["client_id"]
        other = software.directory.authority.issue("CN=somebody else")
        refused(
            await manage(holder, client, token=token["access_token"], certificate=other), "invalid_token", status=401
        )
        replayed = await holder.client.post("/token", data=form, headers=header)
        assert (replayed.status_code, replayed.json()["error"]) == (401, "invalid_client")
