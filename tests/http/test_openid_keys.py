"""Signing keys over their life: published, rotated, noticed by other processes, withdrawn; and what was signed by them."""

from __future__ import annotations

import dataclasses

import pytest
from joserfc.errors import InvalidKeyTypeError
from openid_connect import alice, client_of, openid, verified

from registrar.authorization import signing
from registrar.domain.events import Actor
from registrar.domain.jws import Refused, UnknownKey
from registrar.domain.server_metadata import OWN_SIGNING
from registrar.service import clients, keys
from registrar.service.opened_keys import AGAIN_MS, OpenedKeys
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

OPERATOR = Actor("operator", "local")


async def signed(server: Served, algorithm: str = "ES256") -> str:
    """A statement of the issuer."""
    claims = {"iss": server.issuer.url, "aud": "somebody", "now": server.clock.now}
    return await signing.sign(server.registry, server.issuer, claims, algorithm, "test+jwt")


async def rotate(server: Served, **more: object) -> list[str]:
    """Rotate, and tell the new key identifiers."""
    made = await keys.rotate(server.registry, server.issuer, OPERATOR, endpoint="test", **more)  # type: ignore[arg-type]
    return [key.kid for key in made]


async def published(server: Served) -> dict[str, dict[str, str]]:
    """The key set as anybody sees it, by key identifier."""
    answer = await server.client.get("/jwks")
    return {key["kid"]: key for key in answer.json()["keys"]}


async def test_every_algorithm_is_signed_with_a_published_key() -> None:
    """A kid, a type and a signature that the key set verifies; both paddings of RSA with one key, which names neither."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        found = {}
        for algorithm in OWN_SIGNING:
            jws = await verified(server, await signed(server, algorithm))
            assert (jws.algorithm, jws.header["typ"]) == (algorithm, "test+jwt")
            found[algorithm] = jws.kid
        assert found["RS256"] == found["PS256"]
        key_set = await published(server)
        assert set(found.values()) == set(key_set)
        assert "alg" not in key_set[found["RS256"]]
        assert all(key["use"] == "sig" and "d" not in key for key in key_set.values())


async def test_rotation_adds_keys_and_keeps_the_old_ones_for_a_while() -> None:
    """oidcc-server-rotate-keys: new kid and new key, old ones still there; what they signed verifies until it is over."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        before, token = await published(server), await signed(server)
        new = await rotate(server)
        after = await published(server)
        assert set(after) == set(before) | set(new)
        material = {key.get("n") or key["x"] for key in before.values()}
        assert not {after[kid].get("n") or after[kid]["x"] for kid in new} & material
        assert (await verified(server, token)).kid in before
        assert (await verified(server, await signed(server))).kid in new
        server.clock.advance(3_600 + 601)
        assert set(await published(server)) == set(new)
        assert await signing.verify_own(server.registry, server.issuer, token), "known again, though published no more"
        await rotate(server, algorithms=["ES256"])
        stored = await server.registry.store.keys("main")
        assert not {key.kid for key in stored} & set(before), "a rotation takes away what is over"


async def test_another_process_notices_within_seconds() -> None:
    """It signs with the key it has opened until it asks the store again, and what it signs verifies all the while."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        other = dataclasses.replace(server, registry=dataclasses.replace(server.registry, opened=OpenedKeys()))
        first = (await verified(server, await signed(other))).kid
        new = await rotate(server)
        assert (await verified(server, await signed(other))).kid == first
        server.clock.advance(AGAIN_MS / 1000)
        assert (await verified(server, await signed(other))).kid in new


async def test_a_key_that_leaked_is_withdrawn_at_once() -> None:
    """It is published no more and what it signed is nobody's; the other keys stay, and the audit tells."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        before, token, other = await published(server), await signed(server), await signed(server, "RS256")
        (new,) = await rotate(server, algorithms=["ES256"], withdraw=True)
        assert len(await published(server)) == len(before)
        with pytest.raises(UnknownKey):
            await verified(server, token)
        assert await signing.verify_own(server.registry, server.issuer, token) is None
        assert await signing.verify_own(server.registry, server.issuer, other)
        assert (await verified(server, await signed(server))).kid == new


async def test_of_two_rotations_at_once_each_makes_keys_or_none() -> None:
    """Two processes that rotate the same generation make it once."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        import anyio

        made: list[list[str]] = []

        async def one() -> None:
            made.append(await rotate(server, algorithms=["EdDSA"]))

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
        stored = [key for key in await server.registry.store.keys("main") if key.algorithm == "EdDSA"]
        assert len(stored) == 1 + sum(map(len, made))
        assert len({key.generation for key in stored}) == len(stored)


async def test_what_others_signed_is_not_its_own() -> None:
    """Another issuer's, an altered one, one that names another issuer, and no JWS at all."""
    async with served(openid()) as server, served(openid()) as stranger:
        await keys.ensure(server.registry, server.issuer)
        await keys.ensure(stranger.registry, stranger.issuer)
        token = await signed(server)
        claims = {"iss": "https://other.example", "aud": "somebody"}
        foreign = await signing.sign(server.registry, server.issuer, claims, "ES256", "JWT")
        header, payload, _ = token.split(".")
        for bad in (await signed(stranger), foreign, f"{header}.{payload}.", "", "a.b.c", f"{token}x"):
            assert await signing.verify_own(server.registry, server.issuer, bad) is None
        with pytest.raises(Refused):
            await verified(server, await signed(stranger))


async def test_a_key_signs_with_no_algorithm_of_another_kind() -> None:
    """Not even one that is kept under its name: nothing is answered that nobody can verify."""
    async with served(openid()) as server:
        await keys.ensure(server.registry, server.issuer)
        own = await keys.signer(server.registry, server.issuer, "ES256")
        server.registry.opened.keep(server.issuer.name, {"RS256": own, "EdDSA": own}, server.registry.clock())
        for algorithm in ("RS256", "PS256", "EdDSA"):
            with pytest.raises(InvalidKeyTypeError):
                await signed(server, algorithm)


async def test_what_is_signed_under_a_secret_is_known_by_its_client() -> None:
    """HS256: under the secret of the client that it is for, and of no other."""
    async with served(openid()) as server:
        await alice(server)
        both = [await client_of(server, id_token_signed_response_alg="HS256") for _ in range(2)]
        one, other = [await clients.find(server.registry, server.issuer, both[at]["client_id"]) for at in range(2)]
        assert one is not None
        assert other is not None
        for audience, known in ((one.client_id, True), (other.client_id, False), ("nobody", False)):
            claims = {"iss": server.issuer.url, "aud": [audience]}
            token = await signing.secured(server.registry, server.issuer, one, claims, "id_token", "JWT")
            assert bool(await signing.verify_own(server.registry, server.issuer, token)) is known


@pytest.mark.requirement("DISC-17")
@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])
async def test_signed_metadata_is_a_setting(path: str) -> None:
    """RFC 8414 §2.1: the same members with iss, signed, where the operator wants it; nowhere else."""
    async with served(openid(tables="[issuer.main.openid]\nsigned_metadata = true")) as server:
        await keys.ensure(server.registry, server.issuer)
        document = (await server.client.get(path)).json()
        claims = (await verified(server, document.pop("signed_metadata"))).claims
        assert claims == {"iss": server.issuer.url, **document}
    async with served(openid()) as server:
        assert "signed_metadata" not in (await server.client.get(path)).json()
