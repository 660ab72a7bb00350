"""The parts of a registration together: token, statement, certificate and signature, and what they prove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registrar.domain.access_token import Kind
from registrar.domain.client import Client
from registrar.service import initial_access
from registrar.service.ports import ClientQuery
from registrar.testing import FrozenClock, Served, served
from registrar.testing.directory import Directory, Software, new_key

pytestmark = pytest.mark.anyio

MEMBERS: dict[str, Any] = {"redirect_uris": ["https://app.example/cb"], "contacts": ["ops@app.example"]}


@pytest.fixture(scope="module")
def software() -> Software:
    """Software that a directory knows."""
    return Directory().software("app-1", {"client_name": "App", "scope": "openid profile"})


def configured(software: Software, folder: Path, policy: str, *, mode: str = "open", scopes: str = "") -> str:
    """An issuer under a policy of its own that believes the directory, behind a proxy that ends mutual TLS."""
    directory = software.directory
    authorities = directory.authority.write(folder)
    return f"""
[server]
database = "memory:"
trusted_proxies = ["127.0.0.1"]
[statement_issuer.directory]
issuer = "{directory.url}"
jwks_uri = "{directory.jwks_uri}"
[policy.own]
{policy}
[issuer.main]
url = "http://127.0.0.1:8000"
{scopes}
[issuer.main.registration]
mode = "{mode}"
policy = "own"
statement_issuers = ["directory"]
certificate_authorities = {json.dumps(str(authorities))}
"""


def serve(software: Software, text: str) -> Any:
    """Serve it at the directory's time, fetching what the directory publishes."""
    clock = software.directory.clock
    assert isinstance(clock, FrozenClock)
    return served(text, clock=clock, fetch=software.directory.documents)


async def post(
    server: Served, body: Any, *, token: str = "", certificate: Any = None, media: str = "application/jwt"
) -> Any:
    """Register; text is a JWT."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if certificate is not None:
        headers["client-cert"] = certificate.client_cert
    if isinstance(body, str):
        return await server.client.post("/register", content=body, headers=headers | {"content-type": media})
    return await server.client.post("/register", json=body, headers=headers)


async def record(server: Served, answer: Any) -> Client:
    """What is stored of what was registered."""
    assert answer.status_code == 201, answer.text
    found = await server.registry.store.find("main", answer.json()["client_id"])
    assert found is not None
    return found


async def issued(server: Served, scope: tuple[str, ...] = ("dcr",)) -> str:
    """An initial access token."""
    value, _ = await initial_access.issue_token(
        server.registry, server.issuer, server.operator, kind=Kind.CLIENT, scope=scope
    )
    return str(value)


DEMANDING = """
[policy.own.registration]
authentication = ["statement+certificate", "initial_access_token"]
"""


@pytest.mark.requirement("R7591-67", "R7591-71", "SEED-53", "SEED-84", "SEED-90")
async def test_what_a_policy_demands_is_one_of_several(software: Software, tmp_path: Path) -> None:
    """A statement with a certificate, or a token: either is enough, half of one is not, and the nearest is told."""
    async with serve(software, configured(software, tmp_path, DEMANDING)) as server:
        statement = {**MEMBERS, "software_statement": software.statement()}
        both = await record(server, await post(server, statement, certificate=software.certificate))
        by_token = await record(server, await post(server, MEMBERS, token=await issued(server)))
        assert (both.admission.reached, by_token.admission.reached) == ("certificate", None)
        assert by_token.admission.assurance == "client"

        for body, certificate, member in (
            (MEMBERS, None, "authorization"),
            (statement | {"software_statement": software.statement()}, None, "certificate"),
            (MEMBERS, software.certificate, "software_statement"),
        ):
            answer = await post(server, body, certificate=certificate)
            assert answer.status_code == 400
            assert "client_id" not in answer.json()
            assert member in {one["member"] for one in answer.json()["faults"]}
        assert len(await server.registry.store.clients(ClientQuery())) == 2


@pytest.mark.requirement("R7591-67")
async def test_every_ceiling_holds(software: Software, tmp_path: Path) -> None:
    """Scopes are those that the token, the statement and the request allow together."""
    policy = """
[policy.own.statement]
attests = ["client_name", "jwks_uri", "software_id"]
members = { scope = { claim = "scope", use = "limit" } }
"""
    scopes = '[issuer.main.scopes]\ncatalogue = ["openid", "profile", "email", "dcr"]'
    text = configured(software, tmp_path, policy, mode="client", scopes=scopes)
    async with serve(software, text) as server:
        token = await issued(server, ("dcr", "openid", "email"))
        asked = {**MEMBERS, "scope": "openid profile email", "software_statement": software.statement()}
        client = await record(server, await post(server, asked, token=token))

        assert client.metadata["scope"] == "openid"
        assert client.admission.statement_issuer == "directory"
        assert client.admission.token_id


SIGNED = """
[policy.own.registration]
authentication = ["statement"]
[policy.own.request]
signed = "allowed"
algorithms = ["PS256"]
maximum_lifetime = 600
"""


@pytest.mark.requirement("SEED-93")
@pytest.mark.parametrize("media", ["application/jwt", "application/jose", "APPLICATION/JWT"])
async def test_signed_requests(software: Software, tmp_path: Path, media: str) -> None:
    """A JWT of the body is as good as the body, where the policy takes one, and its own claims are no members."""
    async with serve(software, configured(software, tmp_path, SIGNED)) as server:
        claims = {**MEMBERS, "aud": "http://127.0.0.1:8000", "software_statement": software.statement(), "sub": "x"}
        client = await record(server, await post(server, software.request(claims), media=media))
        plain = await record(server, await post(server, {**MEMBERS, "software_statement": software.statement()}))

        assert client.metadata.keys() == plain.metadata.keys()
        assert client.metadata["client_name"] == "App"


@pytest.mark.requirement("SEED-93")
async def test_signed_requests_where_none_are_taken(software: Software, tmp_path: Path) -> None:
    """415 where the policy does not take them, before anything in them is looked at; at an update as well."""
    async with serve(software, configured(software, tmp_path, "")) as server:
        answer = await post(server, software.request(MEMBERS))
        assert (answer.status_code, answer.json()["error"]) == (415, "invalid_request")
        client = (await post(server, MEMBERS)).json()
        headers = {
            "authorization": f"Bearer {client['registration_access_token']}",
            "content-type": "application/jwt",
        }
        put = await server.client.put(f"/register/{client['client_id']}", content=software.request({}), headers=headers)
        assert put.status_code == 415


@pytest.mark.parametrize(
    ("claims", "member"),
    [
        ({"iss": "another"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": 7}, "iss"),
        ({"aud": "https://another.example"}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": 1}, "exp"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "exp"),
        ({"iat": 1_790_000_000 - 400, "exp": 1_790_000_000 + 201}, "exp"),
        ({"iat": 1_790_000_000 + 120}, "exp"),
        ({"jti": None}, "jti"),
        ({"jti": 7}, "jti"),
    ],
)
async def test_claims_of_signed_requests(
    software: Software, tmp_path: Path, claims: dict[str, Any], member: str
) -> None:
    """Who, for whom, when and once: each claim is needed, and each fault names its own."""
    async with serve(software, configured(software, tmp_path, SIGNED)) as server:
        whole = {**MEMBERS, "aud": "http://127.0.0.1:8000", "software_statement": software.statement(), **claims}
        answer = await post(server, software.request(whole))

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
        assert [one["member"] for one in answer.json()["faults"]] == [member]


async def test_keys_of_signed_requests(software: Software, tmp_path: Path) -> None:
    """Signed by the software's key of now, found again at once after it changed; by no other, and by none without a place."""
    async with serve(software, configured(software, tmp_path, SIGNED)) as server:
        other = software.directory.software("app-2")
        bare = software.directory.software("app-3", {"jwks_uri": None})
        named = {**MEMBERS, "aud": "http://127.0.0.1:8000"}
        for signer, statement in ((other, software), (software, other), (bare, bare)):
            claims = {**named, "iss": statement.software_id, "software_statement": statement.statement()}
            answer = await post(server, signer.request(claims))
            assert answer.json()["faults"][0]["member"] == "body", answer.text
        changed = new_key()
        server.clock.advance(11)
        software.directory.publish(other.jwks_uri, changed)
        claims = {**named, "software_statement": other.statement()}
        await record(server, await post(server, other.request(claims, key=changed)))


async def test_a_used_request_and_a_used_statement_are_told_apart(software: Software, tmp_path: Path) -> None:
    """What comes a second time is named: the request, or the statement in it."""
    text = configured(software, tmp_path, SIGNED + "[policy.own.statement]\nreplay_window = 600")
    async with serve(software, text) as server:
        claims = {**MEMBERS, "aud": "http://127.0.0.1:8000", "software_statement": software.statement()}
        once = software.request(claims)
        await record(server, await post(server, once))
        again = await post(server, software.request(claims))
        assert again.json()["faults"][0]["rule"] == "statement.replayed"
        jti = software.request({**claims, "jti": "r-1", "software_statement": software.statement()})
        await record(server, await post(server, jti))
        other = software.request({**claims, "jti": "r-1", "software_statement": software.statement()})
        assert (await post(server, other)).json()["faults"][0]["rule"] == "request.replayed"


@pytest.mark.parametrize("repeat", ["new", "refuse", "replace"])
async def test_the_same_software_again(software: Software, tmp_path: Path, repeat: str) -> None:
    """A second registration of one software is another client, a refusal, or the first one's successor."""
    policy = f'repeat = "{repeat}"\n[policy.own.registration]\nauthentication = ["statement"]'
    async with serve(software, configured(software, tmp_path, policy)) as server:
        first = await post(server, {**MEMBERS, "software_statement": software.statement()})
        second = await post(server, {**MEMBERS, "software_statement": software.statement(client_name="App 2")})

        assert first.status_code == 201
        same = second.json().get("client_id") == first.json()["client_id"]
        expected = {"new": (201, False), "refuse": (400, False), "replace": (200, True)}
        assert (second.status_code, same) == expected[repeat]
        other = software.directory.software("app-9")
        assert (await post(server, {**MEMBERS, "software_statement": other.statement()})).status_code == 201


async def test_expired_registrations_make_room(software: Software, tmp_path: Path) -> None:
    """Software whose registration has ended by itself may register again."""
    policy = 'repeat = "refuse"\n[policy.own.registration]\nauthentication = ["statement"]\n[policy.own.lifetime]\nclient = 60'
    async with serve(software, configured(software, tmp_path, policy)) as server:
        assert (await post(server, {**MEMBERS, "software_statement": software.statement()})).status_code == 201
        assert (await post(server, {**MEMBERS, "software_statement": software.statement()})).status_code == 400
        server.clock.advance(60)
        assert (await post(server, {**MEMBERS, "software_statement": software.statement()})).status_code == 201


async def test_an_update_takes_no_others_place(software: Software, tmp_path: Path) -> None:
    """A client that came by another way may show a statement later, if the software has no registration of its own."""
    policy = 'repeat = "refuse"\n[policy.own.registration]\nauthentication = ["statement", "initial_access_token"]'
    async with serve(software, configured(software, tmp_path, policy)) as server:
        made = [await post(server, MEMBERS, token=await issued(server)) for _ in range(2)]
        codes = []
        for answer in made:
            client = answer.json()
            body = {**MEMBERS, "client_id": client["client_id"], "software_statement": software.statement()}
            headers = {"authorization": f"Bearer {client['registration_access_token']}"}
            put = await server.client.put(f"/register/{client['client_id']}", json=body, headers=headers)
            codes.append((put.status_code, [one["rule"] for one in put.json().get("faults", [])]))

        assert codes == [(200, []), (400, ["request.repeated"])]
        answer = await post(server, {**MEMBERS, "software_statement": software.statement()})
        assert answer.json()["faults"][0]["rule"] == "request.repeated"
