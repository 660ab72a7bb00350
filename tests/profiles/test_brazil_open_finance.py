"""Open Finance Brasil DCR and DCM: the modules of the OpenID Foundation's plans, by their names."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest
from ecosystem import ecosystem, made, manage, refused, send

from registrar.domain.findings import Verdict
from registrar.service.ports import ClientQuery, EventQuery
from registrar.testing import Served
from registrar.testing.authority import Authority, Issued
from registrar.testing.directory import Directory, Software, new_key

pytestmark = pytest.mark.anyio

SCOPES = ("accounts", "consents", "resources", "customers", "payments")
ORGANISATION = "b961c4eb-509d-4edf-afeb-35642b38185d"
SOFTWARE = "25556d5a-b9dd-4e27-aa1a-cce732fe74de"
REDIRECTS = ["https://tpp.example/cb", "https://tpp.example/cb2"]
STATEMENT: dict[str, Any] = {
    "software_mode": "Live",
    "software_redirect_uris": REDIRECTS,
    "software_statement_roles": [
        {"role": "DADOS", "authorisation_domain": "Open Banking", "status": "Active"},
        {"role": "PAGTO", "authorisation_domain": "Open Banking", "status": "Inactive"},
    ],
    "software_client_name": "Um aplicativo",
    "org_status": "Active",
    "software_client_id": "Cki1EbvjwyhPB12NGLlz2",
    "software_tos_uri": "https://tpp.example/tos",
    "software_policy_uri": "https://tpp.example/policy",
    "software_client_uri": "https://tpp.example/",
    "software_logo_uri": "https://tpp.example/logo.png",
    "software_version": "1.10",
    "software_environment": "Production",
    "org_id": ORGANISATION,
    "org_name": "Open Banking Brasil",
    "exp": None,
}
CLIENT: dict[str, Any] = {
    "redirect_uris": [REDIRECTS[0]],
    "token_endpoint_auth_method": "private_key_jwt",
    "grant_types": ["authorization_code", "implicit", "refresh_token", "client_credentials"],
    "response_types": ["code"],
}
ISSUED = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")


def subject(software: str = SOFTWARE, organisation: str = ORGANISATION) -> str:
    """The subject of a transport certificate."""
    return (
        f"UID={software},1.3.6.1.4.1.311.60.2.1.3=BR,2.5.4.15=Private Organization,2.5.4.5=43142666000197,"
        f"2.5.4.97=OFBBR-{organisation},CN=tpp.example,O=Open Banking Brasil,ST=SP,C=BR"
    )


@pytest.fixture(scope="module")
def software() -> Software:
    """A participant's software, as the directory knows it."""
    return Directory().software(SOFTWARE, STATEMENT, keys_claim="software_jwks_uri", subject=subject())


@pytest.fixture
async def server(software: Software) -> AsyncIterator[Served]:
    """A bank."""
    async with ecosystem("brazil-open-finance", software.directory, scopes=SCOPES) as bank:
        yield bank


def body(software: Software, statement: Mapping[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A registration with a fresh statement; a member that is None is left out."""
    whole = {**CLIENT, "software_statement": software.statement(**(statement or {})), **members}
    return {name: value for name, value in whole.items() if value is not None}


async def register(server: Served, software: Software, **members: Any) -> dict[str, Any]:
    """Register."""
    return made(await send(server, body(software, **members), certificate=software.certificate))


def entitled(software: Software, client: Mapping[str, Any], certificate: Issued | None = None) -> dict[str, Any]:
    """What manages a registration: its token and the certificate."""
    return {"token": client["registration_access_token"], "certificate": certificate or software.certificate}


def own(client: Mapping[str, Any], software: Software, **members: Any) -> dict[str, Any]:
    """The server's own answer, as it may come back, with a fresh statement."""
    kept = {name: value for name, value in client.items() if name not in ISSUED}
    whole = {**kept, "software_statement": software.statement(), **members}
    return {name: value for name, value in whole.items() if value is not None}


async def test_managed_where_certificates_are_asked_for(software: Software) -> None:
    """The configuration endpoint of a client that needs a certificate is where one can be presented."""
    elsewhere = 'mutual_tls_url = "https://mtls.as.example"'
    async with ecosystem("brazil-open-finance", software.directory, scopes=SCOPES, issuer=elsewhere) as bank:
        client = await register(bank, software)
        read = made(await manage(bank, client, **entitled(software, client)), status=200)
        uri = f"https://mtls.as.example/register/{client['client_id']}"

        assert client["registration_client_uri"] == read["registration_client_uri"] == uri


@pytest.mark.requirement("SEED-95", "R7591-54", "SEED-91", "R7591-67")
async def test_happy_flow(server: Served, software: Software) -> None:
    """201 with both management members; read twice, the same each time, token included; DELETE is 204."""
    statement = software.statement()
    client = await register(server, software, software_statement=statement)

    assert client["registration_client_uri"] == f"https://as.example/register/{client['client_id']}"
    assert client["software_statement"] == statement
    assert client["scope"] == "openid accounts consents customers resources"
    assert client["grant_types"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert client["jwks_uri"] == software.jwks_uri
    assert client["client_name"] == "Um aplicativo"
    assert client["tls_client_certificate_bound_access_tokens"] is True
    assert client["require_pushed_authorization_requests"] is True
    for _ in range(2):
        assert made(await manage(server, client, **entitled(software, client)), 200) == client
    answer = await manage(server, client, "DELETE", **entitled(software, client))
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("scope", ["openid accounts", "accounts openid"])
async def test_happy_flow_variants(server: Served, software: Software, scope: str) -> None:
    """Whatever the order of grants and scopes, no scope is granted that was not asked for."""
    grants = ["client_credentials", "refresh_token", "authorization_code"]
    client = await register(server, software, scope=scope, grant_types=grants)

    assert (client["scope"], client["grant_types"]) == (scope, grants)


async def test_inactive_roles_give_no_scope(server: Served, software: Software) -> None:
    """Of payments, which the statement has as inactive, nothing is left; asked for alone, it is refused."""
    assert (await register(server, software, scope="openid payments"))["scope"] == "openid"
    answer = await send(server, body(software, scope="payments"), certificate=software.certificate)
    refused(answer, "invalid_client_metadata", "scope")
    roles = [{"role": "PAGTO", "authorisation_domain": "x", "status": "Active"}]
    answer = await send(server, body(software, {"software_statement_roles": roles}), certificate=software.certificate)
    assert made(answer)["scope"] == "openid payments"


@pytest.mark.requirement("R7591-22", "WILD-13")
async def test_the_statement_wins(server: Served, software: Software) -> None:
    """Where request and statement say different things, the statement's is registered; what only one says is kept."""
    client = await register(
        server, software, client_name="Outro", tos_uri="https://evil.example/", contacts=["ops@tpp.example"]
    )

    assert (client["client_name"], client["tos_uri"]) == ("Um aplicativo", "https://tpp.example/tos")
    assert client["contacts"] == ["ops@tpp.example"]


# --- statements ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-90")
async def test_dcr_no_software_statement(server: Served, software: Software) -> None:
    """Its values copied into the body are no statement."""
    copied = {**CLIENT, "software_id": SOFTWARE, "jwks_uri": software.jwks_uri, "client_name": "Um aplicativo"}

    refused(
        await send(server, copied, certificate=software.certificate), "invalid_software_statement", "software_statement"
    )


@pytest.mark.requirement("R7591-31", "R7591-32", "R7591-34")
@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ({"key": new_key()}, "invalid_software_statement"),
        ({"header": {"algorithm": "RS256"}}, "invalid_software_statement"),
        ({"header": {"kid": "another"}}, "invalid_software_statement"),
        ({"iat": 1_790_000_000 - 361}, "invalid_software_statement"),
        ({"iat": 1_790_000_000 + 61}, "invalid_software_statement"),
        ({"iat": None}, "invalid_software_statement"),
        ({"jti": None}, "invalid_software_statement"),
        ({"iss": "https://other.example"}, "unapproved_software_statement"),
        ({"org_status": "Inactive"}, "unapproved_software_statement"),
        *(
            ({name: None}, "invalid_software_statement")
            for name in (
                "iss",
                "org_id",
                "org_status",
                "software_id",
                "software_client_name",
                "software_jwks_uri",
                "software_redirect_uris",
                "software_statement_roles",
            )
        ),
    ],
)
async def test_dcr_invalid_software_statement(software: Software, statement: dict[str, Any], error: str) -> None:
    """A statement that is not the directory's, not of the last minutes, or not whole is refused by its own error."""
    fresh = Directory(clock=None)
    async with ecosystem("brazil-open-finance", software.directory, scopes=SCOPES) as server:
        assert fresh.now == software.directory.now == 1_790_000_000
        answer = await send(server, body(software, statement), certificate=software.certificate)

        refused(answer, error, "software_statement")
        assert await server.registry.store.clients(ClientQuery()) == []


async def test_a_signature_of_which_a_character_is_another(server: Served, software: Software) -> None:
    """The suite's own way of spoiling a signature."""
    head, _, signature = software.statement().rpartition(".")
    spoilt = f"{head}.{signature[:-9]}{'A' if signature[-9] != 'A' else 'B'}{signature[-8:]}"

    answer = await send(server, body(software, software_statement=spoilt), certificate=software.certificate)
    refused(answer, "invalid_software_statement", "software_statement")


async def test_a_statement_is_used_once(server: Served, software: Software) -> None:
    """The same statement a second time is refused, for a day; of many at once, one is registered."""
    statement = software.statement()
    answers: list[int] = []

    async def once() -> None:
        answer = await send(server, body(software, software_statement=statement), certificate=software.certificate)
        answers.append(answer.status_code)
        if answer.status_code != 201:
            refused(answer, "invalid_software_statement", "software_statement")

    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(once)
    assert sorted(answers) == [201] + [400] * 11
    assert len(await server.registry.store.clients(ClientQuery())) == 1


async def test_more_than_one_brand(server: Served, software: Software) -> None:
    """Another statement about the same software registers another client."""
    one, other = await register(server, software), await register(server, software)

    assert one["client_id"] != other["client_id"]


# --- certificates -------------------------------------------------------------------------------------------------------


async def test_dcr_no_mtls(server: Served, software: Software) -> None:
    """Without a certificate nothing is registered, read, updated or deleted; with it again, everything is as it was."""
    client = await register(server, software)
    token = client["registration_access_token"]

    refused(await send(server, body(software)), "invalid_request", "certificate")
    refused(await manage(server, client, token=token), "invalid_token", status=401)
    refused(await manage(server, client, "PUT", own(client, software), token=token), "invalid_token", status=401)
    refused(await manage(server, client, "DELETE", token=token), "invalid_token", status=401)
    assert made(await manage(server, client, **entitled(software, client)), 200) == client


@pytest.mark.parametrize(
    ("software_id", "organisation"),
    [
        ("7d3a1d4e-6a0c-4f0e-9a53-1f0c5a2f9a11", ORGANISATION),
        (SOFTWARE, "0c0f7a52-45a1-4a8b-8e19-9be1d3a6d0c4"),
        ("x", "y"),
    ],
)
async def test_dcr_bad_mtls(server: Served, software: Software, software_id: str, organisation: str) -> None:
    """The certificate of another software or organisation opens nothing of this one."""
    other = software.directory.authority.issue(subject(software_id, organisation))
    client = await register(server, software)

    answer = await send(server, body(software), certificate=other)
    refused(answer, "unapproved_software_statement", "software_statement")
    for method in ("GET", "PUT", "DELETE"):
        sent = own(client, software) if method == "PUT" else None
        answer = await manage(server, client, method, sent, **entitled(software, client, other))
        refused(answer, "invalid_token", status=401)
    assert made(await manage(server, client, **entitled(software, client)), 200) == client


async def test_a_certificate_that_nobody_issued(server: Served, software: Software) -> None:
    """One that somebody made with the right subject has proven a key and no name: it is as good as none."""
    made_up = Authority("CN=Nobody").issue(subject())
    client = await register(server, software)

    refused(await send(server, body(software), certificate=made_up), "invalid_request", "certificate")
    for method in ("GET", "PUT", "DELETE"):
        sent = own(client, software) if method == "PUT" else None
        answer = await manage(server, client, method, sent, **entitled(software, client, made_up))
        refused(answer, "invalid_token", status=401)


async def test_a_renewed_certificate_goes_on(server: Served, software: Software) -> None:
    """A later certificate of the same subject manages what an earlier one registered."""
    client = await register(server, software)
    renewed = software.directory.authority.issue(subject())

    made(await manage(server, client, **entitled(software, client, renewed)), 200)
    made(await manage(server, client, "PUT", own(client, software), **entitled(software, client, renewed)), 200)


async def test_an_expired_certificate_does_not(server: Served, software: Software) -> None:
    """A certificate of which the time is over opens nothing, whoever let it through."""
    client = await register(server, software)
    ended = software.directory.authority.issue(subject(), not_after=software.directory.now - 1)

    refused(await manage(server, client, **entitled(software, client, ended)), "invalid_token", status=401)


@pytest.mark.parametrize(
    "name",
    [
        subject(),
        subject().replace("UID", "0.9.2342.19200300.100.1.1"),
        subject().replace("Open Banking Brasil", "OPEN  banking brasil"),
        subject().replace(f"2.5.4.97=OFBBR-{ORGANISATION}", "organizationIdentifier=OFBBR-" + ORGANISATION),
        subject().replace(f"2.5.4.97=OFBBR-{ORGANISATION}", "2.5.4.97=#0c2a" + f"OFBBR-{ORGANISATION}".encode().hex()),
    ],
)
async def test_subject_names_are_compared_as_names(server: Served, software: Software, name: str) -> None:
    """tls_client_auth_subject_dn is the certificate's subject, however it is written."""
    mutual = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": name}

    assert (await register(server, software, **mutual))["tls_client_auth_subject_dn"] == name


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("tls_client_auth_subject_dn", "CN=another"),
        ("tls_client_auth_subject_dn", subject("another")),
        ("tls_client_auth_san_dns", "tpp.example"),
        ("tls_client_auth_san_uri", "https://tpp.example"),
        ("tls_client_auth_san_ip", "192.0.2.1"),
        ("tls_client_auth_san_email", "a@tpp.example"),
    ],
)
async def test_subject_names_of_others(server: Served, software: Software, member: str, value: str) -> None:
    """Another's name, and any name that is no subject, is refused."""
    mutual = {"token_endpoint_auth_method": "tls_client_auth", member: value}

    answer = await send(server, body(software, **mutual), certificate=software.certificate)
    refused(answer, "invalid_client_metadata", member)


# --- members ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value", "error"),
    [
        ("redirect_uris", None, "invalid_redirect_uri"),  # dcr-no-redirect-uri
        ("redirect_uris", [], "invalid_redirect_uri"),
        ("redirect_uris", ["https://evil.example/cb"], "invalid_redirect_uri"),  # dcr-invalid-redirect-uri
        ("jwks_uri", "https://tpp.example/jwks", "invalid_client_metadata"),  # dcr-invalid-jwks-uri
        ("jwks", {"keys": [{**new_key("ES256").as_dict(private=False)}]}, "invalid_client_metadata"),
        ("token_endpoint_auth_method", None, "invalid_client_metadata"),
        ("token_endpoint_auth_method", "client_secret_basic", "invalid_client_metadata"),
        ("token_endpoint_auth_method", "none", "invalid_client_metadata"),
        ("token_endpoint_auth_signing_alg", "RS256", "invalid_client_metadata"),
        ("grant_types", ["password"], "invalid_client_metadata"),
        ("response_types", ["token"], "invalid_client_metadata"),
        ("subject_type", "pairwise", "invalid_client_metadata"),
        ("application_type", "desktop", "invalid_client_metadata"),
        ("id_token_signed_response_alg", "RS256", "invalid_client_metadata"),
        ("request_object_signing_alg", "none", "invalid_client_metadata"),
        ("webhook_uris", ["https://tpp.example/hooks/"], "invalid_webhook_uris"),
        ("webhook_uris", ["http://tpp.example/hooks"], "invalid_webhook_uris"),
        ("webhook_uris", ["https://tpp.example/hooks?x"], "invalid_webhook_uris"),
        ("webhook_uris", "https://tpp.example/hooks", "invalid_webhook_uris"),
    ],
)
async def test_rows_that_are_refused(server: Served, software: Software, member: str, value: Any, error: str) -> None:
    """Each row has a value, or an absence, that is refused by the error of its kind, at registration and at an update."""
    refused(await send(server, body(software, **{member: value}), certificate=software.certificate), error, member)
    assert await server.registry.store.clients(ClientQuery()) == []

    client = await register(server, software)
    answer = await manage(server, client, "PUT", own(client, software, **{member: value}), **entitled(software, client))
    refused(answer, error, member)
    assert made(await manage(server, client, **entitled(software, client)), 200) == client


async def test_redirects_of_every_length(server: Served, software: Software) -> None:
    """255 characters are registered, one more is not, though the directory lists both."""
    short, long = (f"https://tpp.example/{'x' * count}" for count in (235, 236))
    statement = {"software_redirect_uris": [short, long]}

    made(await send(server, body(software, statement, redirect_uris=[short]), certificate=software.certificate))
    answer = await send(server, body(software, statement, redirect_uris=[long]), certificate=software.certificate)
    refused(answer, "invalid_redirect_uri", "redirect_uris")


async def test_webhooks(server: Served, software: Software) -> None:
    """Webhooks are registered, answered, and come back in an update."""
    client = await register(server, software, webhook_uris=["https://tpp.example/hooks"])

    after = made(await manage(server, client, "PUT", own(client, software), **entitled(software, client)), 200)
    assert after["webhook_uris"] == client["webhook_uris"] == ["https://tpp.example/hooks"]


# --- management -----------------------------------------------------------------------------------------------------------


async def test_client_delete(server: Served, software: Software) -> None:
    """204; then reading and deleting again are 401, in JSON and without a client_id."""
    client = await register(server, software)
    assert (await manage(server, client, "DELETE", **entitled(software, client))).status_code == 204

    for method in ("GET", "DELETE"):
        refused(await manage(server, client, method, **entitled(software, client)), "invalid_token", status=401)


async def test_invalid_registration_access_token(server: Served, software: Software) -> None:
    """A wrong token reads and deletes nothing; the right one does."""
    client = await register(server, software)
    wrong = {**entitled(software, client), "token": "wrong"}

    for method in ("GET", "PUT", "DELETE"):
        sent = own(client, software) if method == "PUT" else None
        refused(await manage(server, client, method, sent, **wrong), "invalid_token", status=401)
    assert (await manage(server, client, "DELETE", **entitled(software, client))).status_code == 204


@pytest.mark.requirement("R7591-33")
async def test_update_client_config(server: Served, software: Software) -> None:
    """The server's own answer with a fresh statement and another listed redirect is taken; five others are not."""
    client = await register(server, software)
    how = entitled(software, client)
    changed = own(client, software, redirect_uris=[REDIRECTS[1]])

    after = made(await manage(server, client, "PUT", changed, **how), 200)

    assert after["redirect_uris"] == [REDIRECTS[1]]
    for name in ("client_id", "registration_client_uri", "registration_access_token"):
        assert after[name] == client[name]
    again = own(client, software)
    spoilt = own(client, software, software_statement=software.statement(key=new_key()))
    stranger = software.directory.authority.issue(subject(str(uuid.uuid4())))
    token = client["registration_access_token"]
    refused(await manage(server, client, "PUT", again, **{**how, "certificate": stranger}), "invalid_token", status=401)
    refused(await manage(server, client, "PUT", again, token=token), "invalid_token", status=401)
    refused(await manage(server, client, "PUT", again, **{**how, "token": "wrong"}), "invalid_token", status=401)
    without = {name: value for name, value in again.items() if name != "software_statement"}
    refused(await manage(server, client, "PUT", without, **how), "invalid_software_statement", "software_statement")
    refused(await manage(server, client, "PUT", spoilt, **how), "invalid_software_statement", "software_statement")
    assert made(await manage(server, client, **how), 200) == after


async def test_an_update_needs_a_fresh_statement(server: Served, software: Software) -> None:
    """The statement of the registration was used; sent again, it is a replay, and later it is too old as well."""
    client = await register(server, software)
    how = entitled(software, client)
    same = own(client, software, software_statement=client["software_statement"])

    refused(await manage(server, client, "PUT", same, **how), "invalid_software_statement", "software_statement")
    assert made(await manage(server, client, **how), 200) == client


@pytest.mark.parametrize("other", ["software", "organisation"])
async def test_an_update_is_about_the_same_software(server: Served, software: Software, other: str) -> None:
    """A statement about other software, or of an organisation that the certificate is not of, changes nothing."""
    client = await register(server, software)
    claims = {"software_id": str(uuid.uuid4())} if other == "software" else {"org_id": str(uuid.uuid4())}
    sent = own(client, software, software_statement=software.statement(**claims), software_id=None)
    answer = await manage(server, client, "PUT", sent, **entitled(software, client))

    error = "invalid_software_statement" if other == "software" else "unapproved_software_statement"
    refused(answer, error, "software_statement")
    assert made(await manage(server, client, **entitled(software, client)), 200) == client


async def test_the_audit_names_whose_word_it_is(server: Served, software: Software) -> None:
    """The event says whose statement it was by name and digest, and holds neither the statement nor a token."""
    client = await register(server, software)
    (stored,) = await server.registry.store.events(EventQuery(kind="client.registered"))
    told = stored.event.body.decode()

    assert '"statement_issuer":"directory"' in told
    assert '"statement_digest":"' in told
    assert client["software_statement"] not in told
    assert client["registration_access_token"] not in told
    assert Verdict.REFUSED.value not in told
