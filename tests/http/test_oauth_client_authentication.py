"""Client authentication: the registered method and no other (RFC 6749 §2.3)."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from urllib.parse import quote

import anyio
import msgspec
import pytest
from authorizing import APP, BATCH, authorizing, basic, call, code_for, exchange, token
from registering import refused, register, without

from registrar.authorization.call import Call
from registrar.authorization.client_authentication import authenticate
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service import administration
from registrar.service.attempts import FREE, LONGEST
from registrar.service.last_use import at
from registrar.storage.memory import MemoryStore
from registrar.testing import served

pytestmark = pytest.mark.anyio

POST = {**BATCH, "token_endpoint_auth_method": "client_secret_post"}


@pytest.mark.requirement("BASE-22")
async def test_a_secret_in_the_header() -> None:
    """client_secret_basic: identifier and secret are form-urlencoded, each, before they are joined."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        assert (await token(server, client, "client_credentials")).status_code == 200
        encoded = ":".join("".join(f"%{ord(one):02X}" for one in part) for part in basic(client))
        header = {"authorization": "Basic " + base64.b64encode(encoded.encode()).decode()}
        answer = await server.client.post("/token", data={"grant_type": "client_credentials"}, headers=header)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache, no-store"
    assert answer.headers["pragma"] == "no-cache"


@pytest.mark.requirement("AUTHM-2", "BASE-22")
async def test_a_secret_in_the_body() -> None:
    """client_secret_post: in the body, and there alone."""
    async with served(authorizing()) as server:
        client = await register(server, POST)
        given = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
        answer = await call(server, "/token", grant_type="client_credentials", **given)
        assert answer.status_code == 200
        query = await server.client.post("/token", params=given, data={"grant_type": "client_credentials"})
        refused(query, "invalid_request")


@pytest.mark.requirement("BASE-23")
async def test_only_the_registered_method() -> None:
    """Who registered the header does not get in by the body, nor the other way round, nor with the name alone."""
    async with served(authorizing()) as server:
        by_header, by_body = await register(server, BATCH), await register(server, POST)
        refused(await token(server, by_body, "client_credentials"), "invalid_client", status=401)
        given = {"client_id": by_header["client_id"], "client_secret": by_header["client_secret"]}
        refused(await call(server, "/token", grant_type="client_credentials", **given), "invalid_client", status=401)
        alone = without(by_header, "client_secret")
        answer = await token(server, alone, "client_credentials")
        refused(answer, "invalid_client", status=401)
        assert "client_secret_basic" in answer.json()["error_description"]


@pytest.mark.requirement("BASE-23")
async def test_one_method_a_request() -> None:
    """Two at once are refused, and so is a client_id that names somebody else."""
    async with served(authorizing()) as server:
        client, other = await register(server, BATCH), await register(server, BATCH)
        for more in (
            {"client_secret": client["client_secret"]},
            {"client_assertion": "a.b.c", "client_assertion_type": "x"},
            {"client_id": other["client_id"]},
        ):
            refused(await token(server, client, "client_credentials", **more), "invalid_request")
        named = await token(server, client, "client_credentials", client_id=client["client_id"])
        assert named.status_code == 200


@pytest.mark.requirement("BASE-35", "SEED-83")
async def test_nobody_is_told_so() -> None:
    """An unknown client gets 401 invalid_client as JSON, a challenge where it used the header, and where to register."""
    async with served(authorizing()) as server:
        for client in ({"client_id": "nobody"}, {"client_id": "nobody", "client_secret": "guess"}):
            answer = await token(server, client, "client_credentials")
            refused(answer, "invalid_client", status=401)
            assert answer.headers.get("www-authenticate", "").startswith("Basic ") is ("client_secret" in client)
            assert "/register" in answer.json()["error_description"]
        missing = await call(server, "/token", grant_type="client_credentials")
        refused(missing, "invalid_client", status=401)
        wrong = await register(server, BATCH)
        answer = await token(server, {**wrong, "client_secret": "wrong"}, "client_credentials")
        refused(answer, "invalid_client", status=401)
        assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("header", ["Basic", "Basic ", "Basic !", "Basic YQ==", "Basic /w==", "Basic JWY6JWZm"])
async def test_a_header_of_another_form(header: str) -> None:
    """What is no base64 of an identifier, a colon and a secret, is nobody's."""
    async with served(authorizing()) as server:
        answer = await server.client.post(
            "/token", data={"grant_type": "client_credentials"}, headers={"authorization": header}
        )
        refused(answer, "invalid_client", status=401)


@pytest.mark.requirement("BASE-22")
async def test_guessing_becomes_slow() -> None:
    """After a few failures from an address the next attempt waits, the right one too; others do not."""
    async with served(authorizing()) as server:
        client, other = await register(server, BATCH), await register(server, BATCH)
        for _ in range(FREE):
            answer = await token(server, {**client, "client_secret": "guess"}, "client_credentials")
            refused(answer, "invalid_client", status=401)
        answer = await token(server, client, "client_credentials")
        refused(answer, "temporarily_unavailable", status=429)
        assert (await token(server, other, "client_credentials")).status_code == 200
        server.clock.advance(int(answer.headers["retry-after"]))
        assert (await token(server, client, "client_credentials")).status_code == 200


@pytest.mark.requirement("BASE-19", "SEED-4", "BASE-18")
async def test_a_native_app_with_a_secret_must_present_it() -> None:
    """An installation that registered a secret of its own is confidential, whatever its application_type."""
    async with served(authorizing()) as server:
        members = {**without(APP, "token_endpoint_auth_method"), "application_type": "native"}
        client = await register(server, members)
        value = await code_for(server, client)
        refused(await exchange(server, without(client, "client_secret"), value), "invalid_client", status=401)
        another = await register(server, members)
        stolen = {**client, "client_secret": another["client_secret"]}
        refused(await exchange(server, stolen, value), "invalid_client", status=401)
        assert (await exchange(server, client, value)).status_code == 200


@pytest.mark.requirement("R7592-24")
async def test_the_dead_and_the_suspended() -> None:
    """A suspended client is told that, and not that it is unknown, or it would register anew; a deleted one is unknown."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        registry, issuer, operator = server.registry, server.issuer, server.operator
        await administration.suspend(registry, issuer, operator, client["client_id"])
        refused(await token(server, client, "client_credentials"), "access_denied", status=403)
        wrong = await token(server, {**client, "client_secret": "wrong"}, "client_credentials")
        refused(wrong, "invalid_client", status=401)
        await administration.resume(registry, issuer, operator, client["client_id"])
        assert (await token(server, client, "client_credentials")).status_code == 200
        await administration.delete(registry, issuer, operator, client["client_id"])
        refused(await token(server, client, "client_credentials"), "invalid_client", status=401)


async def test_the_last_use_is_kept_coarsely() -> None:
    """When a client was last seen is noted once an hour at the most."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        store, began = server.registry.store, server.clock.now
        assert await at(store, "main", client["client_id"]) == 0
        for advance, noted in ((0, 0), (60, 0), (3_600, 3_660)):
            server.clock.advance(advance)
            assert (await token(server, client, "client_credentials")).status_code == 200
            assert await at(store, "main", client["client_id"]) == began + noted


async def test_secrets_that_ended() -> None:
    """A superseded secret works for its overlap, and not after; an expired one does not."""
    text = authorizing().replace(
        "[issuer.main.scopes]", "[issuer.main.client_secret]\nlifetime = 1000\n[issuer.main.scopes]"
    )
    async with served(text) as server:
        client = await register(server, BATCH)
        new, _ = await administration.rotate_secret(
            server.registry, server.issuer, server.operator, client["client_id"], overlap=60
        )
        assert quote(new) == new
        for secret in (client["client_secret"], new):
            assert (await token(server, {**client, "client_secret": secret}, "client_credentials")).status_code == 200
        server.clock.advance(60)
        refused(await token(server, client, "client_credentials"), "invalid_client", status=401)
        server.clock.advance(1000)
        late = await token(server, {**client, "client_secret": new}, "client_credentials")
        refused(late, "invalid_client", status=401)


class Distant(MemoryStore):
    """A store whose answers take a moment, as those of a database over a network."""

    async def find(self, issuer: str, client_id: str) -> Client | None:
        """The client, after others had their turn."""
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        return await super().find(issuer, client_id)


async def test_of_many_guesses_at_once_one_is_looked_at() -> None:
    """Whoever failed as often as they may is counted before anything is looked at: a burst is not looked at all the same."""
    async with served(authorizing(), store=Distant()) as server:
        client = await register(server, BATCH)
        wrong = {**client, "client_secret": "guess"}
        for _ in range(FREE):
            refused(await token(server, wrong, "client_credentials"), "invalid_client", status=401)
        server.clock.advance(LONGEST)

        burst = await asyncio.gather(*(token(server, wrong, "client_credentials") for _ in range(50)))

        assert Counter(one.status_code for one in burst) == {401: 1, 429: 49}
        server.clock.advance(LONGEST)
        assert (await token(server, client, "client_credentials")).status_code == 200
        assert (await token(server, client, "client_credentials")).status_code == 200


@pytest.mark.parametrize(
    ("address", "waits"), [("2001:db8:1:2::%x", True), ("2001:db8:1:%x::1", False), ("198.51.100.%d", False)]
)
async def test_whose_guesses_are_counted_together(address: str, waits: bool) -> None:
    """Those of a /64 of IPv6, of which one household has 2^64 addresses; and of IPv4 each by itself."""
    async with served(authorizing()) as server:
        client = await register(server, BATCH)
        guess = Call("https://as.example/token", {"client_id": client["client_id"], "client_secret": "guess"})
        answers = []
        for number in range(FREE + 1):
            shown = msgspec.structs.replace(guess, address=address % number)
            with pytest.raises(ProtocolError) as refusal:
                await authenticate(server.registry, server.issuer, shown, server.clock.now)
            answers.append(refusal.value.kind.name)
        assert answers == ["invalid_client"] * FREE + ["too_many_attempts" if waits else "invalid_client"]
