"""What an operator's token is good for at the administration API: bounded numbers, and nothing beyond itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from registering import MEMBERS, bearer, configured, events, issue, on_disk

from registrar.domain.access_token import ADMINISTRATION
from registrar.testing import served

pytestmark = pytest.mark.anyio

HUGE = 10**18


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tokens", {"max_uses": HUGE * 9}),
        ("tokens", {"expires_in": 2**63 - 1}),
        ("tokens", {"max_uses": 10**30}),
        ("tokens", {"expires_in": 10**30}),
        ("tokens", {"label": "x" * 501}),
        ("tokens", {"scope": "dcr " + "x" * 2_048}),
        ("tokens", {"scope": "dcr a\0b"}),
        ("tokens", {"scope": 'dcr "'}),
        ("templates", {"template_id": "t", "metadata": dict(MEMBERS), "description": "x" * 501}),
        ("tokens", {"owner": "x" * 501}),
        ("reviews/nobody/approve", {"digest": "x", "reason": "x" * 501}),
        ("reviews/nobody/reject", {"digest": "x", "reason": "x" * 501}),
        ("jobs", {"act": "delete", "selection": {"all": True}, "reason": "x" * 501}),
        ("jobs", {"act": "delete", "selection": {"software": "x" * 5_000}}),
        ("jobs", {"act": "delete", "selection": {"labels": {"x" * 5_000: "y"}}}),
        ("jobs", {"act": "rotate-secret", "selection": {"all": True}, "overlap": HUGE}),
        ("statements", {"software_id": "a", "expires_in": 2**63 - 1}),
        ("statements", {"software_id": "a", "expires_in": -1}),
        ("statements", {"software_id": "a", "expires_in": 10**30}),
    ],
)
async def test_out_of_range(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    """A number that no store holds is refused, and never an incident."""
    async with served(on_disk(tmp_path, issuer="admin_api = true")) as server:
        token = (await issue(server, scope=tuple(ADMINISTRATION)))[0]

        answer = await server.client.post(f"/admin/api/{path}", headers=bearer(token), json=body)

        assert answer.status_code in (400, 409), answer.text
        assert answer.json()["error_description"]
        assert len(await server.registry.store.tokens("main")) == 1
        assert not await server.registry.store.items("main", "statement")
        assert not await server.registry.store.items("main", "template")
        assert not await server.registry.store.items("main", "bulk")


@pytest.mark.parametrize(
    ("method", "path", "body", "accepted"),
    [
        ("GET", "clients?state=sleeping", None, "pending, active, suspended, deleted"),
        ("GET", "clients?colour=red", None, "state, owner, software, host, flag"),
        ("POST", "jobs", {"act": "explode", "selection": {"all": True}}, "suspend, resume, delete, rotate-secret"),
        ("POST", "tokens", {"kind": "queen"}, "operator, client, user"),
        ("POST", "tokens/x/revoke", {"cascade": "maybe"}, "suspend, delete"),
        ("POST", "reviews/x/approve", {"digest": "x", "why": "x"}, "digest, reason"),
    ],
)
async def test_what_would_be_taken_is_told(method: str, path: str, body: Any, accepted: str) -> None:
    """Where a value is one of a few, or a member is not known."""
    async with served(configured(issuer="admin_api = true")) as server:
        token = (await issue(server, scope=tuple(ADMINISTRATION)))[0]
        more = {} if body is None else {"json": body}
        answer = await server.client.request(method, f"/admin/api/{path}", headers=bearer(token), **more)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert set(accepted.split(", ")) <= set(
            answer.json()["error_description"].partition("Accepted: ")[2][:-1].split(", ")
        )


async def test_a_name_that_is_too_long_is_not_repeated() -> None:
    """Neither the answer nor the audit holds what somebody wrote into a path by the kilobyte."""
    async with served(configured(issuer="admin_api = true")) as server:
        token = (await issue(server, scope=tuple(ADMINISTRATION)))[0]
        answer = await server.client.get(f"/admin/api/clients/{'x' * 5_000}", headers=bearer(token))
        assert answer.status_code == 404
        assert len(answer.content) < 1_200
        (event,) = await events(server, "administration.refused")
        assert len(json.dumps(event)) < 2_000


async def test_ceiling(tmp_path: Path) -> None:
    """What an operator's token allows at the most holds for the clients that are created with it."""
    async with served(
        on_disk(tmp_path, issuer='admin_api = true\nscopes = { catalogue = ["read", "write"] }')
    ) as server:
        token = (await issue(server, scope=("admin.clients", "read")))[0]
        wanted = {**MEMBERS, "scope": "read write"}

        answer = await server.client.post("/admin/api/clients", headers=bearer(token), json=wanted)

        assert answer.status_code == 201, answer.text
        assert answer.json()["scope"] == "read"


async def test_a_token_gives_away_no_more_than_it_has(tmp_path: Path) -> None:
    """What is issued under a token has its policies and bindings, ends with it at the latest, and registers no more."""
    settings = 'admin_api = true\nscopes = { catalogue = ["read", "write"] }'
    bound = {"addresses": ("127.0.0.0/8",), "lifetime": 60, "policy": "mcp"}
    async with served(on_disk(tmp_path, issuer=settings)) as server:
        token = (await issue(server, scope=("admin.tokens", "dcr", "read"), **bound))[0]

        async def asked(**body: Any) -> Any:
            return await server.client.post("/admin/api/tokens", headers=bearer(token), json=body)

        for scope in ("dcr write", "dcr read write", "dcr read admin.clients"):
            refused = await asked(scope=scope)
            assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope"), refused.text
        made = (await asked(scope="dcr", policy="oauth21", max_uses=0)).json()
        stored = {one.token_id: one for one in await server.registry.store.tokens("main")}
        issued = stored[made["token_id"]]

        assert len(stored) == 2
        assert issued.ceiling == ("read",)
        assert issued.policy == "mcp oauth21"
        assert issued.addresses == ("127.0.0.0/8",)
        assert issued.expires_at == server.clock.now + 60
