"""Policies travel: the token names them, the client keeps the names, every update is judged by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from registering import (
    MEMBERS,
    as_update,
    configured,
    events,
    issue,
    manage,
    on_disk,
    post,
    refused,
    register,
)

from registrar.service import administration
from registrar.service.operators import Refused
from registrar.testing import served

pytestmark = pytest.mark.anyio

POLICIES = """
[policy.gateway.metadata]
grant_types = { subset_of = ["client_credentials"] }
redirect_uris = { subset_of = ["https://app.example/callback"] }
[policy.apps.metadata]
grant_types = { subset_of = ["authorization_code", "refresh_token"] }
token_endpoint_auth_method = { value = "none" }
[policy.contacts.metadata]
contacts = { essential = true }
[policy.secret.metadata]
token_endpoint_auth_method = { value = "client_secret_post" }
"""
BOTH = {**MEMBERS, "grant_types": ["authorization_code", "client_credentials"], "contacts": ["ops@app.example"]}


async def test_two_tokens_at_one_issuer() -> None:
    """Of two tokens with different policies, each judges what is registered with it, and what is made of it later."""
    async with served(configured("client", tables=POLICIES)) as server:
        gateway, _ = await issue(server, policy="gateway", max_uses=0)
        app, _ = await issue(server, policy="apps", max_uses=0)

        machine, person = await register(server, BOTH, gateway), await register(server, BOTH, app)

        assert machine["grant_types"] == ["client_credentials"]
        assert person["grant_types"] == ["authorization_code"]
        assert (machine["token_endpoint_auth_method"], person["token_endpoint_auth_method"]) == (
            "client_secret_basic",
            "none",
        )
        wider = await manage(server, machine, "PUT", as_update(machine, grant_types=["authorization_code"]))
        refused(wider, "invalid_client_metadata", "grant_types")
        kept = await manage(server, person, "PUT", as_update(person, token_endpoint_auth_method="client_secret_basic"))
        assert kept.json()["token_endpoint_auth_method"] == "none"


async def test_several_policies() -> None:
    """A token may name several policies, which hold together; the client and the audit have their names."""
    async with served(configured("client", tables=POLICIES)) as server:
        token, _ = await issue(server, policy="  apps   contacts ", max_uses=0)

        refused(await post(server, MEMBERS, token), "invalid_client_metadata", "contacts")
        client = await register(server, BOTH, token)

        record = await administration.find(server.registry, server.issuer, client["client_id"])
        assert record.policy == "apps contacts"
        (event,) = await events(server, "client.registered")
        assert event["policy"] == "apps contacts"
        assert event["policy_digest"]
        without_contacts = as_update({name: value for name, value in client.items() if name != "contacts"})
        refused(await manage(server, client, "PUT", without_contacts), "invalid_client_metadata", "contacts")


@pytest.mark.parametrize(
    ("policy", "problem"),
    [("apps secret", "contradict"), ("apps nobody", "there is no policy"), ("nobody", "there is no policy")],
)
async def test_no_token_for_what_cannot_be(policy: str, problem: str) -> None:
    """Policies that nothing could satisfy together, and unknown ones, are refused when the token is issued."""
    async with served(configured("client", tables=POLICIES)) as server:
        with pytest.raises(Refused, match=problem):
            await issue(server, policy=policy)

        assert not await events(server, "token.issued")


async def test_policies_that_contradict_by_now(tmp_path: Path) -> None:
    """Where the configuration made the policies of a client contradict each other, an update is refused with 403."""
    async with served(on_disk(tmp_path, "client", tables=POLICIES)) as server:
        token, _ = await issue(server, policy="apps contacts", max_uses=0)
        client = await register(server, BOTH, token)
    changed = POLICIES.replace("[policy.contacts.metadata]\ncontacts = { essential = true }\n", "").replace(
        "policy.secret", "policy.contacts"
    )
    async with served(on_disk(tmp_path, "client", tables=changed)) as server:
        refused(await manage(server, client, "PUT", as_update(client)), "access_denied", status=403)
        refused(await post(server, BOTH, token), "access_denied", status=403)
        assert (await manage(server, client)).status_code == 200


async def test_scopes_of_a_token() -> None:
    """The scopes of a token beside dcr are all that may be registered with it, at an update too."""
    async with served(
        configured("client", issuer='scopes = { catalogue = ["openid", "accounts", "payments"] }')
    ) as server:
        token, _ = await issue(server, scope=("dcr", "openid", "accounts"), max_uses=0)
        only, _ = await issue(server, scope=("dcr", "admin.clients"), max_uses=0)

        client = await register(server, {**MEMBERS, "scope": "openid accounts payments"}, token)
        unbounded = await register(server, {**MEMBERS, "scope": "openid payments"}, only)
        update = await manage(server, client, "PUT", as_update(client, scope="accounts payments"))

        assert client["scope"] == "openid accounts"
        assert unbounded["scope"] == "openid payments"
        assert update.json()["scope"] == "accounts"
        (event, _) = await events(server, "client.registered")
        assert "evidence.token_scope" in [one["rule"] for one in event["findings"]]
