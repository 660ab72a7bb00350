"""UDAP: the rows of its statements, what replaces and what ends a registration, and what a community finds."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from ecosystem import ecosystem, made, refused, send

from registrar.config import parse
from registrar.domain import certificate, jws
from registrar.policy.document import ConfigurationError, Document
from registrar.service import administration
from registrar.service.ports import ClientQuery, EventQuery
from registrar.testing import Served, served
from registrar.testing.authority import Authority
from registrar.testing.directory import Directory, Software, new_key

pytestmark = pytest.mark.anyio

APP = "https://app.example/udap"
SCOPES = ("system/Patient.read", "patient/Patient.read", "launch")
CODE: dict[str, Any] = {
    "iss": APP,
    "sub": APP,
    "aud": "https://as.example/register",
    "client_name": "Health",
    "redirect_uris": ["https://app.example/cb"],
    "contacts": ["mailto:ops@app.example", "https://app.example/contact"],
    "logo_uri": "https://app.example/logo.png",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "private_key_jwt",
    "scope": "openid patient/Patient.read",
}
MACHINE: dict[str, Any] = {
    **{name: CODE[name] for name in ("iss", "sub", "aud", "client_name", "contacts", "token_endpoint_auth_method")},
    "grant_types": ["client_credentials"],
    "scope": "system/Patient.read",
}


@pytest.fixture(scope="module")
def software() -> Software:
    """An application with a certificate of the community."""
    return Directory().software("app", uri=APP)


@pytest.fixture
def anchors(software: Software, tmp_path: Path) -> str:
    """The community's authority."""
    return str(software.directory.authority.write(tmp_path))


@pytest.fixture
async def server(software: Software, anchors: str) -> AsyncIterator[Served]:
    """A data holder."""
    async with ecosystem("udap", software.directory, anchors=anchors, scopes=SCOPES) as holder:
        yield holder


def body(software: Software, base: dict[str, Any] = CODE, **claims: Any) -> dict[str, Any]:
    """A request: the statement, certifications, and the version."""
    header = claims.pop("header", {})
    statement = software.own_statement({**base, **claims}, **header)
    return {"software_statement": statement, "certifications": [], "udap": "1"}


# --- registration -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-95")
@pytest.mark.parametrize("base", [CODE, MACHINE], ids=["code", "machine"])
async def test_a_new_registration(server: Served, software: Software, base: dict[str, Any]) -> None:
    """201: the statement as it was sent, its members as it says, and none of the claims that are about the statement."""
    sent = body(software, base)

    client = made(await send(server, sent))

    assert client["software_statement"] == sent["software_statement"]
    for name in base.keys() - {"iss", "sub", "aud"}:
        assert client[name] == base[name]
    for name in ("iss", "sub", "aud", "exp", "iat", "jti", "certifications", "udap", "client_secret"):
        assert name not in client
    (key,) = client["jwks"]["keys"]
    assert base64.b64decode(key["x5c"][0]) == software.certificate.der


async def test_unknown_certifications_are_ignored(server: Served, software: Software) -> None:
    """Certifications that nobody asked for change nothing."""
    made(await send(server, {**body(software), "certifications": [software.own_statement({"x": 1})]}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "https://another.example/"),
        ("iss", None),
        ("sub", "https://another.example/"),
        ("sub", None),
        ("aud", "https://as.example"),
        ("aud", None),
        ("exp", 1),
        ("exp", None),
        ("exp", 1_790_000_000 + 301),
        ("iat", None),
        ("iat", 1_790_000_000 + 120),
        ("jti", None),
        ("jti", ""),
        ("jti", 7),
    ],
)
async def test_claims_about_the_statement(software: Software, anchors: str, claim: str, value: Any) -> None:
    """Iss is a URI of the certificate, sub the same, aud this endpoint, and its life five minutes: else it is invalid."""
    async with ecosystem("udap", software.directory, anchors=anchors, scopes=SCOPES) as server:
        claims = {claim: value} if claim != "iss" else {"iss": value, "sub": value}
        if value is None and claim in ("iss", "sub"):
            statement = software.own_statement({**CODE, **claims})
        else:
            statement = body(software, **claims)["software_statement"]

        refused(
            await send(server, {"software_statement": statement, "udap": "1"}),
            "invalid_software_statement",
            "software_statement",
        )
        assert await server.registry.store.clients(ClientQuery()) == []


@pytest.mark.parametrize(
    ("base", "member", "value", "error"),
    [
        (CODE, "client_name", None, "invalid_client_metadata"),
        (CODE, "contacts", None, "invalid_client_metadata"),
        (CODE, "contacts", ["https://app.example/"], "invalid_client_metadata"),
        (CODE, "logo_uri", None, "invalid_client_metadata"),
        (CODE, "logo_uri", "http://app.example/logo.png", "invalid_client_metadata"),
        (CODE, "logo_uri", "https://app.example/logo.svg", "invalid_client_metadata"),
        (CODE, "redirect_uris", None, "invalid_redirect_uri"),
        (CODE, "redirect_uris", ["http://app.example/cb"], "invalid_redirect_uri"),
        (CODE, "redirect_uris", ["app:/cb"], "invalid_redirect_uri"),
        (CODE, "grant_types", None, "invalid_client_metadata"),
        (CODE, "grant_types", ["password"], "invalid_client_metadata"),
        (CODE, "grant_types", ["authorization_code", "client_credentials"], "invalid_client_metadata"),
        (CODE, "response_types", None, "invalid_client_metadata"),
        (CODE, "response_types", ["token"], "invalid_client_metadata"),
        (CODE, "token_endpoint_auth_method", None, "invalid_client_metadata"),
        (CODE, "token_endpoint_auth_method", "client_secret_basic", "invalid_client_metadata"),
        (CODE, "scope", None, "invalid_client_metadata"),
        (CODE, "scope", "system/*.*", "invalid_client_metadata"),
        (MACHINE, "grant_types", ["client_credentials", "refresh_token"], "invalid_client_metadata"),
        (MACHINE, "redirect_uris", ["https://app.example/cb"], "invalid_client_metadata"),
        (MACHINE, "logo_uri", "https://app.example/logo.png", "invalid_client_metadata"),
    ],
)
async def test_rows_that_are_refused(
    server: Served, software: Software, base: dict[str, Any], member: str, value: Any, error: str
) -> None:
    """Each member's row has a value, or an absence, that is refused by the error of its kind."""
    refused(await send(server, body(software, base, **{member: value})), error, member)
    assert await server.registry.store.clients(ClientQuery()) == []


async def test_scopes_are_narrowed(server: Served, software: Software) -> None:
    """Of the scopes, those that are known here are registered."""
    assert made(await send(server, body(software, scope="openid launch user/*.*")))["scope"] == "openid launch"


# --- signatures and chains ----------------------------------------------------------------------------------------------


async def test_signatures(server: Served, software: Software) -> None:
    """Signed with another key than the certificate's, not signed, without x5c, or with what is no certificate: invalid."""
    statement = software.own_statement(CODE)
    head, payload, signature = statement.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","x5c":["AAAA"]}').rstrip(b"=").decode()
    other = software.directory.authority.issue("CN=other", uri=[APP])
    swapped = [base64.b64encode(other.der).decode()]
    for wrong in (
        f"{head}.{payload}.{signature[::-1]}",
        f"{none}.{payload}.",
        software.own_statement(CODE, x5c=None),
        software.own_statement(CODE, x5c=[]),
        software.own_statement(CODE, x5c=["not base64"]),
        software.own_statement(CODE, x5c=["AAAA"]),
        software.own_statement(CODE, x5c=swapped),
        "a.b.c",
    ):
        answer = await send(server, {"software_statement": wrong, "udap": "1"})
        refused(answer, "invalid_software_statement", "software_statement")


async def test_chains(server: Served, software: Software) -> None:
    """A chain to nobody who is trusted is unapproved; one through an intermediate authority is as good as another."""
    stranger = Directory(authority=Authority("CN=Stranger")).software("x", uri=APP)
    refused(await send(server, body(stranger)), "unapproved_software_statement", "software_statement")
    below = Directory(authority=software.directory.authority.intermediate()).software("y", uri=APP)
    made(await send(server, body(below)))
    ended = software.directory.authority.issue("CN=ended", uri=[APP], not_after=software.directory.now - 1)
    late = Software(software.directory, "late", new_key("ES256"), ended)
    refused(await send(server, body(late)), "unapproved_software_statement", "software_statement")
    without = software.directory.software("without")
    refused(await send(server, body(without)), "invalid_software_statement", "software_statement")


async def test_without_a_statement(server: Served) -> None:
    """The statement is the request: without one there is nothing to register."""
    members = {name: value for name, value in CODE.items() if name not in ("iss", "sub", "aud")}
    refused(await send(server, {**members, "udap": "1"}), "invalid_software_statement", "software_statement")


async def test_a_statement_is_used_once(server: Served, software: Software) -> None:
    """A jti comes once until its statement has ended, also where many bring it at the same time."""
    sent = body(software)
    codes: list[int] = []

    async def once() -> None:
        answer = await send(server, sent)
        codes.append(answer.status_code)
        if answer.status_code == 400:
            refused(answer, "invalid_software_statement", "software_statement")

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(once)
    assert sorted(codes) == [201] + [400] * 7


# --- again ----------------------------------------------------------------------------------------------------------------


async def test_a_second_registration_replaces(server: Served, software: Software) -> None:
    """The same software again: 200, the same identifier, and what the newer statement says in every member."""
    first = made(await send(server, body(software)))
    second = made(await send(server, body(software, MACHINE)), 200)

    assert second["client_id"] == first["client_id"]
    assert (second["grant_types"], second["scope"]) == (["client_credentials"], "system/Patient.read")
    assert "redirect_uris" not in second
    (client,) = await server.registry.store.clients(ClientQuery())
    assert client.version == 2
    (event,) = await server.registry.store.events(EventQuery(kind="client.updated"))
    assert '"grant_types":[["authorization_code","refresh_token"],["client_credentials"]]' in event.event.body.decode()


async def test_another_key_of_the_same_software_replaces(server: Served, software: Software) -> None:
    """Who has a later certificate of the community with the same URI is the same software."""
    first = made(await send(server, body(software)))
    renewed = software.directory.software("renewed", uri=APP)

    second = made(await send(server, body(renewed)), 200)

    assert second["client_id"] == first["client_id"]
    assert second["jwks"] != first["jwks"]


async def test_another_software_is_another_client(server: Served, software: Software) -> None:
    """A statement of another URI does not touch the first one's registration."""
    first = made(await send(server, body(software)))
    uri = "https://other.example/"
    other = software.directory.software("other", uri=uri)

    assert made(await send(server, body(other, iss=uri, sub=uri)))["client_id"] != first["client_id"]


async def test_communities_are_apart(software: Software, anchors: str, tmp_path: Path) -> None:
    """The same URI in another community is somebody else, and takes nobody's place."""
    (tmp_path / "other").mkdir()
    authority = Authority("CN=Other community")
    other = Directory(authority=authority).software("x", uri=APP)
    path = str(authority.write(tmp_path / "other"))
    async with ecosystem("udap", software.directory, anchors=anchors, other_anchors=path, scopes=SCOPES) as server:
        first = made(await send(server, body(software)))
        second = made(await send(server, body(other)))

        assert first["client_id"] != second["client_id"]
        assert made(await send(server, body(software)), 200)["client_id"] == first["client_id"]
        assert made(await send(server, body(other)), 200)["client_id"] == second["client_id"]


async def test_a_refused_replacement_changes_nothing(server: Served, software: Software) -> None:
    """What would not be registered does not replace either."""
    made(await send(server, body(software)))
    (before,) = await server.registry.store.clients(ClientQuery())

    refused(await send(server, body(software, scope="nothing")), "invalid_client_metadata", "scope")
    assert await server.registry.store.clients(ClientQuery()) == [before]


async def test_registering_at_once(server: Served, software: Software) -> None:
    """Of many first registrations of one software at the same time one is new, and the others replace it."""
    codes: list[int] = []
    ids: set[str] = set()

    async def once() -> None:
        answer = await send(server, body(software))
        codes.append(answer.status_code)
        ids.add(answer.json()["client_id"])

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(once)
    assert sorted(codes) == [200] * 5 + [201]
    assert len(ids) == 1


async def test_no_grants_end_the_registration(server: Served, software: Software) -> None:
    """Empty grant_types cancel: 200 with the empty list; the next registration is another client."""
    first = made(await send(server, body(software)))
    sent = body(software, grant_types=[])

    answer = await send(server, sent)

    assert answer.status_code == 200
    assert answer.json() == {
        "client_id": first["client_id"],
        "grant_types": [],
        "software_statement": sent["software_statement"],
    }
    refused(await send(server, body(software, grant_types=[])), "invalid_client_metadata", "grant_types")
    refused(await send(server, sent), "invalid_client_metadata", "grant_types")
    assert made(await send(server, body(software)))["client_id"] != first["client_id"]
    assert [one.event.kind for one in await server.registry.store.events(EventQuery(kind="client.deleted"))] == [
        "client.deleted"
    ]


async def test_a_suspended_client_does_not_come_back_by_itself(server: Served, software: Software) -> None:
    """Whom the operator suspended cannot lift that with a new statement."""
    client = made(await send(server, body(software)))
    await administration.suspend(server.registry, server.issuer, server.operator, client["client_id"])

    refused(await send(server, body(software)), "access_denied", status=403)


async def test_management_by_token_is_a_choice(server: Served, software: Software) -> None:
    """Where management is on, each registration brings a token of its own, and the replaced one's ends."""
    first = made(await send(server, body(software)))
    second = made(await send(server, body(software)), 200)
    path = f"/register/{first['client_id']}"

    old = await send(server, None, method="GET", path=path, token=first["registration_access_token"])
    refused(old, "invalid_token", status=401)
    new = await send(server, None, method="GET", path=path, token=second["registration_access_token"])
    assert made(new, 200)["client_id"] == first["client_id"]


# --- discovery ------------------------------------------------------------------------------------------------------------


async def test_discovery(server: Served) -> None:
    """The versions, profiles, algorithms and endpoints of the issuer, as UDAP names them."""
    answer = await server.client.get("/.well-known/udap")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    published = answer.json()
    assert published["udap_versions_supported"] == ["1"]
    assert "udap_dcr" in published["udap_profiles_supported"]
    assert published["registration_endpoint"] == "https://as.example/register"
    assert published["registration_endpoint_jwt_signing_alg_values_supported"] == ["RS256", "ES256", "RS384", "ES384"]
    assert published["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    for name in ("udap_certifications_supported", "udap_certifications_required", "udap_authorization_extensions_supported", "udap_authorization_extensions_required"):  # fmt: skip
        assert published[name] == []
    assert "signed_metadata" not in published


@pytest.mark.parametrize("kind", ["EC", "RSA"])
async def test_signed_discovery(software: Software, anchors: str, tmp_path: Path, kind: Any) -> None:
    """With a certificate of the community, the endpoints are signed, and the chain leads to the community."""
    authority = software.directory.authority
    own = authority.issue("CN=as", uri=["https://as.example"], key=kind)
    chain, key = own.write(tmp_path, "as")
    tables = f"[issuer.main.udap]\ncertificate = {json.dumps(str(chain))}\nkey = {json.dumps(str(key))}"
    async with ecosystem("udap", software.directory, anchors=anchors, scopes=SCOPES, tables=tables) as server:
        published = (await server.client.get("/.well-known/udap")).json()

        read = jws.read(published["signed_metadata"])
        jws.verify(read, [certificate.public_jwk(own.der)], ["RS256" if kind == "RSA" else "ES256"])
        certificate.chain([base64.b64decode(one) for one in read.header["x5c"]], [authority.der], server.clock.now)
        assert read.claims["iss"] == read.claims["sub"] == "https://as.example"
        assert 0 < read.claims["exp"] - read.claims["iat"] <= 365 * 86_400
        for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint"):
            assert read.claims[name] == published[name]


async def test_no_community_no_discovery() -> None:
    """Where no community is believed, there is nothing to find."""
    async with served() as server:
        assert (await server.client.get("/.well-known/udap")).status_code == 404


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('certificate = "{chain}"', "go together"),
        ('certificate = "/nowhere"\nkey = "/nowhere"', "cannot be read"),
        ('certificate = "{chain}"\nkey = "{key}"', "does not name https://as.example"),
        ('chain = ["x"]', "takes certificate and key"),
    ],
)
def test_certificates_that_are_not_taken(tmp_path: Path, setting: str, reason: str) -> None:
    """A certificate that is missing, unreadable or about another issuer keeps the server from starting."""
    chain, key = Authority().issue("CN=as", uri=["https://other.example"]).write(tmp_path, "as")
    text = f'[issuer.main]\nurl = "https://as.example"\n[issuer.main.udap]\n{setting.format(chain=chain, key=key)}'

    with pytest.raises(ConfigurationError, match=reason):
        parse(Document("test", text))
