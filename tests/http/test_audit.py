"""What the audit keeps of every exchange, and what it never keeps."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

import pytest
from registering import (
    MEMBERS,
    PUBLIC,
    as_update,
    bearer,
    configured,
    events,
    everything_recorded,
    issue,
    manage,
    post,
    refused,
    register,
    started,
)

from registrar.domain.events import EVENTS, discloses
from registrar.service import administration, initial_access, operators
from registrar.service.ports import EventQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
THUMBPRINT = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
"""The RFC 7638 thumbprint of the key above."""

MEMBERS_IN_FULL = {
    **MEMBERS,
    "scope": "openid root email",
    "grant_types": ["authorization_code", "password"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [P256]},
    "software_id": "reader",
    "contacts": ["ada@app.example"],
}


async def kinds(server: Served) -> list[str]:
    """The kinds of all events, in order."""
    return [event["kind"] for event in await events(server)]


def acts(server: Served, client: dict[str, Any]) -> tuple[Any, ...]:
    """The first arguments of an operator's act on a client."""
    return (server.registry, server.issuer, server.operator, client["client_id"])


# --- one event for each act -------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-65")
async def test_a_registration_is_told_in_full() -> None:
    """Issuer, endpoint, client, what was asked and what was registered, keys, token, policy, findings and time."""
    async with served(configured("client")) as server:
        value, token_id = await issue(server, kind="client", label="ci", max_uses=0)
        client = await register(server, MEMBERS_IN_FULL, value)
        (event,) = await events(server, "client.registered")
        assert event["v"] == 1
        assert event["issuer"] == "main"
        assert event["endpoint"] == "https://as.example/register"
        assert event["client_id"] == client["client_id"]
        assert event["time"] == server.clock.now_ms
        assert (event["actor"], event["authentication"]) == ("token", "initial_access_token")
        assert (event["token_id"], event["token_label"], event["assurance"]) == (token_id, "ci", "client")
        assert event["requested_redirect_uris"] == event["redirect_uris"] == MEMBERS["redirect_uris"]
        assert (event["requested_scope"], event["scope"]) == ("openid root email", "openid email")
        assert event["grant_types"] == ["authorization_code"]
        assert event["token_endpoint_auth_method"] == "private_key_jwt"
        assert event["jwk_thumbprints"] == [THUMBPRINT]
        assert (event["client_name"], event["software_id"]) == ("Reader", "reader")
        assert event["policy"] == "default"
        assert event["policy_digest"] == server.issuer.policy.digest
        assert len(event["policy_digest"]) == 64
        assert {"grant_types", "scope"} <= {one["member"] for one in event["findings"]}
        assert all({"rule", "verdict", "reason"} <= set(one) for one in event["findings"])
        uri = await register(server, {**MEMBERS, "jwks_uri": "https://app.example/jwks"}, value)
        (event,) = await events(server, "client.registered", uri["client_id"])
        assert event["jwks_uri"] == "https://app.example/jwks"


@pytest.mark.requirement("SEED-65", "R7591-58")
async def test_a_refusal_is_told_with_its_reasons() -> None:
    """Error, findings and what was asked for, whether the body, the token or the media type was at fault."""
    async with served(configured("client")) as server:
        value, _ = await issue(server, kind="client")
        bad = {**MEMBERS, "redirect_uris": ["http://evil.example/cb"], "scope": "openid", "software_id": "reader"}
        refused(await post(server, bad, value), "invalid_redirect_uri")
        refused(await post(server), "invalid_token", status=401)
        refused(await post(server, token="wrong"), "invalid_token", status=401)
        await server.client.post("/register", content=b"x", headers={"content-type": "text/plain"} | bearer(value))
        await server.client.post("/register", content=b"[", headers={"content-type": "application/json"})
        told = await events(server, "registration.refused")
        assert [event["error"] for event in told] == [
            "invalid_redirect_uri",
            "token_required",
            "invalid_token",
            "unsupported_media_type",
            "invalid_client_metadata",
        ]
        first = told[0]
        assert first["requested_redirect_uris"] == ["http://evil.example/cb"]
        assert (first["requested_scope"], first["software_id"], first["client_name"]) == ("openid", "reader", "Reader")
        assert "redirect_uri.plain_http" in [one["rule"] for one in first["findings"]]
        assert all(event["reason"] and event["endpoint"] == "https://as.example/register" for event in told)
        assert [event["actor"] for event in told] == ["token", "anonymous", "token", "token", "anonymous"]


@pytest.mark.requirement("SEED-65")
async def test_refused_management_is_told_too() -> None:
    """A wrong token and a refused update are events of the client that the URL names."""
    async with served() as server:
        client = await register(server)
        refused(await manage(server, client, token="wrong"), "invalid_token", status=401)
        refused(await manage(server, client, "PUT", {}), "invalid_redirect_uri")
        told = await events(server, "registration.refused", client["client_id"])
        assert [event["error"] for event in told] == ["invalid_token", "invalid_redirect_uri"]
        assert {event["endpoint"] for event in told} == {client["registration_client_uri"]}
        assert "update.client_id" in [one["rule"] for one in told[1]["findings"]]


@pytest.mark.requirement("SEED-65")
async def test_a_refused_update_tells_what_was_asked_for() -> None:
    """The event of a refused replacement names the redirect URIs and the scope that were asked for."""
    async with served() as server:
        client = await register(server)
        asked = {"client_id": client["client_id"], "redirect_uris": ["http://far.example/cb"], "scope": "openid"}
        refused(await manage(server, client, "PUT", asked), "invalid_redirect_uri")
        (told,) = await events(server, "registration.refused", client["client_id"])
        assert told["requested_redirect_uris"] == asked["redirect_uris"]
        assert told["requested_scope"] == "openid"


@pytest.mark.requirement("SEED-65")
async def test_a_refusal_names_the_initial_access_token_that_came_with_it() -> None:
    """A good token with bad metadata: the event names the token, which is not spent."""
    async with served() as server:
        value, token_id = await issue(server)
        bad = {"redirect_uris": ["http://far.example/cb"]}
        refused(await post(server, bad, token=value), "invalid_redirect_uri")
        (told,) = await events(server, "registration.refused")
        assert told["token_id"] == token_id
        assert (await post(server, token=value)).status_code == 201


@pytest.mark.requirement("R7591-70")
async def test_no_finding_carries_what_may_name_a_person() -> None:
    """A malformed e-mail address is told by its rule, in the findings and in the reason, without the address."""
    async with served() as server:
        body = {"redirect_uris": ["https://app.example/cb"], "tls_client_auth_san_email": "ann.example at home"}
        refused(await post(server, body), "invalid_client_metadata")
        (told,) = await server.registry.store.events(EventQuery(kind="registration.refused"))
        assert b"metadata.san" in told.event.body
        assert b"ann" not in told.event.body


@pytest.mark.requirement("SEED-65")
async def test_reads_are_told_once_a_minute() -> None:
    """Reads of one client within a minute are one event; another client, or the next minute, is another."""
    async with served() as server:
        client, other = await register(server), await register(server)
        for _ in range(5):
            await manage(server, client)
        assert len(await events(server, "client.read", client["client_id"])) == 1
        await manage(server, other)
        server.clock.advance(59)
        await manage(server, client)
        assert len(await events(server, "client.read", client["client_id"])) == 1
        server.clock.advance(1)
        await manage(server, client)
        first, second = await events(server, "client.read", client["client_id"])
        assert second["time"] - first["time"] == 60_000
        assert (first["actor"], first["authentication"]) == ("client", "registration_access_token")
        assert len(await events(server, "client.read", other["client_id"])) == 1


@pytest.mark.requirement("SEED-65")
async def test_an_update_tells_the_difference() -> None:
    """Each member that changed with its value before and after, absence as null; of people only that it changed."""
    async with served() as server:
        client = await register(server, {**MEMBERS, "scope": "openid", "logo_uri": "https://app.example/l.png"})
        changed = as_update(
            client, scope="openid email", logo_uri=None, contacts=["ada@app.example"], **{"client_name#fr": "Lecteur"}
        )
        assert (await manage(server, client, "PUT", changed)).status_code == 200
        (event,) = await events(server, "client.updated")
        assert event["difference"] == {
            "scope": ["openid", "openid email"],
            "logo_uri": ["https://app.example/l.png", None],
            "client_name#fr": [None, "Lecteur"],
            "contacts": ["changed"],
        }
        assert (event["version"], event["policy"], event["requested_scope"]) == (2, "default", "openid email")
        assert event["client_id"] == client["client_id"]
        refused(await manage(server, client, "PUT", as_update(client, scope=5)), "invalid_client_metadata")
        assert len(await events(server, "client.updated")) == 1


@pytest.mark.requirement("SEED-65")
async def test_every_act_has_its_event() -> None:
    """A life from the token to the tombstone leaves one event for each step, in order, with who did it."""
    tables = """
[issuer.main.registration_access_token]
rotate = "update"
[issuer.main.client_secret]
rotate_on_update = true
"""
    async with served(configured("client", tables=tables)) as server:
        await started(server)
        value, token_id = await issue(server, kind="client", label="ci", max_uses=2, lifetime=60)
        client = await register(server, token=value)
        await manage(server, client)
        client = (await manage(server, client, "PUT", as_update(client))).json()
        await administration.rotate_secret(*acts(server, client), overlap=5)
        await administration.suspend(*acts(server, client), "under review")
        await manage(server, client)
        await administration.resume(*acts(server, client), "cleared")
        await initial_access.revoke_token(server.registry, server.issuer, server.operator, token_id)
        await manage(server, client, "DELETE")
        await manage(server, client)
        assert await kinds(server) == [
            "issuer.key_created",
            "issuer.key_created",
            "issuer.key_created",
            "token.issued",
            "client.registered",
            "client.read",
            "client.updated",
            "client.token_rotated",
            "client.secret_rotated",
            "client.secret_rotated",
            "client.suspended",
            "registration.refused",
            "client.resumed",
            "token.revoked",
            "client.deleted",
            "registration.refused",
        ]
        by_kind = {event["kind"]: event for event in await events(server)}
        issued = by_kind["token.issued"]
        assert {name: issued[name] for name in ("token_id", "kind_of_token", "policy", "token_label", "max_uses")} == {
            "token_id": token_id,
            "kind_of_token": "client",
            "policy": "default",
            "token_label": "ci",
            "max_uses": 2,
        }
        assert issued["expires_at"] == server.clock.now + 60
        assert issued["token_scope"] == ["dcr"]
        assert by_kind["token.revoked"]["token_id"] == token_id
        assert by_kind["client.suspended"]["reason"] == "under review"
        assert by_kind["client.resumed"]["reason"] == "cleared"
        for kind in ("token.issued", "token.revoked", "client.suspended", "client.resumed"):
            assert (by_kind[kind]["actor"], by_kind[kind]["authentication"]) == ("operator", "local")
            assert by_kind[kind]["endpoint"] == "test"
        for kind in ("client.updated", "client.token_rotated", "client.deleted"):
            assert by_kind[kind]["authentication"] == "registration_access_token"
        operators = [e for e in await events(server, "client.secret_rotated") if e["actor"] == "operator"]
        assert "overlap 5 s" in operators[0]["reason"]
        assert set(await kinds(server)) <= set(EVENTS)


@pytest.mark.requirement("SEED-65")
async def test_an_operators_deletion_is_told_as_the_operators() -> None:
    """The event says who deleted the client, and why."""
    async with served() as server:
        client = await register(server)
        await administration.delete(*acts(server, client), "abandoned")
        (event,) = await events(server, "client.deleted")
        assert (event["actor"], event["reason"]) == ("operator", "abandoned")


@pytest.mark.requirement("SEED-65", "R7592-22")
async def test_a_refused_act_of_an_operator_leaves_no_event() -> None:
    """Suspending twice, resuming what runs, touching what is deleted: refused, and nothing is told as done."""
    async with served() as server:
        client, public = await register(server), await register(server, PUBLIC)
        with pytest.raises(operators.Refused, match="active"):
            await administration.resume(*acts(server, client))
        await administration.suspend(*acts(server, client))
        with pytest.raises(operators.Refused, match="suspended"):
            await administration.suspend(*acts(server, client))
        with pytest.raises(operators.Refused, match="without a secret"):
            await administration.rotate_secret(*acts(server, public))
        await administration.delete(*acts(server, public))
        for act in (administration.suspend, administration.delete, administration.rotate_secret):
            with pytest.raises(operators.Refused, match="deleted"):
                await act(*acts(server, public))
        with pytest.raises(operators.Refused, match="nobody"):
            await administration.suspend(*acts(server, {"client_id": "nobody"}))
        assert await kinds(server) == ["client.registered"] * 2 + ["client.suspended", "client.deleted"]


# --- the quota of refusals --------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-65")
async def test_a_flood_of_refusals_is_counted() -> None:
    """Within a minute only the quota is written down; the first refusal after it tells how many were not."""
    async with served(configured("client", tables="[issuer.main.audit]\nrefusals_per_minute = 3")) as server:
        began = server.clock.now_ms
        for _ in range(10):
            refused(await post(server), "invalid_token", status=401)
        assert await kinds(server) == ["registration.refused"] * 3
        server.clock.advance(60)
        refused(await post(server), "invalid_token", status=401)
        assert await kinds(server) == [
            *["registration.refused"] * 3,
            "registration.refusals_suppressed",
            "registration.refused",
        ]
        (summary,) = await events(server, "registration.refusals_suppressed")
        assert (summary["count"], summary["since"]) == (7, began)
        value, _ = await issue(server, kind="client")
        await register(server, token=value)
        server.clock.advance(60)
        refused(await post(server), "invalid_token", status=401)
        assert len(await events(server, "registration.refusals_suppressed")) == 1


@pytest.mark.requirement("SEED-65")
async def test_the_quota_is_of_each_issuer() -> None:
    """A flood at one issuer hides nothing that happens at another."""
    text = """
[server]
database = "memory:"
[issuer.one]
url = "https://as.example/one"
[issuer.one.registration]
mode = "client"
[issuer.one.audit]
refusals_per_minute = 1
[issuer.two]
url = "https://as.example/two"
[issuer.two.registration]
mode = "client"
[issuer.two.audit]
refusals_per_minute = 1
"""
    async with served(text) as server:
        for base in ("one", "one", "two", "one"):
            await server.client.post(f"https://as.example/{base}/register", json=MEMBERS)
        assert [event["issuer"] for event in await events(server)] == ["one", "two"]


# --- what the audit never holds ---------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-65", "R7592-33")
async def test_events_are_canonical() -> None:
    """The bytes of an event are its members in sorted order without white space."""
    async with served() as server:
        await register(server, MEMBERS_IN_FULL)
        await post(server, {})
        for one in await server.registry.store.events(EventQuery()):
            members = json.loads(one.event.body)
            assert list(members) == sorted(members)
            assert b'": ' not in one.event.body
            assert (members["kind"], members["issuer"], members["time"]) == (
                one.event.kind,
                one.event.issuer,
                one.event.time_ms,
            )


@pytest.mark.requirement("R7591-70", "SEED-65")
async def test_people_stand_in_commitments_alone() -> None:
    """Owner, operator and address are salted digests that their disclosure opens; contacts are not there at all."""
    async with served(configured("user")) as server:
        value, _ = await issue(server, kind="user", owner="ada@home.example")
        client = await register(server, MEMBERS_IN_FULL, value)
        await manage(server, client, "PUT", as_update(client, contacts=["bob@app.example"]))
        stored = await server.registry.store.events(EventQuery())
        for personal in (b"ada@", b"bob@", b"tester", b"127.0.0.1"):
            assert not [one.event.kind for one in stored if personal in one.event.body], personal
        (event,) = [one.event for one in stored if one.event.kind == "client.registered"]
        committed, disclosed = json.loads(event.body)["personal"], json.loads(event.personal)
        assert set(committed) == set(disclosed) == {"person", "address"}
        assert disclosed["person"][1] == "ada@home.example"
        for name, (salt, told) in disclosed.items():
            assert discloses(committed[name], bytes.fromhex(salt), name, told)
            assert not discloses(committed[name], bytes.fromhex(salt), name, "someone else")
            assert committed[name] != hashlib.sha256(told.encode()).hexdigest()


async def misuse(server: Served, wrong: str, initial: str, clients: list[dict[str, Any]]) -> None:
    """Present a credential where another belongs: as a token, in the query, the body, the URL and in members."""
    client = clients[0]
    await post(server, token=wrong)
    await server.client.get(f"{client['registration_client_uri']}?access_token={wrong}")
    await server.client.post(f"/register?access_token={wrong}", json=MEMBERS)
    await server.client.post("/register", json=MEMBERS, auth=("client", wrong))
    await server.client.post("/register", json=MEMBERS, headers={"authorization": f"Bearer {wrong} x"})
    await server.client.post("/token", data={"client_secret": wrong}, auth=(client["client_id"], wrong))
    await post(server, {**MEMBERS, "client_secret": wrong, "redirect_uris": ["ftp://a.example"]}, initial)
    twice = f'{{"client_secret": "{wrong}", "client_secret": "{wrong}"}}'
    await server.client.post("/register", content=twice, headers={"content-type": "application/json"} | bearer(initial))
    uris = [f"https://user:{wrong}@app.example/cb", f"http://user:{wrong}@127.0.0.1/cb"]
    pages = dict.fromkeys(("client_uri", "jwks_uri", "initiate_login_uri"), uris[0])
    await post(server, {"redirect_uris": uris, **pages}, initial)
    for one in clients:
        own = wrong in (one["registration_access_token"], one.get("client_secret"))
        if not own:
            refused(await manage(server, one, token=wrong), "invalid_token", status=401)
        for name in ("client_secret", "registration_access_token"):
            if not own:
                refused(await manage(server, one, "PUT", as_update(one, **{name: wrong})), "invalid_client_metadata")


@pytest.mark.requirement("SEED-65", "R7592-33", "R7592-35")
async def test_no_credential_reaches_the_audit_or_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """After every kind of use and misuse no secret and no token stands in any event, disclosure or log line."""
    caplog.set_level(logging.DEBUG)
    tables = "[issuer.main.registration_access_token]\nrotate = 'update'\n"
    tables += "[issuer.main.client_secret]\nrotate_on_update = true\noverlap = 0"
    chosen = {"client_secret": "a-secret-of-my-own-choice", "registration_access_token": "a-token-of-my-own-choice"}
    known = set(chosen.values())

    def seen(client: dict[str, Any]) -> dict[str, Any]:
        known.update(client[name] for name in chosen if name in client)
        return client

    async with served(configured('["client", "user"]', tables=tables)) as server:
        await started(server)
        initial, token_id = await issue(server, kind="client", max_uses=0)
        lacking, _ = await issue(server, scope=("openid",))
        spent, _ = await issue(server, kind="user", owner="ada")
        known |= {initial, lacking, spent}
        client = seen(await register(server, {**MEMBERS, **chosen}, initial))
        symmetric = seen(await register(server, {**MEMBERS, "token_endpoint_auth_method": "client_secret_jwt"}, spent))
        public = seen(await register(server, PUBLIC, initial))
        seen((await manage(server, client)).json())
        for name in ("New", "Newer"):
            client = seen((await manage(server, client, "PUT", as_update(client, client_name=name))).json())
        assert (await manage(server, client)).json() == client, "from here on the older tokens are dead"
        for wrong in sorted(known):
            await misuse(server, wrong, initial, [client, symmetric, public])
        known.add((await administration.rotate_secret(*acts(server, symmetric)))[0])
        seen((await manage(server, symmetric)).json())
        await initial_access.revoke_token(server.registry, server.issuer, server.operator, token_id)
        await administration.suspend(*acts(server, symmetric))
        assert (await manage(server, symmetric)).status_code == 403
        await administration.delete(*acts(server, symmetric))
        assert (await manage(server, client, "DELETE")).status_code == 204
        assert (await manage(server, client)).status_code == 401
        recorded = await everything_recorded(server)
        assert len(await events(server, "registration.refused")) > 100
        assert {"client.secret_rotated", "client.token_rotated", "client.deleted"} <= set(await kinds(server))
    # The client of these tests logs the URLs that it calls; what is held here is the server's log.
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx2")
    assert len(known) > 12
    for credential in known:
        assert credential not in recorded
        assert credential not in logged
        assert hashlib.sha256(credential.encode()).hexdigest() not in recorded


@pytest.mark.requirement("SEED-65")
async def test_a_store_that_is_gone_is_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """The client is told to try again, the log has the reason, and neither has the token."""
    async with served() as server:
        client = await register(server)
        await server.registry.store.close()
        answer = await manage(server, client)
        refused(answer, "temporarily_unavailable", status=503)
        assert client["registration_access_token"] not in caplog.text + answer.text
        assert "the store is unavailable" in caplog.text
