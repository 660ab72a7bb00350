"""Who may register: the modes of an issuer and its initial access tokens, asked over HTTP."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from registering import (
    MACHINE,
    MEMBERS,
    as_update,
    bearer,
    configured,
    events,
    issue,
    manage,
    on_disk,
    post,
    refused,
    register,
)

from registrar.config import ConfigurationError, closed, development, parse
from registrar.domain.access_token import Kind
from registrar.policy.document import Document
from registrar.service import initial_access, operators
from registrar.service.ports import ClientQuery
from registrar.storage.memory import MemoryStore
from registrar.testing import FrozenClock, Served, served
from tied import tied

pytestmark = pytest.mark.anyio

WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
START_SECONDS = 30


async def published(server: Served, base: str = "https://as.example") -> list[dict[str, Any]]:
    """The discovery documents of an issuer without a path."""
    return [(await server.client.get(base + path)).json() for path in WELL_KNOWN]


# --- disabled ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-13", "SEED-14", "D-9", "DISC-9")
@pytest.mark.parametrize(
    "text",
    [
        '[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "https://as.example"',
        '[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "https://as.example"\n[issuer.main.registration]\npolicy = "default"',
        configured("disabled"),
    ],
    ids=["nothing is said", "no mode is said", "disabled"],
)
async def test_disabled_is_the_default(text: str) -> None:
    """Without a mode there is no registration endpoint, for any method or token, and discovery names none."""
    async with served(text) as server:
        value, _ = await issue(server)
        answers = [await post(server), await post(server, token=value), await post(server, token="x")]
        answers += [await server.client.request(method, "/register") for method in ("GET", "OPTIONS", "PUT")]
        elsewhere = await server.client.post("/nowhere", json=MEMBERS)
        for answer in answers:
            assert answer.status_code == 404
            assert answer.content == elsewhere.content, "the answer tells that there could be an endpoint"
            assert "allow" not in answer.headers
        for document in await published(server):
            assert "registration_endpoint" not in document
        assert not await server.registry.store.clients(ClientQuery())


@pytest.mark.requirement("SEED-14", "D-9")
def test_without_a_configuration_registration_is_disabled() -> None:
    """The server's own configurations: closed without a file, open only where development was asked for."""
    assert not closed().settings.issuer["main"].registration.mode
    assert development().settings.issuer["main"].registration.mode == ("open",)
    assert development().loopback


@pytest.mark.requirement("SEED-13")
@pytest.mark.parametrize("kept", [True, False])
async def test_clients_of_a_disabled_issuer(kept: bool) -> None:
    """Existing clients keep their configuration endpoint, or lose it, as the operator says."""
    store, clock = _Kept(), FrozenClock()
    async with served(configured(), store=store, clock=clock) as server:
        client = await register(server)
    setting = f"management_when_disabled = {str(kept).lower()}"
    async with served(configured("disabled", registration=setting), store=store, clock=clock) as server:
        assert (await post(server)).status_code == 404
        read = await manage(server, client)
        if not kept:
            refused(read, "not_found", status=404)
            assert (await manage(server, client, "DELETE")).status_code == 404
            return
        assert read.json() == client
        assert (await manage(server, client, "PUT", as_update(client, client_name="New"))).status_code == 200
        assert (await manage(server, client, "DELETE")).status_code == 204


class _Kept(MemoryStore):
    """A memory store that outlives the server before it, as a database does."""

    async def close(self) -> None:
        """Stay open."""


# --- open -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-9", "R7591-40", "D-9", "SEED-41")
async def test_open_needs_no_token_and_marks_what_it_lets_in() -> None:
    """No token is 201; the record and the event say that nobody was verified."""
    async with served() as server:
        client = await register(server)
        (event,) = await events(server, "client.registered")
        assert (event["assurance"], event["actor"], event["authentication"]) == ("open", "anonymous", "none")
        assert "token_id" not in event
        record = await server.registry.store.find("main", client["client_id"])
        assert record is not None
        assert record.admission.assurance == "open"


@pytest.mark.requirement("SEED-9")
async def test_open_warns_at_the_start(tmp_path: Path) -> None:
    """The server's log says which issuer lets everybody in, and of the others it does not."""
    text = """
[server]
port = 0
database = "sqlite:///registrar.db"
[issuer.wide]
url = "http://127.0.0.1:1/wide"
[issuer.wide.registration]
mode = "open"
[issuer.narrow]
url = "http://127.0.0.1:1/narrow"
[issuer.narrow.registration]
mode = "client"
"""
    (tmp_path / "registrar.toml").write_text(text, "utf-8")
    command = [sys.executable, "-m", "registrar", "serve"]
    process = await asyncio.create_subprocess_exec(
        *tied(*command), cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    said = ""
    try:
        with anyio.fail_after(START_SECONDS):
            while "Register your first client" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
    finally:
        process.terminate()
        with anyio.fail_after(START_SECONDS):
            said += (await process.communicate())[0].decode()
    warned = [line for line in said.splitlines() if "registration is open" in line]
    assert len(warned) == 1, said
    assert "wide" in warned[0]
    assert "narrow" not in warned[0]


@pytest.mark.requirement("SEED-9", "R7592-35", "R7591-56")
async def test_a_bad_token_is_refused_in_open_mode_too() -> None:
    """Who shows a credential means it: unknown, spent, expired and revoked are 401 and register nothing."""
    async with served() as server:
        spent, _ = await issue(server)
        await register(server, token=spent)
        expired, _ = await issue(server, lifetime=10)
        revoked, token_id = await issue(server)
        await initial_access.revoke_token(server.registry, server.issuer, server.operator, token_id)
        server.clock.advance(10)
        before = len(await server.registry.store.clients(ClientQuery()))
        for bad in ("unknown", spent, expired, revoked):
            answer = await post(server, token=bad)
            refused(answer, "invalid_token", status=401)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert len(await server.registry.store.clients(ClientQuery())) == before


# --- client and user --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-10", "SEED-11", "SEED-12", "SEED-2", "R7592-37")
@pytest.mark.parametrize(
    ("mode", "admitted"),
    [
        ("client", {"client", "operator"}),
        ("user", {"user", "operator"}),
        ('["client", "user"]', {"client", "user", "operator"}),
        ("open", {"client", "user", "operator"}),
    ],
)
async def test_each_mode_admits_its_kind_of_token(mode: str, admitted: set[str]) -> None:
    """No token is 401; a token of another kind is 403 with its scope named; the right one registers with its assurance."""
    async with served(configured(mode)) as server:
        if mode != "open":
            answer = await post(server)
            refused(answer, "invalid_token", status=401)
            assert answer.headers["www-authenticate"] == 'Bearer realm="registration", scope="dcr"'
        for kind in Kind:
            value, token_id = await issue(server, kind=kind.value, owner="ada" if kind is Kind.USER else "")
            answer = await post(server, token=value)
            if kind.value not in admitted:
                refused(answer, "insufficient_scope", status=403)
                assert 'scope="dcr"' in answer.headers["www-authenticate"]
                continue
            assert answer.status_code == 201, answer.text
            record = await server.registry.store.find("main", answer.json()["client_id"])
            assert record is not None
            assert record.admission.assurance == kind.value
            assert record.admission.token_id == token_id
            assert record.admission.owner == ("ada" if kind is Kind.USER else "")


@pytest.mark.requirement("SEED-12", "SEED-6", "R7592-37")
async def test_a_registration_can_be_traced_to_its_token() -> None:
    """Label and owner of the token stand in the record, and clients are found by owner and by token."""
    async with served(configured("user")) as server:
        value, token_id = await issue(server, kind="user", owner="ada", label="ada's laptop")
        client = await register(server, token=value)
        (record,) = await server.registry.store.clients(ClientQuery(owner="ada"))
        assert (record.client_id, record.admission.label) == (client["client_id"], "ada's laptop")
        assert [one.client_id for one in await server.registry.store.clients(ClientQuery(token_id=token_id))] == [
            client["client_id"]
        ]
        assert not await server.registry.store.clients(ClientQuery(owner="bob"))
        shown = record.public()
        assert (shown.owner, shown.token_label, shown.assurance) == ("ada", "ada's laptop", "user")
        with pytest.raises(operators.Refused, match="owner"):
            await issue(server, kind="user")


@pytest.mark.requirement("SEED-24", "SEED-25", "BASE-32")
@pytest.mark.parametrize("mode", ["open", "client", "user"])
async def test_a_token_needs_the_scope_dcr(mode: str) -> None:
    """Without it the answer is 403 insufficient_scope naming dcr, whoever the token belongs to, and no use is spent."""
    async with served(configured(mode)) as server:
        for scope in ((), ("openid",), ("DCR",), ("dcr:read", "openid")):
            value, _ = await issue(server, scope=scope)
            answer = await post(server, token=value)
            refused(answer, "insufficient_scope", status=403)
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
            assert 'scope="dcr"' in answer.headers["www-authenticate"]
        assert {token.uses for token in await server.registry.store.tokens("main")} == {0}
        value, _ = await issue(server, scope=("openid", "dcr"))
        assert (await post(server, token=value)).status_code == 201


# --- uses, expiry, revocation -----------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-23", "R7591-72")
async def test_a_token_registers_once_by_default() -> None:
    """The second use is 401; a refused registration is not a use."""
    async with served(configured("client")) as server:
        value, _ = await issue(server, kind="client")
        refused(await post(server, {"redirect_uris": ["ftp://a.example"]}, value), "invalid_redirect_uri")
        await register(server, token=value)
        answer = await post(server, token=value)
        refused(answer, "invalid_token", status=401)
        assert "used" in answer.json()["error_description"]


@pytest.mark.requirement("SEED-23", "R7591-72")
@pytest.mark.parametrize("database", ["memory", "sqlite"])
@pytest.mark.parametrize("uses", [1, 7])
async def test_uses_are_exact_under_concurrent_callers(database: str, uses: int, tmp_path: Path) -> None:
    """Of thirty callers at once exactly as many register as the token has uses; the others are 401."""
    text = on_disk(tmp_path, "client") if database == "sqlite" else configured("client")
    answers: list[httpx2.Response] = []
    async with served(text) as server:
        value, token_id = await issue(server, kind="client", max_uses=uses)

        async def call() -> None:
            answers.append(await post(server, token=value))

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(call)
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201] * uses + [401] * (30 - uses)
        for answer in answers:
            if answer.status_code == 401:
                refused(answer, "invalid_token", status=401)
                assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert len(await server.registry.store.clients(ClientQuery(token_id=token_id))) == uses
        assert len(await events(server, "client.registered")) == uses
        (token,) = await server.registry.store.tokens("main")
        assert token.uses == uses


@pytest.mark.requirement("SEED-6", "SEED-3", "R7592-37", "SEED-60")
async def test_a_gateway_registers_many_apps_with_one_token() -> None:
    """A multi-use token registers app after app, each with credentials of its own and the same label."""
    async with served(configured("client")) as server:
        value, token_id = await issue(server, kind="client", label="gateway", owner="portal team", max_uses=0)
        apps = [await register(server, {**MACHINE, "client_name": f"App {n}"}, value) for n in range(50)]
        for name in ("client_id", "client_secret", "registration_access_token"):
            assert len({app[name] for app in apps}) == 50
        records = await server.registry.store.clients(ClientQuery(token_id=token_id))
        assert {record.admission.label for record in records} == {"gateway"}
        assert {record.admission.owner for record in records} == {"portal team"}
        await manage(server, apps[0], "DELETE")
        assert (await manage(server, apps[1])).json() == apps[1]


@pytest.mark.requirement("SEED-23", "R7591-56")
async def test_a_token_expires_at_its_second() -> None:
    """One second before it registers; at its expiry it is 401."""
    async with served(configured("client")) as server:
        value, _ = await issue(server, kind="client", lifetime=60, max_uses=0)
        server.clock.advance(59)
        await register(server, token=value)
        server.clock.advance(1)
        answer = await post(server, token=value)
        refused(answer, "invalid_token", status=401)
        assert "expired" in answer.json()["error_description"]


@pytest.mark.requirement("R7591-56", "SEED-60")
async def test_a_revoked_token_registers_nothing_more() -> None:
    """What was registered with it stays; revoking twice, or what never was, is told to the operator."""
    async with served(configured("client")) as server:
        value, token_id = await issue(server, kind="client", max_uses=0)
        client = await register(server, token=value)
        act = (server.registry, server.issuer, server.operator)
        await initial_access.revoke_token(*act, token_id)
        answer = await post(server, token=value)
        refused(answer, "invalid_token", status=401)
        assert (await manage(server, client)).json() == client
        for gone in (token_id, "nothing"):
            with pytest.raises(operators.Refused, match=gone):
                await initial_access.revoke_token(*act, gone)


@pytest.mark.requirement("R7592-20", "SEED-61")
async def test_the_policy_of_a_token_judges_what_it_registers() -> None:
    """A token may name a policy other than the issuer's; in open mode too, where a plain caller gets the issuer's."""
    tables = """
[policy.gateway.metadata.token_endpoint_auth_method]
value = "client_secret_post"
[policy.gateway.metadata.client_name]
essential = true
"""
    async with served(configured(tables=tables)) as server:
        value, _ = await issue(server, policy="gateway", max_uses=0)
        client = await register(server, MEMBERS, value)
        assert client["token_endpoint_auth_method"] == "client_secret_post"
        refused(
            await post(server, {"redirect_uris": ["https://a.example/cb"]}, value),
            "invalid_client_metadata",
            "client_name",
        )
        assert (await register(server))["token_endpoint_auth_method"] == "client_secret_basic"
        first, second = await events(server, "client.registered")
        assert (first["policy"], second["policy"]) == ("gateway", "default")
        assert first["policy_digest"] != second["policy_digest"]
        with pytest.raises(operators.Refused, match="nothing"):
            await issue(server, policy="nothing")


@pytest.mark.requirement("SEED-27", "BASE-33", "BASE-32", "R7592-3")
async def test_an_initial_token_comes_in_the_header_alone() -> None:
    """In the query or the body it is not a token; a malformed or repeated header is invalid_request."""
    async with served(configured("client")) as server:
        value, _ = await issue(server, kind="client")
        query = await server.client.post(f"/register?access_token={value}", json=MEMBERS)
        refused(query, "invalid_request")
        body = await post(server, {**MEMBERS, "access_token": value})
        refused(body, "invalid_token", status=401)
        for header in ("Bearer", "Bearer  ", f"Bearer {value} x", "Bearer a,b"):
            answer = await server.client.post("/register", json=MEMBERS, headers={"authorization": header})
            refused(answer, "invalid_request")
        twice = [("authorization", f"Bearer {value}"), ("authorization", f"Bearer {value}")]
        refused(await server.client.post("/register", json=MEMBERS, headers=twice), "invalid_request")
        basic = await server.client.post("/register", json=MEMBERS, auth=("client", value))
        refused(basic, "invalid_token", status=401)
        assert (await post(server, token=value)).status_code == 201


# --- several issuers in one process -----------------------------------------------------------------------------------

BY_PATH = """
[server]
database = "memory:"
[issuer.closed]
url = "https://as.example"
[issuer.open]
url = "https://as.example/open"
[issuer.open.registration]
mode = "open"
[issuer.client]
url = "https://as.example/client"
[issuer.client.registration]
mode = "client"
"""

BY_HOST = """
[server]
database = "memory:"
[issuer.open]
url = "https://open.example"
[issuer.open.registration]
mode = "open"
[issuer.client]
url = "https://client.example"
[issuer.client.registration]
mode = "client"
"""


@pytest.mark.requirement("SEED-15")
async def test_issuers_by_path_have_modes_of_their_own() -> None:
    """Under one host: one is closed, one open, one needs a token, and their clients do not mix."""
    async with served(BY_PATH) as server:
        expected = {"https://as.example": 404, "https://as.example/open": 201, "https://as.example/client": 401}
        for base, status in expected.items():
            answer = await server.client.post(f"{base}/register", json=MEMBERS)
            assert answer.status_code == status, answer.text
        client = (await server.client.post("https://as.example/open/register", json=MEMBERS)).json()
        assert client["registration_client_uri"].startswith("https://as.example/open/register/")
        assert len(await server.registry.store.clients(ClientQuery(issuer="open"))) == 2
        assert len(await server.registry.store.clients(ClientQuery())) == 2


@pytest.mark.requirement("SEED-15", "R7592-40")
async def test_issuers_by_host_have_modes_of_their_own() -> None:
    """The host chooses among configured issuers; one that nobody configured is 404."""
    async with served(BY_HOST) as server:
        opened = await server.client.post("https://open.example/register", json=MEMBERS)
        assert opened.json()["registration_client_uri"].startswith("https://open.example/register/")
        assert (await server.client.post("https://client.example/register", json=MEMBERS)).status_code == 401
        assert (await server.client.post("https://other.example/register", json=MEMBERS)).status_code == 404
        uri = opened.json()["registration_client_uri"].replace("open.example", "client.example")
        answer = await server.client.get(uri, headers=bearer(opened.json()["registration_access_token"]))
        refused(answer, "invalid_token", status=401)
        for host in ("open", "client"):
            document = (await server.client.get(f"https://{host}.example{WELL_KNOWN[0]}")).json()
            assert document["registration_endpoint"] == f"https://{host}.example/register"


@pytest.mark.requirement("R7592-35", "SEED-15")
async def test_a_token_registers_at_its_issuer_alone() -> None:
    """An initial access token of one issuer is unknown at another."""
    async with served(BY_HOST) as server:
        value, _ = await issue(server)
        elsewhere = await server.client.post("https://client.example/register", json=MEMBERS, headers=bearer(value))
        refused(elsewhere, "invalid_token", status=401)
        assert (await post(server, token=value)).status_code == 201


@pytest.mark.requirement("SEED-15")
@pytest.mark.parametrize("mode", ['"closed"', "true", "[]", '["open"]', '["open", "client"]', '["disabled"]', '""'])
def test_a_mode_that_does_not_exist_is_not_taken(mode: str) -> None:
    """Only the four modes, and lists of client and user, are configurations."""
    text = f'[issuer.main]\nurl = "https://as.example"\n[issuer.main.registration]\nmode = {mode}'
    with pytest.raises(ConfigurationError, match="disabled"):
        parse(Document("test", text))


@pytest.mark.parametrize("path", ["/token", "/jwks", "/healthz", "/..", "/a/../b", "/.well-known/openid-configuration"])
def test_a_registration_path_takes_no_other_endpoints_place(path: str) -> None:
    """What another endpoint answers, or no client would ask for as it stands, is not taken."""
    text = f'[issuer.main]\nurl = "https://as.example"\n[issuer.main.registration]\npath = "{path}"'
    with pytest.raises(ConfigurationError, match="path"):
        parse(Document("test", text))


def test_two_issuers_have_two_registration_endpoints() -> None:
    """A path of one that is the other's would lead every client to the first."""
    text = (
        '[issuer.a]\nurl = "https://as.example"\n[issuer.a.registration]\npath = "/b/register"\n'
        '[issuer.b]\nurl = "https://as.example/b"'
    )
    with pytest.raises(ConfigurationError, match="two issuers"):
        parse(Document("test", text))


@pytest.mark.requirement("SEED-13", "SEED-15")
async def test_a_closed_host_does_not_lead_to_its_neighbour() -> None:
    """Where issuers are on several hosts, a path that one does not serve is not served by another instead."""
    async with served(f'{BY_HOST}[issuer.closed]\nurl = "https://closed.example"\n') as server:
        answer = await server.client.post("https://closed.example/register", json=MEMBERS)
        assert answer.status_code == 404
        assert not await server.registry.store.clients(ClientQuery())
