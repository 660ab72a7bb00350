"""What an operator's token is good for at the administration API: bounded numbers, and nothing beyond itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registering import MEMBERS, bearer, issue, on_disk

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
        ("tokens", {"owner": "x" * 501}),
        ("reviews/nobody/approve", {"digest": "x", "reason": "x" * 501}),
        ("reviews/nobody/reject", {"digest": "x", "reason": "x" * 501}),
        ("jobs", {"act": "delete", "selection": {"all": True}, "reason": "x" * 501}),
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
        assert not await server.registry.store.items("main", "bulk")


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
