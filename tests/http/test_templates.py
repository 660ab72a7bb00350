"""Templates: registering instances, what of them varies, and what a change of the template does to all of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from real_server import Start
from registering import as_update, bearer, configured, events, issue, manage, post, refused, register, without

from registrar.cli import main
from registrar.cli.demonstration import free_port
from registrar.config import parse
from registrar.domain.client import Assurance, State
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import ProtocolError
from registrar.domain.metadata import MEMBERS
from registrar.domain.template import TemplateState
from registrar.policy.document import ConfigurationError, Document
from registrar.service import administration, checkpoints, receipts, templates
from registrar.service.operators import Refused
from registrar.service.ports import ClientQuery
from registrar.service.templates import Wanted
from registrar.storage.memory import MemoryStore
from registrar.testing import Documents, Served, served

pytestmark = pytest.mark.anyio

APP: dict[str, Any] = {
    "client_name": "Field App",
    "redirect_uris": ["https://app.example/callback"],
    "scope": "openid email",
    "default_max_age": 3600,
}
CONFIGURED = """
[issuer.main.template.field-app]
description = "The application of the field staff"
[issuer.main.template.field-app.metadata]
client_name = "Field App"
redirect_uris = ["https://app.example/callback"]
scope = "openid email"
default_max_age = 3600
"""


async def create(server: Served, template_id: str = "field-app", **more: Any) -> None:
    """Create a template as an operator does."""
    wanted = Wanted(more.pop("metadata", APP), **more)
    await templates.create(server.registry, server.issuer, server.operator, template_id, wanted)


async def change(server: Served, **metadata: Any) -> templates.Changed:
    """Change the template's metadata."""
    wanted = Wanted({name: value for name, value in (APP | metadata).items() if value is not None})
    return await templates.change(server.registry, server.issuer, server.operator, "field-app", wanted)


def acts(server: Served) -> tuple[Any, ...]:
    """The arguments of an act on the template."""
    return server.registry, server.issuer, server.operator, "field-app"


@pytest.mark.requirement("SEED-28", "SEED-29", "SEED-30", "SEED-33", "METAX-13")
@pytest.mark.parametrize("member", ["software_id", "template_id"])
async def test_instance(member: str) -> None:
    """The template's name alone registers; identifier and credentials are the instance's, everything else the template's."""
    async with served(configured()) as server:
        await create(server)

        one, other = await register(server, {member: "field-app"}), await register(server, {member: "field-app"})

        credentials = ("client_id", "client_secret", "registration_access_token", "registration_client_uri")
        assert all(one[name] != other[name] for name in credentials)
        assert without(one, *credentials) == without(other, *credentials)
        assert {name: one[name] for name in APP} == APP
        assert (await register(server))["client_name"] == "Reader"  # a client of its own, beside


@pytest.mark.requirement("SEED-30")
async def test_nothing_else_varies() -> None:
    """What an instance says of itself has no effect, and the audit tells so."""
    async with served(configured()) as server:
        await create(server)
        body = {"template_id": "field-app", "redirect_uris": ["https://evil.example/cb"], "scope": "openid profile"}

        client = await register(server, body)

        assert client["redirect_uris"] == APP["redirect_uris"]
        assert client["scope"] == "openid email"
        (event,) = await events(server, "client.registered")
        assert event["template"] == "field-app"
        ignored = {one["member"] for one in event["findings"] if one["rule"] == "template.fixed"}
        assert ignored == {"redirect_uris", "scope"}


async def test_allowed() -> None:
    """A member that the template allows is the instance's own, in any language, and is judged with the whole."""
    async with served(configured()) as server:
        await create(server, allowed=("client_name", "redirect_uris"))
        body = {
            "template_id": "field-app",
            "client_name": "Anna's phone",
            "client_name#de": "Annas Telefon",
            "redirect_uris": ["https://phone.example/cb"],
        }

        client = await register(server, body)

        assert {name: client[name] for name in without(body, "template_id")} == without(body, "template_id")
        refused(await post(server, body | {"redirect_uris": ["http://phone.example"]}), "invalid_redirect_uri")
        await templates.change(*acts(server), Wanted(APP | {"client_name": "Other"}, ("client_name",)))
        changed = (await manage(server, client)).json()
        assert changed["client_name"] == "Anna's phone"
        assert changed["redirect_uris"] == APP["redirect_uris"]  # allowed no more


@pytest.mark.requirement("SEED-35", "R7592-20")
async def test_no_breaking_out() -> None:
    """An update of an instance says what the template says, or is refused; its own answer comes back unchanged."""
    async with served(configured()) as server:
        await create(server)
        client = await register(server, {"software_id": "field-app"})

        same = await manage(server, client, "PUT", as_update(client))
        bare = await manage(server, client, "PUT", {"client_id": client["client_id"], "software_id": "field-app"})
        foreign = await manage(server, client, "PUT", as_update(client, x_unknown="?"))

        assert [answer.status_code for answer in (same, bare, foreign)] == [200, 200, 200]
        assert without(same.json(), "client_secret") == without(client, "client_secret")
        for member, value in (
            ("redirect_uris", ["https://evil.example/cb"]),
            ("scope", "openid email profile"),
            ("token_endpoint_auth_method", "none"),
            ("default_max_age", 7200),
            ("contacts", ["me@evil.example"]),
            ("software_id", "another"),
        ):
            answer = await manage(server, client, "PUT", as_update(client, **{member: value}))
            expected = "invalid_client_metadata"
            assert answer.status_code == 400, member
            assert answer.json()["error"] in (expected, "invalid_redirect_uri")
            assert [fault["rule"] for fault in answer.json()["faults"]] == ["template.changed"]
        assert (await manage(server, client)).json()["redirect_uris"] == APP["redirect_uris"]


@pytest.mark.requirement("SEED-35")
@pytest.mark.parametrize(
    "value", [None, "", "x", ["x"], 1, True, {}, "https://x.example", ["https://x.example"], "none"]
)
async def test_whatever_an_update_says(value: Any) -> None:
    """For every member there is: what is registered of an instance stays what the template says."""
    async with served(configured()) as server:
        await create(server)
        client = await register(server, {"software_id": "field-app"})
        registered = {name: client[name] for name in MEMBERS if name in client}

        for member in MEMBERS:
            if member == "client_id":
                continue
            answer = await manage(server, client, "PUT", as_update(client, **{member: value}))

            assert answer.status_code in (200, 400), (member, answer.text)
            now = (await manage(server, client)).json()
            assert {name: now[name] for name in MEMBERS if name in now} == registered, member


@pytest.mark.requirement("SEED-31")
async def test_change() -> None:
    """A change is one row and one event, and holds for every instance at its next request."""
    async with served(configured(issuer='acr_values = ["urn:mfa"]')) as server:
        await create(server)
        clients = [await register(server, {"software_id": "field-app"}) for _ in range(3)]
        wanted = {
            "redirect_uris": ["https://new.example/callback"],
            "scope": "openid",
            "default_acr_values": ["urn:mfa"],
            "require_auth_time": True,
            "default_max_age": 60,
        }

        changed = await change(server, **wanted)

        assert changed.template.version == 2
        for client in clients:
            now = (await manage(server, client)).json()
            assert {name: now[name] for name in wanted} == wanted
            assert now["client_secret"] == client["client_secret"]
        (event,) = await events(server, "template.changed")
        assert event["template"] == "field-app"
        assert event["version"] == 2
        assert event["difference"]["default_max_age"] == [3600, 60]
        assert event["difference"]["redirect_uris"] == [APP["redirect_uris"], wanted["redirect_uris"]]


@pytest.mark.requirement("SEED-31")
async def test_authentication_requirements_are_offered() -> None:
    """Authentication contexts are those that the issuer offers: others are dropped, and discovery publishes them."""
    async with served(configured(issuer='acr_values = ["urn:mfa"]')) as server:
        await create(server, metadata=APP | {"default_acr_values": ["urn:mfa", "urn:unknown"]})

        client = await register(server, {"software_id": "field-app"})

        assert client["default_acr_values"] == ["urn:mfa"]
        document = (await server.client.get("/.well-known/oauth-authorization-server")).json()
        assert document["acr_values_supported"] == ["urn:mfa"]


@pytest.mark.requirement("SEED-34")
async def test_disable_and_delete() -> None:
    """Disabling suspends every instance, enabling resumes them, deleting ends them and the name for good."""
    async with served(configured()) as server:
        await create(server)
        clients = [await register(server, {"software_id": "field-app"}) for _ in range(2)]

        await templates.disable(*acts(server), reason="stolen build")
        for client in clients:
            refused(await manage(server, client), "access_denied", status=403)
        refused(await post(server, {"template_id": "field-app"}), "invalid_client_metadata", "template_id")
        refused(await post(server, {"software_id": "field-app"}), "invalid_client_metadata", "template_id")

        await templates.enable(*acts(server))
        assert (await manage(server, clients[0])).status_code == 200

        await templates.delete(*acts(server))
        for client in clients:
            assert (await manage(server, client)).status_code == 401
            assert (await manage(server, client, "DELETE")).status_code == 401
        refused(await post(server, {"template_id": "field-app"}), "invalid_client_metadata", "template_id")
        with pytest.raises(Refused, match="never used again"):
            await create(server)
        kinds = [one["kind"] for one in await events(server) if one["kind"].startswith("template.")]
        assert kinds == ["template.created", "template.disabled", "template.enabled", "template.deleted"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_listed_by_template(kind: str, tmp_path: Path) -> None:
    """Instances are listed and counted by template; those of a deleted one are deleted ones."""
    database = "memory:" if kind == "memory" else f"sqlite:///{tmp_path}/registrar.db"
    async with served(configured(database=database, url="http://127.0.0.1:8000")) as server:
        await create(server)
        await register(server)
        made = sorted([(await register(server, {"software_id": "field-app"}))["client_id"] for _ in range(3)])
        store = server.registry.store

        async def listed(state: State | None) -> list[str]:
            query = ClientQuery("main", state, template="field-app")
            found = [one.client_id for one in await store.clients(query)]
            assert await store.count(query) == len(found)
            return found

        assert await listed(None) == made
        assert await listed(State.ACTIVE) == made
        await templates.delete(*acts(server))
        assert await listed(State.ACTIVE) == []
        assert await listed(State.DELETED) == made
        assert await store.count(ClientQuery("main")) == 4
        with pytest.raises(Refused, match="is deleted"):
            await administration.suspend(server.registry, server.issuer, server.operator, made[0])


async def test_no_cache_to_wait_for(start: Start, tmp_path: Path) -> None:
    """Three processes on one file: a change made at one is what each of them answers at the next request."""
    ports = [free_port() for _ in range(3)]
    # One issuer, told apart from its neighbours by nothing but the port that a proxy would choose.
    text = configured(
        url=f"http://127.0.0.1:{ports[0]}",
        database=f"sqlite:///{tmp_path}/registrar.db",
        tables=CONFIGURED.replace("field-app", "settled"),
    )
    servers = [start(text, "--port", str(port)) for port in ports]  # all at once, with a template to write
    for server in servers:
        server.listening()
    body = tmp_path / "template.json"
    command = ["--config", str(tmp_path / "registrar.toml"), "--metadata", str(body)]

    def operate(act: str) -> None:
        result = CliRunner().invoke(main, ["template", act, "field-app", *command], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    async with httpx2.AsyncClient(trust_env=False) as caller:
        body.write_text(json.dumps(APP))
        await asyncio.to_thread(operate, "create")
        clients = []
        for port in ports:
            answer = await caller.post(f"http://127.0.0.1:{port}/register", json={"software_id": "field-app"})
            clients.append(answer.json())
        for turn in range(5):
            body.write_text(json.dumps(APP | {"redirect_uris": [f"https://app.example/{turn}"]}))
            await asyncio.to_thread(operate, "change")
            for port in ports:
                for client in clients:
                    answer = await caller.get(
                        f"http://127.0.0.1:{port}/register/{client['client_id']}",
                        headers=bearer(client["registration_access_token"]),
                    )
                    assert answer.json()["redirect_uris"] == [f"https://app.example/{turn}"]
    assert all(server.process.poll() is None for server in servers)


@pytest.mark.requirement("SEED-28")
@pytest.mark.parametrize(("templates_on", "full_on"), [(True, False), (False, True)])
async def test_each_kind_is_a_switch(templates_on: bool, full_on: bool) -> None:
    """Instances and clients of their own can each be switched off, with a refusal that says which is taken."""
    switches = f"templates = {str(templates_on).lower()}\nfull = {str(full_on).lower()}"
    async with served(configured(registration=switches)) as server:
        await create(server)

        instance = await post(server, {"template_id": "field-app"})
        whole = await post(server)

        assert [instance.status_code, whole.status_code] == ([201, 400] if templates_on else [400, 201])
        body = refused(whole if templates_on else instance, "invalid_client_metadata", "template_id")
        assert body["faults"][0]["rule"] == ("template.needed" if templates_on else "template.off")


async def test_unknown_template() -> None:
    """An unknown template_id is an error; a software_id that no template has is a software's own name."""
    async with served(configured()) as server:
        await create(server)

        refused(await post(server, {"template_id": "field-ap"}), "invalid_client_metadata", "template_id")
        refused(await post(server, {"template_id": 7}), "invalid_client_metadata", "template_id")
        client = await register(server, {"software_id": "field-ap", "redirect_uris": ["https://a.example/cb"]})

        assert client["client_name" if "client_name" in client else "software_id"] == "field-ap"


async def test_modes() -> None:
    """Templates combine with every mode: who may register an instance is who may register at all."""
    async with served(configured("client")) as server:
        await create(server)

        assert (await post(server, {"software_id": "field-app"})).status_code == 401
        token, _ = await issue(server, "client")
        client = await register(server, {"software_id": "field-app"}, token)

        record = await administration.find(server.registry, server.issuer, client["client_id"])
        assert record.admission.assurance is Assurance.CLIENT
        assert record.provenance["redirect_uris"] == "template"
    async with served(configured("disabled")) as server:
        await create(server)
        assert (await post(server, {"software_id": "field-app"})).status_code == 404


async def test_ceiling_of_a_token() -> None:
    """A token that may register less than the template has registers no instance of it."""
    async with served(configured("client")) as server:
        await create(server)
        token, _ = await issue(server, scope=("dcr", "openid"))

        refused(await post(server, {"software_id": "field-app"}, token), "invalid_client_metadata", "scope")


@pytest.mark.requirement("SEED-31")
async def test_secret_that_the_server_reads() -> None:
    """A template that now needs secrets that the server can read says how many cannot be, and each completes itself."""
    async with served(configured()) as server:
        await create(server)
        clients = [await register(server, {"software_id": "field-app"}) for _ in range(2)]

        changed = await change(server, token_endpoint_auth_method="client_secret_jwt")

        assert changed.waiting == 2
        for client in clients:
            held = (await administration.find(server.registry, server.issuer, client["client_id"])).credentials
            assert held.data_key is None
            now = (await manage(server, client)).json()
            assert now["client_secret"] == client["client_secret"]
            assert now["token_endpoint_auth_method"] == "client_secret_jwt"
            held = (await administration.find(server.registry, server.issuer, client["client_id"])).credentials
            assert held.data_key is not None


async def test_method_without_and_with_a_secret() -> None:
    """A template that gives up secrets ends them at the next read, and one that needs them issues each a new one."""
    async with served(configured()) as server:
        await create(server)
        client = await register(server, {"software_id": "field-app"})

        await change(server, token_endpoint_auth_method="none")
        public = (await manage(server, client)).json()
        await change(server)
        again = (await manage(server, client)).json()

        assert "client_secret" not in public
        assert again["client_secret"] != client["client_secret"]
        assert again == (await manage(server, client)).json()


@pytest.mark.requirement("SEED-32")
async def test_configuration() -> None:
    """Templates of the configuration are there from the start, follow its changes, and are withdrawn with it."""
    store = _Kept()
    async with served(configured(tables=CONFIGURED), store=store) as server:
        client = await register(server, {"software_id": "field-app"})
        assert client["default_max_age"] == 3600
    async with served(configured(tables=CONFIGURED), store=store) as server:
        assert len(await events(server, "template.created")) == 1
        assert not await events(server, "template.changed")
        with pytest.raises(Refused, match="configuration"):
            await change(server)
        with pytest.raises(Refused, match="configuration"):
            await templates.delete(*acts(server))
    async with served(configured(tables=CONFIGURED.replace("3600", "60")), store=store) as server:
        assert (await manage(server, client)).json()["default_max_age"] == 60
        assert len(await events(server, "template.changed")) == 1
    async with served(configured(), store=store) as server:
        refused(await manage(server, client), "access_denied", status=403)
        (event,) = await events(server, "template.disabled")
        assert event["reason"] == "the configuration has it no more"
    async with served(configured(tables=CONFIGURED), store=store) as server:
        assert (await manage(server, client)).json()["default_max_age"] == 3600
        await templates.disable(*acts(server))
    async with served(configured(tables=CONFIGURED), store=store) as server:
        refused(await manage(server, client), "access_denied", status=403)  # what an operator disabled stays so
    async with served(configured(), store=store) as server:
        found = await templates.find(server.registry, server.issuer, "field-app")
        assert found.state is TemplateState.DISABLED
        await templates.delete(*acts(server))
    with pytest.raises(Refused, match="never used again"):
        async with served(configured(tables=CONFIGURED), store=store):
            pass


class _Kept(MemoryStore):
    """A store that several servers have, one after the other."""

    async def close(self) -> None:
        """Stay."""


@pytest.mark.requirement("SEED-32")
@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[issuer.main.template.app]\nmetadata = { redirect_uris = ['ftp://x.example'] }", 11, "redirect_uris[0]"),
        ("[issuer.main.template.app]\nallowed = ['nonsense']\nmetadata = {}", 11, "allowed"),
        ("[issuer.main.template.app]\npolicy = 'nobody'\nmetadata = {}", 11, "there is no such policy"),
        ("[issuer.main.template.app]\nmetadate = {}", 11, "unknown setting metadate"),
        ("[issuer.main.template.app.metadata]\ngrant_types = ['code']\n", 11, "grant_types"),
        ("[issuer.main.template.'a b'.metadata]\nclient_name = 'x'\n", 10, "template_id"),
    ],
)
def test_configuration_is_strict(text: str, line: int, problem: str) -> None:
    """A template that could not be registered keeps the server from starting, with file and line."""
    with pytest.raises(ConfigurationError) as found:
        parse(Document("registrar.toml", configured(tables=text)))

    assert problem in found.value.reason
    assert found.value.line == line


async def test_policy_of_a_template() -> None:
    """A template is judged by its policies, and so are its instances, whatever policy let them in."""
    strict = '[policy.short]\nmetadata = { client_name = { one_of = ["Field App"] } }\n'
    async with served(configured(tables=strict)) as server:
        with pytest.raises(ProtocolError, match="client_name"):
            await create(server, policy="default short", metadata=APP | {"client_name": "Another"})
        await create(server, policy="default short", allowed=("client_name",))

        client = await register(server, {"software_id": "field-app"})
        refused(
            await post(server, {"software_id": "field-app", "client_name": "Mine"}),
            "invalid_client_metadata",
            "client_name",
        )

        record = await administration.find(server.registry, server.issuer, client["client_id"])
        assert record.policy == "default short"
        assert not await server.registry.store.item("main", "template", "another")


async def test_evidence_is_demanded_of_instances() -> None:
    """What the issuer's policy demands of a caller is demanded of one that names a template, and not of the operator."""
    proof = '[policy.known]\nregistration = { authentication = ["initial_access_token"] }\n'
    async with served(configured(registration='policy = "known"', tables=proof)) as server:
        await create(server, policy="default")

        answer = await post(server, {"software_id": "field-app"})
        token, _ = await issue(server)

        assert answer.status_code == 400
        assert answer.json()["faults"][0]["rule"] == "evidence.initial_access_token"
        await register(server, {"software_id": "field-app"}, token)


async def test_versions() -> None:
    """Of two operators who saw the same version, one changes the template."""
    async with served(configured()) as server:
        await create(server)

        def wanted(number: int) -> Wanted:
            return Wanted(APP | {"default_max_age": number})

        outcomes = await asyncio.gather(
            *(templates.change(*acts(server), wanted(number), expected=1) for number in range(8)),
            return_exceptions=True,
        )

        won = [one for one in outcomes if isinstance(one, templates.Changed)]
        assert len(won) == 1
        assert all(isinstance(one, Refused) for one in outcomes if one is not won[0])
        found = await templates.find(server.registry, server.issuer, "field-app")
        assert found == won[0].template


async def test_token_of_a_deleted_template_opens_nothing() -> None:
    """The registration access token of an instance ends with its template; nothing of it comes back."""
    async with served(configured()) as server:
        await create(server)
        client = await register(server, {"software_id": "field-app"})
        await templates.delete(*acts(server))

        record = await administration.find(server.registry, server.issuer, client["client_id"])

        assert record.state is State.DELETED
        assert record.credentials.token_presented(PresentedToken(client["registration_access_token"]), 0) is None


async def test_document_of_a_sector() -> None:
    """The document of a template's sector is fetched when the template is judged, and not for each of its instances."""
    uri, store = "https://app.example/sector", _Kept()
    sector = CONFIGURED + f'sector_identifier_uri = "{uri}"\nsubject_type = "pairwise"\n'
    documents = Documents({uri: json.dumps(APP["redirect_uris"]).encode()})
    async with served(configured(tables=sector), store=store, fetch=documents) as server:
        for _ in range(3):
            assert (await register(server, {"software_id": "field-app"}))["sector_identifier_uri"] == uri
        assert documents.fetched == [uri]
        del documents.documents[uri]
        await register(server, {"software_id": "field-app"})
    async with served(configured(tables=sector), store=store, fetch=documents):
        pass  # it starts all the same
    moved = sector.replace("app.example/callback", "app.example/moved")
    with pytest.raises(ProtocolError, match="sector_identifier_uri"):
        async with served(configured(tables=moved), store=store, fetch=documents):
            pass


async def test_a_receipt_of_an_instance_has_what_its_template_has_by_now() -> None:
    """Its event is that of the registration, and its metadata the template's: the one is not held to the other."""
    async with served(configured()) as server:
        await create(server)
        made = await register(server, {"template_id": "field-app"})
        await change(server, scope="openid")
        url = f"/receipts/{made['client_id']}"
        answer = await server.client.get(url, headers=bearer(made["registration_access_token"]))
        said = receipts.verify(answer.text, (await checkpoints.published(server.registry))["keys"]).claims
        assert (said["template"], said["metadata"]["scope"]) == ("field-app", "openid")
