"""Every route of the administration API answers as the OpenAPI document says: with this status, and these members alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from described import DOCUMENT, PREFIX, SCHEMAS, check, components, members, operation
from registering import MEMBERS, PUBLIC, as_update, bearer, configured, issue, manage, register, started

from registrar.domain.access_token import ADMINISTRATION
from registrar.http import admin, answers
from registrar.service.delivery import Line
from registrar.service.ports import FetchError, Sent
from registrar.testing import Documents, Served, served
from webhook_receiver import key_file

pytestmark = pytest.mark.anyio

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
HOOK = "https://hook.example/in"
TABLES = """
[issuer.main.metadata_documents]
enabled = true
policy = "careful"
[statement_issuer.ours]
issuer = "https://as.example"
[policy.careful]
description = "Looked at."
extends = ["default"]
features = ["JARM"]
repeat = "new"
[policy.careful.changes]
default = "allow"
scope = "review"
grant = "review"
redirect_host = "review"
[policy.careful.lifetime]
client = 9000000
secret = 900000
[policy.careful.rotation]
overlap = 60
[policy.careful.review]
grants = ["urn:ietf:params:oauth:grant-type:device_code"]
[policy.careful.management]
operations = ["read", "update"]
[policy.careful.metadata.client_name]
essential = true
[policy.careful.metadata.application_type]
one_of = ["web"]
[policy.careful.metadata.software_version]
value = "1"
[[policy.careful.rules]]
rule = "brands"
brands = ["Acme=acme.example"]
"""


class Receiver(Documents):
    """Whom the webhook leads to: it answers with a status, or not at all where that is 0."""

    status = 200

    async def send(self, url: str, content: bytes, headers: Mapping[str, str]) -> Sent:
        """The status."""
        del url, content, headers
        if not self.status:
            raise FetchError("it does not answer")
        return Sent(self.status)


class Operator:
    """Somebody who calls, and holds each answer against the document."""

    def __init__(self, server: Served, token: str) -> None:
        self.server, self.token = server, token
        self.seen = set[str]()
        """What was answered: method, path and status."""
        self.members = set[str]()
        """And the members in it, of the components that describe it."""

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **query: Any
    ) -> httpx2.Response:
        """Call a route, and hold that it succeeds as the document says."""
        more = {} if body is None else {"json": body}
        own = bearer(self.token) | dict(headers or {})
        answer = await self.server.client.request(method, f"{PREFIX}{path}", headers=own, params=query, **more)
        assert answer.status_code < 300, (method, path, answer.text)
        what = check(answer)
        assert what is not None, f"{method} {path} is not described"
        self.seen.add(what)
        found = operation(method, f"{PREFIX}{path}")
        assert found is not None
        for content in found[1]["responses"][str(answer.status_code)].get("content", {}).values():
            if "$ref" in content["schema"]:
                self.members.update(members(content["schema"], answer.json()))
        return answer


@asynccontextmanager
async def operating(folder: Path) -> AsyncIterator[tuple[Operator, Receiver]]:
    """A server with all that the routes are about, and an operator who may everything."""
    hook = Receiver()
    table = f'[webhook.gateway]\nurl = "{HOOK}"\nsecret_file = "{key_file(folder, b"k" * 32)}"\n'
    text = configured(
        issuer="admin_api = true",
        registration='policy = "careful"\nstatement_issuers = ["ours"]',
        tables=TABLES + table,
    )
    async with served(text, fetch=hook) as server:
        await started(server)
        token, _ = await issue(server, scope=("dcr", *ADMINISTRATION), max_uses=0, owner="ops")
        yield Operator(server, token), hook


def successes() -> dict[str, Any]:
    """Every success that the document names: method, path and status -> what it says of it."""
    return {
        f"{method.upper()} {path.removeprefix(PREFIX)} {status}": response
        for path, operations in DOCUMENT["paths"].items()
        if path.startswith(PREFIX)
        for method, one in operations.items()
        for status, response in one["responses"].items()
        if status.startswith("2")
    }


# --- what is driven ---------------------------------------------------------------------------------------------------


async def of_policies(call: Operator, hook: Receiver) -> None:
    """Listed, shown with all their sections, and tried out on what is taken, held and refused."""
    del hook
    listed = (await call("GET", "policies")).json()
    for one in listed["policies"]:
        await call("GET", f"policies/{one['name']}")
    careful = (await call("GET", "policies/careful")).json()
    assert careful["metadata"]["client_name"] == {"essential": True}
    await call("POST", "templates", {"template_id": "explained", "metadata": dict(MEMBERS)})
    requests = (
        {**MEMBERS, "client_name#de": "Leser", "software_version": "2"},
        {**MEMBERS, "grant_types": [DEVICE]},
        {"template_id": "explained"},
        {"redirect_uris": ["ftp://x.example"]},
    )
    for request in requests:
        await call("POST", "policies/careful/explain", {"request": request, "owner": "ann", "assurance": "user"})


async def of_templates(call: Operator, hook: Receiver) -> None:
    """Created, changed, with instances that wait and such as do not, disabled, enabled, deleted."""
    del hook
    for name in ("kiosk", "desk"):
        await call("POST", "templates", {"template_id": name, "metadata": dict(MEMBERS), "allowed": ["client_name"]})
    await call("GET", "templates", limit=1)
    await call("GET", "templates/kiosk")
    await call("PUT", "templates/kiosk", {"metadata": {**MEMBERS, "client_uri": "https://app.example"}})
    made = await register(call.server, {"template_id": "kiosk"})
    await call("GET", "statistics")
    await call("POST", "templates/kiosk/disable", {"reason": "x"})
    await call("GET", f"clients/{made['client_id']}")
    await call("POST", "templates/kiosk/enable", {"reason": "x"})
    await call("DELETE", "templates/kiosk", {"reason": "x"})


async def of_statements(call: Operator, hook: Receiver) -> None:
    """For once and for many times, listed and revoked."""
    del hook
    members = {"client_name": "App", "redirect_uris": ["https://app.example/cb"]}
    made = [
        (await call("POST", "statements", {"software_id": "app", "members": members, "once": once})).json()
        for once in (True, False)
    ]
    assert [one["once"] for one in made] == [True, False]
    attested = await register(call.server, {"software_statement": made[0]["software_statement"]})
    await call("GET", f"clients/{attested['client_id']}")
    await call("GET", "statements", limit=1)
    await call("GET", "statements")
    await call("POST", f"statements/{made[0]['jti']}/revoke", {"reason": "x"})
    await call("GET", f"statements/{made[0]['jti']}")


async def of_tokens(call: Operator, hook: Receiver) -> None:
    """With labels and without, revoked alone and with what was registered with it."""
    del hook
    plain = (await call("POST", "tokens", {})).json()
    told = {"kind": "operator", "scope": "dcr admin.clients", "max_uses": 2, "expires_in": 60, "label": "app"}
    within = (await call("POST", "tokens", {**told, "labels": {"package": "a"}, "within": {"tenant": "acme"}})).json()
    await call("GET", "tokens", limit=1)
    labelled, _ = await issue(call.server, label="laptop", labels={"package": "a"})
    await call("GET", f"clients/{(await register(call.server, token=labelled))['client_id']}")
    assert {one["token_id"] for one in (await call("GET", "tokens")).json()["tokens"]} > {plain["token_id"]}
    await call("POST", f"tokens/{plain['token_id']}/revoke", {})
    await call("POST", f"tokens/{within['token_id']}/revoke", {"cascade": "suspend"})


async def of_webhooks(call: Operator, hook: Receiver) -> None:
    """Enabled, behind and gone; tried out where it is taken and where it is not; listed, and sent again."""
    server = call.server
    await register(server)
    await call("GET", "webhooks")
    server.clock.advance(100_000)
    assert (await call("GET", "webhooks/gateway")).json()["state"] == "behind"
    assert (await call("POST", "webhooks/gateway/test")).json()["delivered"]
    hook.status = 500
    assert (await call("POST", "webhooks/gateway/test")).json()["status"] == 500
    hook.status = 0
    assert not (await call("POST", "webhooks/gateway/test")).json()["delivered"]
    hook.status = 410
    line = Line(server.registry, "main", "gateway")
    for _ in range(3):
        await line.deliver()
        server.clock.advance(100_000)
    assert (await call("GET", "webhooks/gateway")).json()["state"] == "gone"
    listed = (await call("GET", "webhooks/gateway/given-up", limit=1)).json()
    assert listed["messages"]
    assert listed["after"]
    await call("POST", "webhooks/gateway/enable", {"reason": "x"})
    await call("POST", "webhooks/gateway/replay", {"given_up": True})


async def of_reviews(call: Operator, hook: Receiver) -> None:
    """Registrations and updates that are held: listed, shown, approved and rejected, with a new secret and without."""
    del hook
    server, grants = call.server, ["authorization_code", "client_credentials"]
    for verdict in ("approve", "reject"):
        made = await register(server, {**PUBLIC, "scope": "openid"})
        wanted = as_update(
            made, client_name="Acme", token_endpoint_auth_method="client_secret_basic", grant_types=grants
        )
        assert "pending_update" in (await manage(server, made, "PUT", wanted)).json()
        device = {**MEMBERS, "grant_types": [DEVICE]}
        held = [made["client_id"], (await register(server, device))["client_id"]]
        page = (await call("GET", "reviews", limit=1)).json()
        await call("GET", "reviews", after=page["after"])
        for one in held:
            digest = (await call("GET", f"reviews/{one}")).json()["digest"]
            answer = await call("POST", f"reviews/{one}/{verdict}", {"digest": digest, "reason": "x"})
            assert ("client_secret" in answer.json()) == (verdict == "approve" and one == made["client_id"])


async def of_clients(call: Operator, hook: Receiver) -> None:
    """Everything that a client can be and become, down to its end."""
    del hook
    full = {**MEMBERS, "client_name": "Acme Reader", "client_name#de": "Leser", "contacts": ["a@app.example"]}
    made = (await call("POST", "clients", full)).json()
    public = (await call("POST", "clients", dict(PUBLIC))).json()
    at = f"clients/{made['client_id']}"
    await call("POST", f"{at}/labels", {"labels": {"tenant": "acme"}})
    seen = await call("GET", at)
    await call("PUT", at, {**full, "client_uri": "https://app.example"}, {"If-Match": seen.headers["etag"]})
    changed = await call("PUT", f"clients/{public['client_id']}", dict(MEMBERS))
    assert changed.json()["client_secret"]
    await call("GET", f"{at}/receipt")
    assert (await call("POST", f"{at}/reissue-token", {})).json()["client_secret"]
    for overlap in (60, 0):
        await call("POST", f"{at}/rotate-secret", {"overlap": overlap})
    await call("POST", f"{at}/suspend", {"reason": "x"})
    await call("POST", f"{at}/resume", {"reason": "x"})
    await call("GET", "clients", limit=1)
    await call("GET", "clients", state="active", never_used="true", order="newest", label="tenant=acme")
    await call("GET", "statistics")
    await call("DELETE", at, {"reason": "x"})
    await call("GET", at)


async def of_jobs(call: Operator, hook: Receiver) -> None:
    """Counted, started, looked at while it is open and when it is done, and stopped."""
    del hook
    wanted = {"act": "rotate-secret", "selection": {"all": True}, "reason": "x", "overlap": 0}
    assert (await call("POST", "jobs", {**wanted, "dry_run": True})).json()["clients"]
    narrow = ("software", "template", "token", "owner", "statement_issuer", "policy", "class", "host")
    nobody = {**dict.fromkeys(narrow, "none"), "labels": {"tenant": "none"}}
    await call("POST", "jobs", {**wanted, "selection": nobody})
    job = (await call("POST", "jobs", wanted)).json()
    await call("GET", f"jobs/{job['job_id']}")
    await call.server.registry.errands.done()
    assert (await call("GET", f"jobs/{job['job_id']}")).json()["state"] == "finished"
    await call("GET", "jobs", limit=1)
    other = (await call("POST", "jobs", {**wanted, "act": "suspend"})).json()
    await call("POST", f"jobs/{other['job_id']}/stop")


async def of_documents(call: Operator, hook: Receiver) -> None:
    """Clients that nobody registered: listed, shown, blocked, held and allowed, forgotten."""
    grants = ["authorization_code", DEVICE]
    for url, more in {"https://app.example/c": {}, "https://app.example/held": {"grant_types": grants}}.items():
        body = {"client_id": url, "redirect_uris": ["https://app.example/cb"], "client_name": "Acme", **more}
        hook.documents[url] = json.dumps(body).encode()
        await call.server.client.get("/authorize", params={"client_id": url})
    page = (await call("GET", "documents", limit=1)).json()
    rows = [*page["documents"], *(await call("GET", "documents", after=page["after"])).json()["documents"]]
    for row in rows:
        at = f"documents/{row['id']}"
        shown = (await call("GET", at)).json()
        assert ("held" in shown) == (shown["client_id"] == "https://app.example/held")
        await call("POST", f"{at}/block", {"reason": "x"})
        await call("POST", f"{at}/allow", {"digest": row["digest"], "reason": "x"})
        await call("DELETE", at, {"reason": "x"})


DRIVEN: tuple[Callable[[Operator, Receiver], Any], ...] = (
    of_policies,
    of_templates,
    of_statements,
    of_tokens,
    of_webhooks,
    of_reviews,
    of_clients,
    of_jobs,
    of_documents,
)


async def test_every_success_of_every_route_is_as_described(tmp_path: Path) -> None:
    """Each status that is described is answered, with a body as described; a route that is not driven is missed here."""
    async with operating(tmp_path) as (call, hook):
        for drive in DRIVEN:
            await drive(call, hook)
        assert successes().keys() - call.seen == set()
        assert len(call.seen) >= len(admin.ROUTES)
        made_up = {one for one in answered() - call.members if one.partition(".")[0] not in OF_FILES}
        assert sorted(made_up ^ ELSEWHERE) == []


OF_FILES = {"ClientInformation", "RegisteredMetadata", "Metadata", "Claim", "Form", "Roles", "Operators"}
"""Components that are as a client or a policy file has them, and not all of which can be there at once."""
ELSEWHERE = {
    "ChangedTemplate.waiting",
    "Counted.class",
    "ShownClient.class",
    "ShownClient.suspended_by",
    "ShownClient.warned_at",
    "ShownJob.left",
    "ShownJob.left_alone",
    "ShownReview.policy",
    "Statistics.more",
    "Survey.more",
}
"""Members that come with much time, many clients, classes or other settings: other tests see them, and are held to the
document too."""


def answered() -> set[str]:
    """Every member of every component that a success is made of."""
    every = {
        f"{name}.{member}"
        for name in components([*successes().values()])
        for member in SCHEMAS[name].get("properties", ())
    }
    return every - set(inherited())


def inherited() -> Iterator[str]:
    """Members of a component that it has from another one, where they are answered."""
    for kind in vars(answers).values():
        for base in getattr(kind, "__bases__", ()):
            if base.__name__ in SCHEMAS:
                yield from (f"{kind.__name__}.{one.encode_name}" for one in msgspec.structs.fields(base))


# --- the document itself ----------------------------------------------------------------------------------------------


def test_everything_has_a_meaning() -> None:
    """Each component, each of its members, each parameter and each value of a header; names are each of one operation."""
    for name, schema in SCHEMAS.items():
        assert schema["description"], name
        for member, one in schema.get("properties", {}).items():
            assert one.get("description"), f"{name}.{member}"
    operations = [one for path in DOCUMENT["paths"].values() for method, one in path.items() if method != "parameters"]
    for one in operations:
        assert one["summary"]
        for parameter in one.get("parameters", ()):
            assert parameter["description"], (one["operationId"], parameter["name"])
    named = [one["operationId"] for one in operations]
    assert len(named) == len(set(named))


def anything(schema: Any, where: str = "") -> Iterator[str]:
    """The places of a schema at which any value, or any member, is allowed."""
    if isinstance(schema, list):
        for one in schema:
            yield from anything(one, where)
        return
    kinds = {"type", "$ref", "anyOf", "enum", "const"}
    if not kinds & schema.keys() or (
        schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys()
    ):
        yield where
    if schema.get("additionalProperties") is True:
        yield where
    for name, one in schema.get("properties", {}).items():
        yield from anything(one, f"{where}.{name}")
    for name in ("items", "additionalProperties", "anyOf"):
        if isinstance(schema.get(name), dict | list):
            yield from anything(schema[name], where)


def test_what_is_open_is_so_on_purpose() -> None:
    """No answer has a place for just anything but where it repeats metadata, or a policy's own values."""
    found = {one for name in components([*successes().values()]) for one in anything(SCHEMAS[name], name)}
    metadata = {"Metadata", "RegisteredMetadata", "ClientInformation"}
    objects = {f"{one}.{member}" for one in metadata for member in ("jwks", "vp_formats_supported")}
    values = {
        "Operators.default",
        "Operators.value",
        "Operators.one_of",
        "Finding.before",
        "Finding.after",
        "Origin.value",
    }
    assert found == objects | values | {"ShownPolicy.rules", "ShownReview.difference"}


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, {"name": "default", "nickname": "d"}, "nickname"),
        (200, {"description": "x"}, "'name' is a required property"),
        (200, {"name": 7}, "not of type 'string'"),
        (200, {"name": "default", "review": {"all": True, "some": True}}, "some"),
        (202, {"name": "default"}, "not described"),
        (404, {"error": "not_found", "error_description": "x", "hint": "y"}, "hint"),
        (404, {"error": "gone_fishing", "error_description": "x"}, "not one of"),
        (401, {"error": "invalid_token", "error_description": "x"}, "lacks WWW-Authenticate"),
    ],
)
def test_what_is_not_described_is_found(status: int, body: dict[str, Any], problem: str) -> None:
    """Or no test that holds answers against the document would hold anything."""
    request = httpx2.Request("GET", f"https://as.example{PREFIX}policies/default")
    with pytest.raises(AssertionError, match=problem):
        check(httpx2.Response(status, json=body, request=request))
