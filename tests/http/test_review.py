"""Review: what is held changes nothing, and what is approved is what was looked at."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from registering import PUBLIC, as_update, bearer, configured, events, issue, manage, post, refused, register

from registrar.domain.client import State
from registrar.service import administration, checkpoints, client_administration, holding, receipts, review
from registrar.service.operators import Operator, Refused, Unknown
from registrar.service.ports import ClientQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

CHANGES = """
[policy.careful]
extends = ["default"]
[policy.careful.changes]
default = "allow"
scope = "review"
redirect_host = "review"
authentication = "refuse"
"""
HELD = """
[policy.careful]
extends = ["default"]
[policy.careful.review]
grants = ["client_credentials"]
flagged = true
"""
APP = {**PUBLIC, "scope": "openid"}
OTHER = ["https://app.example/callback", "https://other.example/cb"]


def careful(tables: str = CHANGES) -> str:
    """A configuration under which some things are held."""
    return configured(registration='policy = "careful"', issuer="admin_api = true", tables=tables)


async def stored(server: Served, client_id: str) -> Any:
    """A client as it is stored."""
    return await server.registry.store.find("main", client_id)


def acts(server: Served) -> tuple[Any, ...]:
    """The first arguments of a decision."""
    return server.registry, server.issuer, server.operator


async def held(server: Served, **changes: Any) -> dict[str, Any]:
    """A client of which an update is held."""
    made = await register(server, APP)
    answer = await manage(server, made, "PUT", as_update(made, **(changes or {"redirect_uris": OTHER})))
    assert answer.status_code == 200, answer.text
    assert answer.json()["pending_update"]["reason"]
    return made


# --- updates --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-70", "SEED-81")
async def test_an_expansion_is_held_whole() -> None:
    """The answer has what is in force; so has a read, and the audit tells what was asked for."""
    async with served(careful()) as server:
        made = await register(server, APP)
        wanted = as_update(made, redirect_uris=OTHER, client_name="Other")
        answer = await manage(server, made, "PUT", wanted)
        assert answer.status_code == 200
        assert answer.json()["redirect_uris"] == APP["redirect_uris"]
        assert answer.json()["client_name"] == APP["client_name"]
        assert answer.json()["pending_update"]["reason"] == "redirect_host, name"
        assert (await manage(server, made)).json()["pending_update"] == answer.json()["pending_update"]
        (event,) = await events(server, "update.held")
        assert event["difference"]["redirect_uris"][1] == OTHER
        assert event["reason"] == "redirect_host, name"
        assert await events(server, "client.updated") == []


async def test_what_narrows_is_in_force_at_once() -> None:
    """And takes back what was held."""
    async with served(careful()) as server:
        made = await held(server)
        answer = await manage(server, made, "PUT", as_update(made, contacts=["a@b.example"]))
        assert "pending_update" not in answer.json()
        assert answer.json()["contacts"] == ["a@b.example"]
        assert await holding.of_client(server.registry, server.issuer, made["client_id"]) is None
        assert len(await events(server, "review.superseded")) == 1


async def test_a_newer_update_takes_the_place_of_one_that_is_held() -> None:
    """There is one at the most."""
    async with served(careful()) as server:
        made = await held(server)
        newer = ["https://app.example/callback", "https://third.example/cb"]
        await manage(server, made, "PUT", as_update(made, redirect_uris=newer))
        found = await holding.of_client(server.registry, server.issuer, made["client_id"])
        assert found is not None
        assert found.metadata["redirect_uris"] == newer
        assert [one.client_id async for one in holding.every(server.registry, server.issuer)] == [made["client_id"]]


async def test_an_expansion_may_be_refused() -> None:
    """With the member and the kind; nothing is changed or held."""
    async with served(careful()) as server:
        made = await register(server, {**APP, "token_endpoint_auth_method": "client_secret_basic"})
        answer = await manage(server, made, "PUT", as_update(made, token_endpoint_auth_method="none"))
        told = refused(answer, "invalid_client_metadata", "token_endpoint_auth_method")
        assert told["faults"][0]["rule"] == "update.expands"
        assert (await manage(server, made)).json()["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.requirement("SEED-70")
async def test_what_is_allowed_is_told() -> None:
    """Under a policy that holds nothing, an expansion is in force, and there is an event of its own."""
    async with served(configured()) as server:
        made = await register(server, APP)
        await manage(server, made, "PUT", as_update(made, redirect_uris=OTHER))
        (event,) = await events(server, "client.expanded")
        assert event["reason"] == "redirect_host"
        assert (await stored(server, made["client_id"])).expanded_at == server.clock.now
        await manage(server, made, "PUT", as_update(made))
        assert len(await events(server, "client.expanded")) == 1


async def test_an_operators_change_is_not_held_but_told() -> None:
    """It is the operator who reviews."""
    async with served(careful()) as server:
        made = await held(server)
        await client_administration.change(*acts(server), made["client_id"], {**APP, "redirect_uris": OTHER})  # type: ignore[arg-type]
        assert (await stored(server, made["client_id"])).metadata["redirect_uris"] == OTHER
        assert len(await events(server, "client.expanded")) == 1
        assert len(await events(server, "review.superseded")) == 1


# --- deciding about updates -----------------------------------------------------------------------------------------------


async def test_an_approved_update_is_in_force() -> None:
    """Exactly as it was shown, with the reason, and it counts as an expansion."""
    async with served(careful()) as server:
        made = await held(server)
        shown = await review.show(server.registry, server.issuer, made["client_id"])
        assert shown.difference["redirect_uris"] == [APP["redirect_uris"], OTHER]
        await review.approve(*acts(server), made["client_id"], digest=shown.digest, reason="known to us")
        answer = (await manage(server, made)).json()
        assert answer["redirect_uris"] == OTHER
        assert "pending_update" not in answer
        (event,) = await events(server, "review.approved")
        assert event["reason"] == "known to us"
        assert event["difference"]["redirect_uris"][1] == event["redirect_uris"] == OTHER
        assert event["policy"] == "careful"
        client = await administration.find(server.registry, server.issuer, made["client_id"])
        receipt = await receipts.issue(server.registry, server.issuer, client)
        said = receipts.verify(receipt, (await checkpoints.published(server.registry))["keys"]).claims
        assert said["metadata"]["redirect_uris"] == OTHER
        assert said["event"]["kind"] == "review.approved"
        assert said["policy_digest"] == event["policy_digest"]
        assert len(await events(server, "client.expanded")) == 1
        with pytest.raises(Unknown):
            await review.approve(*acts(server), made["client_id"])


async def test_a_rejected_update_is_forgotten() -> None:
    """The client goes on as it was."""
    async with served(careful()) as server:
        made = await held(server)
        await review.reject(*acts(server), made["client_id"], reason="who are they?")
        answer = (await manage(server, made)).json()
        assert answer["redirect_uris"] == APP["redirect_uris"]
        assert "pending_update" not in answer
        (event,) = await events(server, "review.rejected")
        assert event["reason"] == "who are they?"


async def test_what_was_not_looked_at_is_not_approved() -> None:
    """A newer update, or another digest: nothing happens."""
    async with served(careful()) as server:
        made = await held(server)
        digest = (await review.show(server.registry, server.issuer, made["client_id"])).digest
        newer = ["https://app.example/callback", "https://third.example/cb"]
        await manage(server, made, "PUT", as_update(made, redirect_uris=newer))
        with pytest.raises(Refused, match="not what was looked at"):
            await review.approve(*acts(server), made["client_id"], digest=digest)
        with pytest.raises(Refused, match="not what was looked at"):
            await review.reject(*acts(server), made["client_id"], digest=digest)
        assert (await stored(server, made["client_id"])).metadata["redirect_uris"] == APP["redirect_uris"]


@pytest.mark.parametrize("second", ["approve", "reject"])
async def test_of_two_reviewers_one_decides(second: str) -> None:
    """The other is told."""
    async with served(careful()) as server:
        made = await held(server)
        outcomes = await asyncio.gather(
            review.approve(*acts(server), made["client_id"]),
            getattr(review, second)(*acts(server), made["client_id"]),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Refused) for one in outcomes) == 1
        decided = [*await events(server, "review.approved"), *await events(server, "review.rejected")]
        assert len(decided) == 1


async def test_deleting_ends_what_is_held() -> None:
    """And rotation of credentials does not stand in the way of a decision."""
    async with served(careful()) as server:
        made = await held(server)
        await manage(server, made, "DELETE")
        with pytest.raises(Unknown):
            await review.approve(*acts(server), made["client_id"])
        rotating = "[issuer.main.registration_access_token]\nrotate = 'read'"
    async with served(careful(CHANGES + rotating)) as server:
        made = await register(server, APP)
        answer = (await manage(server, made, "PUT", as_update(made, redirect_uris=OTHER))).json()
        again = await manage(server, {**made, **answer})
        assert again.status_code == 200
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made["client_id"])).metadata["redirect_uris"] == OTHER


async def test_a_secret_that_an_approved_update_needs() -> None:
    """It is told to the reviewer and read by the client."""
    policy = CHANGES.replace('authentication = "refuse"', 'grant = "review"')
    async with served(careful(policy)) as server:
        made = await register(server, APP)
        wanted = as_update(
            made,
            token_endpoint_auth_method="client_secret_basic",
            grant_types=["authorization_code", "client_credentials"],
        )
        answer = await manage(server, made, "PUT", wanted)
        assert answer.json()["pending_update"]["reason"] == "scope, grant"
        _, secret = await review.approve(*acts(server), made["client_id"])
        assert (await manage(server, made)).json()["client_secret"] == secret


# --- registrations --------------------------------------------------------------------------------------------------------


MACHINE = {
    "client_name": "Batch",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "client_secret_post",
    "scope": "openid",
}


async def token(server: Served, client: dict[str, Any]) -> Any:
    """What the token endpoint answers a client."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
    }
    return await server.client.post("/token", data=form)


@pytest.mark.requirement("SEED-81")
async def test_a_registration_is_held() -> None:
    """It exists and is managed, and gets no token until it is approved; nobody is told to register anew."""
    async with served(careful(HELD)) as server:
        made = await register(server, MACHINE)
        assert made["registration_state"] == "pending"
        refusal = await token(server, made)
        assert (refusal.status_code, refusal.json()["error"]) == (403, "access_denied")
        assert "review" in refusal.json()["error_description"]
        assert (await manage(server, made)).json()["registration_state"] == "pending"
        (event,) = await events(server, "registration.held")
        assert event["reason"] == "grant: client_credentials"
        found = await server.registry.store.clients(ClientQuery("main", terms=("state=pending",)))
        assert [one.client_id for one in found] == [made["client_id"]]
        await review.approve(*acts(server), made["client_id"], reason="fine")
        assert (await stored(server, made["client_id"])).state is State.ACTIVE
        assert "registration_state" not in (await manage(server, made)).json()
        assert (await token(server, made)).status_code == 200


async def test_what_needs_no_review_is_not_held() -> None:
    """And what is flagged is."""
    async with served(careful(HELD)) as server:
        assert "registration_state" not in await register(server, APP)
        assert (await register(server, {**APP, "client_name": "PayPal"}))["registration_state"] == "pending"


async def test_an_update_is_no_way_round_the_review_of_registrations() -> None:
    """What would have been held at the registration is held as an update; what was looked at already is not held again."""
    async with served(careful(HELD)) as server:
        made = await register(server, APP)
        answer = (await manage(server, made, "PUT", as_update(made, client_name="PayPal"))).json()
        assert answer["client_name"] == APP["client_name"]
        assert answer["pending_update"]["reason"] == "name"
        await review.approve(*acts(server), made["client_id"])
        again = (await manage(server, made)).json()
        assert again["client_name"] == "PayPal"
        plain = await manage(server, made, "PUT", as_update(again, contacts=["a@b.example"]))
        assert "pending_update" not in plain.json()


async def test_a_rejected_registration_ends() -> None:
    """It is a tombstone, and its token opens nothing."""
    async with served(careful(HELD)) as server:
        made = await register(server, MACHINE)
        await review.reject(*acts(server), made["client_id"], reason="no")
        assert (await stored(server, made["client_id"])).state is State.DELETED
        assert (await manage(server, made)).status_code == 401
        assert (await token(server, made)).status_code == 401


async def test_an_update_of_a_held_registration_is_what_is_reviewed() -> None:
    """It is in force for the record, still held, and what was looked at before counts no more."""
    async with served(careful(HELD)) as server:
        made = await register(server, MACHINE)
        digest = (await review.show(server.registry, server.issuer, made["client_id"])).digest
        answer = await manage(server, made, "PUT", as_update(made, client_name="Other", registration_state=None))
        assert answer.status_code == 200, answer.text
        assert answer.json()["registration_state"] == "pending"
        with pytest.raises(Refused, match="not what was looked at"):
            await review.approve(*acts(server), made["client_id"], digest=digest)
        await review.approve(*acts(server), made["client_id"])
        assert (await stored(server, made["client_id"])).metadata["client_name"] == "Other"


async def test_a_person_is_told_that_an_application_waits() -> None:
    """On a page, and nobody is sent anywhere."""
    async with served(careful(HELD)) as server:
        made = await register(server, {**APP, "client_name": "PayPal"})
        query = {
            "client_id": made["client_id"],
            "redirect_uri": APP["redirect_uris"][0],
            "response_type": "code",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
        }
        answer = await server.client.get("/authorize", params=query)
        assert answer.status_code == 403
        assert "location" not in answer.headers
        assert "review" in answer.text


# --- over HTTP ------------------------------------------------------------------------------------------------------------


async def test_reviews_over_http() -> None:
    """Listed, shown, approved with the digest; the scope is its own."""
    async with served(careful()) as server:
        made = await held(server)
        value, _ = await issue(server, scope=("admin.reviews",))
        own = bearer(value)
        listed = (await server.client.get("/admin/api/reviews", headers=own)).json()["reviews"]
        assert [one["client_id"] for one in listed] == [made["client_id"]]
        url = f"/admin/api/reviews/{made['client_id']}"
        digest = (await server.client.get(url, headers=own)).json()["digest"]
        assert digest == listed[0]["digest"]
        for body in ({}, {"digest": 7}, {"digest": "x", "odd": 1}):
            assert (await server.client.post(f"{url}/approve", json=body, headers=own)).status_code == 400
        conflict = await server.client.post(f"{url}/approve", json={"digest": "x"}, headers=own)
        assert conflict.status_code == 409
        answer = await server.client.post(f"{url}/approve", json={"digest": digest, "reason": "ok"}, headers=own)
        assert answer.status_code == 200
        assert answer.json()["metadata"]["redirect_uris"] == OTHER
        assert (await server.client.get(url, headers=own)).status_code == 404
        other, _ = await issue(server, scope=("admin.clients",))
        assert (await server.client.get("/admin/api/reviews", headers=bearer(other))).status_code == 403
        assert (await post(server, APP)).status_code == 201
        assert isinstance(server.operator, Operator)
