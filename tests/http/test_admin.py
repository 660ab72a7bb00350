"""The administration API: who may call it, what it does, and how it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from registering import (
    MEMBERS,
    as_update,
    bearer,
    configured,
    events,
    everything_recorded,
    issue,
    manage,
    on_disk,
    refused,
    register,
)

from registrar.domain.access_token import ADMINISTRATION
from registrar.http import admin
from registrar.service import checkpoints, initial_access, keys, receipts
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

API = "/admin/api/"
ON = "admin_api = true"
TEMPLATE: Mapping[str, Any] = {"template_id": "field-app", "metadata": dict(MEMBERS)}


async def operator(server: Served, *scope: str) -> str:
    """An operator's token with these scopes, or with every one of administration."""
    return (await issue(server, scope=scope or tuple(ADMINISTRATION), owner="ops@example.com", label="desk"))[0]


async def call(server: Served, token: str, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
    """Call the API."""
    more = {} if body is None else {"json": body}
    return await server.client.request(method, API + path, headers=bearer(token), params=query, **more)


async def test_off_by_default() -> None:
    """Without the setting there is nothing at these paths, whatever is presented."""
    async with served(configured()) as server:
        token = await operator(server)

        for row in admin.ROUTES:
            answer = await call(server, token, row.method, row.path.replace("{}", "x"), {})
            refused(answer, "not_found", status=404)


@pytest.mark.requirement("SEED-7")
@pytest.mark.parametrize("row", admin.ROUTES, ids=lambda row: f"{row.method} {row.path}")
async def test_who_may(row: admin.Row) -> None:
    """Each route is opened by its own scope on a token of the kind operator, and by nothing else."""
    async with served(configured(issuer=ON)) as server:
        path = row.path.replace("{}", "x")
        others = [scope for scope in ADMINISTRATION if scope != row.scope]

        refused(missing := await call(server, "", row.method, path), "invalid_token", status=401)
        refused(await call(server, "nonsense", row.method, path), "invalid_token", status=401)
        beside = await call(server, await operator(server, "dcr", *others), row.method, path)
        refused(beside, "insufficient_scope", status=403)
        client_token = (await issue(server, "client"))[0]
        refused(await call(server, client_token, row.method, path), "insufficient_scope", status=403)
        client = await register(server)
        own = await call(server, client["registration_access_token"], row.method, path)
        refused(own, "invalid_token", status=401)
        allowed = await call(server, await operator(server, row.scope), row.method, path)

        assert 'error="' not in missing.headers["www-authenticate"]
        assert f'scope="{row.scope}"' in beside.headers["www-authenticate"]
        assert allowed.status_code not in (401, 403)
        assert len(await events(server, "administration.refused")) >= 5


async def test_no_use_is_spent_and_nothing_registered() -> None:
    """A call spends no use of the token, and a token without dcr registers nothing; revoked, it opens nothing."""
    async with served(configured("client", issuer=ON)) as server:
        value, token_id = await issue(server, scope=("admin.clients",), max_uses=1)

        for _ in range(3):
            assert (await call(server, value, "GET", "clients")).status_code == 200
        denied = await server.client.post("/register", json=dict(MEMBERS), headers=bearer(value))
        await initial_access.revoke_token(server.registry, server.issuer, server.operator, token_id)
        after = await call(server, value, "GET", "clients")

        refused(denied, "insufficient_scope", status=403)
        refused(after, "invalid_token", status=401)


@pytest.mark.requirement("SEED-7")
async def test_templates() -> None:
    """The life of a template over the API: created, changed by version, disabled, enabled, deleted; each told of."""
    async with served(configured(issuer=ON)) as server:
        token = await operator(server, "admin.templates")

        made = await call(server, token, "POST", "templates", TEMPLATE)
        client = await register(server, {"software_id": "field-app"})
        wanted = {"metadata": dict(MEMBERS) | {"client_name": "Changed"}, "version": 1}
        changed = await call(server, token, "PUT", "templates/field-app", wanted)
        stale = await call(server, token, "PUT", "templates/field-app", wanted)
        shown = await call(server, token, "GET", "templates/field-app")
        listed = await call(server, token, "GET", "templates")

        assert [made.status_code, changed.status_code] == [201, 200]
        assert made.json()["version"] == 1
        refused(stale, "invalid_request", status=409)
        assert shown.json()["instances"] == 1
        assert [one["template_id"] for one in listed.json()["templates"]] == ["field-app"]
        assert (await manage(server, client)).json()["client_name"] == "Changed"
        for act, status in (("disable", 403), ("enable", 200)):
            answer = await call(server, token, "POST", f"templates/field-app/{act}", {"reason": "to see"})
            assert answer.status_code == 200
            assert (await manage(server, client)).status_code == status
        assert (await call(server, token, "DELETE", "templates/field-app")).json()["state"] == "deleted"
        assert (await manage(server, client)).status_code == 401
        refused(await call(server, token, "POST", "templates", TEMPLATE), "invalid_request", status=409)
        (event,) = await events(server, "template.disabled")
        assert (event["actor"], event["authentication"]) == ("operator", "operator_token")
        assert event["token_id"]
        assert "ops@example.com" not in str(event)  # a person is named by a commitment alone


async def test_same_validation() -> None:
    """A template and a client are judged as a registration is, with the same faults."""
    async with served(configured(issuer=ON)) as server:
        token = await operator(server)
        bad = dict(MEMBERS) | {"redirect_uris": ["ftp://x.example/cb"], "contacts": "me"}
        at_register = await server.client.post("/register", json=bad)

        for path, body in (("templates", {"template_id": "a", "metadata": bad}), ("clients", bad)):
            answer = await call(server, token, "POST", path, body)
            assert answer.json() == at_register.json()
            assert answer.status_code == 400


@pytest.mark.requirement("SEED-7")
async def test_clients() -> None:
    """Clients are created whatever the mode, listed, changed, suspended, resumed and deleted."""
    async with served(configured("disabled", issuer=ON)) as server:
        token = await operator(server, "admin.clients")

        made = (await call(server, token, "POST", "clients", dict(MEMBERS))).json()
        other = (await call(server, token, "POST", "clients", dict(MEMBERS))).json()
        path = f"clients/{made['client_id']}"
        page = (await call(server, token, "GET", "clients", limit="1")).json()
        rest = (await call(server, token, "GET", "clients", after=page["after"])).json()
        every = [one["client_id"] for one in (await call(server, token, "GET", "clients")).json()["clients"]]
        newest = (await call(server, token, "GET", "clients", order="newest", limit="1")).json()
        oldest = (await call(server, token, "GET", "clients", order="newest", after=newest["after"])).json()
        assert [one["client_id"] for one in newest["clients"] + oldest["clients"]] == every[::-1]
        refused(await call(server, token, "GET", "clients", order="up"), "invalid_request", status=400)
        changed = await call(server, token, "PUT", path, dict(MEMBERS) | {"client_name": "By the desk"})
        none = dict(MEMBERS) | {"token_endpoint_auth_method": "none"}
        public = await call(server, token, "PUT", path, none)
        again = await call(server, token, "PUT", path, dict(MEMBERS))

        assert made["client_secret"]
        assert {page["clients"][0]["client_id"], rest["clients"][0]["client_id"]} == {
            made["client_id"],
            other["client_id"],
        }
        assert changed.json()["metadata"]["client_name"] == "By the desk"
        assert "client_secret" not in changed.json()
        assert public.json()["metadata"]["token_endpoint_auth_method"] == "none"
        assert again.json()["client_secret"] != made["client_secret"]
        assert (await manage(server, made)).json()["client_secret"] == again.json()["client_secret"]
        receipt = await call(server, token, "GET", f"{path}/receipt")
        keys_of_audit = (await checkpoints.published(server.registry))["keys"]
        assert receipt.headers["content-type"] == "application/jwt"
        assert receipts.verify(receipt.text, keys_of_audit).claims["client_id"] == made["client_id"]
        refused(await call(server, token, "GET", "clients/nobody/receipt"), "not_found", status=404)
        assert (await call(server, token, "POST", f"{path}/suspend", {"reason": "odd"})).json()["state"] == "suspended"
        refused(await manage(server, made), "access_denied", status=403)
        refused(await call(server, token, "POST", f"{path}/suspend"), "invalid_request", status=409)
        assert (await call(server, token, "POST", f"{path}/resume")).json()["state"] == "active"
        assert (await call(server, token, "DELETE", path)).status_code == 204
        refused(await call(server, token, "DELETE", path), "invalid_request", status=409)
        assert (await manage(server, made)).status_code == 401
        refused(await call(server, token, "GET", "clients/nobody"), "not_found", status=404)
        assert [one["kind"] for one in await events(server, client_id=made["client_id"])][:3] == [
            "client.registered",
            "client.expanded",
            "client.updated",
        ]
        (event, *_) = await events(server, "client.registered")
        assert event["authentication"] == "operator_token"


@pytest.mark.parametrize("database", ["memory:", "sqlite"])
async def test_no_change_is_lost(database: str, tmp_path: Path) -> None:
    """Whoever says by If-Match what they saw replaces that and nothing else; of two who saw the same, one comes first."""
    text = configured(issuer=ON) if database == "memory:" else on_disk(tmp_path, issuer=ON)
    async with served(text) as server:
        token = await operator(server, "admin.clients")
        client = await register(server)
        path = f"/admin/api/clients/{client['client_id']}"

        async def put(name: str, **headers: Any) -> Any:
            body = {**MEMBERS, "client_name": name}
            return await server.client.put(path, json=body, headers={**bearer(token), **headers})

        seen = (await server.client.get(path, headers=bearer(token))).headers["etag"]
        answers = await asyncio.gather(*[put(name, **{"if-match": f'"other", {seen}'}) for name in ("one", "two")])
        assert sorted(answer.status_code for answer in answers) == [200, 412]
        (changed,) = [answer for answer in answers if answer.status_code == 200]
        (lost,) = [answer for answer in answers if answer.status_code == 412]
        refused(lost, "invalid_request", status=412)
        shown = await server.client.get(path, headers=bearer(token))
        assert shown.headers["etag"] == changed.headers["etag"] != seen
        assert shown.json()["metadata"]["client_name"] == changed.json()["metadata"]["client_name"]

        for stale in (seen, f"W/{changed.headers['etag']}", "nonsense", '""', b"\xff", ""):
            assert (await put("late", **{"if-match": stale})).status_code == 412
        assert (await put("three", **{"if-match": changed.headers["etag"]})).status_code == 200
        assert (await put("four", **{"if-match": "*"})).status_code == 200
        assert (await put("five")).status_code == 200
        seen = (await server.client.get(path, headers=bearer(token))).headers["etag"]
        assert (await manage(server, client, "PUT", as_update(client, client_name="by itself"))).status_code == 200
        assert (await put("six", **{"if-match": seen})).status_code == 412


async def test_a_change_is_judged_by_the_clients_policy() -> None:
    """What the operator writes is judged as a whole by the policies of the client, and a template is not left."""
    policy = '[policy.short]\nmetadata = { client_name = { one_of = ["Reader"] } }\n'
    async with served(configured("client", issuer=ON, tables=policy)) as server:
        token = await operator(server)
        own, _ = await issue(server, policy="default short")
        client = await register(server, token=own)
        await call(server, token, "POST", "templates", TEMPLATE)
        instance = (await call(server, token, "POST", "clients", {"software_id": "field-app"})).json()

        named = await call(server, token, "PUT", f"clients/{client['client_id']}", dict(MEMBERS) | {"client_name": "X"})
        left = await call(
            server, token, "PUT", f"clients/{instance['client_id']}", dict(MEMBERS) | {"client_name": "X"}
        )

        refused(named, "invalid_client_metadata", "client_name")
        refused(left, "invalid_client_metadata", "client_name")
        assert left.json()["faults"][0]["rule"] == "template.changed"


@pytest.mark.requirement("SEED-7")
async def test_tokens() -> None:
    """Tokens are issued, listed and revoked; nobody issues what opens more of the API than their own token."""
    async with served(configured("client", issuer=ON)) as server:
        token = await operator(server, "admin.tokens")

        wanted = {"kind": "client", "scope": "dcr openid", "policy": "default", "label": "gateway", "max_uses": 2}
        made = (await call(server, token, "POST", "tokens", wanted)).json()
        client = await register(server, dict(MEMBERS) | {"scope": "openid email"}, made["token"])
        wider = await call(server, token, "POST", "tokens", {"kind": "operator", "scope": "admin.clients"})
        same = await call(server, token, "POST", "tokens", {"kind": "operator", "scope": "admin.tokens"})
        listed = (await call(server, token, "GET", "tokens")).json()["tokens"]
        revoked = await call(server, token, "POST", f"tokens/{made['token_id']}/revoke")

        assert client["scope"] == "openid"
        refused(wider, "insufficient_scope", status=403)
        assert same.status_code == 201
        assert "token" not in listed[0]
        assert [one["uses"] for one in listed if one["token_id"] == made["token_id"]] == [1]
        assert revoked.json()["status"] == "revoked"
        answer = await server.client.post("/register", json=dict(MEMBERS), headers=bearer(made["token"]))
        refused(answer, "invalid_token", status=401)
        for bad in ({"policy": "nobody"}, {"kind": "user"}, {"kind": "client", "scope": "admin.tokens"}):
            refused(await call(server, token, "POST", "tokens", bad), "invalid_request", status=409)
        recorded = await everything_recorded(server)
        assert made["token"] not in recorded
        assert token not in recorded


@pytest.mark.requirement("SEED-7")
async def test_statements() -> None:
    """Statements are issued, shown, listed and revoked."""
    async with served(configured(issuer=ON)) as server:
        await keys.ensure(server.registry, server.issuer)
        token = await operator(server, "admin.statements")

        made = (await call(server, token, "POST", "statements", {"software_id": "app", "members": {}})).json()
        shown = await call(server, token, "GET", f"statements/{made['jti']}")
        listed = (await call(server, token, "GET", "statements")).json()["statements"]
        revoked = await call(server, token, "POST", f"statements/{made['jti']}/revoke", {"reason": "stolen"})
        again = await call(server, token, "POST", f"statements/{made['jti']}/revoke")

        assert made["software_statement"].count(".") == 2
        assert shown.json()["state"] == "ACTIVE"
        assert "software_statement" not in listed[0]
        assert revoked.json()["state"] == "REVOKED"
        refused(again, "invalid_request", status=409)
        bad = {"software_id": "app", "members": {"redirect_uris": ["ftp://x.example"]}}
        refused(await call(server, token, "POST", "statements", bad), "invalid_redirect_uri", "redirect_uris[0]")


async def test_policies() -> None:
    """Policies are listed and shown, those of the configuration too."""
    policy = '[policy.short]\ndescription = "Few names"\nmetadata = { client_name = { one_of = ["Reader"] } }\n'
    async with served(configured(issuer=ON, tables=policy)) as server:
        token = await operator(server, "admin.policies")

        listed = (await call(server, token, "GET", "policies")).json()
        shown = (await call(server, token, "GET", "policies/short")).json()

        assert listed["policy"] == "default"
        assert {"default", "short"} <= {one["name"] for one in listed["policies"]}
        assert shown["metadata"] == {"client_name": {"one_of": ["Reader"]}}
        refused(await call(server, token, "GET", "policies/nobody"), "not_found", status=404)
        refused(await call(server, token, "POST", "policies/nobody/explain", {"request": {}}), "not_found", status=404)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "templates", b"[]", 400),
        ("POST", "templates", b'{"metadata": {}, "metadata": {}}', 400),
        ("POST", "templates", b'{"metadata": {}, "surplus": 1}', 400),
        ("POST", "templates", b'{"metadata": "x", "template_id": "a"}', 400),
        ("POST", "templates", b'{"metadata": {}, "template_id": "../a"}', 400),
        ("POST", "templates", b'{"metadata": {"redirect_uris": ["https://a.example"]}, "template_id": 7}', 400),
        ("PUT", "templates/a", b"{", 400),
        ("POST", "tokens", b'{"kind": "emperor"}', 400),
        ("POST", "tokens", b'{"max_uses": -1}', 400),
        ("POST", "tokens", b'{"max_uses": 1e999}', 400),
        ("POST", "statements", b'{"software_id": "a", "expires_in": -5}', 409),
        ("POST", "statements", b'{"software_id": "", "members": {}}', 400),
        ("POST", "statements", b'{"software_id": "a", "members": {"client_secret": "x"}}', 400),
        ("POST", "policies/default/explain", b'{"request": [], "assurance": "open"}', 400),
        ("POST", "policies/default/explain", b'{"request": {}, "assurance": "god"}', 400),
        ("POST", "policies/default/explain", b'{"request": "not.a.jwt"}', 415),
        ("POST", "clients", b"{}" + b" " * 70_000, 413),
        ("GET", "clients?limit=0", b"", 400),
        ("GET", "clients?limit=99999", b"", 400),
        ("GET", "clients?state=odd", b"", 400),
        ("GET", "clients?access_token=x", b"", 400),
        ("PATCH", "clients", b"", 405),
        ("DELETE", "clients", b"", 405),
        ("GET", "clients/a/b/c", b"", 404),
        ("GET", "", b"", 404),
        ("GET", "clients/", b"", 404),
    ],
)
async def test_bad_input(method: str, path: str, content: bytes, status: int) -> None:
    """Bad input of any shape is told as the protocol's is, and nothing changes."""
    async with served(configured(issuer=ON)) as server:
        token = await operator(server)
        headers = bearer(token) | ({"content-type": "application/json"} if content else {})

        answer = await server.client.request(method, API + path, headers=headers, content=content)

        assert answer.status_code == status, answer.text
        assert {"error", "error_description"} <= answer.json().keys()
        changed = [one["kind"] for one in await events(server) if one["kind"] != "token.issued"]
        assert set(changed) <= {"administration.refused"}


async def test_media_type() -> None:
    """A body is JSON and says so."""
    async with served(configured(issuer=ON)) as server:
        token = await operator(server)

        for media in ("text/plain", "application/jwt"):
            headers = bearer(token) | {"content-type": media}
            answer = await server.client.post(f"{API}clients", content=b"{}", headers=headers)
            refused(answer, "invalid_request", status=415)


async def test_another_issuer() -> None:
    """An operator's token opens its own issuer alone, and the API is a switch of each."""
    other = '[issuer.other]\nurl = "https://as.example/other"\n[issuer.other.registration]\nmode = "open"\n'
    async with served(configured(issuer=ON, tables=other)) as server:
        token = await operator(server)

        refused(await server.client.get("/other/admin/api/clients", headers=bearer(token)), "not_found", status=404)
    async with served(configured(issuer=ON, tables=other.replace('/other"\n', f'/other"\n{ON}\n', 1))) as server:
        token = await operator(server)

        foreign = await server.client.get("/other/admin/api/clients", headers=bearer(token))
        refused(foreign, "invalid_token", status=401)


async def test_pages_of_other_origins_do_not_call_it() -> None:
    """No page of another origin may call the API, whatever is configured for the protocol's endpoints."""
    async with served(configured(issuer=f'{ON}\ncors_origins = ["*"]')) as server:
        answer = await server.client.get(f"{API}clients", headers={"origin": "https://evil.example"})

        assert "access-control-allow-origin" not in answer.headers


async def test_bound_token() -> None:
    """A token that is bound to addresses opens the API from these alone."""
    async with served(configured(issuer=ON)) as server:
        elsewhere = (await issue(server, scope=("admin.clients",), addresses=("192.0.2.0/24",)))[0]
        here = (await issue(server, scope=("admin.clients",), addresses=("127.0.0.0/8",)))[0]

        refused(await call(server, elsewhere, "GET", "clients"), "invalid_token", status=401)
        assert (await call(server, here, "GET", "clients")).status_code == 200
