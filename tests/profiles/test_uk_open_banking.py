"""UK Open Banking DCR 3.3: the rows of its table, and the cases of its conformance suite by their numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from ecosystem import JOSE, JWT, URL, Tokens, ecosystem, made, manage, refused, send

from registrar.service.ports import ClientQuery, EventQuery
from registrar.testing import Served
from registrar.testing.directory import Directory, Software, new_key, signed

pytestmark = pytest.mark.anyio

REDIRECTS = ["https://tpp.example/cb", "https://tpp.example/other"]
SCOPES = ("accounts", "payments", "fundsconfirmations")
STATEMENT: dict[str, Any] = {
    "org_id": "0015800001041RHAAY",
    "org_name": "Moneyhelper Ltd",
    "org_status": "Active",
    "software_client_name": "Money helper",
    "software_client_uri": "https://tpp.example/",
    "software_logo_uri": "https://tpp.example/logo.png",
    "software_tos_uri": "https://tpp.example/tos",
    "software_policy_uri": "https://tpp.example/policy",
    "software_version": 1.1,
    "software_environment": "production",
    "software_mode": "Live",
    "software_redirect_uris": REDIRECTS,
    "software_roles": ["AISP", "PISP"],
}
REQUEST: dict[str, Any] = {
    "aud": "https://as.example",
    "redirect_uris": ["https://tpp.example/cb"],
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": "PS256",
    "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
    "response_types": ["code"],
    "software_id": "MoneyHelper1",
    "scope": "openid accounts",
    "application_type": "web",
    "id_token_signed_response_alg": "PS256",
    "request_object_signing_alg": "PS256",
}


@pytest.fixture(scope="module")
def software() -> Software:
    """A third party's software, as the directory knows it."""
    return Directory().software("MoneyHelper1", STATEMENT, keys_claim="software_jwks_endpoint")


@pytest.fixture
def tokens() -> Tokens:
    """The access tokens of the server."""
    return Tokens()


@pytest.fixture
async def server(software: Software, tokens: Tokens) -> AsyncIterator[Served]:
    """A bank."""
    async with ecosystem("uk-open-banking", software.directory, scopes=SCOPES, tokens=tokens) as bank:
        yield bank


def request(software: Software, statement: dict[str, Any] | None = None, **claims: Any) -> str:
    """A signed request with a statement; a claim that is None is left out."""
    ssa = software.statement(**(statement or {}))
    return software.request({**REQUEST, "software_statement": ssa, **claims})


async def register(server: Served, software: Software, **claims: Any) -> dict[str, Any]:
    """Register."""
    return made(await send(server, request(software, **claims), certificate=software.certificate))


@pytest.mark.requirement(
    "SEED-91", "SEED-92", "SEED-93", "SEED-95", "METAX-14", "R7591-54", "R7591-30", "SEED-53", "SEED-56"
)
@pytest.mark.parametrize("media", [JOSE, JWT, f"{JWT}; charset=utf-8"])
async def test_002_create(server: Served, software: Software, media: str) -> None:
    """A signed request is registered: what the directory attests overrides, and its statement is echoed byte for byte."""
    statement = software.statement()
    body = software.request({**REQUEST, "software_statement": statement, "client_name": "Some bank"})

    client = made(await send(server, body, certificate=software.certificate, media=media))

    assert client["software_statement"] == statement
    assert client["client_name"] == "Money helper"
    assert client["jwks_uri"] == software.jwks_uri
    assert client["redirect_uris"] == ["https://tpp.example/cb"]
    assert client["software_id"] == "MoneyHelper1"
    assert client["software_version"] == "1.1"
    assert client["scope"] == "openid accounts"
    assert client["tos_uri"], client["policy_uri"] == (STATEMENT["software_tos_uri"], STATEMENT["software_policy_uri"])
    for name in ("iss", "aud", "exp", "iat", "jti", "client_secret", "registration_access_token"):
        assert name not in client
    for name in REQUEST.keys() - {"aud"}:
        assert client[name] == REQUEST[name]
    stored = await server.registry.store.find("main", client["client_id"])
    assert stored is not None
    assert stored.provenance["client_name"] == "attested:directory"
    assert stored.provenance["redirect_uris"] == "attested:directory"
    assert "token_endpoint_auth_method" not in stored.provenance
    assert (stored.admission.statement_issuer, stored.admission.statement_software) == ("directory", "MoneyHelper1")


async def test_redirects_are_those_of_the_statement(server: Served, software: Software) -> None:
    """Without any, all that the directory lists are registered; one that it does not list is refused, by its own name."""
    assert (await register(server, software, redirect_uris=None))["redirect_uris"] == REDIRECTS
    answer = await send(
        server, request(software, redirect_uris=["https://evil.example/cb"]), certificate=software.certificate
    )
    refused(answer, "invalid_redirect_uri", "redirect_uris")


@pytest.mark.parametrize(
    ("roles", "asked", "given"),
    [
        (["AISP"], "openid accounts payments", "openid accounts"),
        (["PISP"], "openid payments", "openid payments"),
        (["CBPII"], "openid fundsconfirmations accounts", "openid fundsconfirmations"),
        (["AISP", "PISP"], "payments openid accounts", "payments openid accounts"),
    ],
)
async def test_roles_are_scopes(server: Served, software: Software, roles: list[str], asked: str, given: str) -> None:
    """AISP may have accounts, PISP payments, CBPII fundsconfirmations; what is beyond is taken away."""
    client = await register(server, software, statement={"software_roles": roles}, scope=asked)

    assert client["scope"] == given


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token_endpoint_auth_method", None),
        ("token_endpoint_auth_method", "client_secret_basic"),
        ("token_endpoint_auth_method", "none"),
        ("token_endpoint_auth_signing_alg", None),
        ("token_endpoint_auth_signing_alg", "RS256"),
        ("grant_types", None),
        ("grant_types", ["password"]),
        ("response_types", ["id_token token"]),
        ("response_types", ["code id_token"]),
        ("scope", None),
        ("scope", "fundsconfirmations"),
        ("application_type", None),
        ("application_type", "desktop"),
        ("id_token_signed_response_alg", None),
        ("id_token_signed_response_alg", "RS256"),
        ("request_object_signing_alg", None),
        ("request_object_signing_alg", "none"),
        ("software_id", "AnotherSoftware"),
        ("tls_client_auth_subject_dn", "CN=tpp"),
        ("tls_client_auth_san_dns", "tpp.example"),
    ],
)
async def test_rows_that_are_refused(server: Served, software: Software, member: str, value: Any) -> None:
    """Each member's row has a value, or an absence, that is invalid_client_metadata (011 among them)."""
    answer = await send(server, request(software, **{member: value}), certificate=software.certificate)

    refused(answer, "invalid_client_metadata", member)
    assert await server.registry.store.clients(ClientQuery()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://tpp.example/cb",
        "https://localhost/cb",
        "https://127.0.0.1/cb",
        "https://tpp.example/" + "x" * 256,
        "https://tpp.example/cb#part",
        "tpp:/cb",
    ],
)
async def test_redirects_that_no_directory_can_list(server: Served, software: Software, uri: str) -> None:
    """https, on a public host, of at most 256 characters: what a directory lists is judged like the rest."""
    body = request(software, statement={"software_redirect_uris": [uri]}, redirect_uris=[uri])

    refused(await send(server, body, certificate=software.certificate), "invalid_redirect_uri", "redirect_uris")


async def test_certificates_may_authenticate(server: Served, software: Software) -> None:
    """tls_client_auth takes the subject's name, of at most 128 characters, and no other kind of name."""
    mutual = {"token_endpoint_auth_method": "tls_client_auth", "token_endpoint_auth_signing_alg": None}
    client = await register(server, software, **mutual, tls_client_auth_subject_dn="CN=tpp,O=Bank,C=GB")
    assert client["tls_client_auth_subject_dn"] == "CN=tpp,O=Bank,C=GB"

    for wrong in ({}, {"tls_client_auth_subject_dn": "CN=" + "x" * 130}, {"tls_client_auth_san_dns": "tpp.example"}):
        answer = await send(server, request(software, **mutual, **wrong), certificate=software.certificate)
        refused(answer, "invalid_client_metadata")


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("exp", 1),
        ("exp", None),
        ("iat", None),
        ("iss", "someone-else"),
        ("iss", ""),
        ("iss", None),
        ("iss", "x" * 23),
        ("aud", "https://another.example"),
        ("aud", None),
        ("jti", None),
        ("jti", ""),
        ("jti", "1234"),
        ("jti", "6b3c89ac-e8eb-11f1-b851-02fc00000001"),
    ],
)
async def test_004_claims_of_the_request(server: Served, software: Software, claim: str, value: Any) -> None:
    """Expired, of somebody else, for somebody else, or without an identifier of its own: 400, and nothing is stored."""
    answer = await send(server, request(software, **{claim: value}), certificate=software.certificate)

    refused(answer, "invalid_client_metadata", claim if claim != "iat" else "exp")
    assert await server.registry.store.clients(ClientQuery()) == []


async def test_004_signatures(server: Served, software: Software) -> None:
    """RS256, another's key, none, and a key that comes along are no signature of the software."""
    claims = {**REQUEST, "software_statement": software.statement()}
    stranger = new_key()
    for body in (
        software.request(claims, algorithm="RS256"),
        software.request(claims, key=stranger),
        software.request(claims, key=stranger, kid=software.key.kid),
        software.request(claims, key=stranger, jwk=stranger.as_dict(private=False)),
        software.request(claims, x5u="https://tpp.example/cert"),
        software.request(claims) + "x",
        _unsigned(software.request(claims)),
        "not a jwt",
    ):
        answer = await send(server, body, certificate=software.certificate)
        refused(answer, "invalid_client_metadata", "body")


def _unsigned(body: str) -> str:
    import base64

    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{header}.{body.split('.')[1]}."


async def test_what_the_bank_is_called_in_the_directory(software: Software) -> None:
    """An identifier that the directory gave the bank is as good an audience as its URL, where the policy names it."""
    policy = '[policy.own.request]\naudiences = ["bank0001"]'
    async with ecosystem("uk-open-banking", software.directory, scopes=SCOPES, policy=policy) as server:
        await register(server, software, aud="bank0001")
        await register(server, software, aud=["bank0001", "other"])
        # What the profile says of requests holds beside that.
        refused(await send(server, dict(REQUEST), certificate=software.certificate), "invalid_request", status=415)


@pytest.mark.requirement("SEED-84", "SEED-90")
@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ({"org_status": "Revoked"}, "unapproved_software_statement"),
        ({"org_status": "Withdrawn"}, "unapproved_software_statement"),
        ({"org_status": None}, "invalid_software_statement"),
        ({"software_roles": None}, "invalid_software_statement"),
        ({"software_roles": "AISP"}, "invalid_software_statement"),
        ({"software_redirect_uris": None}, "invalid_software_statement"),
        ({"software_jwks_endpoint": None}, "invalid_software_statement"),
        ({"software_id": None}, "invalid_software_statement"),
        ({"iss": "https://other.example"}, "unapproved_software_statement"),
        ({"iss": None}, "invalid_software_statement"),
        ({"exp": 1}, "invalid_software_statement"),
        ({"iat": 4_000_000_000}, "invalid_software_statement"),
        ({"jti": None}, "invalid_software_statement"),
        ({"header": {"algorithm": "RS256"}}, "invalid_software_statement"),
        ({"key": new_key()}, "invalid_software_statement"),
    ],
)
async def test_statements_that_are_refused(
    server: Served, software: Software, statement: dict[str, Any], error: str
) -> None:
    """What is wrong with a statement is invalid_, and what is right with the wrong standing is unapproved_."""
    answer = await send(server, request(software, statement), certificate=software.certificate)

    refused(answer, error, "software_statement")


async def test_without_statement_certificate_or_signature(server: Served, software: Software) -> None:
    """All three are needed: no statement, no mutual TLS, and plain JSON are each refused in their own way."""
    answer = await send(server, request(software, software_statement=None), certificate=software.certificate)
    refused(answer, "invalid_software_statement", "software_statement")
    refused(await send(server, request(software)), "invalid_request", "certificate")
    plain = {**REQUEST, "software_statement": software.statement()}
    refused(await send(server, plain, certificate=software.certificate), "invalid_request", status=415)


@pytest.mark.requirement("R7591-34")
async def test_a_request_is_used_once(server: Served, software: Software) -> None:
    """The same request a second time is a replay, though everything about it is in order."""
    body = request(software)
    made(await send(server, body, certificate=software.certificate))

    refused(await send(server, body, certificate=software.certificate), "invalid_client_metadata", "body")
    assert len(await server.registry.store.clients(ClientQuery())) == 1


# --- management -------------------------------------------------------------------------------------------------------


async def test_003_delete_then_read(server: Served, software: Software, tokens: Tokens) -> None:
    """DELETE is 204 and empty; afterwards reading (010), updating (009) and deleting are 401 with a body of JSON."""
    client = await register(server, software)
    token = tokens.issue(client["client_id"], "openid")

    answer = await manage(server, client, "DELETE", token=token)

    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "PUT", "DELETE"):
        body = request(software) if method == "PUT" else None
        refused(await manage(server, client, method, body, token=token), "invalid_token", status=401)


async def test_005_read(server: Served, software: Software, tokens: Tokens) -> None:
    """What is read is what was registered."""
    client = await register(server, software)

    assert made(await manage(server, client, token=tokens.issue(client["client_id"], "openid")), 200) == client


async def test_007_wrong_tokens(server: Served, software: Software, tokens: Tokens) -> None:
    """Unknown, another client's, a person's, expired, or without the scope: nobody gets in, and 401 and 403 say so in JSON."""
    client, other = await register(server, software), await register(server, software)
    own = tokens.issue(client["client_id"], "openid")
    for token in ("unknown", tokens.issue(other["client_id"], "openid")):
        answer = await manage(server, client, token=token)
        refused(answer, "invalid_token", status=401)
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    person = tokens.issue(client["client_id"], "openid", subject="alice")
    refused(await manage(server, client, token=person), "invalid_token", status=401)
    refused(await manage(server, client), "invalid_token", status=401)
    less = tokens.issue(client["client_id"], "accounts")
    refused(await manage(server, client, token=less), "insufficient_scope", status=403)
    bound = tokens.issue(client["client_id"], "openid", certificate=software.certificate)
    refused(await manage(server, client, token=bound), "invalid_token", status=401)
    made(await manage(server, client, token=bound, certificate=software.certificate), 200)
    tokens.expire(own)
    refused(await manage(server, client, token=own), "invalid_token", status=401)
    refused(await manage(server, {"client_id": "nobody"}, token=bound), "invalid_token", status=401)


@pytest.mark.requirement("SEED-94")
async def test_008_update(server: Served, software: Software, tokens: Tokens) -> None:
    """A PUT takes a whole signed request with a statement; the identifier stays, and what is left out is gone."""
    client = await register(server, software)
    token = tokens.issue(client["client_id"], "openid")
    body = request(software, redirect_uris=[REDIRECTS[1]], scope="openid payments", client_id=client["client_id"])

    after = made(await manage(server, client, "PUT", body, token=token, certificate=software.certificate), 200)

    assert (after["client_id"], after["redirect_uris"], after["scope"]) == (
        client["client_id"],
        [REDIRECTS[1]],
        "openid payments",
    )
    made(await manage(server, client, "PUT", request(software), token=token, certificate=software.certificate), 200)
    (event, _) = await server.registry.store.events(EventQuery(kind="client.updated"))
    assert '"authentication":"access_token"' in event.event.body.decode()
    assert software.statement().rpartition(".")[0] not in event.event.body.decode()
    assert after["software_statement"] not in event.event.body.decode()


@pytest.mark.requirement("R7591-33")
@pytest.mark.parametrize("what", ["plain", "stale", "unsigned", "other software", "other client", "redirect", "role"])
async def test_updates_that_change_nothing(server: Served, software: Software, tokens: Tokens, what: str) -> None:
    """An update that a registration would not pass is refused, and the record is as it was."""
    client = await register(server, software)
    token = tokens.issue(client["client_id"], "openid")
    other = software.directory.software("Other1", STATEMENT, keys_claim="software_jwks_endpoint")
    bodies: dict[str, tuple[Any, str, int]] = {
        "plain": ({**REQUEST, "client_id": client["client_id"]}, "invalid_request", 415),
        "stale": (request(software, {"exp": 1}), "invalid_software_statement", 400),
        "unsigned": (_unsigned(request(software)), "invalid_client_metadata", 400),
        "other software": (request(other, software_id="Other1"), "invalid_software_statement", 400),
        "other client": (request(software, client_id="another"), "invalid_client_metadata", 400),
        "redirect": (request(software, redirect_uris=["https://evil.example/"]), "invalid_redirect_uri", 400),
        "role": (request(software, scope="fundsconfirmations"), "invalid_client_metadata", 400),
    }
    body, error, status = bodies[what]

    refused(
        await manage(server, client, "PUT", body, token=token, certificate=software.certificate), error, status=status
    )
    assert made(await manage(server, client, token=token), 200) == client


async def test_001_discovery(server: Served) -> None:
    """The registration endpoint is published, with methods and algorithms of the profile alone."""
    published = (await server.client.get("/.well-known/openid-configuration")).json()

    assert published["registration_endpoint"] == "https://as.example/register"
    assert published["token_endpoint_auth_methods_supported"] == ["private_key_jwt", "tls_client_auth"]
    assert published["id_token_signing_alg_values_supported"] == ["PS256", "ES256"]


async def test_mobile_is_a_word_here(server: Served, software: Software) -> None:
    """`mobile` is what this ecosystem calls native applications."""
    assert (await register(server, software, application_type="mobile"))["application_type"] == "mobile"


@pytest.mark.requirement("SEED-95")
async def test_management_with_an_earned_token(server: Served, software: Software) -> None:
    """The whole way: registered, a token earned with the client's own key, and the registration read, put and deleted."""
    client = await register(server, software)
    now = server.clock.now
    claims = {"iss": client["client_id"], "sub": client["client_id"], "aud": URL, "jti": "once"}
    form = {
        "grant_type": "client_credentials",
        "scope": "openid",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed({**claims, "iat": now, "exp": now + 60}, software.key),
    }
    token = (await server.client.post("/token", data=form)).json()["access_token"]

    assert made(await manage(server, client, token=token), 200) == client
    other = await register(server, software)
    refused(await manage(server, other, token=token), "invalid_token", status=401)
    assert (await manage(server, client, "DELETE", token=token)).status_code == 204
    refused(await manage(server, client, token=token), "invalid_token", status=401)
