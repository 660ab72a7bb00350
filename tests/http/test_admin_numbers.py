"""Numbers that no store holds, and what an operator's own token allows, at the administration API."""

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

        assert answer.status_code < 500, answer.text


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
