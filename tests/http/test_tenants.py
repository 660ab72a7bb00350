"""Labels and tenancy: what a token labels, and that a token within labels knows of nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from registering import MEMBERS, PUBLIC, as_update, bearer, configured, events, issue, manage, on_disk, post, register

from registrar.domain.access_token import ADMINISTRATION
from registrar.domain.credentials import PresentedToken
from registrar.domain.terms import term
from registrar.http import admin
from registrar.service import initial_access, inventory, labels
from registrar.service.operators import Refused
from registrar.service.ports import ClientQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

ON = "admin_api = true"
QUOTA = "[issuer.main.labels]\nmost = { tenant = 2 }"
HELD = """
[policy.careful]
extends = ["default"]
[policy.careful.review]
grants = ["client_credentials"]
[policy.careful.changes]
redirect_host = "review"
"""
MACHINE = {"grant_types": ["client_credentials"], "redirect_uris": []}


async def call(server: Served, token: str, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
    """Call the API."""
    more = {} if body is None else {"json": body}
    return await server.client.request(method, f"/admin/api/{path}", headers=bearer(token), params=query, **more)


async def tenant(server: Served, name: str, *scope: str) -> str:
    """The token of somebody who administers a tenant."""
    return (await issue(server, scope=scope or tuple(ADMINISTRATION), within={"tenant": name}, max_uses=0))[0]


async def of_tenant(server: Served, name: str, **members: Any) -> dict[str, Any]:
    """A client of a tenant."""
    value, _ = await issue(server, labels={"tenant": name})
    answer = await post(server, {**MEMBERS, **members}, token=value)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.requirement("SEED-80")
async def test_a_token_labels_what_it_registers() -> None:
    """The record, the inventory and the operator's view have it; what a client says itself has no effect."""
    async with served(configured(issuer=ON)) as server:
        made = await of_tenant(server, "acme", labels={"tenant": "other"})
        client = await server.registry.store.find("main", made["client_id"])
        assert client is not None
        assert client.labels == client.public().labels == {"tenant": "acme"}
        token, _ = await issue(server, scope=("admin.clients",))
        found = await call(server, token, "GET", "clients", label="tenant=acme")
        assert [one["client_id"] for one in found.json()["clients"]] == [made["client_id"]]
        assert (await call(server, token, "GET", "clients", label="tenant=other")).json()["clients"] == []


async def test_a_page_of_a_tenants_tokens_looks_at_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are of others; where a page found few, it says where to go on, and none is told twice."""
    monkeypatch.setattr(inventory, "LOOKS", 3)
    monkeypatch.setattr("registrar.http.admin.tokens._TOKENS", 2)
    async with served(configured(issuer=ON)) as server:
        own = await tenant(server, "acme")
        for name in ("other", "other", "other", "other", "acme", "other", "acme"):
            await issue(server, labels={"tenant": name})
        read, tokens = list[int](), server.registry.store.tokens

        async def seen(*given: Any, **more: Any) -> Any:
            read.append(more["limit"])
            return await tokens(*given, **more)

        monkeypatch.setattr(server.registry.store, "tokens", seen)
        found, after, pages = list[str](), "", 0
        while True:
            page = (await call(server, own, "GET", "tokens", after=after)).json()
            assert sum(read) <= 4
            read.clear()
            found, after, pages = (
                [*found, *(one["token_id"] for one in page["tokens"])],
                page.get("after", ""),
                pages + 1,
            )
            if not after:
                break
        assert len(found) == len(set(found)) == 3
        assert pages == 3
        assert found == sorted(found)


async def test_an_operator_labels() -> None:
    """Adds, replaces, takes away; and only labels that there are."""
    async with served(configured(issuer=ON)) as server:
        made = await register(server, PUBLIC)
        token, _ = await issue(server, scope=("admin.clients",))
        path = f"clients/{made['client_id']}/labels"
        first = await call(server, token, "POST", path, {"labels": {"tenant": "acme", "workflow": "nightly"}})
        assert first.json()["labels"] == {"tenant": "acme", "workflow": "nightly"}
        second = await call(server, token, "POST", path, {"labels": {"tenant": "b", "workflow": ""}})
        assert second.json()["labels"] == {"tenant": "b"}
        for odd in ({"colour": "red"}, {"tenant": "x" * 200}, {"tenant": "a\nb"}, {"tenant": "ü"}):
            assert (await call(server, token, "POST", path, {"labels": odd})).status_code == 409
        assert (await call(server, token, "POST", path, {"labels": 7})).status_code == 400
        assert [one["reason"] for one in await events(server, "client.labelled")][1] == "tenant=b, workflow="
        for bad in ({"colour": "red"}, {"tenant": ""}):
            with pytest.raises(Refused):
                await initial_access.issue_token(server.registry, server.issuer, server.operator, labels=bad)


@pytest.mark.requirement("SEED-80")
async def test_a_label_may_have_so_many_clients() -> None:
    """The next one is refused, and told which label; one that goes makes room, and other values have their own."""
    async with served(configured(tables=QUOTA)) as server:
        made = [await of_tenant(server, "acme") for _ in range(2)]
        value, _ = await issue(server, labels={"tenant": "acme"})
        refusal = await post(server, MEMBERS, token=value)
        assert (refusal.status_code, refusal.json()["error"]) == (403, "access_denied")
        assert "2 clients with this tenant" in refusal.json()["error_description"]
        moving = await of_tenant(server, "other")
        with pytest.raises(Refused, match="2 clients with this tenant"):
            await labels.label(server.registry, server.issuer, server.operator, moving["client_id"], {"tenant": "acme"})
        await manage(server, made[0], "DELETE")
        assert (await post(server, MEMBERS, token=value)).status_code == 201


@pytest.mark.requirement("SEED-80")
async def test_of_many_at_once_no_more_come_in_than_a_label_may_have(tmp_path: Path) -> None:
    """Registrations and an operator's labelling beside them: the number holds exactly, and nobody is refused in vain."""
    tables = "[issuer.main.labels]\nmost = { tenant = 10 }"
    async with served(on_disk(tmp_path, tables=tables)) as server:
        value, _ = await issue(server, labels={"tenant": "acme"}, max_uses=0)
        moving = [await register(server, PUBLIC) for _ in range(6)]

        async def labelled(client_id: str) -> int:
            try:
                await labels.label(server.registry, server.issuer, server.operator, client_id, {"tenant": "acme"})
            except Refused:
                return 403
            return 201

        async def registered() -> int:
            return (await post(server, MEMBERS, token=value)).status_code

        acts = [registered() for _ in range(12)] + [labelled(one["client_id"]) for one in moving]
        answers = Counter(await asyncio.gather(*acts))

        found = await server.registry.store.count(ClientQuery("main", terms=(term("label.tenant", "acme"),)))
        assert (found, answers) == (10, {201: 10, 403: 8})


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize("cap", ["owner", "software", "address"])
async def test_no_tenant_fills_the_cap_of_another(cap: str) -> None:
    """By naming its owner or software, or from its address: the other's clients stay, and it goes on registering."""
    tables = f"[issuer.main.limits.clients]\n{cap} = 2\n"
    members = {**PUBLIC, "software_id": "planner"}
    text = configured(issuer=ON, tables=tables).replace("[server]", '[server]\ntrusted_proxies = ["127.0.0.1"]', 1)
    async with served(text) as server:

        async def come(token: str) -> httpx2.Response:
            headers = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", **bearer(token)}
            return await server.client.post("/register", json=members, headers=headers)

        theirs, _ = await issue(server, labels={"tenant": "other"}, owner="alice", max_uses=0)
        before = (await come(theirs)).json()
        own = await tenant(server, "acme")
        wanted = {"kind": "operator", "owner": "alice", "max_uses": 0}
        issued = (await call(server, own, "POST", "tokens", wanted)).json()["token"]
        for _ in range(5):
            assert (await come(issued)).status_code == 201
        client = await server.registry.store.find("main", before["client_id"])
        assert client is not None
        assert client.state == "active"
        assert (await come(theirs)).status_code == 201
        living = await server.registry.store.count(ClientQuery("main", terms=(term("label.tenant", "acme"),)))
        assert living == 2


async def test_a_full_label_ends_nobody() -> None:
    """A client that was never used makes no room for another tenant member, under a cap that evicts beside it neither."""
    tables = QUOTA + "\n[issuer.main.limits.clients]\ntoken = 3\n"
    async with served(configured(tables=tables)) as server:
        value, _ = await issue(server, labels={"tenant": "acme"}, max_uses=0)
        made = [(await post(server, MEMBERS, token=value)).json() for _ in range(2)]
        for _ in range(3):
            refusal = await post(server, MEMBERS, token=value)
            assert (refusal.status_code, refusal.json()["error"]) == (403, "access_denied")
        for one in made:
            found = await server.registry.store.find("main", one["client_id"])
            assert found is not None
            assert found.state == "active"


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize("row", admin.ROUTES, ids=lambda row: f"{row.method} {row.path}")
async def test_no_route_reaches_another_tenant(row: admin.Row) -> None:
    """Whatever is called about another's client, it is answered as if there were none, and nothing of it is told."""
    async with served(configured(issuer=ON)) as server:
        other = await of_tenant(server, "other", client_name="Secret Project")
        before = await server.registry.store.find("main", other["client_id"])
        token = await tenant(server, "acme")
        body: dict[str, Any] = {"reason": "x"} if row.takes is not None else {}
        path = row.path.replace("{}", other["client_id"])
        answer = await call(server, token, row.method, path, body)
        unknown = await call(server, token, row.method, row.path.replace("{}", "nobody"), body)
        assert answer.status_code < 500
        if row.of_client:
            assert (answer.status_code, unknown.status_code) == (404, 404)
            assert answer.text.replace(other["client_id"], "nobody") == unknown.text
        if not row.confined:
            assert answer.status_code == 403
        assert "Secret Project" not in answer.text
        assert await server.registry.store.find("main", other["client_id"]) == before


CLOSED, CLIENT, OTHER, OWN = "closed", "client", "other", "own"
REASON: dict[str, Any] = {"reason": "x"}
DECIDED: dict[str, tuple[str, dict[str, Any] | None]] = {
    "GET policies": (CLOSED, None),
    "GET policies/{}": (CLOSED, None),
    "POST policies/{}/explain": (CLOSED, {"request": dict(MEMBERS)}),
    "GET templates": (CLOSED, None),
    "POST templates": (CLOSED, {"template_id": "t", "metadata": dict(MEMBERS)}),
    "GET templates/{}": (CLOSED, None),
    "PUT templates/{}": (CLOSED, {"metadata": dict(MEMBERS)}),
    "DELETE templates/{}": (CLOSED, REASON),
    "POST templates/{}/enable": (CLOSED, REASON),
    "POST templates/{}/disable": (CLOSED, REASON),
    "GET statements": (CLOSED, None),
    "POST statements": (CLOSED, {"software_id": "s"}),
    "GET statements/{}": (CLOSED, None),
    "POST statements/{}/revoke": (CLOSED, REASON),
    "GET tokens": (OWN, None),
    "POST tokens": (OWN, {"kind": "operator", "scope": "dcr", "max_uses": 0}),
    "POST tokens/{}/revoke": (OTHER, {"cascade": "delete"}),
    "GET webhooks": (CLOSED, None),
    "GET webhooks/{}": (CLOSED, None),
    "GET webhooks/{}/given-up": (CLOSED, None),
    "POST webhooks/{}/replay": (CLOSED, {"given_up": True}),
    "POST webhooks/{}/test": (CLOSED, None),
    "POST webhooks/{}/enable": (CLOSED, REASON),
    "GET reviews": (OWN, None),
    "GET reviews/{}": (CLIENT, None),
    "POST reviews/{}/approve": (CLIENT, {"digest": "0" * 64, **REASON}),
    "POST reviews/{}/reject": (CLIENT, {"digest": "0" * 64, **REASON}),
    "GET clients": (OWN, None),
    "POST clients": (OWN, dict(PUBLIC)),
    "GET statistics": (OWN, None),
    "POST clients/{}/labels": (CLIENT, {"labels": {"tenant": "acme"}}),
    "GET clients/{}": (CLIENT, None),
    "PUT clients/{}": (CLIENT, dict(MEMBERS)),
    "DELETE clients/{}": (CLIENT, REASON),
    "GET clients/{}/receipt": (CLIENT, None),
    "POST clients/{}/suspend": (CLIENT, REASON),
    "POST clients/{}/resume": (CLIENT, REASON),
    "POST clients/{}/rotate-secret": (CLIENT, REASON),
    "POST clients/{}/reissue-token": (CLIENT, REASON),
    "GET documents": (CLOSED, None),
    "GET documents/{}": (CLOSED, None),
    "POST documents/{}/block": (CLOSED, REASON),
    "POST documents/{}/allow": (CLOSED, REASON),
    "DELETE documents/{}": (CLOSED, REASON),
    "GET jobs": (OWN, None),
    "POST jobs": (OWN, {"act": "delete", "selection": {"all": True}, "reason": "x"}),
    "GET jobs/{}": (OTHER, None),
    "POST jobs/{}/stop": (OTHER, None),
}
"""What each route is for a token within labels, and a body that it takes from whoever may: closed; about a client, which has
to be one's own; about another thing, which has to be; or about all that is one's own. A new route has to be decided about."""


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize("row", admin.ROUTES, ids=lambda row: f"{row.method} {row.path}")
async def test_every_route_is_decided_about(row: admin.Row) -> None:
    """With a body that it takes, so that nothing but whose it is can be what refuses: another's is neither seen nor touched."""
    assert f"{row.method} {row.path}" in DECIDED, "say in DECIDED what a token within labels may do there"
    decision, body = DECIDED[f"{row.method} {row.path}"]
    assert (row.confined, row.of_client) == (decision != CLOSED, decision == CLIENT)
    async with served(configured(issuer=ON)) as server:
        value, token_id = await issue(server, labels={"tenant": "other"}, max_uses=0)
        client = (await post(server, {**MEMBERS, "client_name": "Secret Project"}, token=value)).json()
        elsewhere = await tenant(server, "other")
        wanted = {"act": "suspend", "selection": {"software": "nobody-has-it"}, "reason": "x"}
        job_id = (await call(server, elsewhere, "POST", "jobs", wanted)).json()["job_id"]
        await server.registry.errands.done()
        before = await server.registry.store.find("main", client["client_id"])
        theirs = {"clients": client["client_id"], "reviews": client["client_id"], "tokens": token_id, "jobs": job_id}
        name = theirs.get(row.path.split("/")[0], "default")

        answer = await call(server, await tenant(server, "acme"), row.method, row.path.replace("{}", name), body)
        await server.registry.errands.done()

        allowed = {CLOSED: {403}, CLIENT: {404}, OTHER: {404}, OWN: {200, 201, 202}}
        assert answer.status_code in allowed[decision], answer.text
        if decision == OWN:
            assert not any(one in answer.text for one in (*theirs.values(), "Secret Project"))
        assert await server.registry.store.find("main", client["client_id"]) == before
        assert (await post(server, MEMBERS, token=value)).status_code == 201  # their token works as before


def test_nothing_is_decided_about_what_is_no_route() -> None:
    """Or the table would tell of what nobody can look at."""
    assert [*DECIDED] == [f"{row.method} {row.path}" for row in admin.ROUTES]


@pytest.mark.requirement("SEED-59")
async def test_a_tenant_administers_its_own() -> None:
    """Lists, counts, changes, creates, issues tokens and starts jobs: all of it within its labels."""
    async with served(configured(issuer=ON)) as server:
        mine, other = await of_tenant(server, "acme"), await of_tenant(server, "other")
        token = await tenant(server, "acme")
        listed = (await call(server, token, "GET", "clients")).json()["clients"]
        assert [one["client_id"] for one in listed] == [mine["client_id"]]
        told = (await call(server, token, "GET", "statistics")).json()
        assert (told["clients"], told["by"]["last_use"]) == (1, {"never": 1})
        assert (await call(server, token, "POST", f"clients/{mine['client_id']}/suspend")).status_code == 200
        made = (await call(server, token, "POST", "clients", dict(PUBLIC))).json()
        created = await server.registry.store.find("main", made["client_id"])
        assert created is not None
        assert created.labels == {"tenant": "acme"}
        moved = await call(
            server, token, "POST", f"clients/{mine['client_id']}/labels", {"labels": {"tenant": "other"}}
        )
        assert moved.status_code == 403
        issued = (
            await call(
                server, token, "POST", "tokens", {"kind": "operator", "scope": "dcr admin.clients", "max_uses": 5}
            )
        ).json()
        assert issued["labels"] == issued["within"] == {"tenant": "acme"}
        wider = await call(
            server, token, "POST", "tokens", {"kind": "operator", "scope": "dcr", "labels": {"tenant": "other"}}
        )
        assert wider.json()["labels"] == {"tenant": "acme"}
        registered = (await post(server, PUBLIC, token=issued["token"])).json()
        assert (await call(server, issued["token"], "GET", f"clients/{registered['client_id']}")).status_code == 200
        assert (await call(server, issued["token"], "GET", f"clients/{other['client_id']}")).status_code == 404
        ids = {one["token_id"] for one in (await call(server, token, "GET", "tokens")).json()["tokens"]}
        assert issued["token_id"] in ids
        job = await call(server, token, "POST", "jobs", {"act": "delete", "selection": {"all": True}, "reason": "x"})
        assert job.status_code == 202
        assert job.json()["selection"]["labels"] == {"tenant": "acme"}
        await server.registry.errands.done()
        left = await server.registry.store.find("main", other["client_id"])
        assert left is not None
        assert left.state == "active"
        elsewhere = await tenant(server, "other")
        assert (await call(server, elsewhere, "GET", f"jobs/{job.json()['job_id']}")).status_code == 404
        assert (await call(server, elsewhere, "GET", "jobs")).json()["jobs"] == []
        assert (await call(server, elsewhere, "POST", f"tokens/{issued['token_id']}/revoke", {})).status_code == 404
        assert PresentedToken(issued["token"])


@pytest.mark.requirement("SEED-59")
async def test_asking_for_another_tenant_is_refused_and_not_turned_on_ones_own() -> None:
    """A job, a list or a count of another tenant's: 403 for each, and nothing happens to one's own clients."""
    async with served(configured(issuer=ON)) as server:
        mine = await of_tenant(server, "acme")
        token = await tenant(server, "acme")
        wanted = {"act": "delete", "selection": {"labels": {"tenant": "other"}}, "reason": "x"}
        for dry_run in (True, False):
            answer = await call(server, token, "POST", "jobs", {**wanted, "dry_run": dry_run})
            assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
        await server.registry.errands.done()
        for path in ("clients", "statistics"):
            assert (await call(server, token, "GET", path, label="tenant=other")).status_code == 403
            assert (await call(server, token, "GET", path, label="tenant=acme")).status_code == 200
        assert (await call(server, token, "GET", "jobs")).json()["jobs"] == []
        left = await server.registry.store.find("main", mine["client_id"])
        assert left is not None
        assert left.state == "active"


@pytest.mark.requirement("SEED-59")
async def test_a_tenant_does_not_see_or_revoke_who_administers_all() -> None:
    """An operator of everything may label what they register for a tenant, and is not that tenant's to revoke."""
    async with served(configured(issuer=ON)) as server:
        value, chief = await issue(server, scope=("dcr", "admin.clients"), labels={"tenant": "acme"}, max_uses=0)
        _, own = await issue(server, labels={"tenant": "acme"})
        token = await tenant(server, "acme")
        ids = {one["token_id"] for one in (await call(server, token, "GET", "tokens")).json()["tokens"]}
        assert own in ids
        assert chief not in ids
        assert (await call(server, token, "POST", f"tokens/{chief}/revoke", {})).status_code == 404
        assert (await call(server, value, "GET", "clients")).status_code == 200


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize("what", ["registration", "update"])
async def test_what_is_held_of_another_tenant_is_not_there(what: str) -> None:
    """A registration or an update that waits: neither listed, nor shown, nor decided, by whoever knows all about it."""
    async with served(configured(registration='policy = "careful"', issuer=ON, tables=HELD)) as server:
        made = await of_tenant(
            server, "other", client_name="Secret Project", **(MACHINE if what == "registration" else {})
        )
        if what == "update":
            wider = [*MEMBERS["redirect_uris"], "https://elsewhere.example/cb"]
            answer = await manage(server, made, "PUT", as_update(made, redirect_uris=wider))
            assert answer.json()["pending_update"]
        own, elsewhere = await tenant(server, "acme"), await tenant(server, "other")
        (theirs,) = (await call(server, elsewhere, "GET", "reviews")).json()["reviews"]
        assert (theirs["client_id"], theirs["what"]) == (made["client_id"], what)
        decided, before = {"digest": theirs["digest"]}, await server.registry.store.find("main", made["client_id"])

        assert (await call(server, own, "GET", "reviews")).json() == {"reviews": []}
        for method, path, body in (
            ("GET", "reviews/{}", None),
            ("POST", "reviews/{}/approve", decided),
            ("POST", "reviews/{}/reject", decided),
        ):
            answer = await call(server, own, method, path.replace("{}", made["client_id"]), body)
            unknown = await call(server, own, method, path.replace("{}", "nobody"), body)
            assert (answer.status_code, unknown.status_code) == (404, 404)
            assert "no client" in unknown.json()["error_description"]
            assert answer.text.replace(made["client_id"], "nobody") == unknown.text

        assert await server.registry.store.find("main", made["client_id"]) == before
        assert (await call(server, elsewhere, "GET", "reviews")).json()["reviews"] == [theirs]
        approved = await call(server, elsewhere, "POST", f"reviews/{made['client_id']}/approve", decided)
        assert (approved.status_code, approved.json()["state"]) == (200, "active")


async def test_a_tenant_chooses_no_policy_instead_of_its_own() -> None:
    """What it issues is judged by what judges it, and may be judged more severely; who administers all may choose."""
    tables = '[policy.strict]\nextends = ["default"]\n[policy.loose]\nextends = ["default"]\n'
    async with served(configured(registration='policy = "strict"', issuer=ON, tables=tables)) as server:
        own, (chief, _) = await tenant(server, "acme"), await issue(server, scope=("dcr", "admin.tokens"), max_uses=0)
        wanted = {"kind": "operator", "policy": "loose", "max_uses": 0}
        told = [(await call(server, token, "POST", "tokens", wanted)).json() for token in (own, chief)]
        assert [one["policy"] for one in told] == ["strict loose", "loose"]
        made = (await post(server, MEMBERS, token=told[0]["token"])).json()
        client = await server.registry.store.find("main", made["client_id"])
        assert client is not None
        assert client.policy == "strict loose"
        plain = (await call(server, own, "POST", "tokens", {"kind": "operator"})).json()
        assert "loose" not in plain["policy"]


async def test_a_tenant_finds_its_deleted_clients() -> None:
    """And nobody else's."""
    async with served(configured(issuer=ON)) as server:
        mine, other = await of_tenant(server, "acme"), await of_tenant(server, "other")
        for one in (mine, other):
            await manage(server, one, "DELETE")
        token = await tenant(server, "acme")
        found = (await call(server, token, "GET", "clients", state="deleted")).json()["clients"]
        assert [one["client_id"] for one in found] == [mine["client_id"]]


def test_every_route_about_one_client_is_kept_within() -> None:
    """A route that is open to tenants and has a client's name in its path looks whose it is."""
    about = [row for row in admin.ROUTES if row.confined and row.path.startswith(("clients/{}", "reviews/{}"))]
    assert about
    assert all(row.of_client for row in about)


@pytest.mark.requirement("SEED-80")
async def test_an_operator_labels_no_more_than_a_label_may_have() -> None:
    """The number of a label is not got round by labelling afterwards; to say again what is so takes no room."""
    async with served(configured(issuer=ON, tables=QUOTA)) as server:
        made = [await of_tenant(server, "acme") for _ in range(2)]
        third = await register(server, PUBLIC)
        token, _ = await issue(server, scope=("admin.clients",))
        wanted = {"labels": {"tenant": "acme"}}
        refusal = await call(server, token, "POST", f"clients/{third['client_id']}/labels", wanted)
        assert refusal.status_code == 409
        assert "2 clients with this tenant" in refusal.json()["error_description"]
        left = await server.registry.store.find("main", third["client_id"])
        assert left is not None
        assert left.labels == {}
        assert (await call(server, token, "POST", f"clients/{made[0]['client_id']}/labels", wanted)).status_code == 200
