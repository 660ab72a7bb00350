"""What one replica gave out, another takes; what was used or ended at one is so at the other, at the next request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from authorizing import (
    APP,
    BATCH,
    SCOPES,
    WEB,
    assertion,
    call,
    code_for,
    exchange,
    key,
    proof,
    proof_of,
    published,
    token,
    tokens,
)
from registering import MEMBERS, configured, refused, register

from registrar.config import create_key_file
from registrar.domain.credentials import Unreadable
from registrar.domain.events import Actor
from registrar.service import initial_access, keys
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

Pair = tuple[Served, Served]


def configuration(database: str, key_file: Path) -> str:
    """What a replica is started with."""
    return configured(
        url="http://127.0.0.1:8000",
        registration="management = true",
        tables=f"{SCOPES}[issuer.main.authorization]\n[issuer.main.openid]\n",
        database=database,
    ).replace("[server]", f'[server]\nkey_file = "{key_file}"')


@pytest.fixture
async def pair(either: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two of them on one database, with nothing in common but that, the configuration and the key file."""
    create_key_file(tmp_path / "keys")
    text = configuration(either, tmp_path / "keys")
    async with served(text) as one, served(text) as other:
        await keys.ensure(one.registry, one.issuer)
        yield one, other


async def active(server: Served, client: dict[str, object], value: str) -> bool:
    """What the introspection of a replica says."""
    answer = await call(server, "/introspect", client, token=value)
    assert answer.status_code == 200, answer.text
    found: bool = answer.json()["active"]
    return found


async def test_a_registration_is_managed_at_either(pair: Pair) -> None:
    """Its token reads, changes and ends it anywhere; the one that was replaced at one is refused at the other."""
    one, other = pair
    made = await register(one, MEMBERS)
    path = made["registration_client_uri"].removeprefix("http://127.0.0.1:8000")

    def bearing(value: str) -> dict[str, str]:
        return {"authorization": f"Bearer {value}"}

    first = bearing(made["registration_access_token"])
    assert (await other.client.get(path, headers=first)).json()["client_name"] == MEMBERS["client_name"]
    body = {**MEMBERS, "client_id": made["client_id"], "client_name": "Changed"}
    changed = await other.client.put(path, json=body, headers=first)
    assert changed.status_code == 200, changed.text
    second = bearing(changed.json()["registration_access_token"])
    assert (await one.client.get(path, headers=second)).json()["client_name"] == "Changed"
    if second != first:
        assert (await one.client.get(path, headers=first)).status_code == 401
    assert (await one.client.delete(path, headers=second)).status_code == 204
    assert (await other.client.get(path, headers=second)).status_code == 401


async def test_an_initial_access_token_ends_everywhere(pair: Pair) -> None:
    """Issued at one it registers at the other; used up or revoked at one it registers nothing at the other."""
    one, other = pair
    issue = (one.registry, one.issuer, one.operator)

    async def come(server: Served, value: str) -> int:
        headers = {"authorization": f"Bearer {value}"}
        return (await server.client.post("/register", json=MEMBERS, headers=headers)).status_code

    once, _ = await initial_access.issue_token(*issue, max_uses=1)
    assert [await come(server, once) for server in (other, one, other)] == [201, 401, 401]
    many, issued = await initial_access.issue_token(*issue, max_uses=0)
    assert [await come(server, many) for server in (other, one)] == [201, 201]
    await initial_access.revoke_token(one.registry, one.issuer, one.operator, issued.token_id)
    assert [await come(server, many) for server in (other, one)] == [401, 401]


async def test_a_code_counts_once(pair: Pair) -> None:
    """Of one replica it is exchanged at the other; a second time ends what the first gave, wherever that was."""
    one, other = pair
    client = await register(one, WEB)
    value = await code_for(one, client)
    answer = await exchange(other, client, value)
    assert answer.status_code == 200, answer.text
    access = answer.json()["access_token"]
    assert await active(one, client, access)
    refused(await exchange(one, client, value), "invalid_grant")
    assert [await active(server, client, access) for server in pair] == [False, False]


async def test_a_refresh_token_goes_from_one_to_the_other(pair: Pair) -> None:
    """Each replica takes what the other rotated; the old one, stolen, ends the grant at both."""
    one, other = pair
    client = await register(one, APP)
    first = await tokens(one, client)
    second = await token(other, client, "refresh_token", refresh_token=first["refresh_token"])
    assert second.status_code == 200, second.text
    third = await token(one, client, "refresh_token", refresh_token=second.json()["refresh_token"])
    assert third.status_code == 200, third.text
    other.clock.advance(3_600)  # whatever grace there is for an answer that was lost, it is over
    one.clock.advance(3_600)
    refused(await token(other, client, "refresh_token", refresh_token=first["refresh_token"]), "invalid_grant")
    latest = third.json()["refresh_token"]
    refused(await token(one, client, "refresh_token", refresh_token=latest), "invalid_grant")


async def test_a_revoked_token_is_revoked_everywhere(pair: Pair) -> None:
    """At the next request, without anything that would have to be told."""
    one, other = pair
    client = await register(one, BATCH)
    answer = await token(other, client, "client_credentials")
    assert answer.status_code == 200, answer.text
    access = answer.json()["access_token"]
    assert await active(one, client, access)
    revoked = await one.client.post("/revoke", data={"token": access}, **proof_of(client))
    assert revoked.status_code == 200
    assert not await active(other, client, access)


async def test_what_may_be_used_once_is_used_once_at_all_of_them(pair: Pair) -> None:
    """A client assertion (RFC 7523) and a proof of possession (RFC 9449 §11.1) that one replica took."""
    one, other = pair
    own = key()
    client = await register(one, {**BATCH, "token_endpoint_auth_method": "private_key_jwt", "jwks": published(own)})
    given = assertion(one, client, own)
    answers = [await call(server, "/token", grant_type="client_credentials", **given) for server in (one, other, one)]
    assert [answer.status_code for answer in answers] == [200, 401, 401]

    app = await register(other, BATCH)
    headers = proof(one, key("dpop"))
    proved = [
        await call(server, "/token", app, headers=headers, grant_type="client_credentials") for server in (one, other)
    ]
    assert [answer.status_code for answer in proved] == [200, 400]
    assert proved[1].json()["error"] == "invalid_dpop_proof"


async def test_a_new_signing_key_is_published_everywhere(pair: Pair) -> None:
    """Before anything is signed with it: whoever verifies asks whichever replica answers."""
    one, other = pair
    before = {one["kid"] for one in (await other.client.get("/jwks")).json()["keys"]}
    await keys.rotate(one.registry, one.issuer, Actor("operator", "none"), endpoint="tests", algorithms=["ES256"])
    after = {one["kid"] for one in (await other.client.get("/jwks")).json()["keys"]}
    assert before < after


async def test_another_key_file_is_told(
    pair: Pair, either: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica that cannot open what the others sign with says so when it starts; clients are managed at it all the same."""
    one, _ = pair
    assert "key file" not in caplog.text
    create_key_file(tmp_path / "others")
    async with served(configuration(either, tmp_path / "others")) as stray:
        await keys.ensure(stray.registry, stray.issuer)
        [told] = [record for record in caplog.records if "key file" in record.getMessage()]
        assert "does not open the signing keys of the issuer main" in told.getMessage()
        assert "`registrar keys rotate`" in told.getMessage()
        for first, second in ((one, stray), (stray, one)):
            client = await register(first, MEMBERS)
            headers = {"authorization": f"Bearer {client['registration_access_token']}"}
            path = client["registration_client_uri"].removeprefix("http://127.0.0.1:8000")
            assert (await second.client.get(path, headers=headers)).status_code == 200
        with pytest.raises(Unreadable):
            await keys.signer(stray.registry, stray.issuer, "ES256")
        await keys.rotate(stray.registry, stray.issuer, Actor("operator", "none"), endpoint="tests")
        caplog.clear()
        await keys.ensure(stray.registry, stray.issuer)
        assert (await keys.signer(stray.registry, stray.issuer, "ES256")).kid
    assert "key file" not in caplog.text
