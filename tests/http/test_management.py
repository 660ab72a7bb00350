"""The client configuration endpoint as RFC 7592 describes it, asked over HTTP."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from registering import (
    FORBIDDEN_IN_PUT,
    MACHINE,
    MEMBERS,
    PUBLIC,
    as_update,
    bearer,
    configured,
    events,
    issue,
    manage,
    on_disk,
    payloads,
    post,
    refused,
    register,
    registers,
    without,
)

from registrar.domain.client import State
from registrar.service import administration, operators
from registrar.service.ports import ClientQuery
from registrar.storage.memory import MemoryStore
from registrar.testing import FrozenClock, Served, served

pytestmark = pytest.mark.anyio

PAYLOADS = {name: one for name, one in payloads("clients", "gateways", "edge").items() if one["request"]}
ROTATING = "[issuer.main.registration_access_token]\nrotate = {}\noverlap = 60"


async def stored(server: Served, client: dict[str, Any]) -> Any:
    """The record of a client as the store has it."""
    return await server.registry.store.find("main", client["client_id"])


# --- read -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "R7592-4", "R7592-5", "R7592-28", "R7592-29", "R7592-36", "D-3", "D-4", "D-5", "OIDC-43", "OIDC-44", "SEED-88"
)
@pytest.mark.parametrize("members", [MEMBERS, PUBLIC, MACHINE], ids=["confidential", "public", "machine"])
async def test_a_read_repeats_the_registration(members: dict[str, Any]) -> None:
    """GET answers with exactly what the registration answered, secret and token included, each time it is asked."""
    async with served() as server:
        client = await register(server, members)
        for _ in range(3):
            answer = await manage(server, client)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert answer.json() == client
        assert (await stored(server, client)).version == 1


@pytest.mark.requirement("R7592-39", "R7592-40", "R7592-28", "SEED-51", "WILD-3")
async def test_the_configuration_url_comes_from_the_configuration() -> None:
    """It is absolute, under the registration endpoint of the issuer, whatever Host the request names."""
    async with served(configured(url="https://as.example/tenant", registration='path = "/connect/register"')) as server:
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
        answer = await server.client.post("/connect/register", json=MEMBERS, headers=headers)
        client = answer.json()
        assert client["registration_client_uri"] == (
            f"https://as.example/tenant/connect/register/{client['client_id']}"
        )
        assert (await manage(server, client)).json() == client


@pytest.mark.requirement("OIDC-40", "SEED-58", "SEED-89")
async def test_without_management_neither_member_is_answered() -> None:
    """With management off there is no token and no URL, and no endpoint where they could be used."""
    async with served(configured(registration="management = false")) as server:
        client = await register(server)
        assert not {"registration_client_uri", "registration_access_token"} & set(client)
        assert client["client_secret"]
        for method in ("GET", "PUT", "DELETE"):
            answer = await server.client.request(method, f"/register/{client['client_id']}", headers=bearer("x"))
            refused(answer, "not_found", status=404)


# --- who may manage ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-7", "R7592-8", "OIDC-45", "WILD-6", "BASE-30", "BASE-31")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_missing_or_wrong_token_is_401_and_never_404(method: str) -> None:
    """The same JSON and challenge, whether the token or the client is unknown; a missing token names no error."""
    async with served() as server:
        client = await register(server)
        unknown = {**client, "registration_client_uri": client["registration_client_uri"] + "0"}
        body = as_update(client) if method == "PUT" else None
        answers = []
        for one in (client, unknown):
            missing = await manage(server, one, method, body, token="")
            refused(missing, "invalid_token", status=401)
            assert missing.headers["www-authenticate"].startswith("Bearer ")
            assert "error" not in missing.headers["www-authenticate"]
            wrong = await manage(server, one, method, body, token="wrong")
            assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
            refused(wrong, "invalid_token", status=401)
            answers.append((wrong.json(), wrong.headers["www-authenticate"]))
        assert answers[0] == answers[1], "the answer tells whether a client exists"
        unknown_with_token = await manage(server, unknown, method, body)
        refused(unknown_with_token, "invalid_token", status=401)
        assert (await manage(server, client)).json() == client


@pytest.mark.requirement("R7592-10", "R7592-36")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_token_manages_its_own_client_alone(method: str) -> None:
    """A's token at B's URL is 401, B is as it was, and so is A."""
    async with served() as server:
        a, b = await register(server), await register(server, {**MEMBERS, "client_name": "Other"})
        body = as_update(b, client_name="Stolen") if method == "PUT" else None
        answer = await manage(server, b, method, body, token=a["registration_access_token"])
        refused(answer, "invalid_token", status=401)
        assert "www-authenticate" in answer.headers
        assert (await manage(server, b)).json() == b
        assert (await manage(server, a)).json() == a


@pytest.mark.requirement("R7592-3", "BASE-33", "SEED-27")
async def test_the_token_comes_in_the_header_alone() -> None:
    """Neither the query nor the body nor another scheme presents a registration access token."""
    async with served() as server:
        client = await register(server)
        token, uri = client["registration_access_token"], client["registration_client_uri"]
        query = await server.client.get(f"{uri}?access_token={token}")
        refused(query, "invalid_request")
        both = await server.client.get(f"{uri}?access_token={token}", headers=bearer(token))
        refused(both, "invalid_request")
        body = await server.client.put(uri, json=as_update(client, access_token=token))
        refused(body, "invalid_token", status=401)
        basic = await server.client.get(uri, auth=(client["client_id"], token))
        refused(basic, "invalid_token", status=401)
        lower = await server.client.get(uri, headers={"authorization": f"bearer {token}"})
        assert lower.status_code == 200


@pytest.mark.requirement("R7592-2")
@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD"])
async def test_other_methods_are_405(method: str) -> None:
    """The configuration endpoint says which methods it has."""
    async with served() as server:
        client = await register(server)
        answer = await manage(server, client, method, {} if method != "HEAD" else None)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, PUT, DELETE, OPTIONS"


@pytest.mark.requirement("R7592-9", "OIDC-45")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_suspended_client_is_403_until_it_is_resumed(method: str) -> None:
    """Its token is good, and nothing is open to it; a wrong token still learns nothing of that."""
    async with served() as server:
        client = await register(server)
        act = (server.registry, server.issuer, server.operator, client["client_id"])
        await administration.suspend(*act, "under review")
        answer = await manage(server, client, method, as_update(client) if method == "PUT" else None)
        refused(answer, "access_denied", status=403)
        assert "suspended" in answer.json()["error_description"]
        assert (await manage(server, client, token="wrong")).status_code == 401
        await administration.resume(*act)
        assert (await manage(server, client)).json() == client


# --- update -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-12", "R7592-19", "SEED-88", "D-4", "D-5")
@pytest.mark.parametrize("name", PAYLOADS)
async def test_every_client_may_send_its_answer_back(name: str) -> None:
    """PUT of the server's own answer minus the four forbidden members succeeds and changes nothing, twice."""
    payload = PAYLOADS[name]
    async with served() as server:
        answer = await post(server, payload["request"])
        if not registers(payload, answer):
            return
        client = answer.json()
        for _ in range(2):
            updated = await manage(server, client, "PUT", as_update(client))
            assert updated.status_code == 200, updated.text
            assert updated.json() == client
        assert (await manage(server, client)).json() == client
        for event in await events(server, "client.updated"):
            assert event.get("difference", {}) == {}


@pytest.mark.requirement("R7592-12", "WILD-5")
async def test_an_update_replaces_and_does_not_merge() -> None:
    """What is omitted is gone or back at its default, in the answer and in a read."""
    members = {
        **MEMBERS,
        "logo_uri": "https://app.example/logo.png",
        "client_name#fr": "Lecteur",
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_post",
        "scope": "openid email",
        "require_auth_time": True,
        "contacts": ["ops@app.example"],
    }
    async with served() as server:
        client = await register(server, members)
        only = {"client_id": client["client_id"], "redirect_uris": ["https://app.example/new"]}
        for answer in (await manage(server, client, "PUT", only), await manage(server, client)):
            after = answer.json()
            assert answer.status_code == 200
            assert not {"logo_uri", "client_name", "client_name#fr", "scope", "contacts"} & set(after)
            assert after["grant_types"] == ["authorization_code"]
            assert after["token_endpoint_auth_method"] == "client_secret_basic"
            assert after["require_auth_time"] is False
            assert after["redirect_uris"] == ["https://app.example/new"]
            for kept in ("client_id", "client_secret", "registration_access_token", "client_id_issued_at"):
                assert after[kept] == client[kept]


@pytest.mark.requirement("R7592-13")
@pytest.mark.parametrize("empty", [None, ""])
async def test_null_and_empty_mean_omitted(empty: Any) -> None:
    """A member that is null or empty is deleted, and in a forbidden member it counts as absent."""
    async with served() as server:
        client = await register(server, {**MEMBERS, "logo_uri": "https://app.example/logo.png", "scope": "openid"})
        emptied = dict.fromkeys(FORBIDDEN_IN_PUT, empty) | {"logo_uri": empty, "scope": empty, "client_secret": empty}
        answer = await manage(server, client, "PUT", as_update(client, **emptied))
        assert answer.status_code == 200, answer.text
        after = answer.json()
        assert not {"logo_uri", "scope"} & set(after)
        assert after == without(client, "logo_uri", "scope")


@pytest.mark.requirement("R7592-14")
@pytest.mark.parametrize("name", FORBIDDEN_IN_PUT)
async def test_four_members_must_not_stand_in_an_update(name: str) -> None:
    """Each of the four is refused by name, even with its own current value, and nothing is changed."""
    async with served() as server:
        client = await register(server)
        for value in (client[name], "x", 0, False):
            answer = await manage(server, client, "PUT", as_update(client, client_name="New", **{name: value}))
            refused(answer, "invalid_client_metadata", name)
        assert (await manage(server, client)).json() == client


@pytest.mark.requirement("R7592-15", "R7592-5")
async def test_an_update_names_its_client() -> None:
    """A client_id that is missing, null or another's is refused, and nothing is changed."""
    async with served() as server:
        client, other = await register(server), await register(server)
        for wrong in (None, "", 5, client["client_id"].upper(), other["client_id"]):
            answer = await manage(server, client, "PUT", as_update(client, client_id=wrong, client_name="New"))
            refused(answer, "invalid_client_metadata", "client_id")
        answer = await manage(server, client, "PUT", without(as_update(client), "client_id"))
        refused(answer, "invalid_client_metadata", "client_id")
        assert (await manage(server, client)).json() == client


@pytest.mark.requirement("R7592-16", "R7592-17")
async def test_a_client_does_not_choose_its_secret() -> None:
    """Another secret than the current one is refused; the current one, or none, leaves it as it is."""
    async with served() as server:
        client, other = await register(server), await register(server)
        for wrong in ("mine", other["client_secret"], client["client_secret"][:-1], 5, ["x"]):
            answer = await manage(server, client, "PUT", as_update(client, client_secret=wrong, client_name="New"))
            refused(answer, "invalid_client_metadata", "client_secret")
            assert not isinstance(wrong, str) or wrong not in answer.text
        assert (await manage(server, client)).json() == client
        omitted = await manage(server, client, "PUT", without(as_update(client), "client_secret"))
        assert omitted.json() == client
        public = await register(server, PUBLIC)
        answer = await manage(server, public, "PUT", as_update(public, client_secret="mine"))
        refused(answer, "invalid_client_metadata", "client_secret")


@pytest.mark.requirement("R7592-11")
async def test_an_update_is_a_json_object() -> None:
    """Another media type is 415 and another body 400, and nothing is changed."""
    async with served() as server:
        client = await register(server)
        uri, headers = client["registration_client_uri"], bearer(client["registration_access_token"])
        untyped = await server.client.put(uri, content=json.dumps(as_update(client)).encode(), headers=headers)
        refused(untyped, "invalid_request", status=415)
        form = await server.client.put(uri, data={"client_id": client["client_id"]}, headers=headers)
        refused(form, "invalid_request", status=415)
        for body in ([], None, "x", 5):
            answer = await server.client.request("PUT", uri, json=body, headers=headers)
            assert answer.status_code in (400, 415), body
        twice = b'{"client_id": "a", "client_id": "b"}'
        duplicate = await server.client.put(uri, content=twice, headers={**headers, "content-type": "application/json"})
        refused(duplicate, "invalid_client_metadata")
        assert (await manage(server, client)).json() == client


@pytest.mark.requirement("R7592-18", "R7592-20", "R7592-22", "R7591-58")
async def test_an_update_is_judged_as_a_registration_is() -> None:
    """Faults are refused with the codes of a registration and leave the record; replaced values are answered."""
    async with served() as server:
        client = await register(server)
        before = await stored(server, client)
        for changes, error, member in (
            ({"redirect_uris": ["http://evil.example/"]}, "invalid_redirect_uri", "redirect_uris[0]"),
            ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris"),
            ({"subject_type": "odd"}, "invalid_client_metadata", "subject_type"),
            (
                {"token_endpoint_auth_method": "private_key_jwt"},
                "invalid_client_metadata",
                "token_endpoint_auth_method",
            ),
            ({"response_types": ["token"]}, "invalid_client_metadata", "response_types"),
        ):
            answer = await manage(server, client, "PUT", as_update(client, client_name="New", **changes))
            refused(answer, error, member)
        assert await stored(server, client) == before
        dropped = await manage(server, client, "PUT", as_update(client, scope="openid root"))
        assert dropped.json()["scope"] == "openid"
        assert (await manage(server, client)).json()["scope"] == "openid"


@pytest.mark.requirement("R7592-20")
async def test_the_policy_of_the_registration_judges_its_updates() -> None:
    """A client that a token's policy admitted cannot get by PUT what that policy forbids."""
    tables = '[policy.narrow.metadata.scope]\nsubset_of = ["openid"]\n[policy.narrow.metadata.grant_types]\nsubset_of = ["authorization_code"]'
    async with served(configured(tables=tables)) as server:
        value, _ = await issue(server, policy="narrow")
        client = await register(server, {**MEMBERS, "scope": "openid email"}, value)
        assert client["scope"] == "openid"
        wider = as_update(client, scope="openid email", grant_types=["authorization_code", "refresh_token"])
        after = (await manage(server, client, "PUT", wider)).json()
        assert (after["scope"], after["grant_types"]) == ("openid", ["authorization_code"])
        answer = await manage(server, client, "PUT", as_update(client, scope="email"))
        refused(answer, "invalid_client_metadata", "scope")


@pytest.mark.requirement("R7592-9", "R7592-20")
async def test_a_policy_that_vanished_is_named() -> None:
    """Once the policy is configured no more, an update is 403 with its name; reading and deleting go on."""
    store, clock = _Kept(), FrozenClock()
    tables = "[policy.partners.metadata.client_name]\nessential = true"
    async with served(configured(tables=tables), store=store, clock=clock) as server:
        value, _ = await issue(server, policy="partners", max_uses=0)
        client = await register(server, token=value)
    async with served(configured(), store=store, clock=clock) as server:
        answer = await manage(server, client, "PUT", as_update(client))
        refused(answer, "access_denied", status=403)
        assert "partners" in answer.json()["error_description"]
        registering = await post(server, token=value)
        refused(registering, "access_denied", status=403)
        assert "partners" in registering.json()["error_description"]
        assert (await manage(server, client)).json() == client
        assert (await manage(server, client, "DELETE")).status_code == 204


class _Kept(MemoryStore):
    """A memory store that outlives the server before it, as a database does."""

    async def close(self) -> None:
        """Stay open."""


@pytest.mark.requirement("R7592-21", "R7591-6", "R7591-55")
async def test_a_changed_method_mints_and_retires_the_secret() -> None:
    """To `none` the secret ends and its members vanish; back again a new one is issued, which the old one is not."""
    async with served() as server:
        client = await register(server)
        public = (await manage(server, client, "PUT", as_update(client, token_endpoint_auth_method="none"))).json()
        assert not {"client_secret", "client_secret_expires_at"} & set(public)
        assert public["registration_access_token"] == client["registration_access_token"]
        record = await stored(server, client)
        assert not record.credentials.secret_is(client["client_secret"], server.clock.now)
        assert record.credentials.secrets == ()
        assert (await manage(server, client)).json() == public
        again = (
            await manage(server, client, "PUT", as_update(public, token_endpoint_auth_method="client_secret_post"))
        ).json()
        assert len(again["client_secret"]) == 86
        assert again["client_secret"] != client["client_secret"]
        assert again["client_secret_expires_at"] == 0
        assert (await manage(server, client)).json() == again
        kept = (
            await manage(server, client, "PUT", as_update(again, token_endpoint_auth_method="client_secret_jwt"))
        ).json()
        assert kept["client_secret"] == again["client_secret"]
        assert (await manage(server, client)).json() == kept


@pytest.mark.requirement("R7592-22")
@pytest.mark.parametrize("database", ["memory", "sqlite"])
async def test_concurrent_updates_take_turns(database: str, tmp_path: Path) -> None:
    """Of twenty at once each is answered whole, the last one stored is what a read shows, and none is lost unseen."""
    names = [f"Name {number}" for number in range(20)]
    answers: dict[str, httpx2.Response] = {}
    async with served(on_disk(tmp_path) if database == "sqlite" else configured()) as server:
        client = await register(server)

        async def update(name: str) -> None:
            body = as_update(client, client_name=name, logo_uri=f"https://app.example/{name[5:]}.png")
            answers[name] = await manage(server, client, "PUT", body)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(update, name)
        done = [name for name, answer in answers.items() if answer.status_code == 200]
        assert {answer.status_code for answer in answers.values()} <= {200, 503}
        assert done
        for name in done:
            assert answers[name].json()["client_name"] == name
            assert answers[name].json()["logo_uri"] == f"https://app.example/{name[5:]}.png"
        after = (await manage(server, client)).json()
        assert after["client_name"] in done
        assert after["logo_uri"] == f"https://app.example/{after['client_name'][5:]}.png"
        told = await events(server, "client.updated")
        assert Counter(event["client_name"] for event in told) == Counter(done)
        assert sorted(event["version"] for event in told) == list(range(2, 2 + len(done)))
        assert (await stored(server, client)).version == 1 + len(done)


# --- delete -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-23", "R7592-27", "R7592-34", "R7591-59")
async def test_a_deleted_client_is_gone() -> None:
    """204 without a body, then 401 for everything with its token, a second DELETE too."""
    async with served() as server:
        client, other = await register(server), await register(server)
        answer = await manage(server, client, "DELETE")
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.headers["pragma"] == "no-cache"
        for method, body in (("GET", None), ("PUT", as_update(client)), ("DELETE", None)):
            gone = await manage(server, client, method, body)
            refused(gone, "invalid_token", status=401)
            assert 'error="invalid_token"' in gone.headers["www-authenticate"]
        assert (await manage(server, other)).json() == other


@pytest.mark.requirement("R7592-27", "SEED-62", "R7592-34")
async def test_a_tombstone_is_left() -> None:
    """Who it was and how it came in stays; no credential does, and the identifier is never issued again."""
    async with served() as server:
        client = await register(server)
        server.clock.advance(10)
        await manage(server, client, "DELETE")
        (record,) = await server.registry.store.clients(ClientQuery(state=State.DELETED))
        assert (record.client_id, record.metadata["client_name"]) == (client["client_id"], "Reader")
        assert (record.created_at, record.updated_at) == (server.clock.now - 10, server.clock.now)
        assert (record.credentials.tokens, record.credentials.secrets) == ((), ())
        assert record.credentials.data_key is None
        assert not record.credentials.secret_is(client["client_secret"], server.clock.now)
        with pytest.raises(operators.Refused):
            await administration.resume(server.registry, server.issuer, server.operator, client["client_id"])


@pytest.mark.requirement("R7592-34")
async def test_an_operators_deletion_ends_the_token_too() -> None:
    """Whoever deletes a client, its token stops working at that moment."""
    async with served() as server:
        client = await register(server)
        await administration.delete(server.registry, server.issuer, server.operator, client["client_id"])
        refused(await manage(server, client), "invalid_token", status=401)


# --- rotation of the registration access token --------------------------------------------------------------------------


@pytest.mark.requirement("R7592-31", "R7592-32", "R7592-38", "R7592-6", "D-3")
@pytest.mark.parametrize(
    ("rotate", "on_read", "on_update"), [("never", False, False), ("update", False, True), ("read", True, True)]
)
async def test_the_operator_decides_when_tokens_rotate(rotate: str, on_read: bool, on_update: bool) -> None:
    """Tokens are replaced on update, on read, or never, as the issuer's setting says, and do not expire by age."""
    async with served(configured(tables=ROTATING.format(json.dumps(rotate)))) as server:
        client = await register(server)
        server.clock.advance(10 * 365 * 86_400)
        read = (await manage(server, client)).json()
        assert (read["registration_access_token"] != client["registration_access_token"]) is on_read
        updated = (await manage(server, read, "PUT", as_update(read))).json()
        assert (updated["registration_access_token"] != read["registration_access_token"]) is on_update
        assert without(updated, "registration_access_token") == without(client, "registration_access_token")
        rotations = await events(server, "client.token_rotated")
        assert len(rotations) == on_read + on_update


@pytest.mark.requirement("R7592-32", "R7592-29", "D-5")
@pytest.mark.parametrize("members", [MEMBERS, PUBLIC], ids=["confidential", "public"])
async def test_the_old_token_ends_when_the_new_one_is_used(members: dict[str, Any]) -> None:
    """Until then it works, so that a lost answer locks nobody out; afterwards it is 401."""
    async with served(configured(tables=ROTATING.format('"update"'))) as server:
        client = await register(server, members)
        lost = (await manage(server, client, "PUT", as_update(client, client_name="One"))).json()
        found = (await manage(server, client, "PUT", as_update(client, client_name="Two"))).json()
        tokens = [one["registration_access_token"] for one in (client, lost, found)]
        assert len(set(tokens)) == 3
        assert (await manage(server, found)).json() == found
        for ended in tokens[:2]:
            refused(await manage(server, client, token=ended), "invalid_token", status=401)
        assert (await manage(server, found)).json() == found


@pytest.mark.requirement("R7592-32")
async def test_the_old_token_works_for_a_bounded_time() -> None:
    """When the overlap is over the old token ends, used or not; the new one goes on."""
    async with served(configured(tables=ROTATING.format('"update"'))) as server:
        client = await register(server)
        updated = (await manage(server, client, "PUT", as_update(client))).json()
        server.clock.advance(60)
        refused(await manage(server, client), "invalid_token", status=401)
        assert (await manage(server, updated)).json() == updated


@pytest.mark.requirement("R7592-32", "D-3")
async def test_a_lost_read_locks_nobody_out_either() -> None:
    """Under rotation on read a client that never saw its answers reads on with the token it has."""
    async with served(configured(tables=ROTATING.format('"read"'))) as server:
        client = await register(server)
        for _ in range(5):
            answer = await manage(server, client)
            assert answer.status_code == 200
            assert answer.json()["client_secret"] == client["client_secret"]
        latest = answer.json()
        after = (await manage(server, latest)).json()
        assert after["client_secret"] == client["client_secret"]
        refused(await manage(server, client), "invalid_token", status=401)
        assert len((await stored(server, client)).credentials.tokens) == 2


@pytest.mark.requirement("R7592-32", "R7592-22")
@pytest.mark.parametrize("members", [MEMBERS, PUBLIC], ids=["confidential", "public"])
async def test_no_answer_carries_a_dead_token(members: dict[str, Any], tmp_path: Path) -> None:
    """Of two updates at once each is answered with a token of its own, and whichever the client keeps works."""
    async with served(on_disk(tmp_path, tables=ROTATING.format('"update"'))) as server:
        client = await register(server, members)
        answers: list[dict[str, Any]] = []

        async def update(name: str) -> None:
            answers.append((await manage(server, client, "PUT", as_update(client, client_name=name))).json())

        async with anyio.create_task_group() as tasks:
            for name in ("One", "Two"):
                tasks.start_soon(update, name)
        held = [answer["registration_access_token"] for answer in answers]
        assert len({*held, client["registration_access_token"]}) == 3
        for token in held:
            read = await manage(server, client, token=token)
            assert read.status_code == 200
            assert read.json().get("client_secret") == client.get("client_secret")
        refused(await manage(server, client), "invalid_token", status=401)


@pytest.mark.requirement("R7592-32")
async def test_tokens_that_are_never_used_do_not_pile_up() -> None:
    """A client that loses every answer holds a bounded number of tokens, and all end when one of them is used."""
    async with served(configured(tables=ROTATING.format('"update"'))) as server:
        client = await register(server)
        answers = [(await manage(server, client, "PUT", as_update(client))).json() for _ in range(30)]
        assert len((await stored(server, client)).credentials.tokens) <= 6
        latest = (await manage(server, answers[-1])).json()
        assert latest["registration_access_token"] == answers[-1]["registration_access_token"]
        assert len((await stored(server, client)).credentials.tokens) == 1
        for lost in (client, *answers[:-1]):
            assert (await manage(server, lost)).status_code == 401


@pytest.mark.requirement("R7592-33")
async def test_tokens_are_stored_as_digests() -> None:
    """Neither token nor secret stands in the record, however it is written."""
    async with served() as server:
        client = await register(server)
        record = repr(await stored(server, client))
        assert client["registration_access_token"] not in record
        assert client["client_secret"] not in record


# --- life of the secret -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-19", "R7591-50")
async def test_an_update_near_the_end_renews_the_secret() -> None:
    """Far from its end the secret stays; near it an update issues another, and the old one lives for the overlap."""
    async with served(configured(tables="[issuer.main.client_secret]\nlifetime = 1000\noverlap = 100")) as server:
        client = await register(server)
        ends = client["client_secret_expires_at"]
        server.clock.advance(899)
        assert (await manage(server, client, "PUT", as_update(client))).json() == client
        server.clock.advance(1)
        renewed = (await manage(server, client, "PUT", as_update(client))).json()
        assert renewed["client_secret"] != client["client_secret"]
        assert renewed["client_secret_expires_at"] == server.clock.now + 1000 > ends
        assert (await manage(server, client)).json() == renewed
        record = (await stored(server, client)).credentials
        now = server.clock.now
        assert record.secret_is(client["client_secret"], now)
        assert record.secret_is(renewed["client_secret"], now)
        assert not record.secret_is(client["client_secret"], now + 100)
        assert record.secret_is(renewed["client_secret"], now + 100)


@pytest.mark.requirement("R7592-16", "R7592-19", "R7591-50")
async def test_an_update_after_the_end_renews_the_secret() -> None:
    """A client whose secret has expired still reads it, sends it back as it was shown, and gets a living one."""
    async with served(configured(tables="[issuer.main.client_secret]\nlifetime = 1000\noverlap = 0")) as server:
        client = await register(server)
        server.clock.advance(2000)
        shown = (await manage(server, client)).json()
        assert shown == client
        answer = await manage(server, client, "PUT", as_update(shown))
        assert answer.status_code == 200, answer.text
        renewed = answer.json()
        assert renewed["client_secret"] != client["client_secret"]
        assert renewed["client_secret_expires_at"] == server.clock.now + 1000
        record = (await stored(server, client)).credentials
        assert not record.secret_is(client["client_secret"], server.clock.now)


@pytest.mark.requirement("R7592-19", "R7592-16")
async def test_every_update_may_rotate_the_secret() -> None:
    """With rotate_on_update each update gives a new secret, tells it in an event, and the old ones overlap."""
    tables = "[issuer.main.client_secret]\nrotate_on_update = true\noverlap = 100"
    async with served(configured(tables=tables)) as server:
        client = await register(server)
        first = (await manage(server, client, "PUT", as_update(client))).json()
        lost_answer = await manage(server, client, "PUT", as_update(client))
        assert lost_answer.status_code == 200, "the secret before, sent again within its overlap, is the client's own"
        second = lost_answer.json()
        assert len({one["client_secret"] for one in (client, first, second)}) == 3
        record = (await stored(server, client)).credentials
        assert all(record.secret_is(one["client_secret"], server.clock.now) for one in (client, first, second))
        server.clock.advance(100)
        assert [record.secret_is(one["client_secret"], server.clock.now) for one in (client, first, second)] == [
            False,
            False,
            True,
        ]
        answer = await manage(server, client, "PUT", as_update(client))
        refused(answer, "invalid_client_metadata", "client_secret")
        assert (await manage(server, client)).json() == second
        assert len(await events(server, "client.secret_rotated")) == 2


@pytest.mark.requirement("R7592-29", "D-5")
async def test_a_secret_that_the_operator_rotated_is_read_by_its_client() -> None:
    """No token was at hand when it was made; the next read shows it, and the key-encryption key is needed no more."""
    async with served() as server:
        client = await register(server)
        act = (server.registry, server.issuer, server.operator, client["client_id"])
        minted, _ = await administration.rotate_secret(*act, overlap=100)
        assert (await stored(server, client)).credentials.data_key is not None
        read = (await manage(server, client)).json()
        assert read["client_secret"] == minted != client["client_secret"]
        record = (await stored(server, client)).credentials
        assert record.data_key is None
        assert record.secret_is(client["client_secret"], server.clock.now)
        assert not record.secret_is(client["client_secret"], server.clock.now + 100)
        assert (await manage(server, client)).json() == read
        assert (await manage(server, client, "PUT", as_update(read))).json() == read


# --- tokens and secrets are not each other ------------------------------------------------------------------------------


@pytest.mark.requirement("R7592-35", "SEED-26", "R7591-56")
async def test_every_credential_works_in_its_own_place_alone() -> None:
    """Initial token, registration token and secret are each 401 where another of them belongs."""
    async with served(configured("client")) as server:
        initial, _ = await issue(server, kind="client", max_uses=0)
        client = await register(server, token=initial)
        token, secret = client["registration_access_token"], client["client_secret"]
        for wrong in (token, secret, client["client_id"]):
            refused(await post(server, token=wrong), "invalid_token", status=401)
        for wrong in (initial, secret, client["client_id"]):
            for method, body in (("GET", None), ("PUT", as_update(client)), ("DELETE", None)):
                refused(await manage(server, client, method, body, token=wrong), "invalid_token", status=401)
        assert (await manage(server, client)).json() == client
        basic = (client["client_id"], secret)
        refused(await server.client.post("/register", json=MEMBERS, auth=basic), "invalid_token", status=401)
        for endpoint in ("/userinfo", "/introspect", "/token"):
            for value in (initial, token):
                answer = await server.client.post(endpoint, headers=bearer(value))
                assert answer.status_code not in range(200, 300)


@pytest.mark.requirement("R7592-10", "R7592-36")
async def test_issuers_do_not_see_each_others_clients() -> None:
    """The token of a client at one issuer is 401 at the other, for the same identifier."""
    text = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example/a"
[issuer.main.registration]
mode = "open"
[issuer.other]
url = "https://as.example/b"
[issuer.other.registration]
mode = "open"
"""
    async with served(text) as server:
        client = await register(server)
        elsewhere = client["registration_client_uri"].replace("/a/", "/b/")
        answer = await server.client.get(elsewhere, headers=bearer(client["registration_access_token"]))
        refused(answer, "invalid_token", status=401)
        deleting = await server.client.delete(elsewhere, headers=bearer(client["registration_access_token"]))
        refused(deleting, "invalid_token", status=401)
        assert (await manage(server, client)).json() == client
