"""Explanations: the same decision as enforcement, the origin of each member, and what another policy would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio import to_thread
from click.testing import CliRunner

from registrar.cli import main
from registrar.domain import jws
from registrar.domain.access_token import Kind
from registrar.domain.client import Assurance
from registrar.domain.metadata import Presented
from registrar.policy import Judge
from registrar.policy.document import Document
from registrar.policy.loader import load
from registrar.service import administration, initial_access, registration, statements, templates
from registrar.service.audit import Caller
from registrar.service.explanation import Supposed, explain, impact
from registrar.service.ports import EventQuery
from registrar.service.templates import Wanted
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

POLICY = """
[policy.partner]
rules = [{ rule = "localhost" }]
[policy.partner.metadata]
token_endpoint_auth_method = { default = "client_secret_post" }
grant_types = { subset_of = ["authorization_code", "refresh_token"] }
contacts = { essential = true }
"""
REQUEST: dict[str, Any] = {
    "client_name": "Reader",
    "redirect_uris": ["http://localhost:7/cb"],
    "grant_types": ["authorization_code", "client_credentials"],
    "contacts": ["anna@app.example"],
    "scope": "openid nothing",
    "x_unknown": True,
}


def configuration(database: str = "memory:") -> str:
    """An issuer whose policy changes, drops, ignores and warns."""
    return f"""
[server]
database = "{database}"
[issuer.main]
url = "http://127.0.0.1:8000"
admin_api = true
[issuer.main.registration]
mode = "open"
policy = "partner"
{POLICY}"""


def canonical(findings: Any) -> bytes:
    """Findings as the audit writes them."""
    return json.dumps(findings, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


async def recorded(server: Served, kind: str = "client.registered") -> list[dict[str, Any]]:
    """The findings of the last event of a kind."""
    stored = await server.registry.store.events(EventQuery(kind=kind))
    return json.loads(stored[-1].event.body)["findings"]


@pytest.mark.parametrize("refused", [False, True])
async def test_three_agree(tmp_path: Path, refused: bool) -> None:
    """The command, the API and the audit event of the registration tell the same findings, byte for byte."""
    text = configuration(f"sqlite:///{tmp_path}/registrar.db")
    (tmp_path / "registrar.toml").write_text(text)
    request = REQUEST if not refused else {name: value for name, value in REQUEST.items() if name != "contacts"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    async with served(text) as server:
        token, _ = await initial_access.issue_token(
            server.registry, server.issuer, server.operator, scope=("admin.policies",)
        )
        headers = {"authorization": f"Bearer {token}"}
        path = "/admin/api/policies/partner/explain"

        by_api = (await server.client.post(path, json={"request": request}, headers=headers)).json()
        answer = await server.client.post("/register", json=request)
        audited = await recorded(server, "registration.refused" if refused else "client.registered")

        assert by_api["refused"] is refused
        assert answer.status_code == (400 if refused else 201)
        if not refused:
            registered = answer.json()
            assert by_api["metadata"] == {name: registered[name] for name in by_api["metadata"]}
    command = ["policy", "explain", "partner", str(tmp_path / "request.json"), "--json"]
    arguments = [*command, "--config", str(tmp_path / "registrar.toml")]
    result = await to_thread.run_sync(lambda: CliRunner().invoke(main, arguments, catch_exceptions=False))
    by_command = json.loads(result.stdout)

    assert canonical(by_command) == canonical(by_api)
    if refused:  # the event of a refusal begins with what refuses
        by_command["findings"].sort(key=lambda one: "error" not in one)
    assert canonical(by_command["findings"]) == canonical(audited)
    rules = {one["rule"] for one in by_command["findings"]}
    assert {"policy.subset_of", "offered.dropped", "rule.localhost", "policy.default", "metadata.unknown"} <= rules
    assert "anna@app.example" not in json.dumps(by_command["findings"])


async def test_origins() -> None:
    """Each member of the result says where its value is from, and which rule set it."""
    own = '[statement_issuer.ours]\nissuer = "http://127.0.0.1:8000"\n'
    text = configuration().replace('policy = "partner"', 'policy = "partner"\nstatement_issuers = ["ours"]') + own
    async with served(text) as server:
        compact, _ = await statements.issue(
            server.registry, server.issuer, server.operator, {"client_name": "Attested"}, software_id="app"
        )
        request = Presented({**REQUEST, "software_statement": compact})

        found = await explain(server.registry, server.issuer, "partner", request, Supposed())

        members = {one.member: (one.origin, one.rule) for one in found.members}
        assert members["client_name"] == ("attested:ours", "statement.overrides")
        assert members["software_id"] == ("attested:ours", "")
        assert members["redirect_uris"] == ("self_asserted", "")
        assert members["grant_types"] == ("policy", "policy.subset_of")
        assert members["token_endpoint_auth_method"] == ("policy", "policy.default")
        assert members["scope"] == ("policy", "offered.dropped")
        assert members["response_types"] == ("default", "")
        assert (await statements.find(server.registry, server.issuer, _jti(compact))).used_at == 0


def _jti(compact: str) -> str:
    return str(jws.read(compact).claims["jti"])


async def test_instance_of_a_template() -> None:
    """A request that names a template is explained as an instance of it, by the template's policy."""
    async with served(configuration()) as server:
        wanted = Wanted({"redirect_uris": ["https://app.example/cb"]}, ("client_name",), "default")
        await templates.create(server.registry, server.issuer, server.operator, "app", wanted)
        request = Presented({"template_id": "app", "client_name": "Mine", "scope": "openid"})

        found = await explain(server.registry, server.issuer, "partner", request, Supposed())

        assert (found.template, found.policy) == ("app", "default")
        members = {one.member: one.origin for one in found.members}
        assert members["redirect_uris"] == "template"
        assert members["client_name"] == "self_asserted"
        assert [(one.rule, one.member) for one in found.findings] == [("template.fixed", "scope")]


async def test_what_is_supposed() -> None:
    """The caller is whoever it is supposed to be: ceilings of a token narrow, evidence that is missing refuses."""
    demanding = '[policy.known]\nregistration = { authentication = ["initial_access_token"] }\n'
    async with served(configuration() + demanding) as server:
        request = Presented({"redirect_uris": ["https://app.example/cb"], "scope": "openid email"})

        anybody = await explain(server.registry, server.issuer, "known", request, Supposed())
        holder = await explain(
            server.registry, server.issuer, "known", request, Supposed(Assurance.CLIENT, ("openid",))
        )

        assert anybody.refused
        assert anybody.findings[-1].rule == "evidence.initial_access_token"
        assert not holder.refused
        assert holder.metadata is not None
        assert holder.metadata["scope"] == "openid"


async def test_what_would_wait_says_so() -> None:
    """A registration that would be held is explained as one, with the reason that it is held for; others are not."""
    text = configuration() + "[policy.partner.review]\ngrants = ['refresh_token']\n"
    async with served(text) as server:
        for grants in (["authorization_code"], ["authorization_code", "refresh_token"]):
            body = {**REQUEST, "scope": "openid", "grant_types": grants}
            told = await explain(server.registry, server.issuer, "partner", Presented(body), Supposed())
            state = (await server.client.post("/register", json=body)).json().get("registration_state", "")
            assert (told.held, state) == (("grant: refresh_token", "pending") if len(grants) > 1 else ("", ""))
            assert ("held" in msgspec.to_builtins(told)) == bool(told.held)


async def test_nothing_is_stored() -> None:
    """An explanation leaves nothing: no client, no event, no use of anything."""
    async with served(configuration()) as server:
        await explain(server.registry, server.issuer, "partner", Presented(REQUEST), Supposed())

        assert not await server.registry.store.events(EventQuery())


async def test_impact() -> None:
    """Every living client is judged anew, in the way in which it came: the same, changed, or refused, and why."""
    stricter = """
[metadata]
client_name = { essential = true }
grant_types = { subset_of = ["authorization_code"] }
[registration]
authentication = ["initial_access_token"]
"""
    async with served() as server:
        caller = Caller("test")
        value, _ = await initial_access.issue_token(
            server.registry, server.issuer, server.operator, kind=Kind.CLIENT, max_uses=0
        )
        known = Caller("test", value)
        plain = {"redirect_uris": ["https://app.example/cb"], "client_name": "Reader"}
        bodies = {
            "same": (plain, known),
            "changed": (plain | {"grant_types": ["authorization_code", "refresh_token"]}, known),
            "nameless": ({"redirect_uris": plain["redirect_uris"]}, known),
            "unknown": (plain, caller),
            "gone": ({"redirect_uris": plain["redirect_uris"]}, known),
        }
        made = {
            name: str(
                (await registration.register(server.registry, server.issuer, Presented(body), by)).information[
                    "client_id"
                ]
            )
            for name, (body, by) in bodies.items()
        }
        await administration.delete(server.registry, server.issuer, server.operator, made["gone"])
        policy = load("stricter", (document := Document("stricter.toml", stricter)).data, document)
        judge = Judge(policy, server.issuer.offered)

        found = {one.client_id: one async for one in impact(server.registry, server.issuer, judge)}

        outcomes = {name: found[client_id].outcome for name, client_id in made.items() if name != "gone"}
        assert outcomes == {"same": "same", "changed": "changed", "nameless": "refused", "unknown": "refused"}
        assert made["gone"] not in found
        assert found[made["changed"]].difference == {
            "grant_types": [["authorization_code", "refresh_token"], ["authorization_code"]]
        }
        assert [one.rule for one in found[made["nameless"]].findings] == ["policy.essential"]
        assert [one.rule for one in found[made["unknown"]].findings] == ["evidence.initial_access_token"]
        assert [one async for one in impact(server.registry, server.issuer, judge, "another")] == []


async def test_class_that_is_supposed() -> None:
    """A class that the caller is supposed to be of brings its policies, as it does at a registration."""
    text = configuration().replace('policy = "partner"', 'classes = ["ephemeral"]')
    async with served(text) as server:
        request = Presented({"client_name": "Agent", "jwks_uri": "https://agent.example/jwks"})
        none = await explain(server.registry, server.issuer, "default", request, Supposed())

        found = await explain(
            server.registry, server.issuer, "default", request, Supposed(Assurance.CLIENT, client_class="ephemeral")
        )

        assert (none.refused, none.findings[-1].rule) == (True, "class.none")
        assert not found.refused, found.findings
        assert found.policy == "default ephemeral"
