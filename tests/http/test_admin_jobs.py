"""Many clients at once over the administration API, and credentials that are replaced there."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from registering import MEMBERS, bearer, configured, events, issue, manage, refused, register

from registrar.service.ports import ClientQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

SERVING = configured(
    issuer="admin_api = true",
    tables='[issuer.other]\nurl = "https://as.example/other"\n[issuer.other.registration]\nmode = "open"\n',
)


async def operator(server: Served, *scope: str) -> str:
    """An operator's token."""
    return (await issue(server, scope=scope or ("admin.clients",), owner="ops@example.com"))[0]


async def call(server: Served, token: str, method: str, path: str, body: Any = None) -> httpx2.Response:
    """Call the API."""
    more = {} if body is None else {"json": body}
    return await server.client.request(method, f"/admin/api/{path}", headers=bearer(token), **more)


async def states(server: Served, issuer: str = "main") -> list[str]:
    """The states of an issuer's clients."""
    return [one.state.value for one in await server.registry.store.clients(ClientQuery(issuer), limit=1000)]


@pytest.mark.requirement("SEED-59")
async def test_a_job() -> None:
    """Counted first, started, done by the server, asked about; another issuer's clients are none of its business."""
    async with served(SERVING) as server:
        token = await operator(server)
        for at in range(5):
            await register(server, {**MEMBERS, "software_id": "planner" if at < 3 else "reader"})
        await register(server, {**MEMBERS, "software_id": "planner"}, path="/other/register")
        wanted = {"act": "suspend", "selection": {"software": "planner"}, "reason": "CVE-2026-1"}
        counted = await call(server, token, "POST", "jobs", wanted | {"dry_run": True})
        untouched = await states(server)
        started = await call(server, token, "POST", "jobs", wanted)
        await server.registry.errands.done()
        shown = await call(server, token, "GET", f"jobs/{started.json()['job_id']}")
        listed = await call(server, token, "GET", "jobs")

        assert counted.json() == {"act": "suspend", "clients": 3, "would_change": 3}
        assert untouched == ["active"] * 5
        assert (started.status_code, started.json()["state"]) == (202, "open")
        assert (shown.json()["state"], shown.json()["changed"]) == ("finished", 3)
        assert [one["job_id"] for one in listed.json()["jobs"]] == [started.json()["job_id"]]
        assert (await states(server)).count("suspended") == 3
        assert await states(server, "other") == ["active"]
        for event in await events(server, "client.suspended"):
            assert event["reason"] == "CVE-2026-1"
            assert event["authentication"] == "operator_token"
            assert event["endpoint"].endswith(f"/admin/api/jobs {started.json()['job_id']}")
        assert "ops@example.com" not in shown.text
        refused(
            await call(server, token, "POST", f"jobs/{started.json()['job_id']}/stop"), "invalid_request", status=409
        )
        refused(await call(server, token, "GET", "jobs/none"), "not_found", status=404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"act": "suspend"}, 400),
        ({"act": "explode", "selection": {"all": True}}, 400),
        ({"act": "suspend", "selection": {"softwares": "x"}}, 400),
        ({"act": "suspend", "selection": {"labels": {"tenant": 7}}}, 400),
        ({"act": "suspend", "selection": {"all": "yes"}}, 400),
        ({"act": "rotate-secret", "selection": {"all": True}, "overlap": -1}, 400),
        ({"act": "delete", "selection": {}}, 409),
        ({"act": "delete", "selection": {"all": True}, "reason": "x" * 501}, 400),
        ({"act": "delete", "selection": {"all": True, "owner": "x"}}, 409),
        ({"act": "delete", "selection": {"labels": {}}}, 409),
    ],
)
async def test_a_job_that_makes_no_sense(body: Any, status: int) -> None:
    """It is refused in words; nothing is done to anybody."""
    async with served(SERVING) as server:
        token = await operator(server)
        await register(server)
        refused(await call(server, token, "POST", "jobs", body), "invalid_request", status=status)
        await server.registry.errands.done()
        assert await states(server) == ["active"]


@pytest.mark.requirement("SEED-59")
@pytest.mark.parametrize(("cascade", "state"), [("suspend", "suspended"), ("delete", "deleted")])
async def test_a_token_is_revoked_with_what_it_made(cascade: str, state: str) -> None:
    """By whoever may do both; a token that is revoked already is one to go on with."""
    async with served(SERVING) as server:
        value, token_id = await issue(server, max_uses=0)
        for _ in range(3):
            await register(server, token=value)
        await register(server)
        path, body = f"tokens/{token_id}/revoke", {"cascade": cascade}
        tokens_alone = await operator(server, "admin.tokens")
        refused(await call(server, tokens_alone, "POST", path, body), "insufficient_scope", status=403)
        assert (await server.client.post("/register", json=dict(MEMBERS), headers=bearer(value))).status_code == 201
        both = await operator(server, "admin.tokens", "admin.clients")
        answer = await call(server, both, "POST", path, body)
        await server.registry.errands.done()
        again = await call(server, both, "POST", path, body)
        await server.registry.errands.done()

        assert (answer.status_code, again.status_code) == (202, 202)
        assert sorted(await states(server)) == sorted(["active", *[state] * 4])
        refused(await call(server, both, "POST", path), "invalid_request", status=409)
        refused(await call(server, both, "POST", path, {"cascade": "explode"}), "invalid_request")


async def test_credentials_are_replaced() -> None:
    """A secret with its overlap, and a lost token; shown in the answer this once."""
    async with served(SERVING) as server:
        token = await operator(server)
        client = await register(server)
        path = f"clients/{client['client_id']}"
        rotated = (await call(server, token, "POST", f"{path}/rotate-secret", {"overlap": 60, "reason": "old"})).json()
        read = (await manage(server, client)).json()
        reissued = (await call(server, token, "POST", f"{path}/reissue-token", {"reason": "lost"})).json()
        shown = (await call(server, token, "GET", path)).text

        assert read["client_secret"] == rotated["client_secret"]
        assert rotated["old_secret_works_until"] == server.clock.now + 60
        assert (await manage(server, client)).status_code == 401
        assert (await manage(server, client, token=reissued["registration_access_token"])).status_code == 200
        for one in (rotated["client_secret"], reissued["registration_access_token"]):
            assert one not in shown
        refused(await call(server, token, "POST", "clients/x/rotate-secret"), "not_found", status=404)
        refused(await call(server, token, "POST", "clients/x/reissue-token"), "not_found", status=404)
        refused(await call(server, token, "POST", f"{path}/rotate-secret", {"overlap": "x"}), "invalid_request")
